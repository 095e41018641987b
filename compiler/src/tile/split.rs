//! Cuts a program at some of its values, into pieces that leave them for each other.
//!
//! Problem: what one pass of a recurrence computes another one needs, and so do the kernels of one
//! pass. Computing everything again where it is needed would repeat what is dear.
//!
//! Idea: a piece computes some values of a program; where it would pass through a cut it reads a leaf
//! instead, [`Leaf::Kept`]. Whoever runs the pieces keeps what the cut values are: in memory between
//! kernels, in tiles between loops, or in the record of a chunk.

use super::{Leaf, Node, Op, Program, Value};

/// A part of a program.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its own program.
    pub program: Program,
    /// Which value of the whole program each of its nodes is.
    pub of: Vec<Value>,
    /// Which values of the whole program the leaves `Kept(0)`, `Kept(1)`, … stand for.
    pub kept: Vec<Value>,
}

/// The piece of a program that computes some of its values; those that `cut` picks are leaves.
pub fn piece(whole: &Program, outputs: &[Value], cut: &dyn Fn(Value) -> bool) -> Piece {
    let mut needed = vec![false; whole.nodes.len()];
    outputs.iter().for_each(|output| needed[output.at()] = true);
    let is_cut: Vec<bool> = (0..needed.len()).map(|at| cut(Value(at as u32))).collect();
    for at in (0..needed.len()).rev().filter(|at| !is_cut[*at]) {
        if needed[at] {
            whole.nodes[at].args.iter().for_each(|arg| needed[arg.at()] = true);
        }
    }
    let mut piece = Piece { program: Program::default(), of: vec![], kept: vec![] };
    let mut new = vec![Value(0); needed.len()];
    for (at, node) in whole.nodes.iter().enumerate().filter(|(at, _)| needed[*at]) {
        new[at] = Value(piece.of.len() as u32);
        let (op, args) = if is_cut[at] {
            piece.kept.push(Value(at as u32));
            (Op::Leaf(Leaf::Kept(piece.kept.len() - 1)), vec![])
        } else {
            (node.op.clone(), node.args.iter().map(|arg| new[arg.at()]).collect())
        };
        piece.program.nodes.push(Node { op, args, ..node.clone() });
        piece.of.push(Value(at as u32));
    }
    piece.program.outputs = outputs.iter().map(|output| new[output.at()]).collect();
    piece
}

/// Which values of a program depend on leaves that `on` picks.
pub fn depends(program: &Program, on: &dyn Fn(&Leaf) -> bool) -> Vec<bool> {
    let mut found = vec![false; program.nodes.len()];
    for (at, node) in program.nodes.iter().enumerate() {
        found[at] = match &node.op {
            Op::Leaf(leaf) => on(leaf),
            _ => node.args.iter().any(|arg| found[arg.at()]),
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tile::Builder;

    #[test]
    fn a_piece_ends_where_it_is_cut() {
        let mut b = Builder::new();
        let x = b.leaf(Leaf::Param(0), &[3]);
        let twice = b.add(x, x);
        let four = b.add(twice, twice);
        let eight = b.add(four, x);
        let whole = b.finish(&[twice, eight]);
        let last = piece(&whole, &[whole.outputs[1]], &|value| value == four);
        assert_eq!((last.kept, last.program.nodes.len()), (vec![four], 3));
        assert_eq!(last.of, [x, four, eight]);
        // What is cut may be a result itself.
        let cut = piece(&whole, &[four], &|value| value == four);
        assert_eq!((cut.program.nodes.len(), cut.kept), (1, vec![four]));
        let all = piece(&whole, &whole.outputs, &|_| false);
        assert_eq!((all.program, all.kept), (whole, vec![]));
    }
}
