//! Keeps out what masks exclude where it is no number, so that no token depends on later ones.
//!
//! A product of entries is 0 where its mask excludes it, by a question. Products on the matrix units ask none:
//! where one of their sums is no number, they are done again by finite numbers alone, and what a row does
//! see decides whether its sum is one. Finite numbers pay a look at the sums.

use super::product::Matrix;
use super::{Lower, seen};
use crate::plan::cut::{one, zero};
use crate::plan::index::Ix;
use crate::plan::{Expr, Sees};
use crate::tile::mask::{Mask, masks};
use crate::tile::{Leaf, Value};

impl Lower<'_> {
    /// Keeps tokens apart, given the masks of values that other kernels have left.
    pub fn keep_apart(&mut self, kept: &[Option<Mask>]) {
        self.masks = masks(self.program, &|i| kept.get(i).cloned().flatten());
    }

    /// A product of entries, cleared of what its mask excludes where an argument may hold such numbers.
    pub(super) fn cleared(
        &self,
        value: Value,
        product: Expr,
        index: &[Ix],
        sizes: &[usize],
    ) -> Expr {
        let Some(mask) = &self.masks[value.at()] else { return product };
        let args = &self.program.node(value).args;
        if args.iter().all(|arg| self.masks[arg.at()].as_ref() == Some(mask)) {
            return product;
        }
        self.only(mask, product, index, sizes)
    }

    /// A term of a sum over entries, or nothing where a mask of an argument excludes it.
    pub(super) fn term_seen(
        &self,
        value: Value,
        over: &[usize],
        term: Expr,
        index: &[Ix],
        sizes: &[usize],
    ) -> Expr {
        let args = &self.program.node(value).args;
        let mask = |k: usize| args.get(k).and_then(|arg| self.masks[arg.at()].as_ref());
        match mask(0).or(mask(1)) {
            Some(own) if over == [1] && mask(0) != mask(1) => self.only(own, term, index, sizes),
            _ => term,
        }
    }

    /// Which terms of a matrix product there are for each of its rows or columns, if a mask says so.
    pub(super) fn sees(&self, value: Value, matrix: &Matrix) -> Option<Sees> {
        let args = &self.program.node(value).args;
        let mask = |k: usize| self.masks[args[k].at()].as_ref();
        if matrix.inner != [1] || mask(0) == mask(1) {
            return None;
        }
        let columns = mask(0).is_none();
        let own = if columns { &matrix.cols } else { &matrix.rows };
        let at = usize::from(columns);
        let whole = mask(at).filter(|_| *own == [0])?;
        let sizes = &self.program.shape(args[at])[..2];
        let mask = self.only(whole, one(), &[Ix::axis(0), Ix::axis(1)], sizes);
        Some(Sees { mask, columns })
    }

    /// A value where a mask includes the entry of a row and a column, else 0.
    fn only(&self, mask: &Mask, value: Expr, index: &[Ix], sizes: &[usize]) -> Expr {
        match mask {
            Mask::Seen(v) => Expr::Where(seen(v, index, sizes), Box::new([value, zero()])),
            Mask::Allowed(leaf) => {
                let allowed = (self.leaf)(&Leaf::Allowed, self.shape(*leaf), &index[..2]);
                Expr::Select(Box::new([allowed, value, zero()]))
            }
        }
    }
}
