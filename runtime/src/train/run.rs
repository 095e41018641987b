//! One run: its loop over steps, and what happens between them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use lrc_compiler::graph::Model;

use super::checkpoint::{self, Lineage, State};
use super::engine::{Engine, Stepped};
use super::feed::Feed;
use super::record::{Eval, Line, Record, Summary};
use super::{Metrics, Options, metrics, report, unseen};
use crate::data::{Source, Unseen};
use crate::error::{Failure, at_path};
use crate::execute::fresh;
use crate::optim::Rates;
use crate::schedule::course::{Course, Next};
use crate::schedule::lengths::{Buckets, Lengths};
use crate::schedule::{Amount, Progress};
use crate::spec::Spec;

/// Everything of a run that a step changes.
struct Run<'s> {
    spec: &'s Spec,
    options: &'s Options,
    feed: Feed,
    sets: Vec<Unseen>,
    engine: Engine,
    state: State,
    record: Record,
    best: Option<f64>,
    evals: BTreeMap<String, Metrics>,
    course: Course,
    started: Instant,
    /// Seconds of training before this process.
    before: f64,
    tokens_here: u64,
    bar: ProgressBar,
}

/// Trains a model. Gives the summary that is also written to the run's folder.
pub fn train(spec: &Spec, model: Model, arch: &str, options: &Options) -> Result<Summary, Failure> {
    let stop = signals()?;
    let mut run = Run::open(spec, model, arch, options)?;
    let result = run.go(&stop);
    run.bar.finish_and_clear();
    let reached = result?;
    run.record.flush()?;
    let summary = run.summary(matches!(reached, Reached::End));
    run.record.finish(&options.folder, &summary)?;
    report::write(&options.folder)?;
    match reached {
        Reached::End => Ok(summary),
        Reached::Signal(signal) => Err(Failure::Stopped(signal)),
    }
}

enum Reached {
    End,
    Signal(i32),
}

/// The number of the first signal that asked the run to stop; a second one ends it at once.
fn signals() -> Result<Arc<AtomicI32>, Failure> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let seen = Arc::new(AtomicI32::new(0));
    for signal in [SIGINT, SIGTERM] {
        let again = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let wire = |error: std::io::Error| Failure::World(format!("cannot watch signals: {error}"));
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))
            .map_err(wire)?;
        signal_hook::flag::register(signal, again).map_err(wire)?;
        let seen = Arc::clone(&seen);
        let mut watch = signal_hook::iterator::Signals::new([signal]).map_err(wire)?;
        std::thread::spawn(move || {
            for signal in watch.forever() {
                seen.store(signal, Ordering::Relaxed);
            }
        });
    }
    Ok(seen)
}

fn progress(show: bool, whole: f64) -> ProgressBar {
    if !show {
        return ProgressBar::hidden();
    }
    let (bar, style) = if whole.is_finite() {
        (ProgressBar::new(whole as u64), "{bar:30} {pos}/{len} steps  {msg}  ETA {eta}")
    } else {
        (ProgressBar::new_spinner(), "{pos} steps  {msg}")
    };
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}

/// The course of a spec's run over its data.
pub fn course(spec: &Spec, source: &Source) -> Result<Course, Failure> {
    let buckets = match &spec.shaping.lengths {
        Lengths::Buckets(Buckets { lengths, .. }) => lengths.clone(),
        _ => vec![],
    };
    let available = source.available(buckets.len());
    for (length, _) in spec.shaping.phases.iter().flat_map(|phase| phase.lengths.iter().flatten()) {
        let at = buckets.iter().position(|l| l == length);
        if at.is_some_and(|at| available[at] == 0.0) {
            return Err(Failure::World(format!(
                "a phase wants sequences of {length} tokens, and no document is so long"
            )));
        }
    }
    Ok(Course::new(&spec.shaping, &available))
}

impl<'s> Run<'s> {
    fn open(
        spec: &'s Spec,
        model: Model,
        arch: &str,
        options: &'s Options,
    ) -> Result<Run<'s>, Failure> {
        let source = Source::open_for(&spec.task, spec.seed, model.vocab)?;
        let course = course(spec, &source)?;
        let params = fresh(&model.graph.params, spec.seed);
        let engine = Engine::new(model, params, options.device, &spec.optimizer)?;
        // What waits for the clock cannot be prepared ahead.
        let timed = matches!(spec.shaping.length, Amount::Time(_));
        let workers = if timed { 0 } else { spec.workers };
        let fingerprint = source.fingerprint();
        let sets = source.unseen(Some(spec.eval.sequences));
        let mut run = Run {
            spec,
            options,
            sets,
            feed: Feed::new(Arc::new(source), course.clone(), workers),
            engine,
            state: State { fingerprint, ..State::default() },
            record: Record::default(),
            best: None,
            evals: BTreeMap::new(),
            bar: progress(options.progress, course.whole().steps),
            course,
            started: Instant::now(),
            before: 0.0,
            tokens_here: 0,
        };
        run.state.version = env!("CARGO_PKG_VERSION").into();
        let folder = &options.folder;
        let begun = folder.join("metrics.jsonl").exists();
        if options.resume && !checkpoint::list(folder).is_empty() {
            run.resume(&checkpoint::newest(folder)?)?;
            run.record = Record::resume(folder, run.state.step)?;
            (run.best, run.evals) = run.record.known();
        } else {
            if begun && !options.resume {
                return Err(Failure::Usage(format!(
                    "{} holds a run already: go on with --resume, or choose another folder with --out",
                    folder.display()
                )));
            }
            std::fs::create_dir_all(folder.join("checkpoints")).map_err(at_path("make", folder))?;
            crate::atomic::write(&folder.join("spec.resolved.yaml"), spec.resolved.as_bytes())?;
            crate::atomic::write(&folder.join("model.arch"), arch.as_bytes())?;
            if let Some(from) = &options.from {
                run.branch(from)?;
            }
            run.record = Record::create(folder)?;
        }
        run.bar.set_position(run.state.step);
        Ok(run)
    }

    /// Takes up a checkpoint.
    fn resume(&mut self, folder: &Path) -> Result<(), Failure> {
        let (state, numbers) =
            checkpoint::read(folder, self.engine.declared(), &self.engine.remembered())?;
        if state.fingerprint != self.state.fingerprint {
            return Err(Failure::World(format!(
                "the data of {} has changed: fingerprint {} then, {} now",
                folder.display(),
                state.fingerprint,
                self.state.fingerprint
            )));
        }
        self.engine.restore(numbers)?;
        self.feed.walk(&state.stretches);
        self.course.walk_to(state.step, &mut |_| {});
        self.before = state.seconds;
        self.state = State { version: self.state.version.clone(), ..state };
        Ok(())
    }

    /// Begins where a checkpoint of another run stands.
    fn branch(&mut self, folder: &Path) -> Result<(), Failure> {
        self.resume(folder)?;
        let path = folder.join("model.safetensors");
        let bytes = std::fs::read(&path).map_err(at_path("read", &path))?;
        let run = folder.parent().and_then(Path::parent).and_then(Path::file_name);
        self.state.lineage.push(Lineage {
            run: run.map_or("unknown".into(), |name| name.to_string_lossy().into_owned()),
            step: self.state.step,
            blake3: crate::data::shards::fingerprint(&bytes),
        });
        Ok(())
    }

    fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    /// Whether something that happens every so often is due between two moments.
    fn due(every: Amount, before: &Progress, after: &Progress) -> bool {
        every.number() > 0.0 && after.since(every).floor() > before.since(every).floor()
    }

    fn go(&mut self, stop: &AtomicI32) -> Result<Reached, Failure> {
        loop {
            let before = self.course.progress(self.seconds());
            let Some((next, batch)) = self.feed.next(self.seconds())? else { break };
            let line = self.step(&next, batch)?;
            self.bar.set_position(self.state.step);
            self.bar.set_message(format!(
                "loss {:.4}  {:.0} tokens/s",
                line.loss, line.tokens_per_second
            ));
            self.course.walk_to(self.state.step, &mut |_| {});
            let after = self.course.progress(self.seconds());
            let last = after.ended();
            let mut enough = false;
            if last || Self::due(self.spec.eval.every, &before, &after) {
                let accuracy = self.evaluate()?;
                enough = self.spec.stop_at.is_some_and(|at| accuracy.is_some_and(|x| x >= at));
            }
            let signal = stop.load(Ordering::Relaxed);
            let interrupted = signal != 0 || self.options.stop_after == Some(self.state.step);
            let due = Self::due(self.spec.checkpoint.every, &before, &after);
            if last || enough || interrupted || due {
                self.save()?;
            }
            if interrupted && !last {
                return Ok(Reached::Signal(if signal == 0 { 2 } else { signal }));
            }
            if enough {
                break;
            }
        }
        Ok(Reached::End)
    }

    fn step(&mut self, next: &Next, batch: crate::execute::Batch) -> Result<Line, Failure> {
        let optimizer = &self.spec.optimizer;
        let rates = Rates {
            lr: optimizer.lr * next.factor,
            clip: optimizer.clip,
            step: self.state.step + 1,
        };
        let micro = self.spec.micro.map_or(usize::MAX, |tokens| tokens as usize);
        let Stepped { score, norm } = self.engine.gradient(&batch.parts(micro))?;
        if !norm.is_finite() {
            return Err(Failure::Diverged(format!(
                "the loss is {} and the norm of the gradient {norm} at step {}; the newest checkpoint is sound: lower the learning rate and go on with --resume",
                score.loss,
                self.state.step + 1
            )));
        }
        self.engine.update(&rates, norm)?;
        match self.state.stretches.last_mut() {
            Some([_, to]) if *to == next.step => *to += 1,
            _ => self.state.stretches.push([next.step, next.step + 1]),
        }
        self.state.step += 1;
        self.state.tokens += next.tokens();
        self.tokens_here += next.tokens();
        let seconds = self.started.elapsed().as_secs_f64();
        let line = Line {
            step: self.state.step,
            tokens: self.state.tokens,
            loss: score.loss,
            auxiliary: self.engine.adds_to_loss().then_some(score.auxiliary),
            lr: rates.lr,
            grad_norm: norm,
            seq_len: next.length,
            accuracy: score.accuracy(),
            tokens_per_second: self.tokens_here as f64 / seconds.max(1e-9),
        };
        self.record.line(&line)?;
        Ok(line)
    }

    /// Measures what training has not seen; gives the accuracy on the first set.
    fn evaluate(&mut self) -> Result<Option<f64>, Failure> {
        let mut eval = BTreeMap::new();
        let mut first = None;
        for set in &self.sets {
            let score = unseen(&mut self.engine, self.feed.source(), set, self.spec.batch())?;
            let (loss, accuracy) = (score.loss, score.accuracy());
            if first.is_none() {
                self.best = Some(self.best.map_or(loss, |best: f64| best.min(loss)));
                first = Some(accuracy);
            }
            let metrics = metrics(set, &score);
            let bits = metrics.get("bits_per_byte");
            let bits = bits.map_or(String::new(), |bits| format!(", {bits:.4} bits per byte"));
            let said = format!(
                "step {:>6}  {}: accuracy {accuracy:.4}, loss {loss:.4}{bits}",
                self.state.step, set.name
            );
            match (self.options.quiet, self.options.progress) {
                (true, _) => {}
                (false, true) => self.bar.println(said),
                (false, false) => eprintln!("{said}"),
            }
            self.evals.insert(set.name.clone(), metrics.clone());
            eval.insert(set.name.clone(), metrics);
        }
        if !eval.is_empty() {
            self.record.eval(&Eval { step: self.state.step, tokens: self.state.tokens, eval })?;
        }
        Ok(first)
    }

    fn save(&mut self) -> Result<(), Failure> {
        let folder = &self.options.folder;
        self.record.flush()?;
        self.state.seconds = self.seconds();
        let numbers = self.engine.numbers()?;
        checkpoint::save(folder, &self.state, self.engine.declared(), &numbers)?;
        checkpoint::prune(folder, self.spec.checkpoint.keep)
    }

    fn summary(&self, finished: bool) -> Summary {
        let seconds = self.started.elapsed().as_secs_f64();
        Summary {
            steps: self.state.step,
            tokens: self.state.tokens,
            final_loss: self.record.last_loss(),
            best_val_loss: self.best,
            eval: self.evals.clone(),
            seconds,
            tokens_per_second: self.tokens_here as f64 / seconds.max(1e-9),
            device: self.options.device.name().into(),
            kernels_per_step: self.engine.started().map(|[kernels, _]| kernels),
            products_per_step: self.engine.started().map(|[_, products]| products),
            seed: self.spec.seed,
            epochs: self.feed.epochs().into_iter().collect(),
            lineage: self.state.lineage.clone(),
            finished,
        }
    }
}
