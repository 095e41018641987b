//! Products that sum over axes, as loops around matrix products.

use super::layout::View;
use super::loops::{self, Sides, all_finite};
use super::mask::Placed;
use crate::num::{Mat, MatMut, Real};

/// An axis of a product: its size and the distances in result, left and right side.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    n: usize,
    to: usize,
    a: usize,
    b: usize,
}

impl Axis {
    const ONE: Axis = Axis { n: 1, to: 1, a: 1, b: 1 };

    /// The role of an axis: 0 on both sides and the result, 1 rows of the left side, 2 columns of
    /// the right side, 3 summed.
    fn role(&self, summed: bool) -> usize {
        match (summed, self.a != 0, self.b != 0) {
            (true, _, _) => 3,
            (false, true, false) => 1,
            (false, false, true) => 2,
            (false, _, _) => 0,
        }
    }
}

/// A planned product.
#[derive(Clone, Debug)]
pub struct Product {
    m: Axis,
    n: Axis,
    k: Axis,
    /// Loops around the matrix product; the flag says that results accumulate.
    outer: Vec<Axis>,
    accumulate: bool,
    /// The result is added to what is there.
    onto: bool,
    a: usize,
    b: usize,
    guard: Option<Box<Guard>>,
    /// What is computed of it, where that is not all.
    bands: Vec<Band>,
}

/// A part of a product: where it begins on the axes m, n and k, and its sizes on them.
#[derive(Clone, Copy, Debug)]
struct Band {
    start: [usize; 3],
    size: [usize; 3],
}

/// Rows of a band. Narrower ones leave out more, and cost more calls.
const BAND: usize = 16;

/// What keeps the numbers that a mask excludes out of a product where they are not finite.
#[derive(Clone, Debug)]
struct Guard {
    /// Whether the left side is masked, and the right one may hold such numbers.
    left: bool,
    mask: Placed,
    /// Every axis as the sides have it; the first two are the mask's.
    axes: Vec<Axis>,
    /// Numbers of the other side's memory, from its first to its last.
    span: usize,
}

impl Product {
    /// Lets side `masked`, whose first two axes are those of the mask, read of the other side only
    /// what the mask includes; the sum runs over the mask's columns.
    pub fn guard(&mut self, masked: usize, mask: Placed, views: [&View; 2], to: &[usize]) {
        let stride = |view: &View, i: usize| if view.shape[i] == 1 { 0 } else { view.strides[i] };
        let axes = (0..to.len()).map(|i| Axis {
            n: views[0].shape[i].max(views[1].shape[i]),
            to: if i == 1 { 0 } else { to[i] },
            a: stride(views[0], i),
            b: stride(views[1], i),
        });
        let other = views[1 - masked];
        let last = (0..to.len()).map(|i| (other.shape[i] - 1) * other.strides[i]);
        let span = last.sum::<usize>() + 1;
        self.guard = Some(Box::new(Guard { left: masked == 0, mask, axes: axes.collect(), span }));
    }

    /// Plans `to += Σ_axes a ∘ b` with the given distances in the result.
    pub fn onto(axes: &[usize], a: &View, b: &View, shape: &[usize], to: &[usize]) -> Product {
        Product { onto: true, accumulate: true, ..Product::new(axes, a, b, shape, to) }
    }

    /// Plans `Σ_axes a ∘ b` into a result with the given distances.
    pub fn new(axes: &[usize], a: &View, b: &View, shape: &[usize], to: &[usize]) -> Product {
        let mut classes: [Vec<Axis>; 4] = Default::default();
        for i in 0..shape.len() {
            let stride = |view: &View| if view.shape[i] == 1 { 0 } else { view.strides[i] };
            let summed = axes.contains(&i);
            let axis = Axis {
                n: a.shape[i].max(b.shape[i]),
                to: if summed { 0 } else { to[i] },
                a: stride(a),
                b: stride(b),
            };
            if axis.n > 1 {
                push_merged(&mut classes[axis.role(summed)], axis);
            }
        }
        let [mut batch, mut rows, mut columns, mut summed] = classes;
        let m = take_largest(&mut rows);
        let n = take_largest(&mut columns);
        let k = take_largest(&mut summed);
        let accumulate = !summed.is_empty();
        batch.extend(rows);
        batch.extend(columns);
        batch.extend(summed);
        let (outer, onto, guard, bands) = (batch, false, None, vec![]);
        Product { m, n, k, outer, accumulate, onto, a: a.start, b: b.start, guard, bands }
    }

    /// Leaves out what lies beyond the first `seen[row]` of `width` columns: of the result, where nobody reads it,
    /// or of a side, where it is 0; `plane` says which axes are rows and columns. Where those are no axes
    /// of one matrix product, or little would be saved, the product stays whole.
    pub fn limit(
        &mut self,
        plane: [usize; 2],
        (seen, width): (&[usize], usize),
        views: [&View; 2],
        to: &[usize],
    ) {
        let axes = [self.m, self.n, self.k];
        let role = |i: usize| {
            let [a, b] = views.map(|view| if view.shape[i] == 1 { 0 } else { view.strides[i] });
            let n = views[0].shape[i].max(views[1].shape[i]);
            // The result has no entries along the axis that is summed.
            axes.iter()
                .position(|own| (own.n, own.a, own.b) == (n, a, b) && [0, to[i]].contains(&own.to))
        };
        let [Some(rows), Some(columns)] = plane.map(role) else { return };
        let n = axes[rows].n;
        let whole = n == seen.len() && axes[columns].n == width;
        if rows == columns || !whole || !seen.is_sorted() {
            return;
        }
        // Cut along an axis that is not summed; of a result the one along which it is dense, since the side
        // that has it is packed.
        let by_columns = rows == 2 || columns != 2 && axes[columns].to == 1;
        let (cut, other) = if by_columns { (columns, rows) } else { (rows, columns) };
        let bands = (0..axes[cut].n).step_by(BAND).map(|low| {
            let high = axes[cut].n.min(low + BAND);
            let (mut start, mut size) = ([0; 3], axes.map(|axis| axis.n));
            (start[cut], size[cut]) = (low, high - low);
            if cut == rows {
                size[other] = seen[high - 1].clamp(1, width);
            } else {
                start[other] = seen.partition_point(|seen| *seen <= low).min(n - 1);
                size[other] = n - start[other];
            }
            Band { start, size }
        });
        let bands: Vec<Band> = bands.collect();
        let work = |size: [usize; 3]| size.iter().product::<usize>();
        let left: usize = bands.iter().map(|band| work(band.size)).sum();
        if left * 8 <= work(axes.map(|axis| axis.n)) * 7 {
            self.bands = bands;
        }
    }

    /// Runs the product.
    #[inline(always)]
    pub fn run<R: Real>(&self, to: &mut [R], from: &Sides<'_, R>) {
        let (a, b) = (from.at(self.a), from.at(self.b));
        let Some(guard) = &self.guard else { return self.whole(to, a, b) };
        let other = if guard.left { &b[..guard.span] } else { &a[..guard.span] };
        if all_finite(other) {
            return self.whole(to, a, b);
        }
        // Rows that do not read such a number get the same bits as if it were any other.
        let number = |x: &R| if x.is_finite() { *x } else { R::ZERO };
        let numbers: Vec<R> = other.iter().map(number).collect();
        if guard.left {
            self.whole(to, a, &numbers)
        } else {
            self.whole(to, &numbers, b)
        }
        guard.around(0, [0; 3], [0; 2], &mut |[to_at, a_at, b_at], [row, column]| {
            let x = if guard.left { b[b_at] } else { a[a_at] };
            if !x.is_finite() && guard.mask.includes(from, [row, column]) {
                to[to_at] += a[a_at] * b[b_at];
            }
        });
    }

    fn whole<R: Real>(&self, to: &mut [R], a: &[R], b: &[R]) {
        if !self.onto && (self.accumulate || !self.bands.is_empty()) {
            to.fill(R::ZERO);
        }
        let axes = [self.m, self.n, self.k];
        self.around(&self.outer, [0, 0, 0], &mut |[to_at, a_at, b_at]| {
            if self.bands.is_empty() {
                self.inner(axes, &mut to[to_at..], &a[a_at..], &b[b_at..]);
            }
            for band in &self.bands {
                let at = |of: fn(&Axis) -> usize| -> usize {
                    axes.iter().zip(band.start).map(|(axis, start)| of(axis) * start).sum()
                };
                let [m, n, k] = [0, 1, 2].map(|i| Axis { n: band.size[i], ..axes[i] });
                let to = &mut to[to_at + at(|axis| axis.to)..];
                let (a, b) = (&a[a_at + at(|axis| axis.a)..], &b[b_at + at(|axis| axis.b)..]);
                self.inner([m, n, k], to, a, b);
            }
        });
    }

    fn around(&self, axes: &[Axis], at: [usize; 3], f: &mut impl FnMut([usize; 3])) {
        let Some((axis, rest)) = axes.split_first() else { return f(at) };
        for i in 0..axis.n {
            self.around(rest, [at[0] + i * axis.to, at[1] + i * axis.a, at[2] + i * axis.b], f);
        }
    }

    fn inner<R: Real>(&self, [m, n, k]: [Axis; 3], to: &mut [R], a: &[R], b: &[R]) {
        if m.n == 1 && n.n == 1 {
            let dot = dot(k, a, b);
            to[0] = if self.accumulate { to[0] + dot } else { dot };
        } else if m.n * n.n * k.n <= 512 {
            for i in 0..m.n {
                for j in 0..n.n {
                    let x = dot(k, &a[i * m.a..], &b[j * n.b..]);
                    let y = &mut to[i * m.to + j * n.to];
                    *y = if self.accumulate { *y + x } else { x };
                }
            }
        } else {
            let c = MatMut { data: to, row: m.to, col: n.to };
            let left = Mat { data: a, row: m.a, col: k.a };
            let right = Mat { data: b, row: k.b, col: n.b };
            R::gemm([m.n, k.n, n.n], c, left, right, self.accumulate);
        }
    }
}

impl Guard {
    /// Calls `f` with the places in the result and the sides, and with row and column of the mask.
    fn around(
        &self,
        depth: usize,
        at: [usize; 3],
        entry: [usize; 2],
        f: &mut impl FnMut([usize; 3], [usize; 2]),
    ) {
        let Some(axis) = self.axes.get(depth) else { return f(at, entry) };
        for i in 0..axis.n {
            let mut entry = entry;
            if let Some(index) = entry.get_mut(depth) {
                *index = i;
            }
            let at = [at[0] + i * axis.to, at[1] + i * axis.a, at[2] + i * axis.b];
            self.around(depth + 1, at, entry, f);
        }
    }
}

#[inline(always)]
fn dot<R: Real>(k: Axis, a: &[R], b: &[R]) -> R {
    if k.a == 1 && k.b == 1 {
        return loops::dot(&a[..k.n], &b[..k.n]);
    }
    (0..k.n).fold(R::ZERO, |sum, i| sum + a[i * k.a] * b[i * k.b])
}

fn push_merged(class: &mut Vec<Axis>, axis: Axis) {
    match class.last_mut() {
        Some(last)
            if last.to == axis.n * axis.to
                && last.a == axis.n * axis.a
                && last.b == axis.n * axis.b =>
        {
            *last = Axis { n: last.n * axis.n, ..axis };
        }
        _ => class.push(axis),
    }
}

fn take_largest(class: &mut Vec<Axis>) -> Axis {
    match (0..class.len()).max_by_key(|&i| class[i].n) {
        Some(i) => class.remove(i),
        None => Axis::ONE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::row_major;
    use super::*;

    /// A dense view with 1 on axes that repeat.
    fn view(start: usize, shape: &[usize]) -> View {
        View { start, shape: shape.to_vec(), strides: row_major(shape) }
    }

    /// Runs `Σ_axis a ∘ b`, limited to a plane or whole.
    fn run(shapes: [&[usize]; 2], axis: usize, plane: Option<([usize; 2], &[usize])>) -> Vec<f64> {
        let lengths = shapes.map(|shape| shape.iter().product::<usize>());
        let views = [view(0, shapes[0]), view(lengths[0], shapes[1])];
        let mut shape: Vec<usize> =
            shapes[0].iter().zip(shapes[1]).map(|(a, b)| *a.max(b)).collect();
        shape[axis] = 1;
        let to = row_major(&shape);
        let mut product = Product::new(&[axis], &views[0], &views[1], &shape, &to);
        if let Some((plane, seen)) = plane {
            let width = views[0].shape[plane[1]].max(views[1].shape[plane[1]]);
            product.limit(plane, (seen, width), [&views[0], &views[1]], &to);
            assert!(!product.bands.is_empty(), "so much less is to be done");
        }
        let length: usize = shape.iter().product();
        let all = lengths[0] + lengths[1];
        let mut memory: Vec<f64> =
            (0..all + length).map(|i| ((i * i) as f64 * 0.37).sin()).collect();
        if let Some((plane, seen)) = plane.filter(|(plane, _)| plane.contains(&axis)) {
            // A masked side is 0 where it is masked.
            let width = shapes[0][plane[1]];
            for (row, seen) in seen.iter().enumerate() {
                memory[row * width + seen..(row + 1) * width].fill(0.0);
            }
        }
        let (made, from) = Sides::split(&mut memory, all..all + length, &[]);
        product.run(made, &from);
        made.to_vec()
    }

    #[test]
    fn bands_leave_out_what_is_masked_and_nothing_else() {
        for (rows, per) in [(64, 1), (50, 1), (40, 2), (99, 3)] {
            let columns = rows * per;
            let seen: Vec<usize> = (0..rows).map(|row| row * per + 1).collect();
            // The result is masked: what is included is the same, the rest 0.
            let shapes: [&[usize]; 2] = [&[rows, 1, 9], &[1, columns, 9]];
            let (whole, part) = (run(shapes, 2, None), run(shapes, 2, Some(([0, 1], &seen))));
            for (at, (whole, part)) in whole.iter().zip(&part).enumerate() {
                let included = at % columns < seen[at / columns];
                assert!((whole - part).abs() < 1e-12 || !included, "{rows} {per} {at}");
            }
            // The left side is masked, and summed over its columns, or over its rows.
            for (axis, right) in [(1, [1, columns, 7]), (0, [rows, 1, 7])] {
                let shapes: [&[usize]; 2] = [&[rows, columns, 1], &right];
                let part = run(shapes, axis, Some(([0, 1], &seen)));
                let whole = sums(rows, columns, &seen, axis);
                assert_eq!(part.len(), whole.len());
                for (at, (whole, part)) in whole.iter().zip(&part).enumerate() {
                    assert!(
                        (whole - part).abs() < 1e-12,
                        "{rows} {per} {axis} {at}: {whole} {part}"
                    );
                }
            }
        }
    }

    /// The same sums one number after the other.
    fn sums(rows: usize, columns: usize, seen: &[usize], axis: usize) -> Vec<f64> {
        let number = |i: usize| ((i * i) as f64 * 0.37).sin();
        let kept = if axis == 1 { rows } else { columns };
        let mut to = vec![0.0; kept * 7];
        for row in 0..rows {
            for column in 0..seen[row] {
                let (own, other) = if axis == 1 { (row, column) } else { (column, row) };
                for e in 0..7 {
                    to[own * 7 + e] +=
                        number(row * columns + column) * number(rows * columns + other * 7 + e);
                }
            }
        }
        to
    }
}
