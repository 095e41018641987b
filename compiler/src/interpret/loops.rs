//! Loops over strided tiles: elementwise functions, copies and reductions.

use std::ops::Range;

use super::layout::{View, row_major};
use crate::num::Real;
use crate::tile::elementwise::unary_functions;
use crate::tile::{Binary, Unary};

/// Memory apart from the part that a step writes.
pub struct Sides<'a, R> {
    before: &'a [R],
    after: &'a [R],
    after_start: usize,
    lent: &'a [(Range<usize>, &'a [R])],
}

impl<'a, R> Sides<'a, R> {
    /// Splits memory into what is written and the rest. What is lent stands for its positions.
    pub fn split(
        memory: &'a mut [R],
        to: Range<usize>,
        lent: &'a [(Range<usize>, &'a [R])],
    ) -> (&'a mut [R], Sides<'a, R>) {
        let (before, rest) = memory.split_at_mut(to.start);
        let (to, after) = rest.split_at_mut(to.end - to.start);
        let after_start = before.len() + to.len();
        (to, Sides { before, after, after_start, lent })
    }

    /// The memory from a position on.
    #[inline]
    pub fn at(&self, start: usize) -> &'a [R] {
        for (range, data) in self.lent {
            if range.contains(&start) {
                return &data[start - range.start..];
            }
        }
        if start >= self.after_start {
            &self.after[start - self.after_start..]
        } else {
            &self.before[start..]
        }
    }
}

/// A nest of loops over a result and `N` arguments; neighbouring axes are merged where possible.
#[derive(Clone, Debug)]
pub struct Loops<const N: usize> {
    /// Sizes, outermost first; never empty.
    dims: Vec<usize>,
    /// Distances in the result.
    to: Vec<usize>,
    /// Distances in the arguments.
    from: [Vec<usize>; N],
    /// Where the arguments start.
    starts: [usize; N],
}

impl<const N: usize> Loops<N> {
    /// Loops that fill a dense result from arguments whose axes of size 1 repeat.
    pub fn new(shape: &[usize], args: [&View; N]) -> Loops<N> {
        Loops::build(shape, row_major(shape), args)
    }

    fn build(shape: &[usize], to: Vec<usize>, args: [&View; N]) -> Loops<N> {
        let from = args.map(|view| {
            (0..shape.len())
                .map(|i| if view.shape[i] == 1 { 0 } else { view.strides[i] })
                .collect::<Vec<_>>()
        });
        let starts = args.map(|view| view.start);
        Loops { dims: shape.to_vec(), to, from, starts }.merged()
    }

    /// Joins axes that are laid out as one in the result and every argument.
    fn merged(self) -> Loops<N> {
        // Size, distance in the result, distances in the arguments.
        let axis = |i: usize| (self.dims[i], self.to[i], std::array::from_fn(|a| self.from[a][i]));
        let mut axes: Vec<(usize, usize, [usize; N])> = Vec::new();
        for (n, to, from) in (0..self.dims.len()).map(axis).filter(|axis| axis.0 != 1) {
            match axes.last_mut() {
                Some(outer) if outer.1 == n * to && outer.2 == from.map(|step| n * step) => {
                    *outer = (outer.0 * n, to, from);
                }
                _ => axes.push((n, to, from)),
            }
        }
        if axes.is_empty() {
            axes.push((1, 1, [1; N]));
        }
        Loops {
            dims: axes.iter().map(|axis| axis.0).collect(),
            to: axes.iter().map(|axis| axis.1).collect(),
            from: std::array::from_fn(|a| axes.iter().map(|axis| axis.2[a]).collect()),
            ..self
        }
    }

    /// The offsets of each innermost run: in the result, in the arguments.
    #[inline(always)]
    fn runs(&self) -> Runs<'_, N> {
        debug_assert!(self.dims.len() <= 9, "tiles have at most nine axes that do not merge");
        Runs { loops: self, index: [0; 8], to: 0, from: [0; N], done: false }
    }

    fn last(&self) -> (usize, usize, [usize; N]) {
        let i = self.dims.len() - 1;
        (self.dims[i], self.to[i], std::array::from_fn(|a| self.from[a][i]))
    }
}

impl Loops<1> {
    /// Loops over an argument that is written with the distances of a larger result.
    pub fn strided(shape: &[usize], arg: &View) -> Loops<1> {
        Loops::build(&arg.shape, row_major(shape), [arg])
    }

    /// Loops over an argument whose axes that the result has with size 1 are gathered.
    pub fn reducing(shape: &[usize], arg: &View) -> Loops<1> {
        let full = row_major(shape);
        let to = (0..shape.len())
            .map(|i| if shape[i] == 1 && arg.shape[i] != 1 { 0 } else { full[i] })
            .collect();
        Loops::build(&arg.shape, to, [arg])
    }
}

/// Walks over the innermost runs of loops. An iterator rather than a callback, so that the bodies
/// are compiled for the vector unit of the caller.
struct Runs<'l, const N: usize> {
    loops: &'l Loops<N>,
    index: [usize; 8],
    to: usize,
    from: [usize; N],
    done: bool,
}

impl<const N: usize> Iterator for Runs<'_, N> {
    type Item = (usize, [usize; N]);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, [usize; N])> {
        if self.done {
            return None;
        }
        let now = (self.to, self.from);
        let mut axis = self.loops.dims.len() - 1;
        loop {
            if axis == 0 {
                self.done = true;
                break;
            }
            axis -= 1;
            self.index[axis] += 1;
            self.to += self.loops.to[axis];
            for a in 0..N {
                self.from[a] += self.loops.from[a][axis];
            }
            if self.index[axis] < self.loops.dims[axis] {
                break;
            }
            self.index[axis] = 0;
            self.to -= self.loops.to[axis] * self.loops.dims[axis];
            for a in 0..N {
                self.from[a] -= self.loops.from[a][axis] * self.loops.dims[axis];
            }
        }
        Some(now)
    }
}

/// A function of one number, known at compile time in each loop.
#[derive(Clone, Copy)]
pub enum One {
    /// The number itself.
    Same,
    /// A unary operation.
    Op(Unary),
}

impl One {
    #[inline(always)]
    fn call<R: Real>(self, x: R) -> R {
        match self {
            One::Same => x,
            One::Op(op) => op.eval(x),
        }
    }
}

/// A function of two numbers, known at compile time in each loop.
#[derive(Clone, Copy)]
pub enum Two {
    /// The product.
    Mul,
    /// `exp(a - b)`.
    Weight,
    /// A binary operation.
    Op(Binary),
}

impl Two {
    #[inline(always)]
    fn call<R: Real>(self, a: R, b: R) -> R {
        match self {
            Two::Mul => a * b,
            Two::Weight => (a - b).exp(),
            Two::Op(op) => op.eval(a, b),
        }
    }
}

/// `to = f(a)` over all entries.
#[inline(always)]
fn map1<R: Real>(f: One, loops: &Loops<1>, to: &mut [R], from: &Sides<'_, R>) {
    let a = from.at(loops.starts[0]);
    let (n, step, [sa]) = loops.last();
    for (at, [ia]) in loops.runs() {
        let a = &a[ia..];
        match (step, sa) {
            (1, 1) => {
                for (y, &x) in to[at..at + n].iter_mut().zip(&a[..n]) {
                    *y = f.call(x);
                }
            }
            (1, 0) => to[at..at + n].fill(f.call(a[0])),
            _ => {
                for i in 0..n {
                    to[at + i * step] = f.call(a[i * sa]);
                }
            }
        }
    }
}

/// `to = f(a, b)` over all entries.
#[inline(always)]
fn map2<R: Real>(f: Two, loops: &Loops<2>, to: &mut [R], from: &Sides<'_, R>) {
    let (a, b) = (from.at(loops.starts[0]), from.at(loops.starts[1]));
    let (n, step, [sa, sb]) = loops.last();
    for (at, [ia, ib]) in loops.runs() {
        let (a, b) = (&a[ia..], &b[ib..]);
        match (step, sa, sb) {
            (1, 1, 1) => {
                for ((y, &a), &b) in to[at..at + n].iter_mut().zip(&a[..n]).zip(&b[..n]) {
                    *y = f.call(a, b);
                }
            }
            (1, 1, 0) => {
                let b = b[0];
                for (y, &a) in to[at..at + n].iter_mut().zip(&a[..n]) {
                    *y = f.call(a, b);
                }
            }
            (1, 0, 1) => {
                let a = a[0];
                for (y, &b) in to[at..at + n].iter_mut().zip(&b[..n]) {
                    *y = f.call(a, b);
                }
            }
            _ => {
                for i in 0..n {
                    to[at + i * step] = f.call(a[i * sa], b[i * sb]);
                }
            }
        }
    }
}

/// `to = if c != 0 { a } else { b }` over all entries.
#[inline(always)]
pub fn select<R: Real>(loops: &Loops<3>, to: &mut [R], from: &Sides<'_, R>) {
    let [c, a, b] = loops.starts.map(|start| from.at(start));
    let (n, step, [sc, sa, sb]) = loops.last();
    for (at, [ic, ia, ib]) in loops.runs() {
        if (step, sc, sa, sb) == (1, 1, 1, 0) {
            let other = b[ib];
            let both = c[ic..ic + n].iter().zip(&a[ia..ia + n]);
            for (y, (&c, &a)) in to[at..at + n].iter_mut().zip(both) {
                *y = if c != R::ZERO { a } else { other };
            }
            continue;
        }
        for i in 0..n {
            let chosen = if c[ic + i * sc] != R::ZERO { a[ia + i * sa] } else { b[ib + i * sb] };
            to[at + i * step] = chosen;
        }
    }
}

/// `to += a` over all entries of the argument.
#[inline(always)]
pub fn sum<R: Real>(loops: &Loops<1>, to: &mut [R], from: &Sides<'_, R>) {
    let a = from.at(loops.starts[0]);
    let (n, step, [sa]) = loops.last();
    for (at, [ia]) in loops.runs() {
        let a = &a[ia..];
        match (step, sa) {
            (0, 1) => to[at] += lanes(&a[..n], |x| x),
            (1, 1) => {
                for (y, &x) in to[at..at + n].iter_mut().zip(&a[..n]) {
                    *y += x;
                }
            }
            _ => {
                for i in 0..n {
                    to[at + i * step] += a[i * sa];
                }
            }
        }
    }
}

/// Adds `f` of every number up. Partial results side by side let the compiler use vector registers.
#[inline(always)]
fn lanes<R: Real>(a: &[R], f: impl Fn(R) -> R) -> R {
    let mut parts = [R::ZERO; LANES];
    let chunks = a.chunks_exact(LANES);
    let rest = chunks.remainder().iter().fold(R::ZERO, |sum, &x| sum + f(x));
    for chunk in chunks {
        for i in 0..LANES {
            parts[i] += f(chunk[i]);
        }
    }
    rest + together(parts)
}

/// The sum of products of two equally long runs. Partial sums side by side let the compiler use vector registers.
#[inline(always)]
pub fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    let mut parts = [R::ZERO; LANES];
    let (a, b) = (&a[..a.len().min(b.len())], &b[..b.len().min(a.len())]);
    let (of_a, of_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = of_a.remainder().iter().zip(of_b.remainder());
    let rest = rest.fold(R::ZERO, |sum, (&x, &y)| sum + x * y);
    for (x, y) in of_a.zip(of_b) {
        for i in 0..LANES {
            parts[i] += x[i] * y[i];
        }
    }
    rest + together(parts)
}

/// Partial sums of one sum.
const LANES: usize = 32;

/// Adds partial sums up in pairs: one after the other each addition would wait for the one before.
#[inline(always)]
fn together<R: Real>(mut parts: [R; LANES]) -> R {
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = parts.split_at_mut(half);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        half /= 2;
    }
    parts[0]
}

/// Whether all are numbers and no infinities.
#[inline(always)]
pub fn all_finite<R: Real>(a: &[R]) -> bool {
    lanes(a, |x| x * R::ZERO) == R::ZERO
}

/// `log Σ exp` of a dense tile along an axis of `n` entries that lie `inner` apart.
#[inline(always)]
pub fn log_sum_exp<R: Real>(to: &mut [R], from: &[R], [n, inner]: [usize; 2]) {
    let none = R::of(f64::NEG_INFINITY);
    for (to, from) in to.chunks_exact_mut(inner).zip(from.chunks_exact(n * inner)) {
        for (i, y) in to.iter_mut().enumerate() {
            let peak = from[i..].iter().step_by(inner).fold(none, |peak, &x| peak.max(x));
            let sum = match inner {
                _ if peak == none => R::ZERO,
                1 => lanes(from, |x| (x - peak).exp()),
                _ => from[i..].iter().step_by(inner).fold(R::ZERO, |s, &x| s + (x - peak).exp()),
            };
            *y = if peak == none { none } else { peak + sum.ln() };
        }
    }
}

/// A copy.
#[inline(always)]
pub fn copy<R: Real>(loops: &Loops<1>, to: &mut [R], from: &Sides<'_, R>) {
    map1(One::Same, loops, to, from);
}

/// A unary operation, with a loop of its own for each.
#[inline(always)]
pub fn unary<R: Real>(op: Unary, loops: &Loops<1>, to: &mut [R], from: &Sides<'_, R>) {
    macro_rules! each {
        ($($(#[$doc:meta])* $name:ident $word:literal $row:tt)*) => {
            match op {
                $(Unary::$name => map1(One::Op(Unary::$name), loops, to, from),)*
                Unary::Pow(_) => map1(One::Op(op), loops, to, from),
            }
        };
    }
    unary_functions!(each);
}

/// A function of two tiles, with a loop of its own for each.
#[inline(always)]
pub fn two<R: Real>(f: Two, loops: &Loops<2>, to: &mut [R], from: &Sides<'_, R>) {
    macro_rules! each {
        ($($name:ident),*) => {
            match f {
                Two::Mul => map2(Two::Mul, loops, to, from),
                Two::Weight => map2(Two::Weight, loops, to, from),
                $(Two::Op(Binary::$name) => map2(Two::Op(Binary::$name), loops, to, from),)*
            }
        };
    }
    each!(Add, Sub, Div, Max, Min, LogAddExp, Ge);
}
