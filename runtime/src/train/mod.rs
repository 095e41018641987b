//! The training loop: data, step, evaluation, checkpoint, report; resumable at every checkpoint.

pub mod adamw;
pub mod checkpoint;
pub mod engine;
pub mod record;
pub mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use lrc_compiler::graph::Model;

use crate::data::Source;
use crate::device::Device;
use crate::error::{Failure, at_path};
use crate::execute::fresh;
use crate::loss::Score;
use crate::random::Purpose;
use crate::spec::Spec;
use checkpoint::State;
use engine::{Engine, Numbers, Stepped};
use record::{Eval, Line, Record, Summary};

/// What `lrc train` was asked for besides the spec.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run's folder.
    pub folder: PathBuf,
    /// Go on from the newest checkpoint.
    pub resume: bool,
    /// Where to run.
    pub device: Device,
    /// Show a progress bar.
    pub progress: bool,
    /// Say nothing of evaluations.
    pub quiet: bool,
    /// Stop after this many steps, as an interruption would; for tests.
    pub stop_after: Option<u64>,
}

/// Everything of a run that a step changes.
pub struct Run<'s> {
    spec: &'s Spec,
    source: Source,
    engine: Engine,
    device: Device,
    state: State,
    record: Record,
    best: Option<f64>,
    evals: BTreeMap<String, BTreeMap<String, f64>>,
    started: Instant,
    tokens_here: u64,
}

/// Trains a model. Gives the summary that is also written to the run's folder.
pub fn train(spec: &Spec, model: Model, arch: &str, options: &Options) -> Result<Summary, Failure> {
    let stop = signals()?;
    let mut run = Run::open(spec, model, arch, options)?;
    let steps = run.steps();
    let bar = progress(options.progress, steps, run.state.step);
    let result = run.go(steps, &bar, &stop, options);
    bar.finish_and_clear();
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

/// Measures the newest checkpoint of a run on unseen sequences.
pub fn evaluate(
    spec: &Spec,
    model: Model,
    folder: &Path,
    length: usize,
    sequences: usize,
    device: Device,
) -> Result<Score, Failure> {
    let (_, Numbers { params, .. }) = checkpoint::newest(folder, &model.graph.params)?;
    let task = spec.task.with_length(length);
    let source = Source::open(&task, spec.seed)?;
    let mut engine = Engine::new(model, params, device)?;
    unseen(&mut engine, &source, spec.batch, sequences)
}

/// The score of the first unseen sequences, a batch at a time.
pub fn unseen(
    engine: &mut Engine,
    source: &Source,
    batch: usize,
    sequences: usize,
) -> Result<Score, Failure> {
    let mut whole = Score::default();
    let mut first = 0;
    while first < sequences {
        let count = batch.min(sequences - first);
        let (score, _) = engine.evaluate(&source.batch(Purpose::Eval, first as u64, count))?;
        whole.loss += score.loss * score.asked as f64;
        whole.asked += score.asked;
        whole.right += score.right;
        first += count;
    }
    whole.loss /= whole.asked.max(1) as f64;
    Ok(whole)
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

fn progress(show: bool, steps: u64, at: u64) -> ProgressBar {
    if !show {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(steps).with_position(at);
    let style = "{bar:30} {pos}/{len} steps  {msg}  ETA {eta}";
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.with_position(at)
}

impl<'s> Run<'s> {
    fn open(
        spec: &'s Spec,
        model: Model,
        arch: &str,
        options: &Options,
    ) -> Result<Run<'s>, Failure> {
        if model.vocab < spec.task.vocab() {
            return Err(Failure::invalid(
                "E0402",
                format!(
                    "the task `{}` has {} tokens, the model's vocabulary {}",
                    spec.task.name(),
                    spec.task.vocab(),
                    model.vocab
                ),
            ));
        }
        let source = Source::open(&spec.task, spec.seed)?;
        let params = fresh(&model.graph.params, spec.seed);
        let engine = Engine::new(model, params, options.device)?;
        let mut run = Run {
            spec,
            source,
            engine,
            device: options.device,
            state: State::default(),
            record: Record::default(),
            best: None,
            evals: BTreeMap::new(),
            started: Instant::now(),
            tokens_here: 0,
        };
        let folder = &options.folder;
        if options.resume {
            run.resume(folder)?;
        } else {
            if folder.join("metrics.jsonl").exists() {
                return Err(Failure::Usage(format!(
                    "{} holds a run already: go on with --resume, or choose another folder with --out",
                    folder.display()
                )));
            }
            std::fs::create_dir_all(folder.join("checkpoints")).map_err(at_path("make", folder))?;
            crate::atomic::write(&folder.join("spec.resolved.yaml"), spec.resolved.as_bytes())?;
            crate::atomic::write(&folder.join("model.arch"), arch.as_bytes())?;
            run.state.fingerprint = run.source.fingerprint();
            run.record = Record::create(folder)?;
        }
        Ok(run)
    }

    fn resume(&mut self, folder: &Path) -> Result<(), Failure> {
        let (state, numbers) = checkpoint::newest(folder, self.engine.declared())?;
        if state.fingerprint != self.source.fingerprint() {
            return Err(Failure::World(format!(
                "the data of {} has changed: fingerprint {} then, {} now",
                folder.display(),
                state.fingerprint,
                self.source.fingerprint()
            )));
        }
        self.record = Record::resume(folder, state.step)?;
        (self.best, self.evals) = self.record.known();
        self.engine.restore(numbers)?;
        self.state = state;
        Ok(())
    }

    fn per_step(&self) -> u64 {
        (self.spec.batch * self.spec.task.length()) as u64
    }

    fn steps(&self) -> u64 {
        let per_step = self.per_step() as f64;
        (self.spec.length.tokens(per_step, 0.0) / per_step).ceil().max(1.0) as u64
    }

    /// Steps between two events that happen every so often.
    fn every(&self, amount: crate::spec::Amount, steps: u64) -> u64 {
        let per_step = self.per_step() as f64;
        let tokens = amount.tokens(per_step, steps as f64 * per_step);
        ((tokens / per_step).round() as u64).max(1)
    }

    fn go(
        &mut self,
        steps: u64,
        bar: &ProgressBar,
        stop: &AtomicI32,
        options: &Options,
    ) -> Result<Reached, Failure> {
        let eval_every = self.every(self.spec.eval.every, steps);
        let save_every = self.every(self.spec.checkpoint.every, steps);
        while self.state.step < steps {
            let line = self.step(steps)?;
            bar.set_position(self.state.step);
            bar.set_message(format!(
                "loss {:.4}  {:.0} tokens/s",
                line.loss, line.tokens_per_second
            ));
            let last = self.state.step == steps;
            let mut enough = false;
            if last || self.state.step.is_multiple_of(eval_every) {
                let accuracy = self.evaluate(bar, options)?;
                enough = self.spec.stop_at.is_some_and(|at| accuracy >= at);
            }
            let signal = stop.load(Ordering::Relaxed);
            let interrupted = signal != 0 || options.stop_after == Some(self.state.step);
            if last || enough || interrupted || self.state.step.is_multiple_of(save_every) {
                self.save(&options.folder)?;
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

    fn step(&mut self, steps: u64) -> Result<Line, Failure> {
        let per_step = self.per_step();
        let first = self.state.step * self.spec.batch as u64;
        let batch = self.source.batch(Purpose::Train, first, self.spec.batch);
        let whole = (steps * per_step) as f64;
        let tokens = (self.state.step * per_step) as f64;
        let factor = self.spec.schedule.factor(tokens, per_step as f64, whole);
        let lr = self.spec.adamw.lr * factor;
        let Stepped { score, norm } =
            self.engine.step(&batch, &self.spec.adamw, lr, self.state.step + 1)?;
        if !score.loss.is_finite() {
            return Err(Failure::Diverged(format!(
                "the loss is {} at step {}; the newest checkpoint is sound: lower `optimizer.adamw.lr` and go on with --resume",
                score.loss,
                self.state.step + 1
            )));
        }
        self.state.step += 1;
        self.state.tokens += per_step;
        self.tokens_here += per_step;
        let seconds = self.started.elapsed().as_secs_f64();
        let line = Line {
            step: self.state.step,
            tokens: self.state.tokens,
            loss: score.loss,
            auxiliary: self.engine.adds_to_loss().then_some(score.auxiliary),
            lr,
            grad_norm: norm,
            seq_len: self.spec.task.length(),
            accuracy: score.accuracy(),
            tokens_per_second: self.tokens_here as f64 / seconds.max(1e-9),
        };
        self.record.line(&line)?;
        Ok(line)
    }

    /// Accuracy on unseen sequences.
    fn evaluate(&mut self, bar: &ProgressBar, options: &Options) -> Result<f64, Failure> {
        let count = self.spec.eval.sequences;
        let score = unseen(&mut self.engine, &self.source, self.spec.batch, count)?;
        let (loss, accuracy) = (score.loss, score.accuracy());
        self.best = Some(self.best.map_or(loss, |best: f64| best.min(loss)));
        let metrics: BTreeMap<String, f64> =
            [("accuracy".to_string(), accuracy), ("loss".to_string(), loss)].into();
        let task = self.spec.task.name().to_string();
        self.evals.insert(task.clone(), metrics.clone());
        let eval = [(task.clone(), metrics)].into();
        self.record.eval(&Eval { step: self.state.step, tokens: self.state.tokens, eval })?;
        let said =
            format!("step {:>6}  {task}: accuracy {accuracy:.4}, loss {loss:.4}", self.state.step);
        match (options.quiet, options.progress) {
            (true, _) => {}
            (false, true) => bar.println(said),
            (false, false) => eprintln!("{said}"),
        }
        Ok(accuracy)
    }

    fn save(&mut self, folder: &Path) -> Result<(), Failure> {
        self.record.flush()?;
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
            device: self.device.name().into(),
            kernels_per_step: self.engine.started().map(|[kernels, _]| kernels),
            products_per_step: self.engine.started().map(|[_, products]| products),
            seed: self.spec.seed,
            finished,
        }
    }
}
