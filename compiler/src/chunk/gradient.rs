//! The gradient of a chunk program by reverse mode.

use super::{Chunk, result_stream};
use crate::elaborate::Recurrence;
use crate::grad::by_leaves;
use crate::tile::split::{Piece, piece};
use crate::tile::{Builder, Int, Leaf, Node, Program, Stream, Value};

/// With respect to what a gradient is.
#[derive(Clone, Debug)]
pub enum Wrt {
    /// An input at a position.
    Input(usize, Int),
    /// A parameter.
    Param(usize),
    /// A state that enters the chunk.
    Carry(usize),
}

/// The gradient of a chunk by its leaves.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// The program.
    pub program: Program,
    /// With respect to what each result is.
    pub wrt: Vec<Wrt>,
    /// Values of the forward program that leaves `Kept` stand for.
    pub kept: Vec<Value>,
}

/// Differentiates a chunk program; values that `keep` picks are leaves of the result.
pub fn gradient(r: &Recurrence, chunk: &Chunk, keep: &dyn Fn(&Program, &Node) -> bool) -> Gradient {
    let mut b = Builder::extending(chunk.program.clone());
    let outputs = chunk.program.outputs.iter().enumerate();
    let seeds = outputs.map(|(k, output)| match result_stream(r, k) {
        Stream::State(state) => (*output, Leaf::CarryCotangent(state)),
        stream => (*output, Leaf::Cotangent(stream)),
    });
    let found = by_leaves(&mut b, seeds, |leaf| match leaf {
        Leaf::Read(Stream::Input(i), at) => Some(Wrt::Input(*i, at.clone())),
        Leaf::Param(i) => Some(Wrt::Param(*i)),
        Leaf::Carry(state) => Some(Wrt::Carry(*state)),
        _ => None,
    });
    // The forward program's nodes come first, under the same numbers.
    let (forward, whole) = (chunk.program.nodes.len(), b.program);
    let cut = |value: Value| value.at() < forward && keep(&whole, whole.node(value));
    let Piece { program, kept, .. } = piece(&whole, &found.values, &cut);
    Gradient { program, wrt: found.targets, kept }
}
