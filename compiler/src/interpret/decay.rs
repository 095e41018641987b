//! Chunk operations: products of decays, decay-weighted Grams, triangular solves.
//!
//! All of them multiply decays as they are, one after the other, and never divide or take a
//! logarithm: a decay of zero, a negative one or one of 1e-30 needs no special case, nothing can
//! overflow as long as no decay exceeds 1, and gradients lose no digits. The running quantities are
//! the same in all of them: step `l` of a chunk multiplies what was written before it by `a_l`.
//!
//! Where no decay exceeds 1, a product that has faded stays 0, which keeps processors fast. Where one
//! may, by what is promised of the inputs, what has faded may come back: products run on as they are.

mod wide;

use super::layout::View;
use crate::num::{Mat, MatMut, Real};
use crate::tile::{Op, Versions};

/// Which operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// See `Op::CumulativeProduct`.
    CumulativeProduct,
    /// See `Op::CumulativeProductGrad`.
    CumulativeProductGrad,
    /// See `Op::ReverseCumulativeProduct`.
    ReverseCumulativeProduct,
    /// See `Op::ReverseCumulativeProductGrad`.
    ReverseCumulativeProductGrad,
    /// See `Op::DecayMask`.
    DecayMask,
    /// See `Op::DecayMaskGrad`.
    DecayMaskGrad,
    /// See `Op::Below`.
    Below,
    /// See `Op::Gram`.
    Gram,
    /// See `Op::Apply`.
    Apply,
    /// See `Op::ApplyT`.
    ApplyT,
    /// See `Op::GramGrad`.
    GramGrad,
    /// See `Op::Solve`, not transposed.
    Solve,
    /// See `Op::Solve`, transposed.
    SolveT,
}

impl Kind {
    /// The kind and versions of an operation of chunks.
    pub fn of(op: &Op) -> (Kind, Versions) {
        let (kind, versions) = match op {
            Op::CumulativeProduct(v) => (Kind::CumulativeProduct, Some(v)),
            Op::CumulativeProductGrad(v) => (Kind::CumulativeProductGrad, Some(v)),
            Op::ReverseCumulativeProduct => (Kind::ReverseCumulativeProduct, None),
            Op::ReverseCumulativeProductGrad => (Kind::ReverseCumulativeProductGrad, None),
            Op::DecayMask(v) => (Kind::DecayMask, Some(v)),
            Op::DecayMaskGrad(v) => (Kind::DecayMaskGrad, Some(v)),
            Op::Below(v) => (Kind::Below, Some(v)),
            Op::Gram(v) => (Kind::Gram, Some(v)),
            Op::Apply(v) => (Kind::Apply, Some(v)),
            Op::ApplyT(v) => (Kind::ApplyT, Some(v)),
            Op::GramGrad(v) => (Kind::GramGrad, Some(v)),
            Op::Solve(false) => (Kind::Solve, None),
            Op::Solve(true) => (Kind::SolveT, None),
            other => unreachable!("{other} is no operation of chunks"),
        };
        (kind, versions.cloned().unwrap_or_else(Versions::strict))
    }

    /// Rows, micro-steps and width of the operation.
    pub fn sizes(self, args: &[&View], out: &[usize]) -> [usize; 3] {
        match self {
            Kind::CumulativeProduct => [out[0], args[0].shape[0], out[1]],
            Kind::CumulativeProductGrad | Kind::DecayMaskGrad => {
                [args[1].shape[0], args[0].shape[0], args[0].shape[1]]
            }
            Kind::ReverseCumulativeProduct | Kind::ReverseCumulativeProductGrad => {
                [out[0], out[0], out[1]]
            }
            Kind::DecayMask | Kind::Below => [out[0], out[1], 1],
            Kind::Gram => [out[0], out[1], args[0].shape[1]],
            Kind::Apply => [out[0], args[1].shape[0], out[1]],
            Kind::ApplyT => [args[1].shape[0], out[0], out[1]],
            Kind::GramGrad => [args[1].shape[0], out[0], out[1]],
            Kind::Solve | Kind::SolveT => [out[0], out[0], out[1]],
        }
    }

    /// Numbers of working memory; `fades` says that no decay exceeds 1.
    pub fn scratch(self, v: &Versions, sizes: [usize; 3], fades: bool) -> usize {
        let [_, m, d] = sizes;
        match self {
            Kind::CumulativeProductGrad | Kind::ReverseCumulativeProductGrad => m * d + d,
            Kind::DecayMask => m,
            Kind::DecayMaskGrad => m * m + m,
            Kind::Gram | Kind::Apply | Kind::ApplyT | Kind::GramGrad => {
                wide::scratch(self, v, sizes, fades)
            }
            _ => d,
        }
    }
}

/// Runs one operation. `sizes` are rows, micro-steps and width; `fades` says that no decay exceeds 1.
#[inline(always)]
pub fn run<R: Real>(
    kind: Kind,
    v: &Versions,
    sizes: [usize; 3],
    fades: bool,
    args: &[&[R]],
    to: &mut [R],
    scratch: &mut [R],
) {
    let least = if fades { R::FADED } else { R::ZERO };
    let shape = Shape { v, rows: sizes[0], m: sizes[1], d: sizes[2], least };
    match kind {
        Kind::CumulativeProduct => shape.cumulative_product(args[0], to, scratch),
        Kind::CumulativeProductGrad => shape.cumulative_product_grad(args[0], args[1], to, scratch),
        Kind::ReverseCumulativeProduct => shape.reverse_cumulative_product(args[0], to),
        Kind::ReverseCumulativeProductGrad => {
            shape.reverse_cumulative_product_grad(args[0], args[1], to, scratch)
        }
        Kind::DecayMask => shape.decay_mask(args[0], to, scratch),
        Kind::DecayMaskGrad => shape.decay_mask_grad(args[0], args[1], to, scratch),
        Kind::Below => shape.below(to),
        Kind::Gram => shape.gram(args[0], args[1], args[2], to, scratch),
        Kind::Apply => shape.apply(args[0], args[1], args[2], to, scratch),
        Kind::ApplyT => shape.apply_t(args[0], args[1], args[2], to, scratch),
        Kind::GramGrad => {
            shape.gram_grad([args[0], args[1], args[2], args[3]], to, scratch);
        }
        Kind::Solve => solve(args[0], args[1], to, sizes[1], sizes[2], false),
        Kind::SolveT => solve(args[0], args[1], to, sizes[1], sizes[2], true),
    }
}

struct Shape<'a, R> {
    v: &'a Versions,
    rows: usize,
    m: usize,
    d: usize,
    /// What is smaller is 0: see [`Real::fade`].
    least: R,
}

impl<R: Real> Shape<'_, R> {
    /// Rows that have seen exactly the first `l` micro-steps.
    fn rows_at(&self, l: usize) -> impl Iterator<Item = usize> + '_ {
        let (micro, p) = (self.v.micro, self.v.offsets.len());
        let rows = self.rows;
        self.v.offsets.iter().enumerate().filter_map(move |(k, &offset)| {
            let before = l.checked_sub(offset)?;
            let row = before / micro * p + k;
            (before % micro == 0 && row < rows).then_some(row)
        })
    }

    /// How many of the first row's own micro-steps it has seen, if each row is one micro-step
    /// further than the one before.
    fn one_by_one(&self) -> Option<usize> {
        match self.v.offsets[..] {
            [offset] if self.v.micro == 1 => Some(offset),
            _ => None,
        }
    }

    #[inline(always)]
    fn cumulative_product(&self, a: &[R], to: &mut [R], scratch: &mut [R]) {
        let d = self.d;
        if let (1, Some(offset)) = (d, self.one_by_one()) {
            let first = a[..offset].iter().fold(R::ONE, |run, a| run.fade(*a, self.least));
            let later = a[offset..].iter();
            let mut run = first;
            to[0] = first;
            for (to, a) in to[1..].iter_mut().zip(later) {
                run = run.fade(*a, self.least);
                *to = run;
            }
            return;
        }
        let run = &mut scratch[..d];
        run.fill(R::ONE);
        for l in 0..=self.m {
            for i in self.rows_at(l) {
                to[i * d..][..d].copy_from_slice(run);
            }
            if l < self.m {
                times(run, &a[l * d..], self.least);
            }
        }
    }

    fn cumulative_product_grad(&self, a: &[R], dy: &[R], to: &mut [R], scratch: &mut [R]) {
        let (m, d) = (self.m, self.d);
        let (before, back) = scratch.split_at_mut(m * d);
        before[..d].fill(R::ONE);
        for l in 1..m {
            let (done, next) = before.split_at_mut(l * d);
            for x in 0..d {
                next[x] = done[(l - 1) * d + x].fade(a[(l - 1) * d + x], self.least);
            }
        }
        let back = &mut back[..d];
        back.fill(R::ZERO);
        for l in (0..m).rev() {
            if l + 1 < m {
                times(back, &a[(l + 1) * d..], self.least);
            }
            for i in self.rows_at(l + 1) {
                plus(back, &dy[i * d..]);
            }
            for x in 0..d {
                to[l * d + x] = before[l * d + x] * back[x];
            }
        }
    }

    #[inline(always)]
    fn reverse_cumulative_product(&self, a: &[R], to: &mut [R]) {
        let (m, d) = (self.m, self.d);
        to[(m - 1) * d..].fill(R::ONE);
        for j in (0..m - 1).rev() {
            for x in 0..d {
                to[j * d + x] = to[(j + 1) * d + x].fade(a[(j + 1) * d + x], self.least);
            }
        }
    }

    fn reverse_cumulative_product_grad(&self, a: &[R], dy: &[R], to: &mut [R], scratch: &mut [R]) {
        let (m, d) = (self.m, self.d);
        let (after, front) = scratch.split_at_mut(m * d);
        self.reverse_cumulative_product(a, &mut after[..m * d]);
        let front = &mut front[..d];
        front.fill(R::ZERO);
        for l in 0..m {
            for x in 0..d {
                to[l * d + x] = front[x] * after[l * d + x];
                front[x] = front[x].fade(a[l * d + x], self.least) + dy[l * d + x];
            }
        }
    }

    fn below(&self, to: &mut [R]) {
        for i in 0..self.rows {
            let seen = self.v.seen(i).min(self.m);
            to[i * self.m..][..seen].fill(R::ONE);
            to[i * self.m + seen..(i + 1) * self.m].fill(R::ZERO);
        }
    }

    #[inline(always)]
    fn decay_mask(&self, a: &[R], to: &mut [R], scratch: &mut [R]) {
        let m = self.m;
        if let Some(offset) = self.one_by_one() {
            // Each row is the one above, once more decayed, and the write in between.
            to.fill(R::ZERO);
            for i in 0..self.rows {
                let seen = (i + offset).min(m);
                if seen == 0 {
                    continue;
                }
                let (above, row) = to.split_at_mut(i * m);
                let decay = a[seen - 1];
                if i > 0 {
                    let above = &above[(i - 1) * m..][..seen - 1];
                    for (to, above) in row.iter_mut().zip(above) {
                        *to = above.fade(decay, self.least);
                    }
                }
                row[seen - 1] = R::ONE;
            }
            return;
        }
        let run = &mut scratch[..m];
        run.fill(R::ZERO);
        for l in 0..=m {
            for i in self.rows_at(l) {
                to[i * m..][..m].copy_from_slice(run);
            }
            if l < m {
                run[..l].iter_mut().for_each(|x| *x = x.fade(a[l], self.least));
                run[l] = R::ONE;
            }
        }
    }

    #[inline(always)]
    fn decay_mask_grad(&self, a: &[R], dz: &[R], to: &mut [R], scratch: &mut [R]) {
        let m = self.m;
        let (ahead, back) = scratch.split_at_mut(m * m);
        // Row l: products from each earlier write up to, but not including, step l.
        ahead[..m].fill(R::ZERO);
        for l in 1..m {
            let (done, next) = ahead.split_at_mut(l * m);
            for j in 0..l - 1 {
                next[j] = done[(l - 1) * m + j].fade(a[l - 1], self.least);
            }
            next[l - 1] = R::ONE;
        }
        let back = &mut back[..m];
        back.fill(R::ZERO);
        for l in (0..m).rev() {
            if l + 1 < m {
                back.iter_mut().for_each(|x| *x = x.fade(a[l + 1], self.least));
            }
            for i in self.rows_at(l + 1) {
                plus(back, &dz[i * m..]);
            }
            to[l] = (0..l).fold(R::ZERO, |sum, j| sum + ahead[l * m + j] * back[j]);
        }
    }
}

#[inline(always)]
fn times<R: Real>(run: &mut [R], by: &[R], least: R) {
    run.iter_mut().zip(by).for_each(|(x, &y)| *x = x.fade(y, least));
}

#[inline(always)]
fn plus<R: Real>(run: &mut [R], by: &[R]) {
    run.iter_mut().zip(by).for_each(|(x, &y)| *x += y);
}

/// Rows of a diagonal block that is solved by substitution.
const BLOCK: usize = 16;

/// `(I + a) x = b` by blocks: what earlier blocks contribute is a matrix product.
#[inline(always)]
fn solve<R: Real>(a: &[R], b: &[R], x: &mut [R], m: usize, n: usize, transposed: bool) {
    x.copy_from_slice(&b[..m * n]);
    let blocks = m.div_ceil(BLOCK);
    for step in 0..blocks {
        let block = if transposed { blocks - 1 - step } else { step };
        let (low, high) = (block * BLOCK, m.min((block + 1) * BLOCK));
        let (first, rest) = x.split_at_mut(if transposed { high * n } else { low * n });
        let (now, done, a_done) = if transposed {
            (
                &mut first[low * n..],
                &*rest,
                Mat { data: &a[high.min(m - 1) * m + low..], row: 1, col: m },
            )
        } else {
            (&mut rest[..(high - low) * n], &*first, Mat { data: &a[low * m..], row: m, col: 1 })
        };
        let count = done.len() / n;
        if count > 0 {
            // x_block -= a_(block, done) x_done: the product is negated through a copy of its rows.
            now.iter_mut().for_each(|x| *x = -*x);
            let c = MatMut { data: &mut *now, row: n, col: 1 };
            R::gemm([high - low, count, n], c, a_done, Mat { data: done, row: n, col: 1 }, true);
            now.iter_mut().for_each(|x| *x = -*x);
        }
        substitute(a, now, low, high, m, n, transposed);
    }
}

#[inline(always)]
fn substitute<R: Real>(
    a: &[R],
    x: &mut [R],
    low: usize,
    high: usize,
    m: usize,
    n: usize,
    transposed: bool,
) {
    let size = high - low;
    for step in 1..size {
        let i = if transposed { size - 1 - step } else { step };
        let others = if transposed { i + 1..size } else { 0..i };
        for j in others {
            let factor =
                if transposed { a[(low + j) * m + low + i] } else { a[(low + i) * m + low + j] };
            let (one, two) = x.split_at_mut(i.max(j) * n);
            let (row, other) = if i > j {
                (&mut two[..n], &one[j * n..])
            } else {
                (&mut one[i * n..][..n], &two[..n])
            };
            row.iter_mut().zip(other).for_each(|(x, &y)| *x -= factor * y);
        }
    }
}
