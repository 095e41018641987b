//! What of a chunk's program waits for the chunk before it, and what does not.
//!
//! Problem: chunks follow each other because of the state that one hands to the next. Most of what they
//! compute does not depend on it, and most of the rest is not needed by the next chunk.
//!
//! Idea: mark the values that depend on what is carried. Those that do not are *prepared* for all chunks at once;
//! what the next carry needs is the *carry*, chunk after chunk; all else is *read*, for all chunks at once again.
//! Where one share reads values of another, these are kept in the device's memory: those through which the fewest
//! bytes flow, since what is cheap is computed again from what it is made of. So are products: an outer product of
//! a few rows is larger than the rows. What is read as an operand of products alone is kept as it is read, in bf16; so
//! is what only adds to results that are held in bf16. Chunks at once have time to compute products and masks again
//! where that takes less than their bytes; chunk after chunk there is none.

use std::collections::BTreeSet;

use crate::plan::Number;
use crate::plan::lower::{behind_views, heavy, is_inverse, is_matrix, is_view, whole};
use crate::tile::mask::{Mask, masks};
use crate::tile::split::{depends, piece};
use crate::tile::{Binary, Leaf, Node, Op, Program, Unary, Value, size};

/// A result of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// A result of the whole program, by its number.
    Result(usize),
    /// A value for other shares, by its number.
    Kept(usize),
}

/// What one kernel computes.
#[derive(Clone, Debug, Default)]
pub(super) struct Share {
    /// Its program; leaves `Kept` have the numbers of kept values.
    pub(super) program: Program,
    /// What each of its results is.
    pub(super) made: Vec<Made>,
}

/// A program by what waits for what.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    /// What does not depend on what is carried.
    pub(super) prepare: Share,
    /// What follows from chunk to chunk.
    pub(super) carry: Share,
    /// What depends on what is carried, and nothing carried on it.
    pub(super) read: Share,
    /// Shapes of kept values, and how their numbers are held.
    pub(super) kept: Vec<(Vec<usize>, Number)>,
    /// Which of them are inverses of matrices.
    pub(super) inverses: Vec<usize>,
    /// What masks exclude of them.
    pub(super) masks: Vec<Option<Mask>>,
}

/// Cuts a program at what depends on the leaves that `on` picks. `serial` says which results are carried; with
/// `apart`, what only others need is a share of its own, else it is part of the carry. `bytes` are those of a number
/// of a leaf, `held` says how numbers of a result are.
pub(super) fn shares(
    program: &Program,
    on: &dyn Fn(&Leaf) -> bool,
    serial: &dyn Fn(usize) -> bool,
    apart: bool,
    bytes: &dyn Fn(&Leaf) -> usize,
    held: &dyn Fn(usize) -> Number,
) -> Shares {
    let late = depends(program, on);
    let carry = if apart { carried(program, &late, serial) } else { late.clone() };
    let mut keep = Keep::new(program, bytes);
    let rounds = adds_to(program, &|k| held(k) == Number::Bf16);
    for at_once in [false, true] {
        let own: Vec<usize> =
            (0..late.len()).filter(|at| late[*at] && carry[*at] != at_once).collect();
        let reads = own
            .iter()
            .flat_map(|at| program.nodes[*at].args.iter().map(|arg| (Value(*at as u32), *arg)));
        let early = reads.filter(|(_, arg)| !late[arg.at()] || at_once && carry[arg.at()]);
        let early: Vec<(Value, Value)> = early.collect();
        keep.begin(at_once, early.iter().map(|(_, arg)| *arg));
        for (reader, arg) in early {
            // Factors of whole rows are small and rounded for nothing.
            let same = size(program.shape(arg)) == size(program.shape(reader));
            let rounded = at_once && rounds[reader.at()] && same;
            let number = if rounded { Number::Bf16 } else { keep.reads(reader, Number::F32) };
            keep.mark(arg, number);
        }
    }
    let number = |value: Value| keep.number(value);
    let kept: Vec<Value> = keep.kept.iter().copied().collect();
    let share = |of: &dyn Fn(Value) -> bool, cut: &dyn Fn(Value) -> bool| {
        let results = program.outputs.iter().enumerate().filter(|(_, output)| of(**output));
        let results = results.map(|(k, output)| (*output, Made::Result(k)));
        let values = kept.iter().enumerate().filter(|(_, value)| of(**value) && !cut(**value));
        let values = values.map(|(i, value)| (*value, Made::Kept(i)));
        let all: Vec<(Value, Made)> = results.chain(values).collect();
        let outputs: Vec<Value> = all.iter().map(|(value, _)| *value).collect();
        let found = piece(program, &outputs, cut);
        let mut program = found.program;
        for node in &mut program.nodes {
            if let Op::Leaf(Leaf::Kept(i)) = &mut node.op {
                let value = found.kept[*i];
                *i = kept.iter().position(|other| *other == value).unwrap_or(*i);
            }
        }
        Share { program, made: all.into_iter().map(|(_, made)| made).collect() }
    };
    let is_kept = |value: Value| kept.contains(&value);
    let masks = masks(program, &|_| None);
    let early = |value: Value| !late[value.at()];
    Shares {
        prepare: share(&early, &|_| false),
        carry: share(&|value| carry[value.at()], &|value| early(value) && is_kept(value)),
        read: share(&|value| late[value.at()] && !carry[value.at()], &is_kept),
        masks: kept.iter().map(|value| masks[value.at()].clone()).collect(),
        inverses: (0..kept.len()).filter(|i| is_inverse(program, kept[*i])).collect(),
        kept: kept.iter().map(|value| (program.shape(*value).to_vec(), number(*value))).collect(),
    }
}

/// What results that are carried are made of, of what is `late`.
fn carried(program: &Program, late: &[bool], serial: &dyn Fn(usize) -> bool) -> Vec<bool> {
    let mut carry = vec![false; late.len()];
    let ends = program.outputs.iter().enumerate().filter(|(k, _)| serial(*k));
    ends.for_each(|(_, output)| carry[output.at()] = true);
    for at in (0..carry.len()).rev() {
        if carry[at] {
            program.nodes[at].args.iter().for_each(|arg| carry[arg.at()] = true);
        }
    }
    carry.iter_mut().zip(late).for_each(|(carry, late)| *carry &= late);
    carry
}

/// Bytes that move in the time in which a number is computed again, element by element.
const WORK: usize = 4;
/// Operations of matrix units in the time in which a byte moves.
const OPERATIONS: usize = 80;

/// Values that do nothing but add to results that `rounds` picks, perhaps scaled.
fn adds_to(program: &Program, rounds: &dyn Fn(usize) -> bool) -> Vec<bool> {
    let mut adds = vec![true; program.nodes.len()];
    let mut read = vec![false; program.nodes.len()];
    for (k, output) in program.outputs.iter().enumerate() {
        adds[output.at()] &= rounds(k);
        read[output.at()] = true;
    }
    for at in (0..adds.len()).rev() {
        let node = &program.nodes[at];
        let linear = match &node.op {
            Op::Binary(Binary::Add | Binary::Sub) | Op::Unary(Unary::Neg) => true,
            Op::MulSum(over) => over.is_empty(),
            op => is_view(op),
        };
        adds[at] &= read[at] && linear;
        let own = adds[at];
        for arg in &node.args {
            adds[arg.at()] &= own;
            read[arg.at()] = true;
        }
    }
    adds
}

/// Chooses the values that flow between shares.
struct Keep<'a> {
    program: &'a Program,
    /// Bytes of a number of a leaf.
    leaf: &'a dyn Fn(&Leaf) -> usize,
    /// Products that read more of their operands than bf16.
    whole: Vec<bool>,
    /// Of each value what moves where it is read in f32, and as an operand.
    bytes: Vec<[Option<usize>; 2]>,
    kept: BTreeSet<Value>,
    /// Whether the share at hand is of all chunks at once.
    at_once: bool,
    /// Leaves that it reads anyway.
    leaves: BTreeSet<Value>,
    /// Values that are read in f32, and as operands: kept, or computed again.
    read: [BTreeSet<Value>; 2],
}

/// The place of what is read so.
fn at(number: Number) -> usize {
    usize::from(number == Number::Bf16)
}

impl<'a> Keep<'a> {
    fn new(program: &'a Program, leaf: &'a dyn Fn(&Leaf) -> usize) -> Keep<'a> {
        Keep {
            program,
            leaf,
            whole: whole(program),
            bytes: vec![[None; 2]; program.nodes.len()],
            kept: BTreeSet::new(),
            at_once: false,
            leaves: BTreeSet::new(),
            read: [BTreeSet::new(), BTreeSet::new()],
        }
    }

    /// Goes on to the values that another share reads.
    fn begin(&mut self, at_once: bool, read: impl Iterator<Item = Value>) {
        self.at_once = at_once;
        self.bytes.fill([None; 2]);
        let program = self.program;
        let behind = read.map(|value| behind_views(program, value));
        let leaves = behind.filter(|value| matches!(program.node(*value).op, Op::Leaf(_)));
        self.leaves = leaves.collect();
    }

    /// How the numbers of a kept value are held: whoever reads them rounds them, or not.
    fn number(&self, value: Value) -> Number {
        if self.read[at(Number::F32)].contains(&value) { Number::F32 } else { Number::Bf16 }
    }

    /// How a value reads its arguments where it is itself read so.
    fn reads(&self, value: Value, number: Number) -> Number {
        let operands = is_matrix(self.program, value) && !self.whole[value.at()];
        let same = is_view(&self.program.node(value).op);
        if operands || same && number == Number::Bf16 { Number::Bf16 } else { Number::F32 }
    }

    /// Bytes that move so that another share has a value: written and read, or read to compute it again.
    fn cost(&mut self, value: Value, number: Number) -> usize {
        if let Some(known) = self.bytes[value.at()][at(number)] {
            return known;
        }
        let own = self.own(value, number);
        // What is kept for others has been written.
        let own = if self.kept.contains(&value) { own / 2 } else { own };
        let found = own.min(self.again(value, number));
        self.bytes[value.at()][at(number)] = Some(found);
        found
    }

    fn own(&self, value: Value, number: Number) -> usize {
        let node = self.program.node(value);
        match &node.op {
            // What chunks hand to each other lies in the device's memory anyway.
            Op::Leaf(Leaf::Carry(_) | Leaf::CarryCotangent(_)) => usize::MAX,
            _ => 2 * size(&node.shape) * number.bytes(),
        }
    }

    fn again(&mut self, value: Value, number: Number) -> usize {
        let program = self.program;
        let node = program.node(value);
        if let Op::Leaf(leaf) = &node.op {
            let known = self.at_once && self.leaves.contains(&value);
            return if known { 0 } else { size(&node.shape) * (self.leaf)(leaf) };
        }
        let matrix = is_matrix(program, value) && !self.whole[value.at()];
        let mask = self.at_once && matches!(node.op, Op::DecayMask(_));
        if heavy(program, value) && !matrix && !mask {
            return usize::MAX;
        }
        let reads = self.reads(value, number);
        let work = match &node.op {
            Op::MulSum(over) if matrix => {
                let terms: usize = over.iter().map(|axis| self.extent(node, *axis)).product();
                usize::from(self.at_once) * 2 * size(&node.shape) * terms / OPERATIONS
            }
            op if is_view(op) => 0,
            _ => size(&node.shape) * WORK,
        };
        node.args.iter().fold(work, |sum: usize, arg| sum.saturating_add(self.cost(*arg, reads)))
    }

    /// How long an axis is that a product sums over.
    fn extent(&self, node: &Node, axis: usize) -> usize {
        node.args.iter().map(|arg| self.program.shape(*arg)[axis]).max().unwrap_or(1)
    }

    /// Keeps a value that is read so, or what it is computed from again.
    fn mark(&mut self, value: Value, number: Number) {
        if !self.read[at(number)].insert(value) || self.kept.contains(&value) {
            return;
        }
        let node = self.program.node(value);
        let (own, again) = (self.own(value, number), self.again(value, number));
        // Of equals, what is an operand as it is copied, and what has fewer axes.
        let narrow = |arg: &Value| self.program.shape(*arg).len() > node.shape.len();
        let fewer = node.op == Op::Reshape && node.args.iter().all(narrow);
        let operand = number == Number::Bf16 && !is_view(&node.op);
        if own < again || own == again && (operand || fewer) {
            self.kept.insert(value);
        } else {
            let reads = self.reads(value, number);
            node.args.iter().for_each(|arg| self.mark(*arg, reads));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tile::Builder;

    #[test]
    fn shares_wait_for_what_they_must() {
        let mut b = Builder::new();
        let k = b.leaf(Leaf::Param(0), &[8, 4]);
        let s = b.leaf(Leaf::Carry(0), &[4, 4]);
        let square = b.matmul_t(k, k);
        let read = b.matmul(k, s);
        let mixed = b.matmul(square, read);
        let turned = b.transpose(k);
        let next = b.matmul(turned, read);
        let program = b.finish(&[mixed, next]);
        let carry = |leaf: &Leaf| matches!(leaf, Leaf::Carry(_));
        let bytes = |leaf: &Leaf| if carry(leaf) { 0 } else { 4 };
        let held = |_| Number::F32;
        let found = shares(&program, &carry, &|k| k == 1, true, &bytes, &held);
        // The product of keys is prepared; what was read of the state goes from the carry to the last share.
        assert_eq!(found.prepare.made.len(), 1);
        assert_eq!(found.carry.made.len(), 2);
        assert_eq!(found.carry.made[0], Made::Result(1));
        assert_eq!(found.read.made, [Made::Result(0)]);
        assert_eq!(found.kept.iter().map(|(shape, _)| size(shape)).collect::<Vec<_>>(), [64, 32]);
        let fused = shares(&program, &carry, &|k| k == 1, false, &bytes, &held);
        assert_eq!(fused.carry.made, [Made::Result(0), Made::Result(1)]);
        assert!(fused.read.made.is_empty());
    }
}
