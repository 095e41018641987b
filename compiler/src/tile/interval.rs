//! Where values lie whatever the leaves are: an interval for each, by interval arithmetic.
//!
//! Ends are closed and may be infinite; rounding and values that are not numbers are left out of account.

use std::collections::HashMap;

use super::{Binary, Op, Program, Unary, Value, size};

/// Two ends, both possible.
pub type Interval = (f64, f64);

/// Anything.
pub const ALL: Interval = (f64::NEG_INFINITY, f64::INFINITY);

/// Intervals of the values of a program that only grows.
#[derive(Clone, Debug, Default)]
pub struct Intervals {
    known: HashMap<Value, Interval>,
}

impl Intervals {
    /// Takes a value, such as a leaf, to lie in an interval.
    pub fn promise(&mut self, value: Value, interval: Interval) {
        self.known.insert(value, interval);
    }

    /// The interval of a value.
    pub fn of(&mut self, program: &Program, value: Value) -> Interval {
        if let Some(known) = self.known.get(&value) {
            return *known;
        }
        let node = program.node(value);
        let args: Vec<Interval> = node.args.iter().map(|arg| self.of(program, *arg)).collect();
        let found = match (&node.op, &args[..]) {
            (Op::Fill(x), _) => (x.value(), x.value()),
            (Op::Eye | Op::Largest(_), _) => (0.0, 1.0),
            (Op::Unary(op), [x]) => op.interval(*x),
            (Op::Binary(op), [a, b]) => binary(*op, *a, *b),
            (Op::MulSum(axes), [a, b]) => {
                let square = node.args[0] == node.args[1];
                let one = if square { power(*a, 2.0) } else { times(*a, *b) };
                let shape = program.shape(node.args[0]).iter().zip(program.shape(node.args[1]));
                let whole: Vec<usize> = shape.map(|(a, b)| *a.max(b)).collect();
                times(one, counted(&whole, axes))
            }
            (Op::Sum(axes), [x]) => times(*x, counted(program.shape(node.args[0]), axes)),
            // A weight of a softmax: its score is one of those in the sum.
            (Op::Weight, _) => (0.0, 1.0),
            (Op::Select, [_, a, b]) => hull(*a, *b),
            (Op::Concat(_), all) => all.iter().copied().reduce(hull).unwrap_or(ALL),
            (Op::Pad(..) | Op::Place(_), [x]) => hull(*x, (0.0, 0.0)),
            (
                Op::Reshape
                | Op::Permute(_)
                | Op::Slice(..)
                | Op::Expand
                | Op::Pick(_)
                | Op::Alias(_),
                [x],
            ) => *x,
            _ => ALL,
        };
        let found = if found.0 <= found.1 { found } else { ALL };
        self.known.insert(value, found);
        found
    }
}

/// How many entries a sum over axes adds up, as a factor.
fn counted(shape: &[usize], axes: &[usize]) -> Interval {
    let summed: Vec<usize> = axes.iter().map(|axis| shape[*axis]).collect();
    let count = size(&summed) as f64;
    (count, count)
}

fn hull(a: Interval, b: Interval) -> Interval {
    (a.0.min(b.0), a.1.max(b.1))
}

/// Nothing times infinity is nothing: an infinite end stands for numbers without bound.
fn product(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 { 0.0 } else { a * b }
}

fn times(a: Interval, b: Interval) -> Interval {
    let all = [product(a.0, b.0), product(a.0, b.1), product(a.1, b.0), product(a.1, b.1)];
    (
        all.iter().copied().fold(f64::INFINITY, f64::min),
        all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    )
}

fn binary(op: Binary, a: Interval, b: Interval) -> Interval {
    match op {
        Binary::Add => (a.0 + b.0, a.1 + b.1),
        Binary::Sub => (a.0 - b.1, a.1 - b.0),
        Binary::Div if b.0 >= 0.0 || b.1 <= 0.0 => {
            // `1 / 0` is infinite, on the side that the divisor comes from.
            let low = if b.1 == 0.0 { f64::NEG_INFINITY } else { b.1.recip() };
            let high = if b.0 == 0.0 { f64::INFINITY } else { b.0.recip() };
            times(a, (low, high))
        }
        Binary::Div => ALL,
        Binary::Max => (a.0.max(b.0), a.1.max(b.1)),
        Binary::Min => (a.0.min(b.0), a.1.min(b.1)),
        Binary::LogAddExp => (a.0.max(b.0), f64::INFINITY),
        Binary::Ge => (0.0, 1.0),
    }
}

/// Values of a function that rises: from its value at one end to that at the other, or to its limits where it has none there.
pub(super) fn rising(op: Unary, x: Interval, limits: Interval) -> Interval {
    (or(op.eval(x.0), limits.0), or(op.eval(x.1), limits.1))
}

/// Values of a function with the sign of its argument, but for a dip to its least value, rounded down.
pub(super) fn dips(x: Interval, least: f64) -> Interval {
    (if x.0 >= 0.0 { 0.0 } else { least }, f64::INFINITY)
}

/// An end, or what stands for it where the function gives no number there.
fn or(end: f64, otherwise: f64) -> f64 {
    if end.is_nan() { otherwise } else { end }
}

/// Values of `x^c`.
pub(super) fn power(x: Interval, c: f64) -> Interval {
    if x.0 >= 0.0 {
        let (a, b) = (x.0.powf(c), x.1.powf(c));
        return (a.min(b), a.max(b));
    }
    if c > 0.0 && c % 2.0 == 0.0 {
        let most = x.1.max(-x.0).powf(c);
        return (0.0, most);
    }
    ALL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tile::{Builder, Int, Leaf, Stream};

    fn interval(make: impl Fn(&mut Builder, Value) -> Value) -> Interval {
        let mut b = Builder::new();
        let x = b.leaf(Leaf::Read(Stream::Input(0), Int::T), &[4]);
        let value = make(&mut b, x);
        Intervals::default().of(b.nodes(), value)
    }

    #[test]
    fn functions_bound_what_goes_through_them() {
        let inf = f64::INFINITY;
        assert_eq!(interval(|_, x| x), ALL);
        assert_eq!(interval(|b, x| b.unary(Unary::Sigmoid, x)), (0.0, 1.0));
        let twice = |b: &mut Builder, x| {
            let y = b.unary(Unary::Sigmoid, x);
            b.scale(y, 2.0)
        };
        assert_eq!(interval(twice), (0.0, 2.0));
        let decay = |b: &mut Builder, x| {
            let (y, z) = (b.unary(Unary::Softplus, x), b.unary(Unary::Exp, x));
            let y = b.unary(Unary::Neg, y);
            b.mul(y, z)
        };
        assert_eq!(interval(decay), (-inf, 0.0));
        assert_eq!(interval(|b, x| b.mul(x, x)), (0.0, inf));
        assert_eq!(interval(|b, x| b.mul_sum(x, x, &[0])), (0.0, inf));
        let tanh = |b: &mut Builder, x| {
            let y = b.unary(Unary::Tanh, x);
            b.sum(y, &[0])
        };
        assert_eq!(interval(tanh), (-4.0, 4.0));
        let difference = |b: &mut Builder, x| {
            let y = b.unary(Unary::Exp, x);
            b.sub(x, y)
        };
        assert_eq!(interval(difference), ALL);
        let quotient = |b: &mut Builder, x| {
            let y = b.unary(Unary::Exp, x);
            let one = b.fill(1.0, &[4]);
            let sum = b.add(one, y);
            b.div(y, sum)
        };
        assert_eq!(interval(quotient), (0.0, inf));
    }

    /// Every function stays within what is said of it.
    #[test]
    fn no_function_leaves_its_interval() {
        let ends = [-30.0, -2.0, -0.5, 0.0, 0.5, 2.0, 30.0];
        for op in Unary::all() {
            for (at, low) in ends.iter().enumerate() {
                for high in &ends[at..] {
                    let (least, most) = op.interval((*low, *high));
                    for k in 0..=100 {
                        let y = op.eval(low + (high - low) * f64::from(k) / 100.0);
                        let inside = y.is_nan() || (least - 1e-12..=most + 1e-12).contains(&y);
                        assert!(inside, "{op:?} of [{low}, {high}]: {y} outside [{least}, {most}]");
                    }
                }
            }
        }
    }
}
