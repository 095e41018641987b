//! The largest entries, chosen by comparing each with each: no kernel sorts.
//!
//! An entry is among the `n` largest where fewer than `n` others beat it: those that are larger, and of
//! equal ones those before it. Comparisons, a mask and a sum say that in operations that have kernels.

use crate::tile::{Binary, Builder, Op, Program, Value, Versions};

/// The program with every choice of largest entries written out.
pub fn ranked(program: &Program) -> Program {
    let mut b = Builder::new();
    let mut new: Vec<Value> = Vec::with_capacity(program.nodes.len());
    for node in &program.nodes {
        b.span = node.span;
        let args: Vec<Value> = node.args.iter().map(|arg| new[arg.at()]).collect();
        let made = match &node.op {
            Op::Largest(count) => largest(&mut b, args[0], *count),
            op => b.raw(op.clone(), args, node.shape.clone()),
        };
        new.push(made);
    }
    let outputs: Vec<Value> = program.outputs.iter().map(|output| new[output.at()]).collect();
    b.finish(&outputs)
}

/// 1 for the largest entries along the last axis, 0 for the others.
fn largest(b: &mut Builder, x: Value, count: usize) -> Value {
    let shape = b.shape(x).to_vec();
    let Some((&n, front)) = shape.split_last() else { return b.fill(1.0, &[]) };
    let with = |last: [usize; 2]| [front, last.as_slice()].concat();
    let (mine, other) = (b.reshape(x, &with([n, 1])), b.reshape(x, &with([1, n])));
    let square = with([n, n]);
    let one = b.fill(1.0, &vec![1; square.len()]);
    let as_large = b.binary(Binary::Ge, other, mine);
    let smaller = b.binary(Binary::Ge, mine, other);
    let larger = b.sub(one, smaller);
    let before = b.below(&Versions::strict(), n);
    let ones = [vec![1; front.len()], vec![n, n]].concat();
    let before = b.reshape(before, &ones);
    let behind = b.sub(one, before);
    let (first, second) = (b.mul(before, as_large), b.mul(behind, larger));
    let beats = b.add(first, second);
    let rank = b.sum(beats, &[square.len() - 1]);
    let rank = b.reshape(rank, &shape);
    let most = b.fill(count as f64 - 1.0, &vec![1; shape.len()]);
    let chosen = b.binary(Binary::Ge, most, rank);
    b.expand(chosen, &shape)
}
