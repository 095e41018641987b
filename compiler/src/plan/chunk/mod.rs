//! The kernels of a recurrence in the normal form: forward, backward, and a token at a time.

mod backward;
pub(super) mod buffers;
mod by_carry;
mod maker;
mod shares;

use super::cost::cycles;
use super::lower::plannable;
use super::pipeline::pipeline;
use super::registers::registers;
use super::space::{Choice, Given, Split, Subject, choose, space};
use super::stored::stored;
use super::target::Gpu;
use super::value_split::{ValueSplit, Whole, split_values};
use super::{Pass, Schedule};
use crate::chunk::gradient::gradient;
use crate::chunk::token::of_token;
use crate::chunk::{Chunk, derive, scan};
use crate::elaborate::Recurrence;
use crate::normal::{Normal, Refusal};
use crate::tile::size;
use buffers::buffers;
pub use by_carry::Known;
use by_carry::by_carry;
use maker::Maker;
use shares::Made;

/// What a kernel runs for each chunk.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// The program derived from the normal form.
    Normal(&'a Normal),
    /// The program of states entry by entry.
    Scan,
    /// The program of one token, for recurrences without a normal form.
    Token {
        /// How many of its states are declared; the others remember what tokens read again.
        declared: usize,
    },
}

impl Body<'_> {
    /// What the choice of a plan depends on.
    pub fn subject<'a>(&'a self, r: &'a Recurrence, pass: Pass) -> Subject<'a> {
        match self {
            Body::Normal(normal) => Subject::Chunks(normal, pass),
            Body::Scan => Subject::Scan(r),
            Body::Token { .. } => Subject::Token(r),
        }
    }
}

/// What a pass is, by the best plan that fits a GPU. The error names what is too large.
pub fn schedule(
    r: &Recurrence,
    body: Body,
    pass: Pass,
    gpu: Gpu,
    given: Given,
) -> Result<Schedule, Refusal> {
    let given = match given {
        Given::Nothing | Given::Tokens(_) if pass == Pass::Decode => Given::Tokens(1),
        given => given,
    };
    let subject = body.subject(r, pass);
    let workspace = |made: &Schedule| made.kernels.iter().map(|kernel| kernel.workspace).sum();
    let time = |made: &Schedule| cycles(made, gpu);
    let mut known = Known::default();
    let make = |choice| build(r, body, pass, choice, gpu, &mut known);
    let best = choose(space(subject, given), workspace, time, make)?;
    best.map(|made| made.finish(gpu)).ok_or_else(|| {
        let largest = r.states.iter().max_by_key(|state| size(&state.shape));
        let what = largest.map_or(String::new(), |s| {
            format!(": state `{}` is {} = {:?}", s.name, s.text, s.shape)
        });
        let why = format!("no plan fits the shared memory of {}{what}", gpu.arch);
        Refusal { span: largest.map(|state| state.span), why }
    })
}

/// One plan, unfinished; `None` if it cannot be, since the values cannot be cut so or operands do not fit. Plans
/// of the same subject share what is `known`.
pub fn build(
    r: &Recurrence,
    body: Body,
    pass: Pass,
    choice: Choice,
    gpu: Gpu,
    known: &mut Known,
) -> Result<Option<Schedule>, Refusal> {
    let outs = (0..r.outs.len()).map(Whole::Out);
    let results = outs.chain((0..r.states.len()).map(Whole::State)).map(of_chunk);
    let results: Vec<(Whole, usize)> = results.collect();
    let (chunk, split) = match body {
        Body::Normal(normal) => {
            if choice.split != Split::Fused {
                return by_carry(r, normal, pass, choice, gpu, known);
            }
            // A chunk of one token is always full.
            let chunk = derive(r, normal, choice.chunk, choice.chunk > 1)?;
            let values = usize::from(!normal.states[0].transposed);
            let cut = [(Whole::State(0), values)];
            let body = split_values(&chunk.program, true, &results, &cut, choice.parts);
            (chunk, body)
        }
        Body::Scan => {
            let chunk = scan::derive(r, choice.chunk, choice.chunk > 1)?;
            let body = ValueSplit::not(chunk.program.clone());
            (chunk, Some(body))
        }
        Body::Token { .. } => {
            let chunk = of_token(r)?;
            let body = ValueSplit::not(chunk.program.clone());
            (chunk, Some(body))
        }
    };
    plannable(&chunk.program)?;
    let Some(split) = split else { return Ok(None) };
    let Some(init) = initial(r, &split, choice.parts) else { return Ok(None) };
    let buffers = buffers(r, body, pass, choice, &split.axis);
    let (program, tiles) = (chunk.program, vec![]);
    let maker = |body: ValueSplit, made: Vec<Made>| Maker {
        r,
        choice,
        buffers: &buffers,
        body,
        init,
        made,
        inverses: &[],
        masks: &[],
        tiles,
    };
    let all = |count: usize| (0..count).map(Made::Result).collect::<Vec<Made>>();
    let mut kernel = match pass {
        Pass::Backward => {
            // Parts differentiate their own programs: gradients of what they share add up.
            let own = Chunk { tokens: choice.chunk, program: split.program.clone() };
            let found = gradient(r, &own, &|_, _| false);
            let made = all(found.wrt.len());
            maker(ValueSplit { program: found.program, ..split }, made).backward(&found.wrt)
        }
        Pass::Forward | Pass::Decode => maker(split, all(program.outputs.len())).forward(),
    };
    kernel.name = format!("{}_{}", r.name, pass.name());
    registers(&mut kernel);
    stored(&mut kernel, &buffers);
    let fits = pipeline(&mut kernel, &buffers, choice.stages, gpu.shared);
    let name = kernel.name.clone();
    Ok(fits.then(|| Schedule { name, pass, buffers, kernels: vec![kernel] }))
}

/// A result of a chunk's program, and how many of its first axes are rows.
fn of_chunk(whole: Whole) -> (Whole, usize) {
    (whole, usize::from(matches!(whole, Whole::Out(_))))
}

/// The program of the states before the first token, cut as a body is.
fn initial(r: &Recurrence, body: &ValueSplit, parts: usize) -> Option<ValueSplit> {
    let states: Vec<(Whole, usize)> = body
        .axis
        .iter()
        .filter(|(whole, _)| matches!(whole, Whole::State(_)))
        .map(|(whole, axis)| (*whole, *axis))
        .collect();
    let results: Vec<(Whole, usize)> =
        (0..r.states.len()).map(Whole::State).map(of_chunk).collect();
    split_values(&r.init, false, &results, &states, parts)
}
