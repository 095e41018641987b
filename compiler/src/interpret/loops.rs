//! Loops over strided tiles: elementwise functions, copies and reductions.

use std::ops::Range;

use super::layout::{View, row_major};
use crate::num::Real;
use crate::tile::{Binary, Unary};

/// Memory apart from the part that a step writes.
pub struct Sides<'a, R> {
    before: &'a [R],
    after: &'a [R],
    after_start: usize,
}

impl<'a, R> Sides<'a, R> {
    /// Splits memory into what is written and the rest.
    pub fn split(memory: &'a mut [R], to: Range<usize>) -> (&'a mut [R], Sides<'a, R>) {
        let (before, rest) = memory.split_at_mut(to.start);
        let (to, after) = rest.split_at_mut(to.end - to.start);
        let after_start = before.len() + to.len();
        (to, Sides { before, after, after_start })
    }

    /// The memory from a position on.
    #[inline]
    pub fn at(&self, start: usize) -> &'a [R] {
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
        let mut out =
            Loops { dims: vec![], to: vec![], from: std::array::from_fn(|_| vec![]), ..self };
        for i in (0..self.dims.len()).filter(|&i| self.dims[i] != 1) {
            let n = self.dims[i];
            let joins = !out.dims.is_empty()
                && *out.to.last().expect("not empty") == n * self.to[i]
                && (0..N).all(|a| *out.from[a].last().expect("not empty") == n * self.from[a][i]);
            if joins {
                *out.dims.last_mut().expect("not empty") *= n;
                *out.to.last_mut().expect("not empty") = self.to[i];
                for a in 0..N {
                    *out.from[a].last_mut().expect("not empty") = self.from[a][i];
                }
            } else {
                out.dims.push(n);
                out.to.push(self.to[i]);
                for a in 0..N {
                    out.from[a].push(self.from[a][i]);
                }
            }
        }
        if out.dims.is_empty() {
            out.dims.push(1);
            out.to.push(1);
            out.from.iter_mut().for_each(|f| f.push(1));
        }
        out
    }

    /// Calls `inner` with the offsets of each innermost run.
    #[inline(always)]
    fn each(&self, mut inner: impl FnMut(usize, [usize; N])) {
        let outer = self.dims.len() - 1;
        let mut index = [0usize; 8];
        debug_assert!(outer <= index.len(), "tiles have at most eight axes");
        let (mut to, mut from) = (0, [0; N]);
        loop {
            inner(to, from);
            let mut axis = outer;
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                index[axis] += 1;
                to += self.to[axis];
                for a in 0..N {
                    from[a] += self.from[a][axis];
                }
                if index[axis] < self.dims[axis] {
                    break;
                }
                index[axis] = 0;
                to -= self.to[axis] * self.dims[axis];
                for a in 0..N {
                    from[a] -= self.from[a][axis] * self.dims[axis];
                }
            }
        }
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

/// `to = f(a)` over all entries.
#[inline(always)]
pub fn map1<R: Real>(loops: &Loops<1>, to: &mut [R], from: &Sides<'_, R>, f: impl Fn(R) -> R) {
    let a = from.at(loops.starts[0]);
    let (n, step, [sa]) = loops.last();
    loops.each(|at, [ia]| {
        let a = &a[ia..];
        match (step, sa) {
            (1, 1) => to[at..at + n].iter_mut().zip(&a[..n]).for_each(|(y, &x)| *y = f(x)),
            (1, 0) => to[at..at + n].fill(f(a[0])),
            _ => (0..n).for_each(|i| to[at + i * step] = f(a[i * sa])),
        }
    });
}

/// `to = f(a, b)` over all entries.
#[inline(always)]
pub fn map2<R: Real>(loops: &Loops<2>, to: &mut [R], from: &Sides<'_, R>, f: impl Fn(R, R) -> R) {
    let (a, b) = (from.at(loops.starts[0]), from.at(loops.starts[1]));
    let (n, step, [sa, sb]) = loops.last();
    loops.each(|at, [ia, ib]| {
        let (a, b) = (&a[ia..], &b[ib..]);
        if step != 1 {
            return (0..n).for_each(|i| to[at + i * step] = f(a[i * sa], b[i * sb]));
        }
        let to = &mut to[at..at + n];
        match (sa, sb) {
            (1, 1) => {
                to.iter_mut().zip(&a[..n]).zip(&b[..n]).for_each(|((y, &a), &b)| *y = f(a, b))
            }
            (1, 0) => {
                let b = b[0];
                to.iter_mut().zip(&a[..n]).for_each(|(y, &a)| *y = f(a, b));
            }
            (0, 1) => {
                let a = a[0];
                to.iter_mut().zip(&b[..n]).for_each(|(y, &b)| *y = f(a, b));
            }
            _ => to.iter_mut().enumerate().for_each(|(i, y)| *y = f(a[i * sa], b[i * sb])),
        }
    });
}

/// `to = if c != 0 { a } else { b }` over all entries.
pub fn select<R: Real>(loops: &Loops<3>, to: &mut [R], from: &Sides<'_, R>) {
    let [c, a, b] = loops.starts.map(|start| from.at(start));
    let (n, step, [sc, sa, sb]) = loops.last();
    loops.each(|at, [ic, ia, ib]| {
        for i in 0..n {
            let chosen = if c[ic + i * sc] != R::ZERO { a[ia + i * sa] } else { b[ib + i * sb] };
            to[at + i * step] = chosen;
        }
    });
}

/// `to = f(to, a)` over all entries of the argument.
#[inline(always)]
pub fn reduce<R: Real>(loops: &Loops<1>, to: &mut [R], from: &Sides<'_, R>, f: impl Fn(R, R) -> R) {
    let a = from.at(loops.starts[0]);
    let (n, step, [sa]) = loops.last();
    loops.each(|at, [ia]| {
        let a = &a[ia..];
        match (step, sa) {
            (0, 1) => to[at] = a[..n].iter().fold(to[at], |sum, &x| f(sum, x)),
            (1, 1) => {
                to[at..at + n].iter_mut().zip(&a[..n]).for_each(|(y, &x)| *y = f(*y, x));
            }
            _ => (0..n).for_each(|i| to[at + i * step] = f(to[at + i * step], a[i * sa])),
        }
    });
}

/// A unary operation, with the loop made for each.
pub fn unary<R: Real>(op: Unary, loops: &Loops<1>, to: &mut [R], from: &Sides<'_, R>) {
    macro_rules! each {
        ($($name:ident),*) => {
            match op {
                $(Unary::$name => map1(loops, to, from, |x| Unary::$name.eval(x)),)*
                Unary::Pow(_) => map1(loops, to, from, |x| op.eval(x)),
            }
        };
    }
    each!(
        Neg, Exp, Log, Sqrt, Sigmoid, LogSigmoid, Softplus, Silu, Gelu, Relu, Tanh, Abs, Sign,
        Step, Sin, Cos
    );
}

/// A binary operation, with the loop made for each.
pub fn binary<R: Real>(op: Binary, loops: &Loops<2>, to: &mut [R], from: &Sides<'_, R>) {
    macro_rules! each {
        ($($name:ident),*) => {
            match op {
                $(Binary::$name => map2(loops, to, from, |a, b| Binary::$name.eval(a, b)),)*
            }
        };
    }
    each!(Add, Sub, Div, Max, Min, LogAddExp, Ge);
}
