//! Operations of the builder that only move entries: other shapes, orders and parts of a value.

use super::build::Builder;
use super::{Op, Value, size};

impl Builder {
    /// The same entries under another shape.
    pub fn reshape(&mut self, x: Value, shape: &[usize]) -> Value {
        assert_eq!(size(self.shape(x)), size(shape), "a reshape keeps the number of entries");
        if self.shape(x) == shape {
            return x;
        }
        let node = self.node(x);
        if node.op == Op::Reshape {
            let inner = node.args[0];
            return self.reshape(inner, shape);
        }
        if let Some(c) = self.as_fill(x) {
            return self.fill(c, shape);
        }
        self.raw(Op::Reshape, vec![x], shape.to_vec())
    }

    /// Reorders axes: axis `i` of the result is axis `order[i]`.
    pub fn permute(&mut self, x: Value, order: &[usize]) -> Value {
        if order.iter().enumerate().all(|(i, &o)| i == o) {
            return x;
        }
        let node = self.node(x).clone();
        if let Op::Permute(inner) = &node.op {
            let both: Vec<usize> = order.iter().map(|&o| inner[o]).collect();
            return self.permute(node.args[0], &both);
        }
        let shape: Vec<usize> = order.iter().map(|&o| node.shape[o]).collect();
        if let Some(c) = self.as_fill(x) {
            return self.fill(c, &shape);
        }
        // An outer product is transposed by turning its factors, which moves nothing.
        let line = |b: &Builder, v: Value| b.shape(v).iter().filter(|n| **n > 1).count() <= 1;
        if let (Op::MulSum(axes), [l, r]) = (&node.op, &node.args[..])
            && axes.is_empty()
            && line(self, *l)
            && line(self, *r)
        {
            let turned = |b: &mut Builder, v: Value| {
                let shape: Vec<usize> = order.iter().map(|&o| b.shape(v)[o]).collect();
                b.reshape(v, &shape)
            };
            let (l, r) = (turned(self, *l), turned(self, *r));
            return self.mul(l, r);
        }
        self.raw(Op::Permute(order.to_vec()), vec![x], shape)
    }

    /// The transpose of the last two axes.
    pub fn transpose(&mut self, x: Value) -> Value {
        let mut order: Vec<usize> = (0..self.rank(x)).collect();
        let last = order.len() - 1;
        order.swap(last, last - 1);
        self.permute(x, &order)
    }

    /// Entries `start..start + length` along an axis.
    pub fn slice(&mut self, x: Value, axis: usize, start: usize, length: usize) -> Value {
        let mut shape = self.shape(x).to_vec();
        if start == 0 && length == shape[axis] {
            return x;
        }
        shape[axis] = length;
        let node = self.node(x).clone();
        match &node.op {
            Op::Slice(inner, first) if *inner == axis => {
                return self.slice(node.args[0], axis, first + start, length);
            }
            _ => {}
        }
        if let Some(c) = self.as_fill(x) {
            return self.fill(c, &shape);
        }
        self.raw(Op::Slice(axis, start), vec![x], shape)
    }

    /// Zeros around `x` along an axis, so that it starts at `before` of `length`.
    pub fn pad(&mut self, x: Value, axis: usize, before: usize, length: usize) -> Value {
        let mut shape = self.shape(x).to_vec();
        if shape[axis] == length {
            return x;
        }
        shape[axis] = length;
        if self.as_fill(x) == Some(0.0) {
            return self.fill(0.0, &shape);
        }
        self.raw(Op::Pad(axis, before), vec![x], shape)
    }

    /// One after the other along an axis.
    pub fn concat(&mut self, parts: &[Value], axis: usize) -> Value {
        if parts.len() == 1 {
            return parts[0];
        }
        if let Some(whole) = self.consecutive(parts, axis) {
            return whole;
        }
        let mut shape = self.shape(parts[0]).to_vec();
        shape[axis] = parts.iter().map(|&part| self.shape(part)[axis]).sum();
        let fills: Vec<Option<f64>> = parts.iter().map(|&part| self.as_fill(part)).collect();
        if let Some(c) = fills[0]
            && fills.iter().all(|&f| f == Some(c))
        {
            return self.fill(c, &shape);
        }
        self.raw(Op::Concat(axis), parts.to_vec(), shape)
    }

    /// Slices that together are a whole value again.
    fn consecutive(&self, parts: &[Value], axis: usize) -> Option<Value> {
        let mut next = 0;
        let mut whole = None;
        for &part in parts {
            let node = self.node(part);
            let Op::Slice(at, start) = node.op else { return None };
            let from = node.args[0];
            if at != axis || start != next || *whole.get_or_insert(from) != from {
                return None;
            }
            next += node.shape[axis];
        }
        whole.filter(|&w| self.shape(w)[axis] == next)
    }

    /// Repeats axes of size 1.
    pub fn expand(&mut self, x: Value, shape: &[usize]) -> Value {
        if self.shape(x) == shape {
            return x;
        }
        if let Some(c) = self.as_fill(x) {
            return self.fill(c, shape);
        }
        self.raw(Op::Expand, vec![x], shape.to_vec())
    }
}

/// Where an axis longer than 1 is after a reshape that only adds or drops axes of size 1.
pub fn axis_after(from: &[usize], to: &[usize], axis: usize) -> Option<usize> {
    let long = |shape: &[usize]| -> Vec<(usize, usize)> {
        shape.iter().copied().enumerate().filter(|(_, n)| *n > 1).collect()
    };
    let (from, to) = (long(from), long(to));
    let same = from.iter().map(|long| long.1).eq(to.iter().map(|long| long.1));
    let at = from.iter().position(|long| long.0 == axis)?;
    same.then(|| to[at].0)
}
