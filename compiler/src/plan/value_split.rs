//! Cuts the value axis of a chunk program.
//!
//! Problem: one block of threads per head leaves most of a GPU idle, and the state of a wide head
//! fits no shared memory.
//!
//! Idea: where the columns of the state never meet, a part of them is a program of its own. Axes of
//! the program's values that must be cut together form [classes](crate::tile::classes). The gradient of such a
//! part is linear in what flows in, so gradients of what the parts share add up.

use std::collections::HashMap;

use crate::tile::classes::Classes;
use crate::tile::{Leaf, Program, Stream};

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
    let mut classes = Classes::of(program, &|leaf| Whole::of(leaf, lifted));
    for (output, whole) in program.outputs.iter().zip(results) {
        classes.stands(*output, program.shape(*output).len(), *whole);
    }
    cut.iter().for_each(|axis| classes.join(cut[0], *axis));
    let class = classes.class(cut[0].0, cut[0].1)?;
    let mut whole = None;
    let narrow = classes.resized(program, class, |n| {
        (*whole.get_or_insert(n) == n && n.is_multiple_of(parts)).then(|| n / parts)
    })?;
    Some(ValueSplit { program: narrow, axis: classes.members(class).collect() })
}
