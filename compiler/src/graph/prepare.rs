//! A model as every place runs it: one walk over the passes, so that the processor, kernels, estimates
//! and printed texts speak of the same graph.

use std::fmt;

use super::backward::differentiate;
use super::buffers::{self, Buffers};
use super::fuse::sums_of_heads;
use super::numbers::narrow;
use super::rewrite::{drop_branches, fit, recompute};
use super::split::states_beside_sums;
use super::{Kind, Model};
use crate::tile::Number;

/// What is done to a model's graph besides its backward pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Each number that a layer adds to the residual stream becomes 0 with this probability, in training.
    pub dropout: f64,
    /// Layers that add nothing to the residual stream, ever.
    pub ablate: Vec<String>,
    /// What is computed again in the backward pass.
    pub recompute: Recompute,
    /// Which parameters are read in bf16; none where nothing is said.
    pub bf16: Vec<bool>,
    /// Whether the values between the nodes are held in bf16, as far as they may be.
    pub bf16_values: bool,
    /// Which parameters stay as they are, so that the backward pass computes nothing for them; none where nothing is said.
    pub frozen: Vec<bool>,
}

/// What the backward pass computes again instead of reading what the forward pass kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Recompute {
    /// Nothing.
    #[default]
    Nothing,
    /// These layers.
    Layers(Vec<String>),
    /// As few layers as let the values between the nodes take so many bytes per row.
    Budget(usize),
}

/// Why a model cannot be prepared as asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Unprepared {
    /// Dropout and ablation are for what layers add to a residual stream, and these add nothing.
    NoBranches,
    /// The values between the nodes take so many bytes per row at least.
    OverBudget {
        /// With every layer computed again.
        least: usize,
    },
}

impl fmt::Display for Unprepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unprepared::NoBranches => f.write_str("nothing is added to a residual stream"),
            Unprepared::OverBudget { least } => {
                write!(f, "values between the nodes take {least} bytes per row at least")
            }
        }
    }
}

/// A model with its backward pass and all that running it needs to know of its graph.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The model; its graph has the backward pass.
    pub model: Model,
    /// Memory of the values of a training step.
    pub training: Buffers,
    /// Memory of the values of a forward pass.
    pub inference: Buffers,
    /// Of the forward nodes, which ones the hidden state needs.
    pub needed: Vec<bool>,
    /// Of all nodes, the recurrences whose gradient reads what they keep.
    pub keeps: Vec<bool>,
    /// The layers that are computed again.
    pub recomputed: Vec<String>,
    /// Which parameters stay as they are; none where this is empty.
    pub frozen: Vec<bool>,
}

/// Runs the passes: layers taken out, dropout, sums over subheads, the backward pass, what is computed
/// again, memory.
pub fn prepare(mut model: Model, options: &Options) -> Result<Prepared, Unprepared> {
    let ablated = |layer: &str| options.ablate.iter().any(|one| one == layer);
    if !options.ablate.is_empty() && drop_branches(&mut model, &ablated, 1.0) == 0 {
        return Err(Unprepared::NoBranches);
    }
    if options.dropout > 0.0 && drop_branches(&mut model, &|_| true, options.dropout) == 0 {
        return Err(Unprepared::NoBranches);
    }
    for (param, bf16) in model.graph.params.iter_mut().zip(&options.bf16) {
        param.number = if *bf16 { Number::Bf16 } else { Number::F32 };
    }
    let mut model = with_backward(model, options);
    let recomputed = match &options.recompute {
        Recompute::Nothing => vec![],
        Recompute::Layers(layers) => layers.clone(),
        Recompute::Budget(bytes) => {
            fit(&model, *bytes).map_err(|least| Unprepared::OverBudget { least })?.0
        }
    };
    if !recomputed.is_empty() {
        recompute(&mut model, &|layer| recomputed.iter().any(|one| one == layer));
    }
    Ok(Prepared { frozen: options.frozen.clone(), ..finish(model, recomputed) })
}

fn with_backward(mut model: Model, options: &Options) -> Model {
    states_beside_sums(&mut model);
    sums_of_heads(&mut model);
    if options.bf16_values {
        narrow(&mut model);
    }
    differentiate(&mut model, &options.frozen);
    model
}

fn finish(model: Model, recomputed: Vec<String>) -> Prepared {
    let graph = &model.graph;
    let mut keeps = vec![false; graph.nodes.node_count()];
    for node in graph.nodes.node_weights() {
        if let Kind::RecurGrad { of, .. } = node.kind {
            keeps[of.index()] = true;
        }
    }
    Prepared {
        training: buffers::plan(graph, false, &model.losses),
        inference: buffers::plan(graph, true, &[model.hidden]),
        needed: graph.needed(model.hidden),
        keeps,
        recomputed,
        frozen: vec![],
        model,
    }
}

impl Prepared {
    /// A model of which nothing else is asked.
    pub fn plain(model: Model) -> Prepared {
        finish(with_backward(model, &Options::default()), vec![])
    }

    /// Numbers that the values between the nodes take per row of a training step.
    pub fn per_row(&self) -> usize {
        self.training.per_row()
    }

    /// Their bytes.
    pub fn bytes_per_row(&self) -> usize {
        self.training.bytes_per_row()
    }
}
