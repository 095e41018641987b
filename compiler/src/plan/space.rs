//! What may be chosen about a kernel, and the choice among plans.
//!
//! A place in the space is a [`Choice`]. [`space`] lists those that make sense for a subject, longer chunks
//! first; [`choose`] plans those of one length after the other, until one needs no workspace, and takes the one
//! that takes least time.

use std::fmt::{self, Display, Formatter};

use super::Pass;
use super::lower::WARP;
use crate::elaborate::Recurrence;
use crate::normal::{Decay, Normal, Refusal};
use crate::tile::{Leaf, Op, Program, size};

/// What products run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The ordinary units, in f32.
    Fma,
    /// The matrix units: operands in bf16, sums in f32.
    Mma,
}

/// What kernels a pass of a recurrence in the normal form is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// One, chunk after chunk.
    Fused,
    /// What does not depend on what chunks hand to each other for all of them at once, the rest chunk after
    /// chunk.
    Carry,
    /// The same, and what chunks do not hand on for all of them at once again.
    Read,
}

/// What may be chosen about a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Tokens of a chunk, of a block's own side, or rows of a group.
    pub chunk: usize,
    /// Tokens of a block of the other side.
    pub other: usize,
    /// Blocks of threads that share a head, each with a part of its values.
    pub parts: usize,
    /// Warps of a block.
    pub warps: usize,
    /// What products run on.
    pub unit: Unit,
    /// How many rounds of a loop have copies of what they read at most, the present one included; 0 where steps
    /// read the device's memory themselves.
    pub stages: usize,
    /// What kernels there are.
    pub split: Split,
}

impl Display for Choice {
    /// `chunk 64, parts 2, warps 8, stages 1, carry`: what tells it from others of its space.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Choice { chunk, other, parts, warps, unit, stages, split } = self;
        write!(f, "chunk {chunk}")?;
        if other != chunk {
            write!(f, " by {other}")?;
        }
        write!(f, ", parts {parts}, warps {warps}")?;
        if *unit == Unit::Fma {
            f.write_str(", f32")?;
        }
        let split = match split {
            Split::Fused => "fused",
            Split::Carry => "carry",
            Split::Read => "carry and read",
        };
        write!(f, ", stages {stages}, {split}")
    }
}

impl Choice {
    /// Threads of a block.
    pub fn threads(&self) -> usize {
        self.warps * WARP
    }
}

/// What of a choice is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Given {
    /// Nothing.
    #[default]
    Nothing,
    /// Tokens of a chunk or block.
    Tokens(usize),
    /// All of it.
    Whole(Choice),
}

impl From<Option<usize>> for Given {
    fn from(tokens: Option<usize>) -> Given {
        tokens.map_or(Given::Nothing, Given::Tokens)
    }
}

/// What is planned, as far as the choice depends on it.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// Chunks of a recurrence in the normal form.
    Chunks(&'a Normal, Pass),
    /// Chunks of states entry by entry.
    Scan(&'a Recurrence),
    /// One token after the other.
    Token(&'a Recurrence),
    /// Blocks of queries against blocks of keys.
    Pairs,
    /// Rows of a pointwise program; `single` where there is one row only.
    Rows {
        /// The program of one row.
        program: &'a Program,
        /// Whether its output has a single row.
        single: bool,
        /// Rows that a block computes beside its own.
        halo: usize,
    },
}

/// Micro-steps of a chunk with one decay per head, and with a decay per channel: its Gram products
/// cost the square of the chunk on the ordinary units.
const MICRO_STEPS: usize = 64;
const CHANNEL_MICRO_STEPS: usize = 16;
/// Numbers that a state has at all rows of a scan's chunk together, at most: several such tiles share
/// a block's memory.
const SCAN_NUMBERS: usize = 1 << 11;
/// Values of a part at least: what fills the rows of a matrix fragment twice.
const PART_VALUES: usize = 32;
/// Values of a part at most, if there is a choice: more blocks fill the machine sooner.
const PART_WIDE: usize = 64;
/// Tokens of a block of attention and of the blocks that it meets.
const PAIRS: [(usize, usize); 5] = [(64, 64), (64, 32), (32, 32), (32, 16), (16, 16)];
/// Numbers of the widest value that a group of rows should hold, and rows of it at most.
const ROW_NUMBERS: usize = 8192;
const MOST_ROWS: usize = 64;
/// Numbers of a row at least that a block has where rows are cut: what a few reads of whole sectors bring.
const PART_CHANNELS: usize = 128;
/// Warps of a block with much to do, and with little.
const WARPS: usize = 8;
const FEW_WARPS: usize = 4;

/// Rounds that have copies of what they read, where there is room.
const STAGES: usize = 2;

/// What may be chosen, in order of preference, of what is not given.
pub fn space(subject: Subject, given: Given) -> Vec<Choice> {
    let tokens = match given {
        Given::Nothing => None,
        Given::Tokens(tokens) => Some(tokens),
        Given::Whole(choice) => return vec![choice],
    };
    let plain = |chunk| Choice {
        chunk,
        other: chunk,
        parts: 1,
        warps: WARPS,
        unit: Unit::Mma,
        stages: 0,
        split: Split::Fused,
    };
    match subject {
        Subject::Chunks(normal, pass) => chunks(normal, pass, tokens),
        Subject::Scan(r) => {
            let widest = widest_state(r);
            let fits = |chunk: &usize| *chunk == 8 || chunk * widest <= SCAN_NUMBERS;
            let chunks = lengths(tokens, [256, 128, 64, 32, 16, 8].into_iter().filter(fits));
            let of = |chunk: usize| Choice { warps: warps_for(chunk * widest), ..plain(chunk) };
            chunks.into_iter().map(of).collect()
        }
        // A state that passes through a product at every token would drift, rounded each time.
        Subject::Token(r) => {
            vec![Choice { warps: warps_for(widest_state(r)), unit: Unit::Fma, ..plain(1) }]
        }
        Subject::Pairs => match tokens {
            Some(tokens) => vec![plain(tokens)],
            None => PAIRS.map(|(own, other)| Choice { other, ..plain(own) }).to_vec(),
        },
        Subject::Rows { program, single, halo } => rows(program, single, halo, plain),
    }
}

/// Groups of rows: narrow ones first, where a block computes more rows than its own.
fn rows(
    program: &Program,
    single: bool,
    halo: usize,
    plain: impl Fn(usize) -> Choice,
) -> Vec<Choice> {
    // What all rows share takes no room in a group of them.
    let own = program.nodes.iter().filter(|n| !matches!(n.op, Op::Leaf(Leaf::Param(_))));
    let widest = own.map(|n| size(&n.shape)).max().unwrap_or(1).max(1);
    let of = |parts: usize| {
        let most = (ROW_NUMBERS * parts / widest).clamp(1, MOST_ROWS).next_power_of_two();
        let halves = std::iter::successors(Some(most), |n| (*n > 1).then_some(n / 2));
        let all = halves.filter(|n| *n == 1 || !single);
        all.map(|chunk| Choice { parts, ..plain(chunk) }).collect::<Vec<_>>()
    };
    let output = program.outputs.first().and_then(|output| program.shape(*output).first());
    let narrow = (halo > 0 && !single).then(|| {
        let parts = std::iter::successors(Some(2), |n| Some(2 * n));
        let parts = parts.take_while(|n| output.is_some_and(|axis| axis.is_multiple_of(*n)));
        parts.take_while(|n| widest / n >= PART_CHANNELS).last()
    });
    narrow.flatten().into_iter().chain([1]).flat_map(of).collect()
}

fn lengths(tokens: Option<usize>, others: impl Iterator<Item = usize>) -> Vec<usize> {
    tokens.map_or_else(|| others.collect(), |tokens| vec![tokens])
}

fn widest_state(r: &Recurrence) -> usize {
    r.states.iter().map(|state| size(&state.shape)).max().unwrap_or(1).max(1)
}

/// A thread for each element, as far as a block goes.
fn warps_for(elements: usize) -> usize {
    elements.div_ceil(WARP).clamp(1, WARPS)
}

fn chunks(normal: &Normal, pass: Pass, tokens: Option<usize>) -> Vec<Choice> {
    let updates = normal.states.iter().flat_map(|state| &state.updates);
    let channels = updates.clone().any(|update| matches!(update.decay, Decay::Vector(_)));
    let micro = normal.states.iter().map(|s| s.updates.len()).max().unwrap_or(1);
    let steps = if channels { CHANNEL_MICRO_STEPS } else { MICRO_STEPS };
    let lengths = [64, 32, 16, 8].into_iter().filter(|n| *n <= steps);
    let lengths = self::lengths(tokens, lengths.map(|n| (n / micro).max(1)));
    let values = normal.states.first().map_or(1, |state| state.v);
    let fits = |parts: &usize| {
        *parts == 1 || values.is_multiple_of(*parts) && values / parts >= PART_VALUES
    };
    let mut all_parts: Vec<usize> = [1, 2, 4, 8].into_iter().filter(fits).collect();
    all_parts.sort_by_key(|parts| (values / parts > PART_WIDE, *parts));
    let mut choices = Vec::new();
    for &chunk in &lengths {
        for &parts in &all_parts {
            let much = values / parts >= 64 || chunk >= 64;
            let warps = if much { WARPS } else { FEW_WARPS };
            let stages = if chunk > 1 { STAGES } else { 0 };
            let splits: &[Split] = match pass {
                _ if chunk == 1 => &[Split::Fused],
                Pass::Forward => &[Split::Carry, Split::Read, Split::Fused],
                Pass::Backward => &[Split::Read, Split::Carry, Split::Fused],
                Pass::Decode => &[Split::Fused],
            };
            choices.extend(splits.iter().map(|&split| Choice {
                chunk,
                other: chunk,
                parts,
                warps,
                unit: Unit::Mma,
                stages,
                split,
            }));
        }
    }
    choices
}

/// The best plan. `make` plans a choice, if it can be; nothing where none can.
pub fn choose<T>(
    choices: Vec<Choice>,
    workspace: impl Fn(&T) -> usize,
    time: impl Fn(&T) -> usize,
    mut make: impl FnMut(Choice) -> Result<Option<T>, Refusal>,
) -> Result<Option<T>, Refusal> {
    let mut best: Option<((usize, usize), T)> = None;
    let (mut length, mut done) = (None, false);
    for choice in choices {
        let own = Some((choice.chunk, choice.other));
        if done && length != own {
            break;
        }
        length = own;
        let Some(made) = make(choice)? else { continue };
        let rank = (time(&made), workspace(&made));
        done |= rank.1 == 0;
        if best.as_ref().is_none_or(|(least, _)| rank < *least) {
            best = Some((rank, made));
        }
    }
    Ok(best.map(|(_, made)| made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_needs_no_workspace_is_taken() {
        let choices = || space(Subject::Pairs, Given::Nothing);
        let planned = |needs: [usize; 5]| {
            let mut needs = needs.into_iter();
            let mut made = Vec::new();
            let chosen = choose(
                choices(),
                |n: &usize| *n,
                |n: &usize| *n,
                |choice| {
                    made.push(choice.chunk);
                    Ok(needs.next())
                },
            );
            (chosen.ok().flatten(), made.len())
        };
        assert_eq!(planned([3, 0, 1, 0, 0]), (Some(0), 2));
        assert_eq!(planned([3, 2, 2, 4, 5]), (Some(2), 5));
    }
}
