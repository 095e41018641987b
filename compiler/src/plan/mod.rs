//! The kernel plan: what a GPU block does, step by step, before any text is printed.
//!
//! Problem: a tile program says what to compute, not where a tile lives, which thread makes which
//! element, or when threads must wait for each other.
//!
//! Idea: one block of threads runs one head of one sequence (and a part of its values), chunk after
//! chunk. Every step is done by all threads of the block together; tiles lie in shared memory, or in
//! a workspace of the block where that is full. Elementwise operations and views never get a
//! step of their own: they are expressions inside the step that needs them. Matrix products read
//! bf16 copies of their operands and accumulate in f32; around quotients a second copy holds what the
//! first leaves.
//!
//! Phases: [`value_split`] cuts the value axis so that several blocks share a head; [`lower`] turns a
//! program into steps; [`registers`] keeps states with the threads that make them, and [`pipeline`] copies what
//! a chunk reads ahead of it; [`place`] gives tiles their memory and [`sync`] inserts barriers; [`chunk`],
//! [`attention`] and [`rows`] put schedules of kernels together, `join` those of two halves, for a choice out of [`space`]; [`cost`] counts
//! what a kernel does; [`verify`] checks a schedule on its own; [`print`] shows it. `emit` prints it as CUDA C++ and decides nothing.

pub mod attention;
pub mod buffer;
pub mod chunk;
pub mod cost;
mod cut;
mod early;
pub mod groups;
pub mod index;
mod ir;
mod join;
mod late;
mod layout;
pub(crate) mod lower;
mod pipeline;
mod place;
pub mod print;
pub mod ranks;
mod registers;
mod rests;
pub mod rows;
mod schedule;
pub mod space;
mod step;
mod stored;
mod sync;
pub mod target;
mod tiles;
mod together;
mod value_split;
pub mod verify;

pub use buffer::{Access, Binding, Buffer, BufferId, Dim, Role};
pub use ir::*;
pub use tiles::*;

use crate::chunk::remember::{Remembered, remembered};
use crate::elaborate::Recurrence;
use crate::normal::Refusal;
use crate::strategy::Strategy;
use chunk::Body;
use space::{Choice, Given, Subject, space};
use target::Gpu;

/// Which pass of a recurrence is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Forward; what the way back needs is saved where memory for it is given.
    Forward,
    /// Backward.
    Backward,
    /// Forward in chunks of one token.
    Decode,
}

impl Pass {
    /// The name in texts and symbols.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::Backward => "backward",
            Pass::Decode => "decode",
        }
    }
}

/// What kernels are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Forward.
    Forward,
    /// Forward, keeping what the way back needs, and backward.
    Training,
    /// Forward, a token at a time.
    Decode,
}

/// What of the plans of a recurrence is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plans {
    /// Forward alone.
    pub forward: Given,
    /// Backward.
    pub backward: Given,
    /// Forward in training, where it is for chunks of the backward pass's length.
    pub saving: Given,
}

impl Plans {
    /// All in chunks or blocks of `tokens`, if that is given.
    pub fn of(tokens: Option<usize>) -> Plans {
        let given = Given::from(tokens);
        Plans { forward: given, backward: given, saving: given }
    }
}

/// What may be chosen about a pass of a recurrence, in order of preference: nothing of what runs in two halves.
pub fn choices(r: &Recurrence, strategy: &Strategy, pass: Pass) -> Result<Vec<Choice>, Refusal> {
    Ok(match strategy {
        Strategy::Scan => space(Body::Scan.subject(r, pass), Given::Nothing),
        Strategy::Chunk(normal) => space(Body::Normal(normal).subject(r, pass), Given::Nothing),
        Strategy::Recurrent(_) => {
            let Remembered { recurrence, declared } = remembered(r)?;
            space(Body::Token { declared }.subject(&recurrence, pass), Given::Nothing)
        }
        Strategy::Attention(_) => space(Subject::Pairs, Given::Nothing),
        Strategy::Halves(_) => vec![],
    })
}

/// What is launched for a purpose, forward, then backward, in `plans` as far as they are given. The error says
/// which kernels a strategy lacks, or what is too large.
pub fn schedules(
    r: &Recurrence,
    strategy: &Strategy,
    purpose: Purpose,
    gpu: Gpu,
    plans: Plans,
) -> Result<Vec<Schedule>, Refusal> {
    let of = |pass, given| schedule(r, strategy, pass, gpu, given);
    match (purpose, strategy) {
        (Purpose::Decode, strategy) if !strategy.decodes() => {
            let why = "sums over the past have no state to go on from, and no kernels that decode";
            Err(Refusal { span: None, why: why.into() })
        }
        (_, Strategy::Halves(halves)) => join::joined(r, halves, purpose, gpu, plans),
        (Purpose::Forward, _) => Ok(vec![of(Pass::Forward, plans.forward)?]),
        (Purpose::Decode, _) => Ok(vec![of(Pass::Decode, Given::Nothing)?]),
        (Purpose::Training, Strategy::Attention(_)) => {
            Ok(vec![of(Pass::Forward, plans.saving)?, of(Pass::Backward, plans.backward)?])
        }
        (Purpose::Training, _) => {
            // The way back reads the states that entered its own chunks, which most often are as long as can be: both
            // passes are planned at once, the forward one again where they are not.
            let saving = |tokens: usize| match plans.saving {
                Given::Whole(choice) if choice.chunk == tokens => plans.saving,
                _ => Given::Tokens(tokens),
            };
            let longest = first(r, strategy, Pass::Backward, plans.backward);
            let (back, forward) = rayon::join(
                || of(Pass::Backward, plans.backward),
                || longest.map(|tokens| (tokens, of(Pass::Forward, saving(tokens)))),
            );
            let back = back?;
            let tokens = back.kernels[0].chunk;
            let forward = match forward {
                Some((planned, forward)) if planned == tokens => forward?,
                _ => of(Pass::Forward, saving(tokens))?,
            };
            Ok(vec![forward, back])
        }
    }
}

/// Tokens of a chunk in the first plan that is tried.
fn first(r: &Recurrence, strategy: &Strategy, pass: Pass, given: Given) -> Option<usize> {
    let subject = match strategy {
        Strategy::Scan => Subject::Scan(r),
        Strategy::Chunk(normal) => Subject::Chunks(normal, pass),
        _ => return None,
    };
    space(subject, given).first().map(|choice| choice.chunk)
}

fn schedule(
    r: &Recurrence,
    strategy: &Strategy,
    pass: Pass,
    gpu: Gpu,
    given: Given,
) -> Result<Schedule, Refusal> {
    match strategy {
        Strategy::Scan => chunk::schedule(r, Body::Scan, pass, gpu, given),
        Strategy::Chunk(normal) => chunk::schedule(r, Body::Normal(normal), pass, gpu, given),
        Strategy::Recurrent(_) => {
            let Remembered { recurrence, declared } = remembered(r)?;
            chunk::schedule(&recurrence, Body::Token { declared }, pass, gpu, given)
        }
        Strategy::Attention(_) => attention::schedule(r, pass, gpu, given),
        Strategy::Halves(_) => {
            let why = "its states and its sums over the past have schedules of their own";
            Err(Refusal { span: None, why: why.into() })
        }
    }
}
