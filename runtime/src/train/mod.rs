//! Training: data, steps, evaluation, checkpoints, report; resumable at every checkpoint.

pub mod ablate;
mod begin;
mod changes;
pub mod checkpoint;
pub mod engine;
pub mod estimate;
pub mod evaluate;
mod faults;
mod hooks;
pub mod lacks;
pub mod loader;
pub mod ready;
mod run;
mod shared;
pub mod signals;
pub mod start;
mod summary;
mod together;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Spec;
use crate::config::base::Start;
use crate::device::Device;
use crate::ground::error::Failure;
use crate::parallel::Group;
use crate::schedule::Amount;
pub use run::{due, train};

/// The folder of a run that holds what another program's model came with; a run that begins with its parameters has a copy.
pub const ORIGIN: &str = "hf";

/// What `lrc train` was asked for besides the spec.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run's folder.
    pub folder: PathBuf,
    /// Go on from the newest checkpoint, or begin where there is none.
    pub resume: bool,
    /// Go on from the checkpoint after so many steps instead; newer ones are removed.
    pub from_step: Option<u64>,
    /// Go on also where the spec or the model has changed in what decides what is learned.
    pub allow_changes: bool,
    /// A checkpoint of another run to begin with.
    pub from: Option<From>,
    /// Where to run.
    pub device: Device,
    /// Show a progress bar.
    pub progress: bool,
    /// Say nothing of evaluations.
    pub quiet: bool,
    /// What goes on from where a signal stopped it.
    pub again: &'static str,
    /// Stop after this many steps, as an interruption would; for tests.
    pub stop_after: Option<u64>,
    /// Ask the model, save, and end for now behind the step that has seen so many tokens.
    pub pause: Option<u64>,
    /// Faults to try out policies with: before which gradient, counted from 0, and what.
    pub inject: Vec<(u64, Fault)>,
    /// The processes that train together, where this is one of several.
    pub group: Option<Arc<Group>>,
}

impl Options {
    /// One of many runs, by a program: found again where it stopped, evaluations not said.
    pub fn of_many(
        folder: PathBuf,
        device: Device,
        progress: bool,
        again: &'static str,
    ) -> Options {
        Options {
            folder,
            resume: true,
            from_step: None,
            allow_changes: false,
            from: None,
            device,
            progress,
            quiet: true,
            again,
            stop_after: None,
            pause: None,
            inject: vec![],
            group: None,
        }
    }
}

impl Options {
    /// The weights that a run of a spec begins with; nothing where they are drawn, or where it goes on.
    pub fn start(&self, spec: &Spec) -> Result<Option<Start>, Failure> {
        let resumes = self.resume && !checkpoint::list(&self.folder).is_empty();
        match &self.from {
            _ if resumes => Ok(None),
            Some(From { goes_on: true, .. }) => Ok(None),
            Some(_) if spec.from.is_some() => Err(Failure::Usage(
                "--from, and `from` of the spec's `model`: give one of them (`--set model.from=FOLDER` is the same)".into(),
            )),
            Some(From { checkpoint, .. }) => {
                Ok(Some(Start { folder: checkpoint.clone(), resize: false }))
            }
            None => Ok(spec.from.clone()),
        }
    }
}

/// A checkpoint that a run begins with.
#[derive(Clone, Debug)]
pub struct From {
    /// Its folder.
    pub checkpoint: PathBuf,
    /// Everything goes on from there: step, position in the data, optimiser. Else only the
    /// parameters are taken.
    pub goes_on: bool,
}

/// A fault that a run is given on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Loss and gradient are no numbers.
    Nan,
    /// The targets of the batch are others.
    Spike,
    /// All parameters double.
    Growth,
}

impl Fault {
    /// Reads `spike@100`.
    pub fn parse(text: &str) -> Option<(u64, Fault)> {
        let (name, at) = text.split_once('@')?;
        let fault = match name {
            "nan" => Fault::Nan,
            "spike" => Fault::Spike,
            "growth" => Fault::Growth,
            _ => return None,
        };
        Some((at.parse().ok()?, fault))
    }
}

/// What of a spec changes so that its run ends with a decay that begins at a checkpoint.
pub fn decay_now(checkpoint: &Path, decay: Amount) -> Result<Vec<(String, String)>, Failure> {
    let state = checkpoint::Checkpoint::open(checkpoint)?.state()?;
    let length = match decay {
        some if some.number() <= 0.0 || !some.number().is_finite() => {
            return Err(Failure::Usage(format!(
                "--decay-now {decay}: a decay takes some steps or tokens, such as `500 steps`"
            )));
        }
        Amount::Steps(steps) => Amount::Steps(state.step as f64 + steps),
        Amount::Tokens(tokens) => Amount::Tokens(state.tokens as f64 + tokens),
        other => {
            return Err(Failure::Usage(format!(
                "--decay-now {other}: expected a number of steps or tokens, such as `30B tokens`"
            )));
        }
    };
    let set = |path: &str, amount: Amount| (path.to_string(), amount.to_string());
    Ok(vec![set("length", length), set("schedule.wsd.decay", decay)])
}

/// Metrics by name.
pub type Metrics = BTreeMap<String, f64>;
