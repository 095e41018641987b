//! What of a chunk's program waits for the chunk before it, and what does not.
//!
//! Problem: chunks follow each other because of the state that one hands to the next. Most of what they
//! compute does not depend on it, and most of the rest is not needed by the next chunk.
//!
//! Idea: mark the values that depend on what is carried. Those that do not are *prepared* for all chunks at once;
//! what the next carry needs is the *carry*, chunk after chunk; all else is *read*, for all chunks at once again.
//! Where one share reads values of another, these are kept in the device's memory: those through which the fewest
//! bytes flow, since what is cheap is computed again from what it is made of. So are products: an outer product of
//! a few rows is larger than the rows. What is read as an operand of products alone is kept as it is read, in bf16.

use std::collections::BTreeSet;

use crate::plan::Number;
use crate::plan::lower::{heavy, is_inverse, is_matrix, is_view, whole};
use crate::tile::mask::{Mask, masks};
use crate::tile::split::{depends, piece};
use crate::tile::{Leaf, Op, Program, Value, size};

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
/// of a leaf.
pub(super) fn shares(
    program: &Program,
    on: &dyn Fn(&Leaf) -> bool,
    serial: &dyn Fn(usize) -> bool,
    apart: bool,
    bytes: &dyn Fn(&Leaf) -> usize,
) -> Shares {
    let late = depends(program, on);
    let mut carry = late.clone();
    if apart {
        carry.fill(false);
        let ends = program.outputs.iter().enumerate().filter(|(k, _)| serial(*k));
        ends.for_each(|(_, output)| carry[output.at()] = true);
        for at in (0..carry.len()).rev() {
            if carry[at] {
                program.nodes[at].args.iter().for_each(|arg| carry[arg.at()] = true);
            }
        }
        carry.iter_mut().zip(&late).for_each(|(carry, late)| *carry &= late);
    }
    let mut keep = Keep::new(program, bytes);
    for (at, node) in program.nodes.iter().enumerate().filter(|(at, _)| late[*at]) {
        for arg in &node.args {
            if !late[arg.at()] || !carry[at] && carry[arg.at()] {
                keep.mark(*arg, keep.reads(Value(at as u32), Number::F32));
            }
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

/// Bytes that move in the time in which a number is computed again, element by element.
const WORK: usize = 4;

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
            read: [BTreeSet::new(), BTreeSet::new()],
        }
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
        let found = self.own(value, number).min(self.again(value, number));
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
            return size(&node.shape) * (self.leaf)(leaf);
        }
        let matrix = is_matrix(program, value) && !self.whole[value.at()];
        if heavy(program, value) && !matrix {
            return usize::MAX;
        }
        let reads = self.reads(value, number);
        let work = if matrix || is_view(&node.op) { 0 } else { size(&node.shape) * WORK };
        node.args.iter().fold(work, |sum: usize, arg| sum.saturating_add(self.cost(*arg, reads)))
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
        let found = shares(&program, &carry, &|k| k == 1, true, &bytes);
        // The product of keys is prepared; what was read of the state goes from the carry to the last share.
        assert_eq!(found.prepare.made.len(), 1);
        assert_eq!(found.carry.made.len(), 2);
        assert_eq!(found.carry.made[0], Made::Result(1));
        assert_eq!(found.read.made, [Made::Result(0)]);
        assert_eq!(found.kept.iter().map(|(shape, _)| size(shape)).collect::<Vec<_>>(), [64, 32]);
        let fused = shares(&program, &carry, &|k| k == 1, false, &bytes);
        assert_eq!(fused.carry.made, [Made::Result(0), Made::Result(1)]);
        assert!(fused.read.made.is_empty());
    }
}
