//! The gradient of a chunk program by reverse mode.

use super::{Chunk, result_stream};
use crate::elaborate::Recurrence;
use crate::grad::by_leaves;
use crate::tile::{Builder, Int, Leaf, Node, Op, Program, Stream, Value};

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
    // The forward program's nodes come first, under the same numbers; what the gradient does not
    // need once others are kept is pruned.
    let mut program = Program { nodes: b.program.nodes, outputs: found.values };
    for at in 0..chunk.program.nodes.len() {
        if keep(&program, &program.nodes[at]) {
            let node = &mut program.nodes[at];
            (node.op, node.args) = (Op::Leaf(Leaf::Kept(at)), vec![]);
        }
    }
    let mut program = program.pruned();
    let mut kept = Vec::new();
    for node in &mut program.nodes {
        if let Op::Leaf(Leaf::Kept(at)) = &mut node.op {
            kept.push(Value(*at as u32));
            *at = kept.len() - 1;
        }
    }
    Gradient { program, wrt: found.targets, kept }
}
