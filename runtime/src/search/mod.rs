//! Architecture search: many runs of one spec, each another point of a space, chosen by what those before it showed.
//!
//! Every trial is an ordinary run folder. What has been tried stands in a journal in Optuna's format, which any number of
//! processes share: whoever takes a trial holds the lock of its folder, so that the trial of a process that was killed is
//! taken up by the next one.

mod ended;
pub mod halving;
pub mod importance;
pub mod journal;
pub mod measure;
pub mod next;
pub mod order;
pub mod propose;
mod read;
pub mod replay;
pub mod report;
pub mod run;
pub mod solve;
pub mod space;
pub mod supernet;
mod time;
pub mod trial;

use std::path::PathBuf;

use lrc_dsl::{Diag, FileId, Span};

use crate::config::tree;
use crate::device::sim::hardware::Hardware;
use crate::eval::experiment::Overrides;
use halving::Halving;
use measure::Measure;
use propose::Sampler;
pub use read::schema;
use space::Param;

/// A checked study.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    /// The name of its folder, and of the study in the journal.
    pub name: String,
    /// Above its tables.
    pub title: String,
    /// The spec that is varied.
    pub spec: PathBuf,
    /// Of what is drawn.
    pub seed: u64,
    /// How many trials at most.
    pub trials: usize,
    /// What all trials differ in from the spec.
    pub set: Overrides,
    /// What may differ between trials.
    pub space: Vec<Param>,
    /// What is wanted; the first one decides who is promoted.
    pub objectives: Vec<Objective>,
    /// What a model may cost.
    pub constraints: Vec<Constraint>,
    /// Sizes that are solved for, one after the other.
    pub matches: Vec<Match>,
    /// How points are chosen.
    pub sampler: Sampler,
    /// Who trains how far.
    pub halving: Option<Halving>,
    /// The GPU on which times are modelled.
    pub gpu: Hardware,
    /// Where the file stands, for findings about all of it.
    pub place: Option<Span>,
}

impl Study {
    /// Whether somebody asks how long models would take on a GPU, which is modelled only then.
    pub fn timed(&self) -> bool {
        let time = Measure::TimePerToken;
        self.constraints.iter().any(|bound| bound.measure == time)
            || self.objectives.iter().any(|of| of.metric == time.name())
    }
}

/// Something that is wanted of a trial.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// A metric of the run, or a measure of its model.
    pub metric: String,
    /// The more the better; else the less.
    pub maximise: bool,
}

impl Objective {
    /// A value as what is to be small.
    pub fn cost(&self, value: f64) -> f64 {
        if self.maximise { -value } else { value }
    }
}

/// What a measure may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Constraint {
    /// Of what.
    pub measure: Measure,
    /// At least.
    pub least: f64,
    /// At most.
    pub most: f64,
    /// Where it is said.
    pub span: Option<Span>,
}

/// A size that is chosen so that a measure comes near a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// What comes near.
    pub measure: Measure,
    /// The number.
    pub to: f64,
    /// The path of the size.
    pub by: String,
    /// How far off it may be, as a share.
    pub within: f64,
    /// Where it is said.
    pub span: Option<Span>,
}

/// Reads a study.
pub fn read(path: &std::path::Path, file: FileId, text: &str) -> Result<Study, Vec<Diag>> {
    let tree = tree::parse(file, text).map_err(|diag| vec![*diag])?;
    let mut diags = Vec::new();
    match read::decode(path, &tree, &mut diags) {
        Some(study) if diags.is_empty() => Ok(study),
        _ => Err(diags),
    }
}
