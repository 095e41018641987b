//! Decay-weighted sums along a chunk whose decays have a number for every column.
//!
//! Problem: a read sees each write decayed from its step to the reader's, by other factors in every
//! column, so that no mask can be taken out of the product; going step by step costs a multiplication of
//! all writes so far at each.
//!
//! Idea: the steps are cut into blocks. What lies before a block is decayed to its first step, the
//! readers inside the block by what follows up to them: both are products of decays, never quotients, so
//! that zeros, negative and tiny decays stay exact; between the two the sum is one matrix product. Inside a block
//! it goes step by step. Where decays may exceed 1, a factor alone might overflow where the
//! whole does not; then all steps are one block.

use std::ops::Range;

use super::{Kind, Shape, plus, times};
use crate::interpret::loops::dot;
use crate::num::{Mat, MatMut, Real};
use crate::tile::Versions;

/// Steps of a block.
const STEPS: usize = 16;

/// Some steps, and the rows that have last seen one of them.
#[derive(Clone, Debug)]
struct Cut {
    steps: Range<usize>,
    rows: Range<usize>,
}

/// Steps of a block, of so many.
fn length(v: &Versions, [rows, m, _]: [usize; 3], fades: bool) -> usize {
    let sorted = (1..rows).all(|row| v.seen(row - 1) <= v.seen(row));
    if fades && sorted { STEPS.min(m) } else { m }
}

/// Numbers of working memory.
pub fn scratch(kind: Kind, v: &Versions, sizes: [usize; 3], fades: bool) -> usize {
    let [rows, m, d] = sizes;
    let steps = length(v, sizes, fades).max(1);
    let blocks = m.div_ceil(steps);
    // Factors inside a block, and what is near.
    let block = 3 * steps + 1;
    let rest = match kind {
        Kind::GramGrad => blocks * m + steps * steps + steps + 3 * rows + 1,
        _ => m + 2 * rows,
    };
    (block + rest) * d
}

fn matrix<R>(data: &[R], row: usize) -> Mat<'_, R> {
    Mat { data, row, col: 1 }
}

fn transposed<R>(data: &[R], row: usize) -> Mat<'_, R> {
    Mat { data, row: 1, col: row }
}

fn result<R>(data: &mut [R], row: usize) -> MatMut<'_, R> {
    MatMut { data, row, col: 1 }
}

/// `to += x ∘ y`.
#[inline(always)]
fn fused<R: Real>(to: &mut [R], x: &[R], y: &[R]) {
    to.iter_mut().zip(x).zip(y).for_each(|((to, &x), &y)| *to += x * y);
}

impl<R: Real> Shape<'_, R> {
    fn cuts(&self) -> Vec<Cut> {
        let fades = self.least != R::ZERO;
        let steps = length(self.v, [self.rows, self.m, self.d], fades).max(1);
        let rows_until =
            |step: usize| (0..self.rows).take_while(|&i| self.v.seen(i) <= step).count();
        let all = steps >= self.m;
        let cut = |start: usize| {
            let end = self.m.min(start + steps);
            let first = if start == 0 { 0 } else { rows_until(start) };
            let last = if all { self.rows } else { rows_until(end) };
            Cut { steps: start..end, rows: first..last }
        };
        (0..self.m).step_by(steps).map(cut).collect()
    }

    /// Per step of a block, and after the last, the decays of the block so far.
    #[inline(always)]
    fn prefixes(&self, a: &[R], steps: &Range<usize>, to: &mut [R]) {
        let d = self.d;
        to[..d].fill(R::ONE);
        for (k, l) in steps.clone().enumerate() {
            let (done, next) = to.split_at_mut((k + 1) * d);
            next[..d].copy_from_slice(&done[k * d..]);
            times(&mut next[..d], &a[l * d..], self.least);
        }
    }

    /// Per step of a block the decays of the block behind it.
    #[inline(always)]
    fn suffixes(&self, a: &[R], steps: &Range<usize>, to: &mut [R]) {
        let (d, n) = (self.d, steps.len());
        to[(n - 1) * d..n * d].fill(R::ONE);
        for k in (0..n - 1).rev() {
            let (next, done) = to.split_at_mut((k + 1) * d);
            next[k * d..].copy_from_slice(&done[..d]);
            times(&mut next[k * d..], &a[(steps.start + k + 1) * d..], self.least);
        }
    }

    /// The decays of the block so far for what a row has seen.
    fn prefix_of<'p>(&self, prefixes: &'p [R], cut: &Cut, row: usize) -> &'p [R] {
        let seen = self.v.seen(row).clamp(cut.steps.start, cut.steps.end);
        &prefixes[(seen - cut.steps.start) * self.d..][..self.d]
    }

    /// Rows of a block, each times what of the block lies before it.
    #[inline(always)]
    fn scaled(&self, x: &[R], prefixes: &[R], cut: &Cut, to: &mut [R]) {
        let d = self.d;
        for (row, to) in cut.rows.clone().zip(to.chunks_exact_mut(d)) {
            to.copy_from_slice(&x[row * d..][..d]);
            times(to, self.prefix_of(prefixes, cut, row), self.least);
        }
    }

    /// Decays what was written before a block through it.
    #[inline(always)]
    fn advance(&self, run: &mut [R], prefixes: &[R], cut: &Cut) {
        let d = self.d;
        let through = &prefixes[cut.steps.len() * d..];
        for row in run[..cut.steps.start * d].chunks_exact_mut(d) {
            times(row, through, self.least);
        }
    }

    // Steps rather than callbacks, so that what is done at each is compiled for the vector unit of the caller.

    /// Goes ahead over step `l`: decays the writes of the block so far, and adds its own.
    #[inline(always)]
    fn step_ahead(&self, [y, a]: [&[R]; 2], start: usize, l: usize, run: &mut [R]) {
        let (d, count) = (self.d, l - start);
        for row in run[..count * d].chunks_exact_mut(d) {
            times(row, &a[l * d..], self.least);
        }
        run[count * d..][..d].copy_from_slice(&y[l * d..][..d]);
    }

    /// Goes back over step `l`: leaves for each write of the block up to its own what later reads of the block
    /// want of it, decayed back to just after it.
    #[inline(always)]
    fn step_behind(&self, [w, x, a]: [&[R]; 3], steps: &Range<usize>, l: usize, back: &mut [R]) {
        let (m, d) = (self.m, self.d);
        let seen = &mut back[..(l + 1 - steps.start) * d];
        if l + 1 < steps.end {
            for row in seen.chunks_exact_mut(d) {
                times(row, &a[(l + 1) * d..], self.least);
            }
        }
        for i in self.rows_at(l + 1) {
            let x = &x[i * d..][..d];
            for (row, &w) in seen.chunks_exact_mut(d).zip(&w[i * m + steps.start..]) {
                row.iter_mut().zip(x).for_each(|(r, &x)| *r += w * x);
            }
        }
    }

    #[inline(always)]
    pub fn gram(&self, x: &[R], y: &[R], a: &[R], to: &mut [R], scratch: &mut [R]) {
        let (m, d) = (self.m, self.d);
        to.fill(R::ZERO);
        let (later, rest) = scratch.split_at_mut(self.rows * d);
        // From the last block to the first: products with few columns turn few numbers.
        for cut in self.cuts().iter().rev() {
            let (start, n) = (cut.steps.start, cut.steps.len());
            let (prefixes, near) = rest.split_at_mut((n + 1) * d);
            for l in cut.steps.clone() {
                self.step_ahead([y, a], start, l, near);
                for i in self.rows_at(l + 1) {
                    let (x, near) = (&x[i * d..][..d], near[..(l + 1 - start) * d].chunks_exact(d));
                    for (z, y) in to[i * m + start..].iter_mut().zip(near) {
                        *z = dot(x, y);
                    }
                }
            }
            let (first, count) = (cut.rows.end, self.rows - cut.rows.end);
            if count > 0 {
                let (near, later) = (transposed(near, d), matrix(&later[first * d..], d));
                let to = result(&mut to[first * m + start..], m);
                R::gemm([count, d, n], to, later, near, false);
            }
            if start > 0 {
                self.prefixes(a, &cut.steps, prefixes);
                self.retreat(x, prefixes, cut, later);
            }
        }
    }

    #[inline(always)]
    pub fn apply(&self, w: &[R], y: &[R], a: &[R], to: &mut [R], scratch: &mut [R]) {
        let (m, d) = (self.m, self.d);
        to.fill(R::ZERO);
        let (run, prefixes) = scratch.split_at_mut(m * d);
        for cut in self.cuts() {
            let (start, count) = (cut.steps.start, cut.rows.len());
            self.prefixes(a, &cut.steps, prefixes);
            if start > 0 && count > 0 {
                let own = &mut to[cut.rows.start * d..cut.rows.end * d];
                let w = matrix(&w[cut.rows.start * m..], m);
                R::gemm([count, start, d], result(own, d), w, matrix(run, d), false);
                for (row, to) in cut.rows.clone().zip(own.chunks_exact_mut(d)) {
                    times(to, self.prefix_of(prefixes, &cut, row), self.least);
                }
            }
            self.advance(run, prefixes, &cut);
            let near = &mut run[start * d..];
            for l in cut.steps.clone() {
                self.step_ahead([y, a], start, l, near);
                for i in self.rows_at(l + 1) {
                    let (z, near) =
                        (&mut to[i * d..][..d], near[..(l + 1 - start) * d].chunks_exact(d));
                    for (w, y) in w[i * m + start..].iter().zip(near) {
                        z.iter_mut().zip(y).for_each(|(z, &y)| *z += *w * y);
                    }
                }
            }
        }
    }

    /// What rows behind a block, of which there are some, want of its writes; `later` holds them decayed back
    /// to its end.
    #[inline(always)]
    fn wanted_behind(&self, w: &[R], later: &[R], cut: &Cut, to: &mut [R]) {
        let (m, d) = (self.m, self.d);
        let (first, count) = (cut.rows.end, self.rows - cut.rows.end);
        let w = transposed(&w[first * m + cut.steps.start..], m);
        let later = matrix(&later[first * d..], d);
        R::gemm([cut.steps.len(), count, d], result(to, d), w, later, false);
    }

    /// Decays rows behind a block, and those of the block, back to its beginning.
    #[inline(always)]
    fn retreat(&self, x: &[R], prefixes: &[R], cut: &Cut, later: &mut [R]) {
        let d = self.d;
        let through = &prefixes[cut.steps.len() * d..];
        let (own, behind) = later.split_at_mut(cut.rows.end * d);
        for row in behind[..(self.rows - cut.rows.end) * d].chunks_exact_mut(d) {
            times(row, through, self.least);
        }
        self.scaled(x, prefixes, cut, &mut own[cut.rows.start * d..]);
    }

    #[inline(always)]
    pub fn apply_t(&self, w: &[R], x: &[R], a: &[R], to: &mut [R], scratch: &mut [R]) {
        let d = self.d;
        let (later, rest) = scratch.split_at_mut(self.rows * d);
        for cut in self.cuts().iter().rev() {
            let (start, n) = (cut.steps.start, cut.steps.len());
            let (prefixes, rest) = rest.split_at_mut((n + 1) * d);
            let (suffixes, near) = rest.split_at_mut(n * d);
            self.prefixes(a, &cut.steps, prefixes);
            self.suffixes(a, &cut.steps, suffixes);
            let own = &mut to[start * d..(start + n) * d];
            if cut.rows.end < self.rows {
                self.wanted_behind(w, later, cut, own);
                times(own, suffixes, self.least);
            } else {
                own.fill(R::ZERO);
            }
            near[..n * d].fill(R::ZERO);
            for l in cut.steps.clone().rev() {
                self.step_behind([w, x, a], &cut.steps, l, near);
                plus(&mut own[(l - start) * d..][..d], &near[(l - start) * d..]);
            }
            self.retreat(x, prefixes, cut, later);
        }
    }

    /// Of a decay at step `l` all pairs of a write before it and a read behind it want the product of their
    /// other decays: pairs whose write, whose read, both or neither lie inside the block of `l`.
    #[inline(always)]
    pub fn gram_grad(&self, [w, x, y, a]: [&[R]; 4], to: &mut [R], scratch: &mut [R]) {
        let (m, d) = (self.m, self.d);
        let cuts = self.cuts();
        let (earlier, rest) = scratch.split_at_mut(cuts.len() * m * d);
        let (later, rest) = rest.split_at_mut(self.rows * d);
        for (b, cut) in cuts.iter().enumerate() {
            let start = cut.steps.start;
            let (run, next) = earlier[b * m * d..].split_at_mut(m * d);
            for l in cut.steps.clone() {
                self.step_ahead([y, a], start, l, &mut run[start * d..]);
            }
            if b + 1 < cuts.len() {
                self.prefixes(a, &cut.steps, rest);
                next[..cut.steps.end * d].copy_from_slice(&run[..cut.steps.end * d]);
                self.advance(next, rest, cut);
            }
        }
        for (b, cut) in cuts.iter().enumerate().rev() {
            let n = cut.steps.len();
            let (prefixes, rest) = rest.split_at_mut((n + 1) * d);
            let (suffixes, rest) = rest.split_at_mut(n * d);
            self.prefixes(a, &cut.steps, prefixes);
            self.suffixes(a, &cut.steps, suffixes);
            let own = &mut to[cut.steps.start * d..cut.steps.end * d];
            let earlier = &earlier[b * m * d..][..cut.steps.start * d];
            own.fill(R::ZERO);
            if !earlier.is_empty() && cut.rows.end < self.rows {
                self.around(w, earlier, later, cut, own, rest);
                times(own, prefixes, self.least);
                times(own, suffixes, self.least);
            }
            self.reads_inside([w, x, a], earlier, prefixes, cut, own, rest);
            self.writes_inside([w, y, a], later, suffixes, cut, own, rest);
            self.inside([w, x, y, a], cut, own, rest);
            self.retreat(x, prefixes, cut, later);
        }
    }

    /// Writes before a block and reads behind it: for each step of the block the same.
    #[inline(always)]
    fn around(
        &self,
        w: &[R],
        earlier: &[R],
        later: &[R],
        cut: &Cut,
        own: &mut [R],
        rest: &mut [R],
    ) {
        let (m, d) = (self.m, self.d);
        let (first, count) = (cut.rows.end, self.rows - cut.rows.end);
        let seen = &mut rest[..count * d];
        let w = matrix(&w[first * m..], m);
        R::gemm([count, cut.steps.start, d], result(seen, d), w, matrix(earlier, d), false);
        let (sum, others) = own.split_at_mut(d);
        for (seen, later) in seen.chunks_exact(d).zip(later[first * d..].chunks_exact(d)) {
            fused(sum, seen, later);
        }
        others.chunks_exact_mut(d).for_each(|own| own.copy_from_slice(sum));
    }

    /// Writes before a block and reads inside it.
    #[inline(always)]
    fn reads_inside(
        &self,
        [w, x, a]: [&[R]; 3],
        earlier: &[R],
        prefixes: &[R],
        cut: &Cut,
        own: &mut [R],
        rest: &mut [R],
    ) {
        let (m, d) = (self.m, self.d);
        let count = cut.rows.len();
        if earlier.is_empty() || count == 0 {
            return;
        }
        let (seen, sum) = rest.split_at_mut(count * d);
        let w = matrix(&w[cut.rows.start * m..], m);
        R::gemm([count, cut.steps.start, d], result(seen, d), w, matrix(earlier, d), false);
        let sum = &mut sum[..d];
        sum.fill(R::ZERO);
        for l in cut.steps.clone().rev() {
            if l + 1 < cut.steps.end {
                times(sum, &a[(l + 1) * d..], self.least);
            }
            for i in self.rows_at(l + 1) {
                fused(sum, &seen[(i - cut.rows.start) * d..][..d], &x[i * d..]);
            }
            let k = l - cut.steps.start;
            fused(&mut own[k * d..][..d], sum, &prefixes[k * d..]);
        }
    }

    /// Writes inside a block and reads behind it.
    #[inline(always)]
    fn writes_inside(
        &self,
        [w, y, a]: [&[R]; 3],
        later: &[R],
        suffixes: &[R],
        cut: &Cut,
        own: &mut [R],
        rest: &mut [R],
    ) {
        let (d, n) = (self.d, cut.steps.len());
        if cut.rows.end == self.rows {
            return;
        }
        let (want, sum) = rest.split_at_mut(n * d);
        self.wanted_behind(w, later, cut, want);
        let sum = &mut sum[..d];
        sum.fill(R::ZERO);
        for (k, l) in cut.steps.clone().enumerate() {
            fused(&mut own[k * d..][..d], sum, &suffixes[k * d..]);
            times(sum, &a[l * d..], self.least);
            fused(sum, &y[l * d..][..d], &want[k * d..]);
        }
    }

    /// Writes and reads inside a block.
    #[inline(always)]
    fn inside(&self, [w, x, y, a]: [&[R]; 4], cut: &Cut, own: &mut [R], rest: &mut [R]) {
        let (d, n) = (self.d, cut.steps.len());
        let (table, run) = rest.split_at_mut(n * n * d);
        let run = &mut run[..n * d];
        let start = cut.steps.start;
        for (k, l) in cut.steps.clone().enumerate() {
            table[k * n * d..][..k * d].copy_from_slice(&run[..k * d]);
            self.step_ahead([y, a], start, l, run);
        }
        run.fill(R::ZERO);
        for l in cut.steps.clone().rev() {
            self.step_behind([w, x, a], &cut.steps, l, run);
            let k = l - start;
            let sum = &mut own[k * d..][..d];
            let ahead = table[k * n * d..][..k * d].chunks_exact(d);
            for (y, want) in ahead.zip(run.chunks_exact(d)) {
                fused(sum, y, want);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::run;
    use super::*;

    /// A repeatable number in -1..1.
    fn wave(seed: usize, i: usize) -> f64 {
        ((i * i + 7 * i + 31 * seed) as f64 * 0.731).sin()
    }

    /// Decays that fade fast, are 0, or negative, among ordinary ones.
    fn decay(i: usize) -> f64 {
        match i % 41 {
            3 => 0.0,
            11 => 1e-30,
            17 => -0.7,
            23 => 1.0,
            _ => 0.8 + 0.2 * wave(9, i),
        }
    }

    #[test]
    fn blocks_give_what_single_steps_give() {
        let offsets: [(usize, &[usize]); 6] =
            [(1, &[0]), (1, &[1]), (2, &[0, 2]), (2, &[1]), (3, &[1, 1, 3]), (64, &[64])];
        for (micro, offsets) in offsets {
            for (tokens, d) in [(1, 3), (5, 1), (17, 4), (33, 7), (64, 2), (40, 33)] {
                let m = micro * tokens;
                let v = Versions { micro, offsets: offsets.to_vec() };
                let sizes = [v.rows(m), m, d];
                if m <= 200 {
                    compare(&v, sizes);
                }
            }
        }
    }

    fn compare(v: &Versions, sizes: [usize; 3]) {
        let [rows, m, d] = sizes;
        let fill = |seed, n: usize| (0..n).map(|i| wave(seed, i)).collect::<Vec<f64>>();
        let (x, y, w) = (fill(1, rows * d), fill(2, m * d), fill(3, rows * m));
        let a: Vec<f64> = (0..m * d).map(decay).collect();
        let cases: [(Kind, &[&[f64]], usize); 4] = [
            (Kind::Gram, &[&x, &y, &a], rows * m),
            (Kind::Apply, &[&w, &y, &a], rows * d),
            (Kind::ApplyT, &[&w, &x, &a], m * d),
            (Kind::GramGrad, &[&w, &x, &y, &a], m * d),
        ];
        for (kind, args, length) in cases {
            let results = [true, false].map(|fades| {
                let mut to = vec![f64::NAN; length];
                let mut scratch = vec![f64::NAN; scratch(kind, v, sizes, fades)];
                run(kind, v, sizes, fades, args, &mut to, &mut scratch);
                to
            });
            for (at, (blocks, steps)) in results[0].iter().zip(&results[1]).enumerate() {
                let gap = (blocks - steps).abs();
                assert!(
                    gap <= 1e-12 * (1.0 + steps.abs()),
                    "{kind:?} {v:?} {sizes:?} at {at}: {blocks} {steps}"
                );
            }
        }
    }
}
