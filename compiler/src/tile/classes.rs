//! Axes of a program's values that belong together: what is cut, or made longer, along one of them is so along all.
//!
//! Problem: where the columns of a state never meet, a program may run for some of them, or for others than it was declared
//! for; which axes of all its values these are, and whether an operation needs one of them whole, its text does not say.
//!
//! Idea: union and find over the axes of all values. Operations join the axes that they walk along together; an axis that is
//! summed over, or that an operation needs whole, joins class 0.

use std::collections::HashMap;
use std::hash::Hash;

use super::union::Union;
use super::{Leaf, Op, Program, Value};

/// A name of a tensor that several leaves and results may stand for.
pub trait Tensor: Copy + Eq + Hash {}

impl<T: Copy + Eq + Hash> Tensor for T {}

/// Classes of axes, of a program's values and of the tensors that they stand for. Class 0 can be neither cut nor made longer.
pub struct Classes<T> {
    union: Union,
    first: Vec<usize>,
    whole: HashMap<(T, usize), usize>,
}

impl<T: Tensor> Classes<T> {
    /// The classes of a program; `stands` says what a leaf stands for, and how many of its first axes are rows, which the
    /// tensor does not have; axes of other leaves are of class 0.
    pub fn of(program: &Program, stands: &dyn Fn(&Leaf) -> Option<(T, usize)>) -> Classes<T> {
        let mut classes = Classes { union: Union::new(1), first: vec![], whole: HashMap::new() };
        for node in &program.nodes {
            let first = classes.union.extend(node.shape.len());
            classes.first.push(first);
        }
        for at in 0..program.nodes.len() {
            relate(program, stands, Value(at as u32), &mut classes);
        }
        classes
    }

    /// Says what a value with so many axes stands for; its first `rows` axes are rows.
    pub fn stands(&mut self, value: Value, axes: usize, (tensor, rows): (T, usize)) {
        for axis in rows..axes {
            let (a, b) = (self.axis(value, axis), self.node_of(tensor, axis - rows));
            self.union.join(a, b);
        }
    }

    /// Puts axes of two tensors together.
    pub fn join(&mut self, (a, i): (T, usize), (b, j): (T, usize)) {
        let (a, b) = (self.node_of(a, i), self.node_of(b, j));
        self.union.join(a, b);
    }

    /// The class of a tensor's axis; nothing where it can be neither cut nor made longer.
    pub fn class(&mut self, tensor: T, axis: usize) -> Option<usize> {
        let node = self.node_of(tensor, axis);
        let class = self.union.find(node);
        (class != self.union.find(0)).then_some(class)
    }

    /// The axes of tensors in a class.
    pub fn members(&self, class: usize) -> impl Iterator<Item = (T, usize)> + '_ {
        self.whole.iter().filter(move |(_, at)| self.union.find(**at) == class).map(|(key, _)| *key)
    }

    /// The same program with a class of axes resized; nothing where `size` has none for one of the sizes that it has.
    pub fn resized(
        &self,
        program: &Program,
        class: usize,
        mut size: impl FnMut(usize) -> Option<usize>,
    ) -> Option<Program> {
        let mut made = program.clone();
        for (at, node) in made.nodes.iter_mut().enumerate() {
            for (axis, n) in node.shape.iter_mut().enumerate() {
                if *n > 1 && self.union.find(self.first[at] + axis) == class {
                    *n = size(*n)?;
                }
            }
        }
        Some(made)
    }

    fn axis(&self, value: Value, axis: usize) -> usize {
        self.first[value.at()] + axis
    }

    fn node_of(&mut self, tensor: T, axis: usize) -> usize {
        *self.whole.entry((tensor, axis)).or_insert_with(|| self.union.extend(1))
    }

    fn keep(&mut self, value: Value, axis: usize) {
        let at = self.axis(value, axis);
        self.union.join(0, at);
    }

    /// A leaf's axes are those of the tensor that it stands for.
    fn leaf(&mut self, stands: Option<(T, usize)>, value: Value, axes: usize) {
        let rows = stands.map_or(axes, |(_, rows)| rows.min(axes));
        (0..rows).for_each(|axis| self.keep(value, axis));
        if let Some((tensor, _)) = stands {
            self.stands(value, axes, (tensor, rows));
        }
    }
}

/// Joins axes that one operation cuts together; what it needs whole joins class 0.
fn relate<T: Tensor>(
    program: &Program,
    stands: &dyn Fn(&Leaf) -> Option<(T, usize)>,
    value: Value,
    classes: &mut Classes<T>,
) {
    let node = program.node(value);
    let along = |classes: &mut Classes<T>, arg: Value, from: usize, to: usize| {
        if program.shape(arg)[from] == node.shape[to] {
            let (a, b) = (classes.axis(arg, from), classes.axis(value, to));
            classes.union.join(a, b);
        }
    };
    let all = |classes: &mut Classes<T>, but: &[usize]| {
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
        Op::Leaf(leaf) => classes.leaf(stands(leaf), value, node.shape.len()),
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

/// Axes that a reshape leaves whole are cut together; those it merges or splits cannot be cut.
fn reshaped<T: Tensor>(program: &Program, value: Value, classes: &mut Classes<T>) {
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
