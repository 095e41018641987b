//! What is asked of a spec before its first step: the one place where `check`, `--dry-run` and training itself find out
//! whether a run can begin, so that all three refuse the same specs in the same words.

use std::path::{Path, PathBuf};

use lrc_compiler::graph::Model;

use super::engine::{Training, TrainingPlan};
use super::estimate::{Estimate, estimate, longest, smallest};
use super::lacks::lacks;
use super::shared::too_short;
use super::start;
use crate::config::Spec;
use crate::config::base::Start;
use crate::data::corpus::Corpora;
use crate::data::{Dataset, Task, fits};
use crate::device::Device;
use crate::device::tuned::{Place, Table};
use crate::ground::error::Failure;
use crate::ground::memory;
use crate::ground::memory::gib;
use crate::parallel;
use crate::schedule::lengths::{Buckets, Lengths};
use crate::schedule::levels::Levels;
use crate::schedule::run::RunSchedule;

/// A run that can begin.
pub struct Ready {
    /// Its data; nothing where that may be missing, and is.
    pub source: Option<Dataset>,
    /// The run schedule of its steps. Data that is missing counts as equally much of every length.
    pub run_schedule: RunSchedule,
    /// What it needs.
    pub needs: Estimate,
    /// Its model, prepared to be trained.
    pub plan: TrainingPlan,
    /// The weights that it begins with, where they are there.
    pub taken: Option<Vec<Vec<f32>>>,
}

/// What a run begins under.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'c> {
    /// Where it is to run.
    pub device: Device,
    /// Whether its data must be there.
    pub data: Data,
    /// A table of choices, the spec's or the copy that a run has kept of it.
    pub tuned: Option<&'c Path>,
    /// Processes that hold a segment each of every sequence.
    pub segments: usize,
    /// The weights that it begins with; nothing where they are drawn, or where it goes on.
    pub start: Option<&'c Start>,
}

impl Ready {
    /// Sequences that run through the model at a time in the longest step, tokens of each, and how often they do.
    pub fn longest_step(&self, spec: &Spec) -> [usize; 3] {
        let longest = longest(spec, &self.run_schedule);
        [self.needs.part.div_ceil(longest), longest, self.needs.parts]
    }
}

/// Whether the data of a run must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// It is read.
    Needed,
    /// It may be on another machine.
    Elsewhere,
}

/// Asks everything that is asked of a spec and its model before the first step on a device. The memory of this machine is
/// asked by [`Estimate::fits`]: a run is planned on other machines than it is trained on.
pub fn ready(spec: &Spec, model: &Model, device: Device, data: Data) -> Result<Ready, Failure> {
    let (tuned, start) = (spec.tuned.as_deref(), spec.from.as_ref());
    ready_under(spec, model, &Conditions { device, data, tuned, segments: 1, start })
}

/// The same under other conditions than the spec's own.
pub fn ready_under(spec: &Spec, model: &Model, under: &Conditions) -> Result<Ready, Failure> {
    let Conditions { device, data, tuned, segments, start } = *under;
    fits(&spec.task, spec.task.vocab(), model.vocab)?;
    let source = match missing(&spec.task) {
        Some(_) if data == Data::Elsewhere => None,
        _ => Some(Dataset::open_for(&spec.task, spec.seed, &spec.asked(), model.vocab)?),
    };
    let run_schedule = run_schedule(spec, source.as_ref())?;
    if segments > 1 {
        let tokens = smallest(spec, &run_schedule);
        if tokens < segments {
            return Err(too_short(segments, tokens));
        }
    }
    let training = Training::of(spec, &run_schedule, spec.seed, segments);
    let mut plan = TrainingPlan::new(model.clone(), &training)?;
    if let Some(path) = tuned {
        choose(&mut plan, path, device)?;
    }
    lacks(&plan.prepared, device)?;
    if let Some(source) = &source {
        first_batch(spec, source, &run_schedule)?;
    }
    let needs = estimate(spec, model, &plan.prepared, &run_schedule, device)?;
    needs.possible()?;
    let taken = start.map(|start| start::taken(start, spec, model)).transpose()?;
    Ok(Ready { source, run_schedule, needs, plan, taken })
}

/// Puts the choices of a table into a plan. Where a device is not there, the table is read all the same.
fn choose(plan: &mut TrainingPlan, path: &Path, device: Device) -> Result<(), Failure> {
    let table = Table::read(path)?;
    if let Ok(machine) = device.machine() {
        table.belongs(&Place::accepted(machine.as_ref())?, &path.display().to_string())?;
    }
    table.apply(&mut plan.prepared.model.graph)
}

/// Reads the first batch of documents, as far as that can fail.
fn first_batch(spec: &Spec, source: &Dataset, run_schedule: &RunSchedule) -> Result<(), Failure> {
    if source.corpora().is_none() {
        return Ok(());
    }
    let odds = spec.levels.as_ref().map(Levels::start).unwrap_or_default().odds;
    let (mut walk, mut place) = (run_schedule.clone(), source.start());
    match walk.next(0.0) {
        Some(next) => source.batch(&source.draw(&next, &odds, &mut place)).map(|_| ()),
        None => Ok(()),
    }
}

/// A source of data that is not there.
pub fn missing(task: &Task) -> Option<PathBuf> {
    let absent = |path: &&Path| !path.exists();
    let path = match task {
        Task::Corpora(Corpora { sources, .. }) => {
            sources.iter().map(|origin| origin.path.as_path()).find(absent)
        }
        Task::Text { path, .. } => Some(path.as_path()).filter(absent),
        Task::Synthetic(_) => None,
    };
    path.map(Path::to_path_buf)
}

/// The run schedule of a spec's run over its data. Data that is not there counts as equally much of every length.
pub fn run_schedule(spec: &Spec, source: Option<&Dataset>) -> Result<RunSchedule, Failure> {
    let buckets = match &spec.shaping.lengths {
        Lengths::Buckets(Buckets { lengths, .. }) => lengths.clone(),
        _ => vec![],
    };
    let Some(source) = source else {
        return RunSchedule::new(&spec.shaping, &vec![1.0; buckets.len()]);
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
    RunSchedule::new(&spec.shaping, &available)
}

/// What a process can address.
const ADDRESSES: f64 = (1_u64 << 47) as f64;

impl Estimate {
    /// Bytes of memory in all.
    pub fn bytes(&self) -> f64 {
        self.parameters + self.gradients + self.optimizer + self.activations + self.logits
    }

    /// Refuses what no machine has memory for.
    fn possible(&self) -> Result<(), Failure> {
        if self.bytes() <= ADDRESSES {
            return Ok(());
        }
        let why = format!(
            "{} takes {} of memory, and no machine has that",
            self.training(),
            gib(self.bytes())
        );
        Err(Failure::Memory(why))
    }

    /// What the processes of a machine take together, of several that train one model, of which so many hold a segment each of
    /// every sequence.
    #[must_use]
    pub fn beside(mut self, place: parallel::Place, segments: usize) -> Estimate {
        self.optimizer /= place.size as f64;
        self.activations /= segments as f64;
        let all = [
            &mut self.parameters,
            &mut self.gradients,
            &mut self.optimizer,
            &mut self.activations,
            &mut self.logits,
        ];
        all.into_iter().for_each(|bytes| *bytes *= place.beside as f64);
        self
    }

    /// Refuses what this machine has no memory for, where training on a device takes place in it.
    pub fn fits(&self, device: Device) -> Result<(), Failure> {
        if device == Device::Cuda { Ok(()) } else { memory::room(self.bytes(), &self.training()) }
    }

    fn training(&self) -> String {
        format!(
            "training (parameters {}, gradients {}, optimiser {}, activations {}, logits {})",
            gib(self.parameters),
            gib(self.gradients),
            gib(self.optimizer),
            gib(self.activations),
            gib(self.logits)
        )
    }
}
