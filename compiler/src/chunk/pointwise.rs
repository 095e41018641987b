//! The program of a pointwise node over a block of rows.

use crate::tile::lift::{Over, lift};
use crate::tile::{Builder, Leaf, Program, Stream, Value};

/// The gradient of a pointwise node.
#[derive(Clone, Debug)]
pub struct RowsGrad {
    /// The forward program.
    pub program: Program,
    /// How many inputs it has; gradients of its outputs follow them.
    pub inputs: usize,
    /// Inputs whose gradient is an output of the node, in order.
    pub wanted: Vec<usize>,
    /// Parameters whose gradient it adds to, as slots of the program, in order of `gives`.
    pub params: Vec<usize>,
}

/// Lifts a program over `block` rows.
pub(crate) fn lifted(
    program: &Program,
    block: usize,
    once: &[bool],
    outputs_once: bool,
) -> (Builder, Vec<Value>) {
    let mut b = Builder::new();
    let mut leaf = |b: &mut Builder, leaf: &Leaf, shape: &[usize]| {
        let rows = match leaf {
            Leaf::Read(Stream::Input(i), _) if once[*i] => 1,
            Leaf::Param(_) => 1,
            _ => block,
        };
        b.leaf(leaf.clone(), &[&[rows], shape].concat())
    };
    let new = lift(&mut b, program, Over::Tokens, 1, &mut leaf)
        .expect("mixers are made of operations that lift over tokens");
    let rows = if outputs_once { 1 } else { block };
    let outputs = program
        .outputs
        .iter()
        .map(|output| {
            let full = [&[rows], program.shape(*output)].concat();
            b.expand(new[output.at()], &full)
        })
        .collect();
    (b, outputs)
}
