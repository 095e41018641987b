//! One run: its loop over steps, and what happens between them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use lrc_compiler::graph::Model;
use lrc_compiler::graph::account::{Account, account};

use super::changes::Changes;
use super::checkpoint::{self, Checkpoint, State};
use super::engine::{Engine, Noise, Numbers, Stepped, Training};
use super::evaluate::unseen;
use super::loader::Feed;
use super::ready::{Data, Ready, ready};
use super::{Fault, From, Metrics, Options};
use crate::config::Spec;
use crate::data::Unseen;
use crate::device::Device;
use crate::ground::error::{Failure, at_path};
use crate::ground::lock::Lock;
use crate::ground::terminal::tell;
use crate::model::fresh;
use crate::monitor::{Action, Event, Measure, Trigger};
use crate::ops::batch::Batch;
use crate::ops::dense;
use crate::ops::loss::NONE;
use crate::optim::Rates;
use crate::report;
use crate::report::record::{Eval, Happened, Layers, Line, Lineage, Record, Summary};
use crate::schedule::course::Next;
use crate::schedule::levels::Levels;
use crate::schedule::{Amount, Progress};

/// Everything of a run that a step changes.
struct Run<'s> {
    spec: &'s Spec,
    options: &'s Options,
    feed: Feed,
    sets: Arc<[Unseen]>,
    engine: Engine,
    state: State,
    record: Record,
    /// Of the folder, as long as the run lasts.
    lock: Option<Lock>,
    evals: BTreeMap<String, Metrics>,
    started: Instant,
    /// Seconds of training before this process.
    before: f64,
    tokens_here: u64,
    /// Operations of the steps of this process, by the graph.
    operations: f64,
    /// Seconds of this process in evaluations.
    asking: f64,
    /// Operations a second of dense products on this machine.
    peak: Option<f64>,
    counts: Account,
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
    report::run::write(&options.folder)?;
    if let Reached::Signal(signal) = reached {
        let (step, folder) = (run.state.step, options.folder.display());
        let again = if options.quiet { "the same command goes" } else { "--resume goes" };
        let text = format!(
            "stopped by signal {signal}: saved at step {step} in {folder}; {again} on from there"
        );
        tell!("{text}");
        run.record.log(&text)?;
    }
    match reached {
        Reached::End => Ok(summary),
        Reached::Signal(signal) => Err(Failure::Stopped(signal)),
    }
}

/// What came of a step.
enum Taken {
    Forward,
    Back,
}

enum Reached {
    End,
    Signal(i32),
}

/// The number of the first signal that asked the run to stop; a second one ends it at once.
fn signals() -> Result<Arc<AtomicI32>, Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    let seen = Arc::new(AtomicI32::new(0));
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR1] {
        // `nohup` lets a terminal hang up.
        if signal == SIGHUP && ignored(signal) {
            continue;
        }
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

/// Whether who started this process wants a signal ignored.
fn ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

fn progress(show: bool, whole: f64) -> ProgressBar {
    if !show {
        return ProgressBar::hidden();
    }
    let (bar, style) = if whole.is_finite() {
        (ProgressBar::new(whole as u64), "{wide_bar} {pos}/{len} steps  {msg}  ETA {eta}")
    } else {
        (ProgressBar::new_spinner(), "{pos} steps  {msg}")
    };
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}

/// Operations a second of dense products, on the processor.
fn peak(device: Device, width: usize) -> Option<f64> {
    (device == Device::Cpu).then(|| dense::speed(width))
}

/// The same batch with other targets: the vocabulary upside down.
fn muddled(mut batch: Batch, vocab: usize) -> Batch {
    for target in batch.targets.iter_mut().filter(|target| **target != NONE) {
        *target = vocab as u32 - 1 - *target;
    }
    batch
}

impl<'s> Run<'s> {
    fn open(
        spec: &'s Spec,
        model: Model,
        arch: &str,
        options: &'s Options,
    ) -> Result<Run<'s>, Failure> {
        let Ready { source, course, needs, plan } =
            ready(spec, &model, options.device, Data::Needed)?;
        let Some(source) = source else { unreachable!("data that is needed was opened") };
        needs.fits(options.device)?;
        let params = fresh(&model.graph.params, spec.seed);
        let (counts, width) = (account(&model), model.width);
        let training = Training::of(spec, &course, spec.seed);
        let engine = Engine::of(plan, params, options.device, &training)?;
        // What waits for the clock, or for an evaluation, cannot be prepared ahead.
        let waits = matches!(spec.shaping.length, Amount::Time(_)) || spec.levels.is_some();
        let workers = if waits { 0 } else { spec.workers };
        let stage = spec.levels.as_ref().map(Levels::start).unwrap_or_default();
        let fingerprint = source.fingerprint();
        let sets = source.unseen(Some(spec.eval.sequences)).into();
        let mut run = Run {
            spec,
            options,
            sets,
            bar: progress(options.progress, course.whole().steps),
            feed: Feed::new(Arc::new(source), course, workers),
            engine,
            state: State { fingerprint, stage, ..State::default() },
            record: Record::default(),
            lock: None,
            evals: BTreeMap::new(),
            started: Instant::now(),
            before: 0.0,
            tokens_here: 0,
            operations: 0.0,
            asking: 0.0,
            peak: options.progress.then(|| peak(options.device, width)).flatten(),
            counts,
        };
        run.state.version = env!("CARGO_PKG_VERSION").into();
        run.begin(arch)?;
        run.feed.weigh(&run.state.stage.odds);
        run.bar.set_position(run.state.step);
        Ok(run)
    }

    /// Takes the run's folder: begins a run there, or goes on with the one it holds.
    fn begin(&mut self, arch: &str) -> Result<(), Failure> {
        let Options { folder, resume, .. } = self.options;
        std::fs::create_dir_all(folder).map_err(at_path("make", folder))?;
        self.lock = Some(Lock::take(folder, "training")?);
        if *resume && !checkpoint::list(folder).is_empty() {
            return self.go_on(arch);
        }
        if let Some(step) = self.options.from_step {
            // Says what there is.
            Checkpoint::of(folder, Some(step))?;
        }
        if folder.join("metrics.jsonl").exists() && !resume {
            return Err(Failure::Usage(format!(
                "{} holds a run already: go on with --resume, or choose another folder with --out",
                folder.display()
            )));
        }
        let checkpoints = folder.join("checkpoints");
        std::fs::create_dir_all(&checkpoints).map_err(at_path("make", &checkpoints))?;
        self.write_spec(arch)?;
        if let Some(from) = &self.options.from {
            self.branch(from)?;
        }
        self.record = Record::create(folder)?;
        Ok(())
    }

    /// Goes on with the run of the folder.
    fn go_on(&mut self, arch: &str) -> Result<(), Failure> {
        let Options { folder, from_step, allow_changes, .. } = self.options;
        let checkpoint = Checkpoint::of(folder, *from_step)?;
        let changes = Changes::of(folder, self.spec, arch);
        if changes.decide() && !allow_changes {
            return Err(changes.refuse(folder, "what differs decides what is learned"));
        }
        self.resume(&checkpoint)?;
        if self.feed.step() < self.state.step {
            return Err(Failure::Usage(format!(
                "`length` is {}, and the run in {} has done {} steps already",
                self.spec.shaping.length,
                folder.display(),
                self.state.step
            )));
        }
        if !changes.all.is_empty() && !allow_changes && self.moves(&changes)? {
            return Err(
                changes.refuse(folder, "with the other one it stands elsewhere in the data")
            );
        }
        checkpoint::remove_behind(folder, self.state.step)?;
        let (record, lost) = Record::resume(folder, self.state.lines)?;
        self.record = record;
        if lost > 0 {
            let of = self.state.lines;
            self.say(&format!(
                "metrics.jsonl has lost {lost} of its {of} lines before step {}: curves and report have a gap",
                self.state.step
            ))?;
        }
        self.evals = self.record.known();
        match (changes.all.is_empty(), lost) {
            (false, _) => self.keep(checkpoint, &changes, arch),
            (true, 0) => Ok(()),
            // Otherwise lines of steps to come would be taken for the lost ones.
            (true, _) => self.save_again(checkpoint),
        }
    }

    /// Whether the spec of the folder would have used up other data so far.
    fn moves(&self, changes: &Changes) -> Result<bool, Failure> {
        let Some(before) = &changes.before else { return Ok(true) };
        let course = super::ready::course(before, Some(self.feed.source()))?;
        Ok(self.feed.moved(course, &self.state.stretches))
    }

    /// Says and records what has changed. The checkpoint counts the new line, so that no interruption loses it.
    fn keep(
        &mut self,
        checkpoint: Checkpoint,
        changes: &Changes,
        arch: &str,
    ) -> Result<(), Failure> {
        self.event("the run goes on with another spec or model", &changes.said(false))?;
        self.save_again(checkpoint)?;
        self.write_spec(arch)
    }

    fn write_spec(&self, arch: &str) -> Result<(), Failure> {
        let folder = &self.options.folder;
        crate::ground::atomic::write(
            &folder.join("spec.resolved.yaml"),
            self.spec.resolved.as_bytes(),
        )?;
        crate::ground::atomic::write(&folder.join("model.arch"), arch.as_bytes())
    }

    /// Takes up a checkpoint.
    fn resume(&mut self, checkpoint: &Checkpoint) -> Result<(), Failure> {
        let folder = checkpoint.folder();
        let (state, numbers) =
            checkpoint.read(self.engine.declared(), &self.engine.remembered())?;
        if state.fingerprint != self.state.fingerprint && !self.options.allow_changes {
            return Err(Failure::World(format!(
                "{} was trained on other data, or with another seed: fingerprint {} then, {} now",
                folder.display(),
                state.fingerprint,
                self.state.fingerprint
            )));
        }
        let levels = self.spec.levels.as_ref().map_or(0, |levels| levels.values.len());
        if state.stage.odds.len() != levels || state.stage.level >= levels.max(1) {
            let why = format!("{}: its levels are not those of the spec", folder.display());
            return Err(Failure::invalid("E0307", why));
        }
        self.engine.restore(numbers)?;
        self.feed.walk(&state.stretches);
        self.before = state.seconds;
        let State { version, fingerprint, .. } = &self.state;
        let (version, fingerprint) = (version.clone(), fingerprint.clone());
        self.state = State { version, fingerprint, ..state };
        Ok(())
    }

    /// Begins with a checkpoint of another run.
    fn branch(&mut self, from: &From) -> Result<(), Failure> {
        let folder = from.checkpoint.as_path();
        let checkpoint = Checkpoint::open(folder)?;
        let there = checkpoint.state()?;
        if from.goes_on {
            self.resume(&checkpoint)?;
        } else {
            let params = checkpoint.model(self.engine.declared())?;
            let moments = self.engine.numbers()?.moments;
            self.engine.restore(Numbers { params, moments })?;
            self.state.lineage = there.lineage;
        }
        self.state.lines = 0;
        let run = folder.parent().and_then(Path::parent).and_then(Path::file_name);
        self.state.lineage.push(Lineage {
            run: run.map_or("unknown".into(), |name| name.to_string_lossy().into_owned()),
            step: there.step,
            blake3: checkpoint.fingerprint()?,
        });
        Ok(())
    }

    fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    /// Whether something that happens every so often is due between two moments.
    fn due(every: Amount, before: &Progress, after: &Progress) -> bool {
        every.number() > 0.0 && after.times(every) > before.times(every)
    }

    fn go(&mut self, stop: &AtomicI32) -> Result<Reached, Failure> {
        loop {
            let seconds = self.seconds();
            let Some((next, batch)) = self.feed.next(seconds)? else { break };
            let before = next.before.at(seconds);
            let after = next.after.at(self.seconds());
            let measures = Self::due(self.spec.monitor.every, &before, &after);
            if let Taken::Back = self.step(&next, batch, measures)? {
                continue;
            }
            self.bar.set_position(self.state.step);
            let after = next.after.at(self.seconds());
            let last = after.ended();
            let mut enough = false;
            if last || Self::due(self.spec.eval.every, &before, &after) {
                let begun = Instant::now();
                let accuracy = self.evaluate()?;
                self.asking += begun.elapsed().as_secs_f64();
                enough = self.spec.stop_at.is_some_and(|at| accuracy.is_some_and(|x| x >= at));
            }
            let signal = stop.load(Ordering::Relaxed);
            let interrupted = signal != 0 || self.options.stop_after == Some(self.state.step);
            let due = Self::due(self.spec.checkpoint.every, &before, &after);
            let keeps = last || enough || interrupted || due;
            if keeps && let Taken::Back = self.save()? {
                continue;
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

    /// One step, unless something about it makes the run leave it out or go back.
    fn step(&mut self, next: &Next, batch: Batch, measures: bool) -> Result<Taken, Failure> {
        let optimizer = &self.spec.optimizer;
        let rates = Rates {
            lr: optimizer.lr * next.factor * self.state.monitor.lr,
            clip: self.state.monitor.clip.unwrap_or(optimizer.clip),
            step: self.state.step + 1,
        };
        let micro = self.spec.micro.map_or(usize::MAX, |tokens| tokens as usize);
        if measures {
            self.engine.watch();
        }
        let fault = self.fault();
        let batch = if fault == Some(Fault::Spike) {
            muddled(batch, self.engine.model().vocab)
        } else {
            batch
        };
        if fault == Some(Fault::Growth) {
            self.grow()?;
        }
        // Drawn by the number of gradients, so that a step that is done over drops others.
        let parts = batch.parts(micro);
        let mut stepped = self.engine.gradient(&parts, self.computed())?;
        if fault == Some(Fault::Nan) {
            (stepped.score.loss, stepped.norm) = (f64::NAN, f64::NAN);
        }
        let Stepped { score, norm } = stepped;
        match self.state.stretches.last_mut() {
            Some([_, to]) if *to == next.step => *to += 1,
            _ => self.state.stretches.push([next.step, next.step + 1]),
        }
        let skipped = match self.unusual(&stepped, &parts)? {
            Some(Action::Back(steps)) => {
                self.back(steps)?;
                return Ok(Taken::Back);
            }
            Some(Action::Skip) => true,
            _ => false,
        };
        if !skipped {
            self.engine.update(&rates, norm)?;
            let clipped = rates.clip > 0.0 && norm > rates.clip;
            self.state.monitor.stepped(&self.spec.monitor, score.loss, clipped);
        }
        self.state.step += 1;
        self.state.tokens += next.tokens();
        self.tokens_here += next.tokens();
        let forward = self.counts.executed_per_token(next.length) as f64;
        self.operations += 3.0 * forward * next.tokens() as f64;
        self.write(next, &stepped, rates.lr, skipped)?;
        if measures && let Some(Action::Back(steps)) = self.measure(&stepped)? {
            self.back(steps)?;
            return Ok(Taken::Back);
        }
        Ok(Taken::Forward)
    }

    /// The fault that is put into the gradient at hand, of all that were computed.
    fn fault(&self) -> Option<Fault> {
        let mut all = self.options.inject.iter();
        all.find(|(at, _)| *at == self.computed()).map(|(_, fault)| *fault)
    }

    /// Gradients computed so far, with those of steps that were undone.
    fn computed(&self) -> u64 {
        self.state.stretches.iter().map(|[from, to]| to - from).sum()
    }

    /// Makes all parameters twice as large.
    fn grow(&mut self) -> Result<(), Failure> {
        let mut numbers = self.engine.numbers()?;
        numbers.params.iter_mut().flatten().for_each(|x| *x *= 2.0);
        self.engine.restore(numbers)
    }

    /// What the policies want of a step whose loss is no number, or a spike.
    fn unusual(&mut self, stepped: &Stepped, parts: &[Batch]) -> Result<Option<Action>, Failure> {
        let Stepped { score, norm } = stepped;
        let (what, trigger) = if !norm.is_finite() || !score.loss.is_finite() {
            let promises = self.promises(parts)?;
            (
                format!("the loss is {} and the norm of the gradient {norm}{promises}", score.loss),
                Trigger::Nan,
            )
        } else if let Some(deviations) = self.state.monitor.spike(&self.spec.monitor, score.loss) {
            let what = format!(
                "the loss {:.4} lies {deviations:.1} deviations above those before",
                score.loss
            );
            (what, Trigger::Spike)
        } else {
            let measures = [(Measure::Loss, score.loss), (Measure::GradNorm, *norm)];
            let what = format!("the loss is {:.4}, the norm of the gradient {norm:.4}", score.loss);
            let policies = &self.spec.monitor.policies;
            if !policies.iter().any(|policy| policy.on.met(&measures)) {
                return Ok(None);
            }
            return self.react(&what, &|trigger| trigger.met(&measures));
        };
        let action = self.react(&what, &|on| *on == trigger)?;
        match (action, trigger) {
            // Nothing good comes of such a gradient.
            (None | Some(Action::Warn | Action::Change { .. }), Trigger::Nan) => {
                Err(Failure::Diverged(format!(
                    "{what} at step {}; {}",
                    self.state.step + 1,
                    self.advice()
                )))
            }
            (action, _) => Ok(action),
        }
    }

    /// What recurrences were promised and did not get, as a likely cause of what is no number.
    fn promises(&mut self, parts: &[Batch]) -> Result<String, Failure> {
        let broken = self.engine.broken(parts)?;
        let Some(first) = broken.first() else { return Ok(String::new()) };
        let more = match broken.len() - 1 {
            0 => String::new(),
            n => format!(", and {n} more are broken"),
        };
        Ok(format!(" (a promise is broken: {first}{more}; `lrc check` says what would keep it)"))
    }

    /// Lets the policies act, and writes down what they did.
    fn react(
        &mut self,
        what: &str,
        happened: &dyn Fn(&Trigger) -> bool,
    ) -> Result<Option<Action>, Failure> {
        let action = match self.state.monitor.react(&self.spec.monitor, happened) {
            Ok(action) => action,
            Err(why) => {
                self.event(what, "the run ends")?;
                return Err(Failure::Diverged(format!("{what}; {why}")));
            }
        };
        let did = action.map_or("nothing: no policy is for it".to_string(), |a| a.to_string());
        self.event(what, &did)?;
        if action == Some(Action::Stop) {
            return Err(Failure::Diverged(format!("{what}; a policy ends the run")));
        }
        Ok(action)
    }

    fn event(&mut self, what: &str, did: &str) -> Result<(), Failure> {
        let event = Event { what: what.into(), did: did.into() };
        let (step, tokens) = (self.state.step, self.state.tokens);
        self.say(&format!("step {step:>6}  {what}: {did}"))?;
        self.record.put(&Happened { step, tokens, event })?;
        self.record.flush()
    }

    /// Writes down the measures of the layers, and lets policies see them.
    fn measure(&mut self, stepped: &Stepped) -> Result<Option<Action>, Failure> {
        let mut layers = self.engine.measured().unwrap_or_default();
        if let Some(Noise { trace, signal }) = self.engine.noise()
            && let Some(scale) = self.state.monitor.noise(trace, signal)
        {
            layers.entry("model".into()).or_default().insert("noise_scale".into(), scale);
        }
        let measures = self.state.monitor.measures(&layers);
        let (step, tokens) = (self.state.step, self.state.tokens);
        if !layers.is_empty() {
            self.record.layers(&Layers { step, tokens, layers })?;
        }
        let policies = &self.spec.monitor.policies;
        let Some(policy) = policies.iter().find(|policy| policy.on.met(&measures)) else {
            return Ok(None);
        };
        let (on, loss) = (policy.on.clone(), stepped.score.loss);
        let what = format!("{on} (loss {loss:.4})");
        self.react(&what, &|trigger| *trigger == on)
    }

    /// Goes back to a checkpoint; what the policies changed stays, and the data since is used up.
    fn back(&mut self, steps: u64) -> Result<(), Failure> {
        let target = self.state.step.saturating_sub(steps);
        let all = checkpoint::list(&self.options.folder);
        let Some((step, _)) = all.iter().rev().find(|(step, _)| *step <= target) else {
            return Err(Failure::Diverged(format!(
                "a policy goes back {steps} steps from step {}, and no checkpoint is so old",
                self.state.step
            )));
        };
        let checkpoint = Checkpoint::of(&self.options.folder, Some(*step))?;
        let (state, numbers) =
            checkpoint.read(self.engine.declared(), &self.engine.remembered())?;
        self.engine.restore(numbers)?;
        self.feed.back_to(state.step);
        // A stretch that is empty says where the next one begins.
        self.state.stretches.push([state.step, state.step]);
        self.state.monitor = self.state.monitor.kept(state.monitor);
        (self.state.step, self.state.tokens) = (state.step, state.tokens);
        checkpoint::remove_behind(&self.options.folder, *step)?;
        self.save_again(checkpoint)
    }

    /// Writes a checkpoint anew, so that a run that is taken up there knows what was gone through.
    fn save_again(&mut self, mut checkpoint: Checkpoint) -> Result<(), Failure> {
        self.record.sync()?;
        self.state.lines = self.record.lines();
        checkpoint.write_state(&self.state)
    }

    fn write(
        &mut self,
        next: &Next,
        stepped: &Stepped,
        lr: f64,
        skipped: bool,
    ) -> Result<(), Failure> {
        let Stepped { score, norm } = stepped;
        let seconds = self.started.elapsed().as_secs_f64();
        let line = Line {
            step: self.state.step,
            tokens: self.state.tokens,
            loss: score.loss,
            auxiliary: self.engine.adds_to_loss().then_some(score.auxiliary),
            lr,
            grad_norm: *norm,
            seq_len: next.length,
            accuracy: score.accuracy(),
            skipped,
            tokens_per_second: self.tokens_here as f64 / seconds.max(1e-9),
        };
        self.bar.set_message(format!(
            "loss {:.4}  {:.0} tokens/s{}",
            score.loss,
            line.tokens_per_second,
            self.pace()
        ));
        self.record.line(&line)
    }

    /// Says something to who watches, and to the log.
    fn say(&mut self, text: &str) -> Result<(), Failure> {
        match (self.options.quiet, self.options.progress) {
            (true, _) => {}
            (false, true) => self.bar.println(text),
            (false, false) => tell!("{text}"),
        }
        self.record.log(text)
    }

    /// Measures what training has not seen; gives the accuracy on the first set.
    fn evaluate(&mut self) -> Result<Option<f64>, Failure> {
        let mut eval = BTreeMap::new();
        let (mut first, mut loss_on_unseen) = (None, None);
        let mut right = Vec::new();
        for set in Arc::clone(&self.sets).iter() {
            let batch = self.spec.batch(set.length);
            let answers = unseen(&mut self.engine, self.feed.source(), set, batch)?;
            let (loss, accuracy) = (answers.score.loss, answers.score.accuracy());
            if set.level.is_some() {
                right.push([answers.whole, answers.sequences]);
            }
            if first.is_none() {
                self.state.best = Some(self.state.best.map_or(loss, |best: f64| best.min(loss)));
                first = Some(accuracy);
                loss_on_unseen = Some(loss);
            }
            let metrics = answers.metrics(set, self.feed.source());
            let bits = metrics.get("bits_per_byte");
            let bits = bits.map_or(String::new(), |bits| format!(", {bits:.4} bits per byte"));
            let said = format!(
                "step {:>6}  {}: accuracy {accuracy:.4}, loss {loss:.4}{bits}",
                self.state.step, set.name
            );
            self.say(&said)?;
            self.evals.insert(set.name.clone(), metrics.clone());
            eval.insert(set.name.clone(), metrics);
        }
        if !eval.is_empty() {
            self.record.eval(&Eval { step: self.state.step, tokens: self.state.tokens, eval })?;
        }
        self.go_up(&right)?;
        if let Some(loss) = loss_on_unseen
            && self.state.monitor.underfits(loss)
        {
            let what = "the loss on unseen data stalls while that of training falls";
            self.react(what, &|trigger| *trigger == Trigger::Underfitting)?;
        }
        Ok(first)
    }

    /// Weighs the levels of the task by the sequences of each that were wholly right.
    fn go_up(&mut self, right: &[[usize; 2]]) -> Result<(), Failure> {
        let Some(levels) = &self.spec.levels else { return Ok(()) };
        let stage = levels.after(&self.state.stage, right);
        if stage.level != self.state.stage.level {
            let what = format!("the task goes on to {} {}", levels.of, levels.values[stage.level]);
            let shares: Vec<String> =
                right.iter().map(|[right, of]| format!("{right} of {of}")).collect();
            self.event(&what, &format!("right were {}", shares.join(", ")))?;
        }
        self.feed.weigh(&stage.odds);
        self.state.stage = stage;
        Ok(())
    }

    /// Writes a checkpoint, unless the parameters are no numbers: what was saved before is not given up for that.
    fn save(&mut self) -> Result<Taken, Failure> {
        let numbers = self.engine.numbers()?;
        if let Some(name) = self.unsound(&numbers) {
            return self.unsaved(&format!("the update made numbers of `{name}` infinite or none"));
        }
        let folder = &self.options.folder;
        self.record.sync()?;
        self.state.seconds = self.seconds();
        self.state.lines = self.record.lines();
        checkpoint::save(folder, &self.state, self.engine.declared(), &numbers)?;
        checkpoint::prune(folder, self.spec.checkpoint.keep)?;
        Ok(Taken::Forward)
    }

    /// The first parameter that holds something that is no number, or whose running means do: such a mean keeps it from
    /// ever moving again.
    fn unsound(&self, numbers: &Numbers) -> Option<String> {
        let Numbers { params, moments } = numbers;
        let odd = |values: &Vec<f32>| values.iter().any(|x| !x.is_finite());
        let found = (0..params.len()).find(|at| {
            let of = |all: &[Vec<f32>]| all.get(*at).is_some_and(odd);
            of(params) || of(&moments.first) || of(&moments.second)
        });
        found.map(|at| self.engine.declared()[at].name.clone())
    }

    /// Lets a policy go back; nothing else mends parameters.
    fn unsaved(&mut self, what: &str) -> Result<Taken, Failure> {
        if let Some(Action::Back(steps)) = self.react(what, &|on| *on == Trigger::Nan)? {
            self.back(steps)?;
            return Ok(Taken::Back);
        }
        Err(Failure::Diverged(format!("{what} at step {}; {}", self.state.step, self.advice())))
    }

    /// What to do about a run that diverged.
    fn advice(&self) -> String {
        let all = checkpoint::list(&self.options.folder);
        let Some((step, _)) = all.last() else {
            return "no checkpoint was written yet: lower the learning rate and begin again".into();
        };
        let older = if all.len() > 1 { ", or from an older one with --from-step" } else { "" };
        format!(
            "lower the learning rate and go on with --resume from the checkpoint of step {step}{older}"
        )
    }

    /// Operations a second, where the processor computes, as a share of what it can.
    fn utilisation(&self, peak: Option<f64>) -> Option<f64> {
        let peak = peak?;
        let seconds = self.started.elapsed().as_secs_f64() - self.asking;
        (seconds > 0.0).then(|| self.operations / seconds / peak)
    }

    fn pace(&self) -> String {
        self.utilisation(self.peak)
            .map_or(String::new(), |share| format!("  MFU {:.0} %", 100.0 * share))
    }

    fn summary(&self, finished: bool) -> Summary {
        let now = self.summary_now(finished);
        // Without a step, what was measured before stays.
        match Summary::of(&self.options.folder) {
            Some(before) if self.tokens_here == 0 && before.steps == now.steps => Summary {
                seconds: before.seconds,
                tokens_per_second: before.tokens_per_second,
                utilisation: before.utilisation,
                kernels_per_step: before.kernels_per_step,
                products_per_step: before.products_per_step,
                ..now
            },
            _ => now,
        }
    }

    fn summary_now(&self, finished: bool) -> Summary {
        let seconds = self.started.elapsed().as_secs_f64();
        Summary {
            steps: self.state.step,
            tokens: self.state.tokens,
            final_loss: self.record.last_loss(),
            best_val_loss: self.state.best,
            eval: self.evals.clone(),
            seconds,
            tokens_per_second: self.tokens_here as f64 / seconds.max(1e-9),
            device: self.options.device.name().into(),
            kernels_per_step: self.engine.started().map(|[kernels, _]| kernels),
            products_per_step: self.engine.started().map(|[_, products]| products),
            seed: self.spec.seed,
            epochs: self.feed.epochs().into_iter().collect(),
            utilisation: self.utilisation(
                self.peak.or_else(|| peak(self.options.device, self.engine.model().width)),
            ),
            lineage: self.state.lineage.clone(),
            finished,
        }
    }
}
