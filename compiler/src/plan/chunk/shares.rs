//! What of a chunk's program waits for the chunk before it, and what does not.
//!
//! Problem: chunks follow each other because of the state that one hands to the next. Most of what they
//! compute does not depend on it, and most of the rest is not needed by the next chunk.
//!
//! Idea: mark the values that depend on what is carried. Those that do not are *prepared* for all chunks at once;
//! what the next carry needs is the *carry*, chunk after chunk; all else is *read*, for all chunks at once again.
//! Where one share reads values of another, these are kept in the device's memory: those through which the fewest
//! bytes flow, since what is cheap is computed again from what it is made of.

use std::collections::BTreeSet;

use crate::plan::lower::heavy;
use crate::tile::split::{depends, piece};
use crate::tile::{Leaf, Op, Program, Stream, Value, size};

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
    /// Shapes of kept values.
    pub(super) kept: Vec<Vec<usize>>,
}

/// Cuts a program at what depends on the leaves that `on` picks. `serial` says which results are carried; with
/// `apart`, what only others need is a share of its own, else it is part of the carry.
pub(super) fn shares(
    program: &Program,
    on: &dyn Fn(&Leaf) -> bool,
    serial: &dyn Fn(usize) -> bool,
    apart: bool,
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
    let mut keep = Keep { program, bytes: vec![None; carry.len()], kept: BTreeSet::new() };
    for (at, node) in program.nodes.iter().enumerate().filter(|(at, _)| late[*at]) {
        for arg in &node.args {
            if !late[arg.at()] || !carry[at] && carry[arg.at()] {
                keep.mark(*arg);
            }
        }
    }
    let kept: Vec<Value> = keep.kept.into_iter().collect();
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
    let early = |value: Value| !late[value.at()];
    Shares {
        prepare: share(&early, &|_| false),
        carry: share(&|value| carry[value.at()], &|value| early(value) && is_kept(value)),
        read: share(&|value| late[value.at()] && !carry[value.at()], &is_kept),
        kept: kept.iter().map(|value| program.shape(*value).to_vec()).collect(),
    }
}

/// Chooses the values that flow between shares.
struct Keep<'a> {
    program: &'a Program,
    bytes: Vec<Option<usize>>,
    kept: BTreeSet<Value>,
}

impl Keep<'_> {
    /// Numbers that move so that another share has a value: written and read, or read to compute it again.
    fn cost(&mut self, value: Value) -> usize {
        if let Some(known) = self.bytes[value.at()] {
            return known;
        }
        let found = self.own(value).min(self.again(value));
        self.bytes[value.at()] = Some(found);
        found
    }

    fn own(&self, value: Value) -> usize {
        2 * size(self.program.shape(value))
    }

    fn again(&mut self, value: Value) -> usize {
        let program = self.program;
        let node = program.node(value);
        match &node.op {
            Op::Leaf(
                Leaf::Read(..)
                | Leaf::Param(_)
                | Leaf::Carry(_)
                | Leaf::CarryCotangent(_)
                | Leaf::Cotangent(Stream::Out(_)),
            ) => size(&node.shape),
            Op::Leaf(_) => 0,
            _ if heavy(program, value) => usize::MAX,
            _ => node.args.iter().fold(0, |sum: usize, arg| sum.saturating_add(self.cost(*arg))),
        }
    }

    /// Keeps a value, or what it is computed from again.
    fn mark(&mut self, value: Value) {
        if self.kept.contains(&value) {
            return;
        }
        if self.own(value) < self.again(value) {
            self.kept.insert(value);
        } else {
            let args = self.program.node(value).args.clone();
            args.into_iter().for_each(|arg| self.mark(arg));
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
        let found = shares(&program, &carry, &|k| k == 1, true);
        // The product of keys is prepared; what was read of the state goes from the carry to the last share.
        assert_eq!(found.prepare.made.len(), 1);
        assert_eq!(found.carry.made.len(), 2);
        assert_eq!(found.carry.made[0], Made::Result(1));
        assert_eq!(found.read.made, [Made::Result(0)]);
        assert_eq!(found.kept.iter().map(|shape| size(shape)).collect::<Vec<_>>(), [64, 32]);
        let fused = shares(&program, &carry, &|k| k == 1, false);
        assert_eq!(fused.carry.made, [Made::Result(0), Made::Result(1)]);
        assert!(fused.read.made.is_empty());
    }
}
