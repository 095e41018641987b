//! Which entries of a value are 0 because their row may not read their column.
//!
//! Problem: a row of a chunk must not depend on later rows, nor a query on keys out of its range.
//! Products with such entries do not leave them out but multiply them by 0, and 0 times what is not
//! finite is no number: one bad token would spoil those before it.
//!
//! Idea: what is excluded is known before anything runs. Masks begin at operations that make them and go
//! on through products, signs and sums; who runs a program keeps out what they exclude where a masked
//! value meets one that is not: the processor in [`crate::interpret`], kernels in [`crate::plan::lower`].
//! Numbers that are finite keep every bit.

use super::{Binary, Leaf, Node, Op, Program, Unary, Value, Versions};

/// What a value's rows, its first axis, may read of its columns, the second; the rest is 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Mask {
    /// So many of the first columns.
    Seen(Versions),
    /// Where a leaf is not 0.
    Allowed(Value),
}

impl Mask {
    /// What either of two masks of the same rows includes.
    pub(super) fn or(&self, other: &Mask) -> Option<Mask> {
        match (self, other) {
            (Mask::Seen(a), Mask::Seen(b))
                if a.micro == b.micro && a.offsets.len() == b.offsets.len() =>
            {
                let offsets = a.offsets.iter().zip(&b.offsets).map(|(a, b)| *a.max(b)).collect();
                Some(Mask::Seen(Versions { micro: a.micro, offsets }))
            }
            _ => (self == other).then(|| self.clone()),
        }
    }
}

/// The mask of each node that has one; `kept` gives those of leaves that other pieces have computed.
pub fn masks(program: &Program, kept: &dyn Fn(usize) -> Option<Mask>) -> Vec<Option<Mask>> {
    let begins = |node: &Node| match &node.op {
        Op::Below(_) | Op::DecayMask(_) | Op::Gram(_) | Op::Leaf(Leaf::Allowed) => true,
        Op::Leaf(Leaf::Kept(i)) => kept(*i).is_some(),
        Op::Solve(false) => program.node(node.args[1]).op == Op::Eye,
        _ => false,
    };
    let mut found: Vec<Option<Mask>> = vec![None; program.nodes.len()];
    if !program.nodes.iter().any(begins) {
        return found;
    }
    for at in 0..program.nodes.len() {
        found[at] = of_node(program, &found, at, kept);
    }
    found
}

fn of_node(
    program: &Program,
    found: &[Option<Mask>],
    at: usize,
    kept: &dyn Fn(usize) -> Option<Mask>,
) -> Option<Mask> {
    let node = &program.nodes[at];
    // An argument's mask where it has the same rows and columns.
    let of = |k: usize| -> Option<&Mask> {
        let arg = *node.args.get(k)?;
        let same = program.shape(arg).get(..2) == node.shape.get(..2);
        found[arg.at()].as_ref().filter(|_| same)
    };
    match &node.op {
        Op::Below(v) | Op::DecayMask(v) | Op::Gram(v) => Some(Mask::Seen(v.clone())),
        Op::Leaf(Leaf::Allowed) => Some(Mask::Allowed(Value(at as u32))),
        Op::Leaf(Leaf::Kept(i)) => kept(*i),
        // The inverse of a triangular matrix is one.
        Op::Solve(false) if program.node(node.args[1]).op == Op::Eye => {
            Some(Mask::Seen(Versions { micro: 1, offsets: vec![1] }))
        }
        Op::Reshape | Op::Expand | Op::Alias(_) | Op::Unary(Unary::Neg) => of(0).cloned(),
        Op::MulSum(axes) | Op::Sum(axes) if axes.iter().all(|axis| *axis > 1) => {
            of(0).or(of(1)).cloned()
        }
        Op::Select => {
            let other = program.node(node.args[2]);
            matches!(&other.op, Op::Fill(x) if x.value() == 0.0).then(|| of(0).cloned())?
        }
        // `exp(-inf)`: a score is that wherever it is excluded.
        Op::Weight => {
            let score = program.node(node.args[0]);
            let [condition, _, other] = score.args[..] else { return None };
            let none = |x: f64| x == f64::NEG_INFINITY;
            let low = matches!(&program.node(other).op, Op::Fill(x) if none(x.value()));
            let same = program.shape(condition).get(..2) == node.shape.get(..2);
            found[condition.at()].clone().filter(|_| score.op == Op::Select && low && same)
        }
        Op::Binary(Binary::Add | Binary::Sub) => of(0)?.or(of(1)?),
        _ => None,
    }
}
