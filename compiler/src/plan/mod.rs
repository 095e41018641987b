//! The kernel plan: what a GPU block does, step by step, before any text is printed.
//!
//! Problem: a tile program says what to compute, not where a tile lives, which thread makes which
//! element, or when threads must wait for each other.
//!
//! Idea: one block of threads runs one head of one sequence (and a part of its values), chunk after
//! chunk. Every step is done by all threads of the block together; tiles lie in shared memory, or in
//! a working memory of the block where that is full. Elementwise operations and views never get a
//! step of their own: they are expressions inside the step that needs them. Matrix products read
//! bf16 copies of their operands and accumulate in f32; around quotients a second copy holds what the
//! first leaves.
//!
//! Phases: [`narrow`] cuts the value axis so that several blocks share a head; [`lower`] turns a
//! program into steps; [`place`] gives tiles their memory and inserts barriers; [`chunk`] puts the
//! kernels of a recurrence together and chooses among plans; [`verify`] checks a plan on its own;
//! [`print`] shows it. `emit` prints it as CUDA C++.

pub mod buffer;
pub mod chunk;
mod cut;
pub mod index;
mod ir;
pub(crate) mod lower;
mod narrow;
pub mod past;
mod place;
pub mod print;
pub mod rows;
pub mod target;
pub mod verify;

pub use buffer::{Access, Binding, Buffer, BufferId, Dim, Role};
pub use ir::*;

use crate::chunk::token::of_token;
use crate::elaborate::Recurrence;
use crate::normal::{Normal, Refusal};
use crate::strategy::{self, Strategy};
use chunk::Body;

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

/// Which kernels a recurrence has.
#[derive(Clone, Debug)]
pub enum Family {
    /// Those of states entry by entry, chunk by chunk.
    Scan,
    /// Those of the normal form, chunk by chunk.
    Normal(Box<Normal>),
    /// Those of sums over the past, block by block.
    Past,
    /// Those of the program of one token, token by token.
    Token,
}

impl Family {
    /// The kernels that fit a recurrence; the error says why there are none.
    pub fn of(r: &Recurrence) -> Result<Family, Refusal> {
        Family::by(r, &strategy::of(r))
    }

    /// The kernels of a strategy. Which kernels lack what is said here.
    pub fn by(r: &Recurrence, strategy: &Strategy) -> Result<Family, Refusal> {
        match strategy {
            Strategy::Scan => Ok(Family::Scan),
            Strategy::Chunk(normal) => Ok(Family::Normal(normal.clone())),
            Strategy::Attention(_) => Ok(Family::Past),
            Strategy::Recurrent(_) => of_token(r).map(|_| Family::Token),
        }
    }

    /// Its passes.
    pub fn passes(&self) -> &'static [Pass] {
        match self {
            Family::Scan | Family::Normal(_) | Family::Token => {
                &[Pass::Forward, Pass::Backward, Pass::Decode]
            }
            Family::Past => &[Pass::Forward, Pass::Backward],
        }
    }

    /// What is launched for a purpose, in chunks or blocks of `tokens` if given: forward, then backward.
    pub fn schedules(
        &self,
        r: &Recurrence,
        purpose: Purpose,
        gpu: target::Gpu,
        tokens: Option<usize>,
    ) -> Result<Vec<Schedule>, Refusal> {
        let of = |pass, tokens| self.schedule(r, pass, gpu, tokens);
        match (purpose, self) {
            (Purpose::Forward, _) => Ok(vec![of(Pass::Forward, tokens)?]),
            (Purpose::Decode, Family::Past) => {
                let why = "it has no state to go on from, and no kernels that decode";
                Err(Refusal { span: None, why: why.into() })
            }
            (Purpose::Decode, _) => Ok(vec![of(Pass::Decode, None)?]),
            (Purpose::Training, Family::Past) => {
                Ok(vec![of(Pass::Forward, tokens)?, of(Pass::Backward, tokens)?])
            }
            (Purpose::Training, _) => {
                // The way back reads the states that entered its own chunks.
                let back = of(Pass::Backward, tokens)?;
                Ok(vec![of(Pass::Forward, Some(back.kernels[0].chunk))?, back])
            }
        }
    }

    /// What a pass is, in chunks or blocks of `tokens` if given. The error names what is too large.
    pub fn schedule(
        &self,
        r: &Recurrence,
        pass: Pass,
        gpu: target::Gpu,
        tokens: Option<usize>,
    ) -> Result<Schedule, Refusal> {
        match self {
            Family::Normal(normal) => chunk::schedule(r, Body::Normal(normal), pass, gpu, tokens),
            Family::Scan => chunk::schedule(r, Body::Scan, pass, gpu, tokens),
            Family::Token => chunk::schedule(r, Body::Token, pass, gpu, tokens),
            Family::Past => past::schedule(r, pass, gpu, tokens),
        }
    }
}
