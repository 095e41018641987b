//! Neighbouring axes that no operation tells apart become one.
//!
//! Problem: heads and subheads of a tensor are two axes of its program, though nothing is done to one of them alone. A
//! plan that cuts an axis has no more parts than the shorter of them allows.
//!
//! Idea: numbers lie in the same order with both axes or with their product. Pairs of neighbouring axes are followed
//! from value to value; where everything that meets in a pair has both or neither of its axes, the pair is one axis.

use std::collections::HashMap;

use super::union::Union;
use super::{Leaf, Op, Program, Stream, Value};

/// A tensor, of which all leaves have the same axes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Tensor {
    Input(usize),
    Param(usize),
}

/// The same program, with neighbouring axes that are never told apart as one: of values, leaves and results.
pub fn together(program: &Program) -> Program {
    let program = &program.unshared();
    let mut pairs = Pairs::new(program);
    for at in 0..program.nodes.len() {
        pairs.relate(Value(at as u32));
    }
    let joined = pairs.joined();
    let mut made = program.clone();
    for (at, node) in made.nodes.iter_mut().enumerate() {
        let own = &joined[at];
        let place = |axis: usize| places(own)[axis];
        match &mut node.op {
            Op::MulSum(axes) | Op::Sum(axes) => {
                *axes = axes.iter().map(|axis| place(*axis)).collect();
                axes.dedup();
            }
            Op::LogSumExp(axis) | Op::Slice(axis, _) | Op::Pad(axis, _) | Op::Concat(axis) => {
                *axis = place(*axis);
            }
            Op::Permute(order) => {
                let from = places(&joined[node.args[0].at()]);
                *order = order.iter().map(|axis| from[*axis]).collect();
                order.dedup();
            }
            _ => {}
        }
        node.shape = shape(own, &node.shape);
    }
    made
}

/// Which axis each one becomes, given which are one with the axis behind them.
fn places(joined: &[bool]) -> Vec<usize> {
    let behind = joined.iter().scan(0, |place, joined| {
        *place += usize::from(!joined);
        Some(*place)
    });
    std::iter::once(0).chain(behind).collect()
}

fn shape(joined: &[bool], shape: &[usize]) -> Vec<usize> {
    let mut made: Vec<usize> = Vec::new();
    for (axis, n) in shape.iter().enumerate() {
        match made.last_mut() {
            Some(last) if joined[axis - 1] => *last *= n,
            _ => made.push(*n),
        }
    }
    made
}

/// Where a pair of axes begins, where its first one ends, and where it ends; nothing where one is of size 1.
fn long(ends: &[usize], first: usize) -> Option<[usize; 3]> {
    let start = first.checked_sub(1).map_or(1, |before| ends[before]);
    let [middle, end] = [ends[first], ends[first + 1]];
    (start < middle && middle < end).then_some([start, middle, end])
}

/// Classes of pairs of neighbouring axes. Pairs of class 0 stay apart.
struct Pairs<'a> {
    program: &'a Program,
    classes: Union,
    /// The first pair of each value.
    first: Vec<usize>,
    tensors: HashMap<Tensor, Value>,
}

impl<'a> Pairs<'a> {
    fn new(program: &'a Program) -> Pairs<'a> {
        let mut classes = Union::new(1);
        let pairs = program.nodes.iter().map(|node| node.shape.len().saturating_sub(1));
        let first = pairs.map(|count| classes.extend(count)).collect();
        Pairs { program, classes, first, tensors: HashMap::new() }
    }

    /// Pairs of a value, by the first of their axes.
    fn count(&self, value: Value) -> usize {
        self.program.shape(value).len().saturating_sub(1)
    }

    fn pair(&self, value: Value, axis: usize) -> usize {
        self.first[value.at()] + axis
    }

    fn keep(&mut self, value: Value, axis: usize) {
        let at = self.pair(value, axis);
        self.classes.join(0, at);
    }

    fn keep_all(&mut self, value: Value) {
        (0..self.count(value)).for_each(|axis| self.keep(value, axis));
    }

    /// Pairs that one operation has in common with its arguments are of one class.
    fn relate(&mut self, value: Value) {
        let node = self.program.node(value);
        match &node.op {
            Op::Leaf(leaf) => self.relate_leaf(leaf, value),
            Op::Fill(_) => {}
            Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Weight | Op::Expand | Op::Alias(_) => {
                self.relate_all(value, &[]);
            }
            Op::MulSum(axes) | Op::Sum(axes) => self.relate_all(value, axes),
            Op::LogSumExp(axis) | Op::Slice(axis, _) | Op::Pad(axis, _) | Op::Concat(axis) => {
                self.relate_all(value, &[*axis]);
                self.keep_around(value, *axis);
            }
            Op::Pick(_) | Op::Place(_) => {
                self.relate_all(value, &[]);
                self.keep_around(value, node.shape.len() - 1);
            }
            Op::Permute(order) => {
                for axis in 0..self.count(node.args[0]) {
                    let at = order.iter().position(|from| *from == axis);
                    match at.filter(|at| order.get(at + 1) == Some(&(axis + 1))) {
                        Some(at) => {
                            self.classes.join(self.pair(value, at), self.pair(node.args[0], axis));
                        }
                        None => self.keep(node.args[0], axis),
                    }
                }
                for at in 0..self.count(value) {
                    if order[at + 1] != order[at] + 1 {
                        self.keep(value, at);
                    }
                }
            }
            Op::Reshape => self.reshaped(value),
            _ => {
                node.args.iter().for_each(|arg| self.keep_all(*arg));
                self.keep_all(value);
            }
        }
    }

    /// Leaves of one tensor have the same axes.
    fn relate_leaf(&mut self, leaf: &Leaf, value: Value) {
        let tensor = match leaf {
            Leaf::Read(Stream::Input(i), _) => Tensor::Input(*i),
            Leaf::Param(i) => Tensor::Param(*i),
            _ => return self.keep_all(value),
        };
        let first = *self.tensors.entry(tensor).or_insert(value);
        for axis in 0..self.count(value) {
            self.classes.join(self.pair(first, axis), self.pair(value, axis));
        }
    }

    /// An operation entry by entry, but for axes over which it sums: both of a pair, or neither.
    fn relate_all(&mut self, value: Value, over: &[usize]) {
        let node = self.program.node(value);
        for axis in 0..self.count(value) {
            if over.contains(&axis) != over.contains(&(axis + 1)) {
                self.keep(value, axis);
            }
            for &arg in &node.args {
                self.classes.join(self.pair(arg, axis), self.pair(value, axis));
            }
        }
    }

    /// Keeps an axis apart from both of its neighbours.
    fn keep_around(&mut self, value: Value, axis: usize) {
        for at in [axis.checked_sub(1), Some(axis)].into_iter().flatten() {
            if at < self.count(value) {
                self.keep(value, at);
            }
        }
    }

    /// Neighbours that a reshape leaves neighbours are one on both sides, or on neither. Where one side has no end of an
    /// axis between them, or where one is of size 1, the reshape is as good without.
    fn reshaped(&mut self, value: Value) {
        let arg = self.program.node(value).args[0];
        let [from, to] = [self.ends(arg), self.ends(value)];
        for i in 0..self.count(arg) {
            let Some(own) = long(&from, i) else { continue };
            let at = (0..self.count(value)).find(|j| long(&to, *j) == Some(own));
            match at {
                Some(j) => self.classes.join(self.pair(arg, i), self.pair(value, j)),
                None if to.contains(&own[1]) => self.keep(arg, i),
                None => {}
            }
        }
        for j in 0..self.count(value) {
            let Some(own) = long(&to, j) else { continue };
            let alone = (0..self.count(arg)).all(|i| long(&from, i) != Some(own));
            if alone && from.contains(&own[1]) {
                self.keep(value, j);
            }
        }
    }

    /// Where each axis ends: the numbers of all axes up to it, itself included.
    fn ends(&self, value: Value) -> Vec<usize> {
        let shape = self.program.shape(value).iter();
        shape
            .scan(1, |size, n| {
                *size *= n;
                Some(*size)
            })
            .collect()
    }

    /// Of each value, which axes are one with the axis behind them: where all of a class have both axes of one
    /// length, or neither.
    fn joined(&self) -> Vec<Vec<bool>> {
        let mut full: HashMap<usize, [usize; 2]> = HashMap::new();
        let sizes = |value: usize, axis: usize| {
            let shape = &self.program.nodes[value].shape;
            [shape[axis], shape[axis + 1]]
        };
        let values = 0..self.program.nodes.len();
        let all = || {
            values.clone().flat_map(|at| (0..self.count(Value(at as u32))).map(move |i| (at, i)))
        };
        let class = |at: usize, axis: usize| self.classes.find(self.first[at] + axis);
        for (at, axis) in all() {
            let known = full.entry(class(at, axis)).or_insert([1, 1]);
            *known = (*known).max(sizes(at, axis));
        }
        full.remove(&0);
        for (at, axis) in all() {
            let own = sizes(at, axis);
            let class = class(at, axis);
            if own != [1, 1] && full.get(&class).is_some_and(|full| *full != own) {
                full.remove(&class);
            }
        }
        let of = |at: usize| {
            let pairs = 0..self.count(Value(at as u32));
            pairs.map(|axis| full.contains_key(&class(at, axis))).collect()
        };
        values.map(of).collect()
    }
}
