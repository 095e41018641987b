//! How a run begins: in an empty folder, with a checkpoint of its own or of another run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use lrc_compiler::graph::Model;
use lrc_compiler::graph::account::account;

use super::changes::Changes;
use super::checkpoint::{self, Checkpoint, State};
use super::engine::{Engine, Training};
use super::estimate::of_backward;
use super::loader::DataLoader;
use super::ready::{Conditions, Data, Ready, ready_under};
use super::run::Run;
use super::{From, ORIGIN, Options, start};
use crate::config::Spec;
use crate::config::base::Start;
use crate::ground::error::{Failure, at_path};
use crate::ground::lock::Lock;
use crate::model::fresh;
use crate::report::record::{Lineage, Record};
use crate::schedule::Amount;
use crate::schedule::levels::Levels;

/// A run's copy of its table of choices.
const TUNED: &str = "tuned.json";

impl<'s> Run<'s> {
    pub(super) fn open(
        spec: &'s Spec,
        model: Model,
        arch: &str,
        options: &'s Options,
    ) -> Result<Run<'s>, Failure> {
        let kept = options.folder.join(TUNED);
        let tuned = if options.resume && kept.exists() { Some(&kept) } else { spec.tuned.as_ref() };
        let tuned = tuned.filter(|_| spec.tuned.is_some()).map(PathBuf::as_path);
        let segments = options.group.as_ref().map_or(1, |_| spec.segments);
        let start = options.start(spec)?;
        let Ready { source, run_schedule, needs, plan, taken } = ready_under(
            spec,
            &model,
            &Conditions {
                device: options.device,
                data: Data::Needed,
                tuned,
                segments,
                start: start.as_ref(),
            },
        )?;
        let source = source.ok_or_else(|| Failure::World("the data was not opened".into()))?;
        match &options.group {
            Some(group) => needs.beside(group.place(), segments).fits(options.device)?,
            None => needs.fits(options.device)?,
        }
        let params = taken.unwrap_or_else(|| fresh(&model.graph.params, spec.seed));
        let (counts, backward) = (account(&model), of_backward(&plan.prepared));
        let training = Training::of(spec, &run_schedule, spec.seed, segments);
        let group = options.group.clone();
        let engine = Engine::of(plan, &params, options.device, &training, group)?;
        // What waits for the clock, or for an evaluation, cannot be prepared ahead.
        let waits = matches!(spec.shaping.length, Amount::Time(_)) || spec.levels.is_some();
        let workers = if waits { 0 } else { spec.workers };
        let stage = spec.levels.as_ref().map(Levels::start).unwrap_or_default();
        let fingerprint = source.fingerprint();
        let sets = source.held_out(Some(spec.eval.sequences)).into();
        // Measured only for who watches, as far as it must be measured.
        let peak = options.progress.then(|| engine.peak()).flatten();
        let mut run = Run {
            spec,
            options,
            start,
            sets,
            bar: progress(options.progress, run_schedule.whole().steps),
            loader: DataLoader::new(Arc::new(source), run_schedule, workers),
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
            peak,
            counts,
            backward,
            refusals: 0,
            agreed: None,
        };
        run.state.version = env!("CARGO_PKG_VERSION").into();
        run.begin(arch)?;
        run.loader.weigh(&run.state.stage.odds);
        run.bar.set_position(run.state.step);
        Ok(run)
    }

    /// Takes the run's folder: begins a run there, or goes on with the one it holds.
    pub(super) fn begin(&mut self, arch: &str) -> Result<(), Failure> {
        let Options { folder, resume, .. } = self.options;
        std::fs::create_dir_all(folder).map_err(at_path("make", folder))?;
        if self.writes() {
            self.lock = Some(Lock::take(folder, "training")?);
        }
        self.begin_together(arch)?;
        if *resume && !checkpoint::list(folder).is_empty() {
            return self.go_on(arch);
        }
        if let Some(step) = self.options.from_step {
            // Says what there is.
            Checkpoint::of(folder, Some(step))?;
        }
        if self.writes() && folder.join("metrics.jsonl").exists() && !resume {
            return Err(Failure::Usage(format!(
                "{} holds a run already: go on with --resume, or choose another folder with --out",
                folder.display()
            )));
        }
        let checkpoints = folder.join("checkpoints");
        std::fs::create_dir_all(&checkpoints).map_err(at_path("make", &checkpoints))?;
        if self.writes() {
            self.write_spec(arch)?;
        }
        match (&self.options.from, self.start.clone()) {
            (Some(From { checkpoint, goes_on: true }), _) => {
                let checkpoint = Checkpoint::open(checkpoint)?;
                self.resume(&checkpoint)?;
                self.branched(&checkpoint)?;
            }
            // Its weights are here already.
            (_, Some(Start { folder, .. })) => {
                let checkpoint = start::open(&folder)?;
                self.state.lineage = checkpoint.state()?.lineage;
                self.branched(&checkpoint)?;
            }
            _ => {}
        }
        if self.writes() {
            self.record = Record::create(folder)?;
        }
        Ok(())
    }

    /// Goes on with the run of the folder.
    pub(super) fn go_on(&mut self, arch: &str) -> Result<(), Failure> {
        let Options { folder, from_step, allow_changes, .. } = self.options;
        let checkpoint = Checkpoint::of(folder, *from_step)?;
        let changes = Changes::of(folder, self.spec, arch);
        if changes.decide() && !allow_changes {
            return Err(changes.refuse(folder, "what differs decides what is learned"));
        }
        self.resume(&checkpoint)?;
        if self.loader.step() < self.state.step {
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
        // All have read what is there.
        self.together()?;
        if self.writes() { self.take_up(checkpoint, &changes, arch) } else { Ok(()) }
    }

    /// Takes up the record of the folder, and keeps there what has changed.
    fn take_up(
        &mut self,
        checkpoint: Checkpoint,
        changes: &Changes,
        arch: &str,
    ) -> Result<(), Failure> {
        let folder = &self.options.folder;
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
            (false, _) => self.keep(checkpoint, changes, arch),
            (true, 0) => Ok(()),
            // Otherwise lines of steps to come would be taken for the lost ones.
            (true, _) => self.save_again(checkpoint),
        }
    }

    /// Whether the spec of the folder would have used up other data so far.
    pub(super) fn moves(&self, changes: &Changes) -> Result<bool, Failure> {
        let Some(before) = &changes.before else { return Ok(true) };
        let run_schedule = super::ready::run_schedule(before, Some(self.loader.source()))?;
        Ok(self.loader.moved(run_schedule, &self.state.segments))
    }

    /// Says and records what has changed. The checkpoint counts the new line, so that no interruption loses it.
    pub(super) fn keep(
        &mut self,
        checkpoint: Checkpoint,
        changes: &Changes,
        arch: &str,
    ) -> Result<(), Failure> {
        self.event("the run goes on with another spec or model", &changes.said(false))?;
        self.save_again(checkpoint)?;
        self.write_spec(arch)
    }

    pub(super) fn write_spec(&self, arch: &str) -> Result<(), Failure> {
        let folder = &self.options.folder;
        crate::ground::atomic::write(
            &folder.join("spec.resolved.yaml"),
            self.spec.resolved.as_bytes(),
        )?;
        if let Some(path) = self.spec.tuned.as_ref().filter(|_| !folder.join(TUNED).exists()) {
            let table = crate::ground::bounded::bytes(path)?;
            crate::ground::atomic::write(&folder.join(TUNED), &table)?;
        }
        crate::ground::atomic::write(&folder.join("model.arch"), arch.as_bytes())
    }

    /// Takes up a checkpoint.
    pub(super) fn resume(&mut self, checkpoint: &Checkpoint) -> Result<(), Failure> {
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
        self.engine.restore(&numbers)?;
        self.loader.walk(&state.segments);
        self.before = state.seconds;
        let State { version, fingerprint, .. } = &self.state;
        let (version, fingerprint) = (version.clone(), fingerprint.clone());
        self.state = State { version, fingerprint, ..state };
        Ok(())
    }

    /// Notes that it began with a checkpoint of another run.
    fn branched(&mut self, checkpoint: &Checkpoint) -> Result<(), Failure> {
        let (folder, there) = (checkpoint.folder(), checkpoint.state()?);
        self.state.lines = 0;
        self.take_along(folder)?;
        let run = folder.parent().and_then(Path::parent).and_then(Path::file_name);
        self.state.lineage.push(Lineage {
            run: run.map_or("unknown".into(), |name| name.to_string_lossy().into_owned()),
            step: there.step,
            blake3: checkpoint.fingerprint()?,
        });
        Ok(())
    }
}

impl Run<'_> {
    /// Copies what the model of a checkpoint came with, so that this run can be written as that program reads it.
    fn take_along(&self, checkpoint: &Path) -> Result<(), Failure> {
        let run = checkpoint.parent().and_then(Path::parent);
        let Some(from) = run.map(|run| run.join(ORIGIN)).filter(|from| from.is_dir()) else {
            return Ok(());
        };
        let to = self.options.folder.join(ORIGIN);
        if !self.writes() || to.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&to).map_err(at_path("make", &to))?;
        for entry in std::fs::read_dir(&from).map_err(at_path("read", &from))? {
            let path = entry.map_err(at_path("read", &from))?.path();
            if let Some(name) = path.file_name().filter(|_| path.is_file()) {
                let bytes = crate::ground::bounded::bytes(&path)?;
                crate::ground::atomic::write(&to.join(name), &bytes)?;
            }
        }
        Ok(())
    }
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
