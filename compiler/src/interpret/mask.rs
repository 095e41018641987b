//! Keeps out what masks exclude where it is not finite; see [`crate::tile::mask`].
//!
//! Where a masked value meets one that is not, what the mask excludes is cleared, or, in a sum over
//! columns, kept out ([`super::product`]).

use std::sync::Arc;

use super::layout::View;
use super::loops::Sides;
use crate::num::Real;
use crate::tile::Value;
use crate::tile::mask::Mask;

/// A mask at its place in memory.
#[derive(Clone, Debug)]
pub enum Placed {
    /// For each row so many of the first columns.
    Seen(Arc<[usize]>),
    /// Where the leaf begins, and its columns.
    Allowed(usize, usize),
}

/// The mask of a value of so many rows and columns, where leaves are as `view` says.
pub fn placed<'v>(mask: &Mask, shape: &[usize], view: impl Fn(Value) -> &'v View) -> Placed {
    match mask {
        Mask::Seen(v) => Placed::Seen((0..shape[0]).map(|row| v.seen(row).min(shape[1])).collect()),
        Mask::Allowed(leaf) => {
            let view = view(*leaf);
            Placed::Allowed(view.start, view.shape[1])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::{Machine, Plan};
    use crate::tile::{Builder, Int, Leaf, Stream, Versions};

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
