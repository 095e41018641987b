//! Training: data, steps, evaluation, checkpoints, report; resumable at every checkpoint.

pub mod checkpoint;
pub mod engine;
pub mod estimate;
pub mod feed;
pub mod record;
pub mod report;
mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lrc_compiler::graph::Model;

use crate::data::{Source, Unseen};
use crate::device::Device;
use crate::error::Failure;
use crate::loss::Score;
use crate::schedule::Amount;
use crate::spec::Spec;
use engine::Engine;
pub use run::{course, train};

/// What `lrc train` was asked for besides the spec.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run's folder.
    pub folder: PathBuf,
    /// Go on from the newest checkpoint, or begin where there is none.
    pub resume: bool,
    /// A checkpoint of another run to begin with.
    pub from: Option<From>,
    /// Where to run.
    pub device: Device,
    /// Show a progress bar.
    pub progress: bool,
    /// Say nothing of evaluations.
    pub quiet: bool,
    /// Stop after this many steps, as an interruption would; for tests.
    pub stop_after: Option<u64>,
    /// Faults to try out policies with: before which gradient, counted from 0, and what.
    pub inject: Vec<(u64, Fault)>,
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
    let state = checkpoint::read_state(checkpoint)?;
    let length = match decay {
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

/// The metrics of a score.
pub fn metrics(unseen: &Unseen, score: &Score) -> Metrics {
    let mut metrics: Metrics =
        [("accuracy".to_string(), score.accuracy()), ("loss".to_string(), score.loss)].into();
    if let Some(bytes) = unseen.bytes_per_token {
        let bits = score.loss / std::f64::consts::LN_2 / bytes;
        metrics.insert("bits_per_byte".into(), bits);
    }
    metrics
}

/// Measures the newest checkpoint of a run on what it has not seen.
pub fn evaluate(
    spec: &Spec,
    model: Model,
    folder: &Path,
    length: usize,
    sequences: Option<usize>,
    device: Device,
) -> Result<Vec<(Unseen, Score)>, Failure> {
    let newest = checkpoint::newest(folder)?;
    let params = checkpoint::read_model(&newest, &model.graph.params)?;
    let task = spec.task.with_length(length);
    let source = Source::open_for(&task, spec.seed, model.vocab)?;
    let mut engine = Engine::asked(model, params, device)?;
    let sets = source.unseen(sequences);
    if sets.is_empty() {
        return Err(Failure::Usage("the data of this run keeps nothing for evaluation".into()));
    }
    let scores = sets.into_iter().map(|set| {
        let score = unseen(&mut engine, &source, &set, spec.batch())?;
        Ok((set, score))
    });
    scores.collect()
}

/// The score of unseen sequences, a batch at a time.
pub fn unseen(
    engine: &mut Engine,
    source: &Source,
    set: &Unseen,
    batch: usize,
) -> Result<Score, Failure> {
    let mut whole = Score::default();
    let mut first = 0;
    while first < set.sequences {
        let count = batch.min(set.sequences - first);
        let (score, _) = engine.evaluate(&source.unseen_batch(set, first, count)?)?;
        whole.add(&score);
        first += count;
    }
    Ok(whole)
}
