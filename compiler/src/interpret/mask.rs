//! Which entries of a value are 0 because their row may not read their column.
//!
//! Problem: a row of a chunk must not depend on later rows, nor a query on keys out of its range.
//! Products with such entries do not leave them out but multiply them by 0, and 0 times what is not
//! finite is no number: one bad token would spoil those before it.
//!
//! Idea: what is excluded is known when a program is planned. Masks begin at operations that make them
//! and go on through products, signs and sums; where a masked value meets one that is not, what the
//! mask excludes is cleared, or, in a sum over columns, kept out ([`super::product`]). Numbers that
//! are finite keep every bit.

use std::sync::Arc;

use super::layout::View;
use super::loops::Sides;
use crate::num::Real;
use crate::tile::{Leaf, Op, Program, Unary, Value};

/// What a value's rows, its first axis, may read of its columns, the second; the rest is 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Mask {
    /// For each row so many of the first columns.
    Seen(Arc<[usize]>),
    /// Where a leaf is not 0.
    Allowed(Value),
}

/// A mask at its place in memory.
#[derive(Clone, Debug)]
pub enum Placed {
    /// See [`Mask::Seen`].
    Seen(Arc<[usize]>),
    /// Where the leaf begins, and its columns.
    Allowed(usize, usize),
}

impl Mask {
    /// The mask where leaves are as `view` says.
    pub fn placed<'v>(&self, view: impl Fn(Value) -> &'v View) -> Placed {
        match self {
            Mask::Seen(seen) => Placed::Seen(Arc::clone(seen)),
            Mask::Allowed(leaf) => {
                let view = view(*leaf);
                Placed::Allowed(view.start, view.shape[1])
            }
        }
    }

    /// What either of two masks of the same rows includes.
    fn or(&self, other: &Mask) -> Option<Mask> {
        match (self, other) {
            (Mask::Seen(a), Mask::Seen(b)) => {
                Some(Mask::Seen(a.iter().zip(b.iter()).map(|(a, b)| *a.max(b)).collect()))
            }
            _ => (self == other).then(|| self.clone()),
        }
    }
}

impl Placed {
    /// Whether a row may read a column.
    pub fn includes<R: Real>(&self, from: &Sides<'_, R>, [row, column]: [usize; 2]) -> bool {
        match self {
            Placed::Seen(seen) => column < seen[row],
            Placed::Allowed(start, columns) => from.at(*start)[row * columns + column] != R::ZERO,
        }
    }

    /// Sets what is excluded to 0: rows, columns, and numbers of each entry.
    #[inline(always)]
    pub fn clear<R: Real>(
        &self,
        to: &mut [R],
        from: &Sides<'_, R>,
        [_, columns, each]: [usize; 3],
    ) {
        let rows = to.chunks_exact_mut(columns * each);
        match self {
            Placed::Seen(seen) => {
                rows.zip(seen.iter()).for_each(|(row, seen)| row[seen * each..].fill(R::ZERO));
            }
            Placed::Allowed(start, _) => {
                for (row, allowed) in rows.zip(from.at(*start).chunks_exact(columns)) {
                    for (entry, allowed) in row.chunks_exact_mut(each).zip(allowed) {
                        let keep = *allowed != R::ZERO;
                        entry.iter_mut().for_each(|x| *x = if keep { *x } else { R::ZERO });
                    }
                }
            }
        }
    }
}

/// The mask of each node that has one.
pub fn masks(program: &Program) -> Vec<Option<Mask>> {
    let begins = |node: &crate::tile::Node| {
        matches!(node.op, Op::Below(_) | Op::DecayMask(_) | Op::Gram(_) | Op::Leaf(Leaf::Allowed))
    };
    let mut found: Vec<Option<Mask>> = vec![None; program.nodes.len()];
    if !program.nodes.iter().any(begins) {
        return found;
    }
    for at in 0..program.nodes.len() {
        found[at] = of_node(program, &found, at);
    }
    found
}

fn of_node(program: &Program, found: &[Option<Mask>], at: usize) -> Option<Mask> {
    let node = &program.nodes[at];
    // An argument's mask where it has the same rows and columns.
    let of = |k: usize| -> Option<&Mask> {
        let arg = *node.args.get(k)?;
        let same = program.shape(arg).get(..2) == node.shape.get(..2);
        found[arg.at()].as_ref().filter(|_| same)
    };
    match &node.op {
        Op::Below(v) | Op::DecayMask(v) | Op::Gram(v) => {
            Some(Mask::Seen((0..node.shape[0]).map(|row| v.seen(row).min(node.shape[1])).collect()))
        }
        Op::Leaf(Leaf::Allowed) => Some(Mask::Allowed(Value(at as u32))),
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
        Op::Binary(crate::tile::Binary::Add | crate::tile::Binary::Sub) => of(0)?.or(of(1)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::{Machine, Plan};
    use crate::tile::{Builder, Int, Stream, Versions};

    fn leaf(b: &mut Builder, i: usize, shape: &[usize]) -> Value {
        b.leaf(Leaf::Read(Stream::Input(i), Int::T), shape)
    }

    /// `(q kᵀ ∘ below) v + s` with one row of `k` and `v` replaced.
    fn run(m: usize, d: usize, bad: Option<(usize, f32)>, onto: bool) -> Vec<f32> {
        let mut b = Builder::new();
        let (q, k) = (leaf(&mut b, 0, &[m, d]), leaf(&mut b, 1, &[m, d]));
        let (v, s) = (leaf(&mut b, 2, &[m, d]), leaf(&mut b, 3, &[m, d]));
        let product = b.matmul_t(q, k);
        let below = b.below(&Versions { micro: 1, offsets: vec![1] }, m);
        let weights = b.mul(product, below);
        let read = b.matmul(weights, v);
        let out = if onto { b.add(s, read) } else { read };
        let plan = Plan::new(&b.finish(&[out]));
        let mut machine = Machine::<f32>::new(&plan);
        plan.run(&mut machine, 0, &[], &mut |leaf, _, to| {
            let Leaf::Read(Stream::Input(i), _) = leaf else { unreachable!("only inputs") };
            for (at, x) in to.iter_mut().enumerate() {
                *x = ((at * 37 + i * 11) as f32).sin();
                match bad {
                    Some((row, value)) if *i < 3 && at / d >= row => *x = value,
                    _ => {}
                }
            }
        });
        plan.output(&machine, 0).to_vec()
    }

    #[test]
    fn rows_before_what_is_not_finite_keep_their_bits() {
        for (m, d) in [(1, 3), (5, 4), (64, 32), (64, 1), (33, 17)] {
            for onto in [false, true] {
                let whole = run(m, d, None, onto);
                assert!(whole.iter().all(|x| x.is_finite()));
                for value in [3.0, 1e30, f32::INFINITY, f32::NAN] {
                    for row in [0, m / 2, m - 1] {
                        let got = run(m, d, Some((row, value)), onto);
                        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                        let (same, rest) = got.split_at(row * d);
                        assert_eq!(bits(same), bits(&whole[..row * d]), "{m} {d} {value} {row}");
                        assert!(value == 3.0 || rest.iter().all(|x| !x.is_finite()));
                    }
                }
            }
        }
    }
}
