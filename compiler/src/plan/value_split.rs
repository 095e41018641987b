//! Cuts the value axis of a chunk program.
//!
//! Problem: one block of threads per head leaves most of a GPU idle, and the state of a wide head
//! fits no shared memory.
//!
//! Idea: where the columns of the state never meet, a part of them is a program of its own. Axes of
//! the program's values that must be cut together form classes; the class of the state's value axis
//! can be cut if nothing is summed over it and no operation needs it whole. The gradient of such a
//! part is linear in what flows in, so gradients of what the parts share add up.

use std::collections::HashMap;

use crate::tile::union::Union;
use crate::tile::{Leaf, Op, Program, Stream, Value};

/// A tensor that several leaves and results may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whole {
    /// An input.
    Input(usize),
    /// A parameter.
    Param(usize),
    /// A state, or its gradient.
    State(usize),
    /// An output, or its gradient.
    Out(usize),
    /// A value that one kernel keeps for another.
    Kept(usize),
}

impl Whole {
    /// What a leaf stands for, and how many of its axes are rows: of the chunk, or none in a
    /// program that is not `lifted`.
    pub fn of(leaf: &Leaf, lifted: bool) -> Option<(Whole, usize)> {
        Some(match leaf {
            Leaf::Read(Stream::Input(i), _) => (Whole::Input(*i), 1),
            Leaf::Param(i) => (Whole::Param(*i), usize::from(lifted)),
            Leaf::Carry(k) | Leaf::CarryCotangent(k) => (Whole::State(*k), 0),
            Leaf::Cotangent(Stream::Out(k)) => (Whole::Out(*k), 1),
            Leaf::Kept(i) => (Whole::Kept(*i), 0),
            _ => return None,
        })
    }
}

/// A program for a part of the values.
#[derive(Clone, Debug)]
pub struct ValueSplit {
    /// The program.
    pub program: Program,
    /// The axis that is cut, of each tensor that is; rows of the chunk do not count.
    pub axis: HashMap<Whole, usize>,
}

impl ValueSplit {
    /// The whole program.
    pub fn not(program: Program) -> ValueSplit {
        ValueSplit { program, axis: HashMap::new() }
    }
}

/// Classes of axes. Class 0 cannot be cut.
struct Classes {
    union: Union,
    first: Vec<usize>,
    whole: HashMap<(Whole, usize), usize>,
}

impl Classes {
    fn axis(&self, value: Value, axis: usize) -> usize {
        self.first[value.at()] + axis
    }

    fn whole(&mut self, whole: Whole, axis: usize) -> usize {
        *self.whole.entry((whole, axis)).or_insert_with(|| self.union.extend(1))
    }

    fn keep(&mut self, value: Value, axis: usize) {
        let at = self.axis(value, axis);
        self.union.join(0, at);
    }
}

/// Cuts the given axes, and whatever must be cut with them, into `parts`. `results` says what each
/// result of the program is, and how many of its first axes are rows. `None` where they cannot be cut.
pub fn split_values(
    program: &Program,
    lifted: bool,
    results: &[(Whole, usize)],
    cut: &[(Whole, usize)],
    parts: usize,
) -> Option<ValueSplit> {
    if parts == 1 || cut.is_empty() {
        return Some(ValueSplit::not(program.clone()));
    }
    let program = &program.unshared();
    let mut classes = Classes { union: Union::new(1), first: vec![], whole: HashMap::new() };
    for node in &program.nodes {
        let first = classes.union.extend(node.shape.len());
        classes.first.push(first);
    }
    for at in 0..program.nodes.len() {
        relate(program, lifted, Value(at as u32), &mut classes);
    }
    for (output, (whole, rows)) in program.outputs.iter().zip(results) {
        let rows = *rows;
        for axis in rows..program.shape(*output).len() {
            let (a, b) = (classes.axis(*output, axis), classes.whole(*whole, axis - rows));
            classes.union.join(a, b);
        }
    }
    let first = classes.whole(cut[0].0, cut[0].1);
    for (whole, axis) in cut {
        let at = classes.whole(*whole, *axis);
        classes.union.join(first, at);
    }
    let chosen = classes.union.find(first);
    if chosen == classes.union.find(0) {
        return None;
    }
    let mut narrow = program.clone();
    let mut size = None;
    for (at, node) in narrow.nodes.iter_mut().enumerate() {
        for (axis, n) in node.shape.iter_mut().enumerate() {
            if *n > 1 && classes.union.find(classes.first[at] + axis) == chosen {
                if *size.get_or_insert(*n) != *n || !n.is_multiple_of(parts) {
                    return None;
                }
                *n /= parts;
            }
        }
    }
    let axis = classes.whole.iter().filter(|(_, at)| classes.union.find(**at) == chosen);
    let axis = axis.map(|((whole, axis), _)| (*whole, *axis)).collect();
    Some(ValueSplit { program: narrow, axis })
}

/// Joins axes that one operation cuts together; what it needs whole joins class 0.
fn relate(program: &Program, lifted: bool, value: Value, classes: &mut Classes) {
    let node = program.node(value);
    let along = |classes: &mut Classes, arg: Value, from: usize, to: usize| {
        if program.shape(arg)[from] == node.shape[to] {
            let (a, b) = (classes.axis(arg, from), classes.axis(value, to));
            classes.union.join(a, b);
        }
    };
    let all = |classes: &mut Classes, but: &[usize]| {
        for &arg in &node.args {
            for axis in (0..node.shape.len()).filter(|axis| !but.contains(axis)) {
                along(classes, arg, axis, axis);
            }
            for &axis in but {
                classes.keep(arg, axis);
            }
        }
        for &axis in but {
            classes.keep(value, axis);
        }
    };
    match &node.op {
        Op::Leaf(leaf) => relate_leaf(leaf, value, &node.shape, lifted, classes),
        Op::Fill(_) => {}
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Weight | Op::Expand | Op::Alias(_) => {
            all(classes, &[]);
        }
        Op::MulSum(axes) | Op::Sum(axes) => all(classes, axes),
        Op::LogSumExp(axis) | Op::Slice(axis, _) | Op::Pad(axis, _) | Op::Concat(axis) => {
            all(classes, &[*axis]);
        }
        Op::Pick(_) | Op::Place(_) => all(classes, &[node.shape.len() - 1]),
        Op::Permute(order) => {
            for (to, from) in order.iter().enumerate() {
                along(classes, node.args[0], *from, to);
            }
        }
        Op::Reshape => reshaped(program, value, classes),
        Op::CumulativeProduct(_) | Op::ReverseCumulativeProduct => {
            along(classes, node.args[0], 1, 1);
            classes.keep(value, 0);
            classes.keep(node.args[0], 0);
        }
        // A matrix from the left leaves columns apart.
        Op::Apply(_) | Op::Solve(_) => {
            classes.keep(node.args[0], 1);
            for arg in &node.args[1..] {
                along(classes, *arg, 1, 1);
            }
            for arg in node.args.iter().chain([&value]) {
                classes.keep(*arg, 0);
            }
        }
        _ => {
            for arg in node.args.iter().chain([&value]) {
                (0..program.shape(*arg).len()).for_each(|axis| classes.keep(*arg, axis));
            }
        }
    }
}

/// A leaf is cut as the tensor that it stands for.
fn relate_leaf(leaf: &Leaf, value: Value, shape: &[usize], lifted: bool, classes: &mut Classes) {
    let Some((whole, rows)) = Whole::of(leaf, lifted) else {
        return (0..shape.len()).for_each(|axis| classes.keep(value, axis));
    };
    for axis in 0..shape.len() {
        if axis < rows {
            classes.keep(value, axis);
        } else {
            let (a, b) = (classes.axis(value, axis), classes.whole(whole, axis - rows));
            classes.union.join(a, b);
        }
    }
}

/// Axes that a reshape leaves whole are cut together; those it merges or splits cannot be cut.
fn reshaped(program: &Program, value: Value, classes: &mut Classes) {
    let arg = program.node(value).args[0];
    let (from, to) = (program.shape(arg), program.shape(value));
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        match (from.get(i), to.get(j)) {
            (Some(1), _) => i += 1,
            (_, Some(1)) => j += 1,
            (Some(a), Some(b)) if a == b => {
                let (a, b) = (classes.axis(arg, i), classes.axis(value, j));
                classes.union.join(a, b);
                (i, j) = (i + 1, j + 1);
            }
            (Some(&a), Some(&b)) => {
                let (mut a, mut b) = (a, b);
                classes.keep(arg, i);
                classes.keep(value, j);
                while a != b {
                    if a < b {
                        i += 1;
                        a *= from[i];
                        classes.keep(arg, i);
                    } else {
                        j += 1;
                        b *= to[j];
                        classes.keep(value, j);
                    }
                }
                (i, j) = (i + 1, j + 1);
            }
            _ => unreachable!("a reshape keeps the number of entries"),
        }
    }
}
