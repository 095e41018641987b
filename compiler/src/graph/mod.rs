//! The training graph of a model.
//!
//! Values are tensors of one row per token (or a single row, for what depends on parameters only);
//! nodes are dense products, recurrences, and *rows*: tile programs that run on blocks of rows and
//! hold everything pointwise between the others, fused. The graph is built from the model's layout
//! ([`model`]), extended by its own backward pass ([`backward`]), and measured ([`account`]).

pub mod account;
pub mod backward;
pub mod buffers;
pub mod fuse;
pub mod init;
pub mod kernels;
mod layout;
mod mixer;
mod model;
mod numbers;
pub mod order;
mod pointwise;
pub mod prepare;
mod rewrite;
mod split;
mod starts;
pub mod text;

use petgraph::graph::{DiGraph, NodeIndex};

use crate::compile::Chosen;
use crate::elaborate::Recurrence;
use crate::tile::{Number, Program, size};
pub use init::Init;
pub use mixer::{LowRank, alone as mixer_alone, check as check_mixer};
pub use model::{Amended, Model, Replaced, build, build_with};
pub use prepare::{Options, Prepared, Recompute, prepare};
pub use starts::starts;

/// Names a value of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// Names a parameter of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub usize);

/// A tensor that flows between nodes.
#[derive(Clone, Debug)]
pub struct ValueInfo {
    /// Axes of one row.
    pub shape: Vec<usize>,
    /// One row for the whole batch instead of one per token.
    pub once: bool,
    /// How its numbers are held in memory.
    pub number: Number,
    /// What made it.
    pub from: NodeIndex,
}

impl ValueInfo {
    /// Numbers in a row.
    pub fn width(&self) -> usize {
        size(&self.shape)
    }
}

/// A learned tensor.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name, such as `layers.0.gated_deltanet.q.weight`.
    pub name: String,
    /// Its shape; weights of dense products are `[groups, out, in]`, or `[out, in]`.
    pub shape: Vec<usize>,
    /// How a fresh one is drawn.
    pub init: Init,
    /// Whether weight decay applies.
    pub decay: bool,
    /// Whether it stays in f32 whatever the precision of the rest.
    pub f32: bool,
    /// How kernels hold what they read of it.
    pub number: Number,
}

/// A low-rank product beside another: `W x + scale B (A x)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adapter {
    /// W, `[out, in]`, or one for each group or expert.
    pub weight: ParamId,
    /// A, `[rank, in]`.
    pub a: ParamId,
    /// B, `[out, rank]`.
    pub b: ParamId,
    /// What the update is multiplied with.
    pub scale: f64,
}

/// What a node does. Forward nodes read activations; backward nodes come from [`backward`].
#[derive(Clone, Debug)]
pub enum Kind {
    /// Rows of an embedding table `[vocab, width]`, by token.
    Embed,
    /// Rows of a table `[n, …]`, by the token's position in its sequence, which has at most n tokens.
    Place,
    /// `y = W x`, per group of the leading axis.
    Dense {
        /// Independent blocks: `[groups, in]` to `[groups, out]`.
        groups: usize,
    },
    /// A tile program per row: leaf `Read(Input(i), t - n)` is input `i`, `n` tokens back in the
    /// same sequence; `Param(i)` the node's i-th parameter.
    Rows(Box<Program>),
    /// A recurrence over the tokens of each sequence.
    Recur(Box<Recur>),
    /// The gradient of `Rows`: inputs, then gradients of its outputs, give gradients of the wanted
    /// inputs and parameters.
    RowsGrad(Box<crate::form::rows::RowsGrad>),
    /// Cross-entropy of the head's logits: gives the gradient of the hidden state.
    Loss,
    /// The gradient of `Recur`: its inputs, then gradients of its outputs.
    RecurGrad {
        /// The forward node, whose kept states are read.
        of: NodeIndex,
        /// Which outputs have a gradient.
        outs: Vec<bool>,
    },
    /// `dx = Wᵀ dy`.
    DenseGradInput {
        /// As in `Dense`.
        groups: usize,
    },
    /// `dW = dy xᵀ`, summed over rows.
    DenseGradWeight {
        /// As in `Dense`.
        groups: usize,
    },
    /// Who sits in each slot of a token: numbers of the experts whose weight is not 0, at most
    /// `slots`, −1 where there are fewer; then their weights.
    Route {
        /// Slots of a token.
        slots: usize,
    },
    /// The gradient of `Route`: numbers and gradients of the weights per slot give the gradient of
    /// all weights.
    RouteGrad,
    /// `y = W_e x` per slot with the matrix of the expert `e` in it, 0 where nobody sits; inputs
    /// are `x`, with or without an axis of slots, and the numbers from `Route`.
    Expert,
    /// `dx = W_eᵀ dy` per slot, summed over the slots where `x` has no axis of them.
    ExpertGradInput,
    /// `dW_e = dy xᵀ`, summed over all slots of the expert.
    ExpertGradWeight,
    /// `y[t] = Σ_{s ≤ t} h[t - s] x[s]` in each sequence: inputs `x` and `h`, tap `j` of the filter
    /// in the row of token `j`.
    LongConv,
    /// The gradients of `LongConv` by `x` and `h`; inputs are these, then that of `y`.
    LongConvGrad,
    /// Numbers become 0 with a probability, in training; always where it is 1.
    Drop {
        /// The probability.
        rate: f64,
        /// Tells one from the other: the same number drops the same, forward and backward.
        number: usize,
    },
    /// The mean over all rows.
    Average,
    /// The gradient of `Average`: a share for every row.
    AverageGrad,
    /// Adds rows of a gradient to the rows of an embedding's gradient.
    EmbedGrad,
    /// The same for a table that is read by position.
    PlaceGrad,
    /// The sum of its inputs.
    Sum,
}

/// The layer of a label or of a parameter's name: `layers.0.attention` of
/// `layers.0.attention.residual`, `embedding` of `embedding.weight`.
pub fn layer(label: &str) -> &str {
    let parts = match label.split('.').next() {
        Some("layers") => 3,
        // `shared.memory.0.attention`
        Some("shared") => 4,
        _ => 1,
    };
    let end = label.match_indices('.').nth(parts - 1).map_or(label.len(), |(at, _)| at);
    &label[..end]
}

/// A recurrence and how its operands are laid out.
#[derive(Clone, Debug)]
pub struct Recur {
    /// The recurrence at its sizes.
    pub recurrence: Recurrence,
    /// Heads.
    pub heads: usize,
    /// So many neighbouring heads add up to one of the outputs; see [`fuse`].
    pub sum: usize,
    /// Own number of heads of each input.
    pub input_heads: Vec<usize>,
    /// Own number of heads of each parameter.
    pub param_heads: Vec<usize>,
    /// What of how it runs is chosen already.
    pub chosen: Chosen,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it does.
    pub kind: Kind,
    /// Where it stands in the model, for people.
    pub label: String,
    /// Values it reads.
    pub inputs: Vec<ValueId>,
    /// Parameters it reads.
    pub params: Vec<ParamId>,
    /// Values it makes.
    pub outputs: Vec<ValueId>,
    /// Parameters whose gradients it adds to.
    pub gives: Vec<ParamId>,
}

impl Node {
    /// A node without parameters; its outputs are filled in when it is added.
    pub fn plain(kind: Kind, label: impl Into<String>, inputs: Vec<ValueId>) -> Node {
        let label = label.into();
        Node { kind, label, inputs, params: vec![], outputs: vec![], gives: vec![] }
    }

    /// What it reads, and what flows into its output where it is the gradient of a pointwise node.
    pub fn inputs_and_flows(&self) -> (&[ValueId], &[ValueId]) {
        let count = match &self.kind {
            Kind::RowsGrad(grad) => grad.inputs,
            _ => self.inputs.len(),
        };
        self.inputs.split_at(count)
    }

    /// The layer it belongs to; see [`layer`].
    pub fn layer(&self) -> &str {
        layer(&self.label)
    }

    /// Whether it adds what a layer computed to the residual stream.
    pub fn is_residual(&self) -> bool {
        self.label.ends_with(".residual")
    }
}

/// A graph of nodes in an order in which they can run; edges follow the values.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The nodes; indices rise in running order.
    pub nodes: DiGraph<Node, ValueId>,
    /// The values.
    pub values: Vec<ValueInfo>,
    /// The learned tensors.
    pub params: Vec<Param>,
    /// How many nodes belong to the forward pass.
    pub forward: usize,
}

impl Graph {
    /// Adds a node with fresh outputs `(shape, once)`.
    pub fn add(&mut self, node: Node, outputs: &[(Vec<usize>, bool)]) -> Vec<ValueId> {
        let inputs = node.inputs.clone();
        let index = self.nodes.add_node(node);
        for input in inputs {
            let from = self.values[input.0].from;
            self.nodes.add_edge(from, index, input);
        }
        let made: Vec<ValueId> = outputs
            .iter()
            .map(|(shape, once)| {
                let (shape, once, number) = (shape.clone(), *once, Number::F32);
                self.values.push(ValueInfo { shape, once, number, from: index });
                ValueId(self.values.len() - 1)
            })
            .collect();
        self.nodes[index].outputs.clone_from(&made);
        made
    }

    /// Which nodes of the forward pass a value needs.
    pub fn needed(&self, value: ValueId) -> Vec<bool> {
        let mut needed = vec![false; self.forward];
        let mut open = vec![self.value(value).from];
        while let Some(node) = open.pop() {
            if !std::mem::replace(&mut needed[node.index()], true) {
                open.extend(self.nodes.neighbors_directed(node, petgraph::Incoming));
            }
        }
        needed
    }

    /// A value.
    pub fn value(&self, id: ValueId) -> &ValueInfo {
        &self.values[id.0]
    }
}
