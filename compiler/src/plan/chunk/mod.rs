//! The kernels of a recurrence in the normal form: forward, backward, and a token at a time.

mod backward;
pub(super) mod buffers;
mod maker;

use super::lower::plannable;
use super::narrow::{Narrow, Whole, narrow};
use super::place::{keep_better, place};
use super::target::Gpu;
use super::{Pass, Schedule};
use crate::chunk::token::of_token;
use crate::chunk::{derive, scan};
use crate::elaborate::Recurrence;
use crate::normal::{Decay, Normal, Refusal};
use crate::tile::size;
use buffers::buffers;
use maker::Maker;

/// What may be chosen about a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Tokens of a chunk.
    pub chunk: usize,
    /// Blocks that share a head.
    pub parts: usize,
    /// Threads of a block.
    pub threads: usize,
    /// Whether products run on the matrix units. Not where a state passes through a product at
    /// every token: rounded each time, it would drift away.
    pub matrix_units: bool,
}

/// Micro-steps of a chunk with one decay per head, and with a decay per channel: its Gram products
/// cost the square of the chunk on the ordinary units.
const MICRO_STEPS: [usize; 2] = [64, 16];

/// Numbers that a state has at all rows of a scan's chunk together, at most: several such tiles share
/// a block's memory.
const SCAN_NUMBERS: usize = 1 << 11;

/// Values of a part at least: what fills the rows of a matrix fragment twice.
const PART_VALUES: usize = 32;
/// Values of a part at most, if there is a choice: more blocks fill the machine sooner.
const PART_WIDE: usize = 64;

/// What a kernel runs for each chunk.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// The program derived from the normal form.
    Normal(&'a Normal),
    /// The program of states entry by entry.
    Scan,
    /// The program of one token, for recurrences without a normal form.
    Token,
}

/// What a pass is, by the best plan that fits a GPU. The error names what is too large.
pub fn schedule(
    r: &Recurrence,
    body: Body,
    pass: Pass,
    gpu: Gpu,
    given: Option<usize>,
) -> Result<Schedule, Refusal> {
    let mut best: Option<Schedule> = None;
    let given = if pass == Pass::Decode { Some(1) } else { given };
    let choices = match body {
        Body::Normal(normal) => choices(normal, given),
        Body::Scan => scan_choices(r, given),
        Body::Token => vec![token_choice(r)],
    };
    for choice in choices {
        let Some(made) = build(r, body, pass, choice, gpu)? else { continue };
        if keep_better(&mut best, made, |made| made.kernels[0].working) {
            break;
        }
    }
    best.ok_or_else(|| {
        let largest = r.states.iter().max_by_key(|state| size(&state.shape));
        let what = largest
            .map_or(String::new(), |state| format!(": state `{}` is {}", state.name, state.text));
        let why = format!("no plan fits the shared memory of {}{what}", gpu.arch);
        Refusal { span: largest.map(|state| state.span), why }
    })
}

/// The only plan of a token's program: as many threads as its largest state has work for.
fn token_choice(r: &Recurrence) -> Choice {
    let largest = r.states.iter().map(|state| size(&state.shape)).max().unwrap_or(1);
    let threads = largest.next_multiple_of(32).clamp(32, 256);
    Choice { chunk: 1, parts: 1, threads, matrix_units: false }
}

/// Plans of a scan in the order in which they are tried: longer chunks for smaller states.
fn scan_choices(r: &Recurrence, given: Option<usize>) -> Vec<Choice> {
    let widest = r.states.iter().map(|state| size(&state.shape)).max().unwrap_or(1).max(1);
    let fits = |chunk: &usize| *chunk == 8 || chunk * widest <= SCAN_NUMBERS;
    let chunks = match given {
        Some(given) => vec![given],
        None => [256, 128, 64, 32, 16, 8].into_iter().filter(fits).collect(),
    };
    let of = |chunk: usize| {
        let threads = (chunk * widest).next_multiple_of(32).clamp(32, 256);
        Choice { chunk, parts: 1, threads, matrix_units: true }
    };
    chunks.into_iter().map(of).collect()
}

/// Plans in the order in which they are tried.
fn choices(normal: &Normal, given: Option<usize>) -> Vec<Choice> {
    let updates = normal.states.iter().flat_map(|state| &state.updates);
    let vector = updates.clone().any(|update| matches!(update.decay, Decay::Vector(_)));
    let micro = normal.states.iter().map(|s| s.updates.len()).max().unwrap_or(1);
    let steps = MICRO_STEPS[usize::from(vector)];
    let mut chunks: Vec<usize> = [64, 32, 16, 8].into_iter().filter(|n| *n <= steps).collect();
    chunks.iter_mut().for_each(|n| *n = (*n / micro).max(1));
    if let Some(given) = given {
        chunks = vec![given];
    }
    let values = normal.states.first().map_or(1, |state| state.v);
    let fits = |parts: &usize| {
        *parts == 1 || values.is_multiple_of(*parts) && values / parts >= PART_VALUES
    };
    let mut parts: Vec<usize> = [1, 2, 4, 8].into_iter().filter(fits).collect();
    parts.sort_by_key(|parts| (values / parts > PART_WIDE, *parts));
    let mut choices = Vec::new();
    for &chunk in &chunks {
        for &parts in &parts {
            let threads = if values / parts >= 64 || chunk >= 64 { 256 } else { 128 };
            choices.push(Choice { chunk, parts, threads, matrix_units: true });
        }
    }
    choices
}

/// One plan; `None` if it cannot be, since the values cannot be cut so or operands do not fit.
pub fn build(
    r: &Recurrence,
    body: Body,
    pass: Pass,
    choice: Choice,
    gpu: Gpu,
) -> Result<Option<Schedule>, Refusal> {
    let outs = (0..r.outs.len()).map(Whole::Out);
    let results: Vec<Whole> = outs.chain((0..r.states.len()).map(Whole::State)).collect();
    let (chunk, body) = match body {
        Body::Normal(normal) => {
            // A chunk of one token is always full.
            let chunk = derive(r, normal, choice.chunk, choice.chunk > 1)?;
            let values = usize::from(!normal.states[0].transposed);
            let cut = [(Whole::State(0), values)];
            let body = narrow(&chunk.program, true, &results, &cut, choice.parts);
            (chunk, body)
        }
        Body::Scan => {
            let chunk = scan::derive(r, choice.chunk, choice.chunk > 1)?;
            let body = Narrow::not(chunk.program.clone());
            (chunk, Some(body))
        }
        Body::Token => {
            let chunk = of_token(r)?;
            let body = Narrow::not(chunk.program.clone());
            (chunk, Some(body))
        }
    };
    plannable(&chunk.program)?;
    let Some(body) = body else { return Ok(None) };
    let states: Vec<(Whole, usize)> = body
        .axis
        .iter()
        .filter(|(whole, _)| matches!(whole, Whole::State(_)))
        .map(|(whole, axis)| (*whole, *axis))
        .collect();
    let initial: Vec<Whole> = (0..r.states.len()).map(Whole::State).collect();
    let Some(init) = narrow(&r.init, false, &initial, &states, choice.parts) else {
        return Ok(None);
    };
    let buffers = buffers(r, pass, choice, &body.axis);
    let maker = Maker { r, choice, buffers: &buffers, body, init, tiles: vec![] };
    let mut kernel = match pass {
        Pass::Backward => maker.backward(&chunk),
        Pass::Forward | Pass::Decode => maker.forward(),
    };
    kernel.name = format!("{}_{}", r.name, pass.name());
    let fits = place(&mut kernel, gpu.shared);
    let made = || {
        let name = kernel.name.clone();
        Schedule { name, pass, buffers, kernels: vec![kernel] }.finish()
    };
    Ok(fits.then(made))
}
