//! The forms in which a recurrence runs, and the tensors it runs on.
//!
//! * [`recurrent`]: one token at a time, from the declaration as it stands. In f64 it is the truth.
//! * [`chunk`]: the derived program of many tokens at once, for scans and the normal form.
//! * [`attention`]: sums and softmax over the past, a block of queries at a time.
//! * [`halves`]: states, then sums over the past that read them.
//!
//! Which of them runs is said by [`crate::strategy`].

pub mod attention;
pub mod chunk;
pub mod elementwise;
pub mod halves;
mod head_packing;
pub mod recurrent;
pub mod rows;
mod segment;
mod stripes;
mod task;

pub use task::gather;

use crate::block::{self, Blocking};
use crate::elaborate::Recurrence;
use crate::normal::{self, Normal, Refusal};
use crate::strategy::{self, Strategy};

use crate::grad::by_leaves;
use crate::interpret::Plan;
use crate::memory;
use crate::num::Real;
use crate::tile::{Builder, Leaf, Stream, Value, size};

/// A tensor that a recurrence reads: `[rows, heads, …]` for inputs, `[heads, …]` for parameters.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a, R> {
    /// The values.
    pub data: &'a [R],
    /// Its own number of heads, a divisor of the recurrence's; 1 if all heads share it.
    pub heads: usize,
}

impl<R> Operand<'_, R> {
    /// Which of its own heads serves a head of the recurrence, which has `heads`.
    pub fn own(&self, head: usize, heads: usize) -> usize {
        head / (heads / self.heads)
    }
}

/// What a recurrence runs on. Sequences lie one after the other in the rows: a batch of equal
/// lengths and packed sequences are the same thing.
#[derive(Clone, Debug)]
pub struct Problem<'a, R> {
    /// The recurrence at its sizes.
    pub recurrence: &'a Recurrence,
    /// The number of heads.
    pub heads: usize,
    /// So many neighbouring heads add up to one of the outputs: 1, or the subheads of a head.
    pub sum: usize,
    /// Row at which each sequence starts, and the total: `[0, …, rows]`.
    pub bounds: Vec<usize>,
    /// Inputs in declared order; `count` values per token stand next to each other.
    pub inputs: Vec<Operand<'a, R>>,
    /// Parameters in declared order.
    pub params: Vec<Operand<'a, R>>,
    /// For each state its value before the first token, `[sequences, heads, …]`, where given.
    pub initial: Vec<Option<&'a [R]>>,
}

/// What comes out.
#[derive(Clone, Debug, Default)]
pub struct Outputs<R> {
    /// Per output `[rows, heads / sum, …]`.
    pub outs: Vec<Vec<R>>,
    /// Per state `[sequences, heads, …]`.
    pub finals: Vec<Vec<R>>,
}

/// Gradients, shaped like what they belong to.
#[derive(Clone, Debug, Default)]
pub struct Gradients<R> {
    /// Per input.
    pub inputs: Vec<Vec<R>>,
    /// Per parameter.
    pub params: Vec<Vec<R>>,
    /// Per state `[sequences, heads, …]`: of the value before the first token.
    pub initial: Vec<Vec<R>>,
}

impl<R: Real> Outputs<R> {
    /// Gives the memory back; see [`memory`].
    pub fn recycle(self) {
        self.outs.into_iter().chain(self.finals).for_each(memory::give);
    }
}

impl<R: Real> Gradients<R> {
    /// Gives the memory back; see [`memory`].
    pub fn recycle(self) {
        self.inputs.into_iter().chain(self.params).chain(self.initial).for_each(memory::give);
    }
}

/// What flows in from behind: per output and per final state, where there is any.
#[derive(Clone, Debug, Default)]
pub struct Cotangents<'a, R> {
    /// Per output `[rows, heads / sum, …]`.
    pub outs: Vec<Option<&'a [R]>>,
    /// Per state `[sequences, heads, …]`.
    pub finals: Vec<Option<&'a [R]>>,
}

impl<R: Real> Problem<'_, R> {
    /// Total rows.
    pub fn rows(&self) -> usize {
        self.bounds.last().copied().unwrap_or(0)
    }

    /// How many sequences.
    pub fn sequences(&self) -> usize {
        self.bounds.len().saturating_sub(1)
    }

    /// Copies an input's value for one row and head.
    pub(crate) fn input(&self, input: usize, row: usize, head: usize, to: &mut [R]) {
        let slot = &self.recurrence.inputs[input];
        let operand = self.inputs[input];
        let one = size(slot.one());
        let count = slot.count.unwrap_or(1);
        let own = operand.own(head, self.heads);
        for j in 0..count {
            let at = ((row * count + j) * operand.heads + own) * one;
            to[j * one..][..one].copy_from_slice(&operand.data[at..][..one]);
        }
    }

    /// Adds to the gradient of an input for one row and head.
    pub(crate) fn give_input(
        &self,
        grad: &mut [R],
        input: usize,
        row: usize,
        head: usize,
        d: &[R],
    ) {
        let slot = &self.recurrence.inputs[input];
        let heads = self.inputs[input].heads;
        let (one, count) = (size(slot.one()), slot.count.unwrap_or(1));
        let own = self.inputs[input].own(head, self.heads);
        for j in 0..count {
            let to = &mut grad[((row * count + j) * heads + own) * one..][..one];
            to.iter_mut().zip(&d[j * one..]).for_each(|(x, &d)| *x += d);
        }
    }
}

/// Adds entry by entry, as far as the shorter one goes.
pub(crate) fn add<R: Real>(to: &mut [R], d: &[R]) {
    to.iter_mut().zip(d).for_each(|(x, &d)| *x += d);
}

impl<R: Real> Cotangents<'_, R> {
    /// Fills a tile with the rows of one head of an output's gradient, which has `heads` of them;
    /// rows past `count` are zero.
    pub(crate) fn rows(
        &self,
        out: usize,
        one: usize,
        heads: usize,
        head: usize,
        first: usize,
        count: usize,
        to: &mut [R],
    ) {
        let Some(given) = self.outs.get(out).copied().flatten() else { return to.fill(R::ZERO) };
        for (row, to) in to.chunks_exact_mut(one).enumerate() {
            if row < count {
                to.copy_from_slice(&given[((first + row) * heads + head) * one..][..one]);
            } else {
                to.fill(R::ZERO);
            }
        }
    }
}

/// `[…, heads, one]` with every `sum` heads added up.
fn add_heads<R: Real>(wide: &[R], one: usize, sum: usize) -> Vec<R> {
    let mut sums = memory::zeros(wide.len() / sum);
    for (to, heads) in sums.chunks_exact_mut(one).zip(wide.chunks_exact(sum * one)) {
        heads.chunks_exact(one).for_each(|head| add(to, head));
    }
    sums
}

/// The gradient of [`add_heads`].
fn repeat_heads<R: Real>(d: &[R], one: usize, sum: usize) -> Vec<R> {
    d.chunks_exact(one).flat_map(|d| std::iter::repeat_n(d, sum)).flatten().copied().collect()
}

/// The gradient of the declared initial states by the parameters: the program, and the parameter of
/// each of its results.
pub(crate) fn init_backward(mut b: Builder, outputs: &[Value]) -> (Plan, Vec<usize>) {
    let states = outputs.iter().enumerate();
    let seeds = states.map(|(k, &output)| (output, Leaf::Cotangent(Stream::State(k))));
    let found = by_leaves(&mut b, seeds, |leaf| match leaf {
        Leaf::Param(i) => Some(*i),
        _ => None,
    });
    (Plan::new(&b.finish(&found.values)), found.targets)
}

/// Which form to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormKind {
    /// The fastest one that fits.
    Auto,
    /// One token at a time.
    Recurrent,
    /// Many tokens at a time; an error where the algebra does not allow it.
    Chunk,
}

/// A recurrence ready to run in one form.
#[derive(Clone, Debug)]
pub enum Form {
    /// One token at a time.
    Recurrent(Box<recurrent::Recurrent>),
    /// Many tokens at a time, from the normal form.
    Chunk(Box<chunk::Chunked>),
    /// Many tokens and heads at a time, states entry by entry.
    Scan(Box<Scan>),
    /// A block of queries at a time.
    Attention(Box<attention::Attention>),
    /// The states, then the sums over the past.
    Halves(Box<halves::Both>),
}

/// The chunk form of states whose entries never meet, for several heads at once.
#[derive(Clone, Debug)]
pub struct Scan {
    wide: Recurrence,
    lanes: usize,
    chunked: chunk::Chunked,
}

impl Scan {
    fn new<R: Real>(problem: &Problem<R>, blocking: Blocking) -> Result<Scan, Refusal> {
        let lanes = head_packing::lanes(problem, blocking.heads);
        let wide = head_packing::widen(problem, lanes);
        let tokens = block::tokens(&wide, &Strategy::Scan, blocking.tokens);
        let blocks = block::full_and_tail(&wide, &Strategy::Scan, tokens)?;
        let chunked = chunk::Chunked::new(&wide, blocks, true);
        Ok(Scan { wide, lanes, chunked })
    }
}

/// What the backward pass needs of the forward pass.
#[derive(Clone, Debug)]
pub enum Kept<R: Real> {
    /// Of the recurrent form.
    Recurrent(recurrent::Kept<R>),
    /// Of the chunk form.
    Chunk(chunk::Kept<R>),
    /// The attention form needs nothing.
    Attention,
    /// Of both halves.
    Halves(Box<halves::Kept<R>>),
}

impl Form {
    /// Prepares a form for a problem's heads. The error says why the wanted form does not fit.
    pub fn new<R: Real>(
        problem: &Problem<R>,
        kind: FormKind,
        blocking: Blocking,
    ) -> Result<Form, Refusal> {
        let r = problem.recurrence;
        let chunked = |normal: Box<Normal>| -> Result<Form, Refusal> {
            let (fades, strategy) = (normal.fades(r), Strategy::Chunk(normal));
            let tokens = block::tokens(r, &strategy, blocking.tokens);
            let blocks = block::full_and_tail(r, &strategy, tokens)?;
            Ok(Form::Chunk(Box::new(chunk::Chunked::new(r, blocks, fades))))
        };
        if kind != FormKind::Recurrent {
            match strategy::of(r) {
                Strategy::Scan => return Ok(Form::Scan(Box::new(Scan::new(problem, blocking)?))),
                Strategy::Chunk(normal) => return chunked(normal),
                Strategy::Attention(_) => {
                    let longest = problem.bounds.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(1);
                    let form = attention::Attention::new(r, longest, blocking.tokens)?;
                    return Ok(Form::Attention(Box::new(form)));
                }
                Strategy::Halves(halves) => {
                    let both = halves::Both::new(problem, *halves, blocking)?;
                    return Ok(Form::Halves(Box::new(both)));
                }
                Strategy::Recurrent(_) if kind == FormKind::Chunk => {
                    return chunked(Box::new(normal::extract(r)?));
                }
                Strategy::Recurrent(_) => {}
            }
        }
        Ok(Form::token_by_token(problem, blocking.heads))
    }

    /// The recurrent form, which every recurrence has.
    pub fn recurrent<R: Real>(problem: &Problem<R>) -> Form {
        Form::token_by_token(problem, None)
    }

    fn token_by_token<R: Real>(problem: &Problem<R>, together: Option<usize>) -> Form {
        let shared = |operands: &[Operand<R>]| -> Vec<bool> {
            operands.iter().map(|o| o.heads == 1 && problem.heads > 1).collect()
        };
        let (inputs, params) = (shared(&problem.inputs), shared(&problem.params));
        let together = together.unwrap_or(recurrent::MOST_HEADS).clamp(1, problem.heads.max(1));
        let r = problem.recurrence;
        Form::Recurrent(Box::new(recurrent::Recurrent::new(
            r,
            [problem.heads, together],
            &inputs,
            &params,
        )))
    }

    /// The name of the form.
    pub fn name(&self) -> &'static str {
        match self {
            Form::Recurrent(_) => "recurrent",
            Form::Chunk(_) => "chunk",
            Form::Scan(_) => "scan",
            Form::Attention(_) => "attention",
            Form::Halves(_) => "halves",
        }
    }

    /// Runs forward. With `keep`, the backward pass can follow.
    pub fn forward<R: Real>(&self, problem: &Problem<R>, keep: bool) -> (Outputs<R>, Kept<R>) {
        self.forward_from(problem, keep, 0)
    }

    /// The same where of each sequence only the outputs' rows from `first` on are asked for; the rows before are arbitrary.
    pub fn forward_from<R: Real>(
        &self,
        problem: &Problem<R>,
        keep: bool,
        first: usize,
    ) -> (Outputs<R>, Kept<R>) {
        let (mut outputs, kept) = match self {
            Form::Recurrent(form) => {
                let (outputs, kept) = form.forward(problem, keep);
                (outputs, Kept::Recurrent(kept))
            }
            // It adds the heads up by itself, row by row.
            Form::Scan(scan) => {
                let problem = head_packing::problem(problem, &scan.wide, scan.lanes);
                let (outputs, kept) = scan.chunked.forward(&problem, keep);
                (outputs, Kept::Chunk(kept))
            }
            Form::Chunk(chunk) => {
                let (outputs, kept) = chunk.forward(problem, keep);
                return (outputs, Kept::Chunk(kept));
            }
            // The second half adds up its heads.
            Form::Halves(both) => {
                let (outputs, kept) = both.forward(problem, keep);
                return (outputs, Kept::Halves(Box::new(kept)));
            }
            Form::Attention(form) => (form.forward_from(problem, first), Kept::Attention),
        };
        if problem.sum > 1 {
            for (out, slot) in outputs.outs.iter_mut().zip(&problem.recurrence.outs) {
                let summed = add_heads(out, size(&slot.shape), problem.sum);
                memory::give(std::mem::replace(out, summed));
            }
        }
        (outputs, kept)
    }

    /// Runs backward after [`Form::forward`] with `keep`.
    pub fn backward<R: Real>(
        &self,
        problem: &Problem<R>,
        kept: &Kept<R>,
        cotangents: &Cotangents<R>,
    ) -> Gradients<R> {
        self.backward_from(problem, kept, cotangents, 0)
    }

    /// The same where nothing flows into the outputs of each sequence before its row `first`: see [`Form::forward_from`].
    pub fn backward_from<R: Real>(
        &self,
        problem: &Problem<R>,
        kept: &Kept<R>,
        cotangents: &Cotangents<R>,
        first: usize,
    ) -> Gradients<R> {
        if let (Form::Chunk(chunk), Kept::Chunk(kept)) = (self, kept) {
            return chunk.backward(problem, kept, cotangents);
        }
        if let (Form::Halves(both), Kept::Halves(kept)) = (self, kept) {
            return both.backward(problem, kept, cotangents);
        }
        let wide: Vec<Option<Vec<R>>> = match problem.sum {
            1 => vec![],
            sum => {
                let slots = cotangents.outs.iter().zip(&problem.recurrence.outs);
                slots.map(|(d, slot)| Some(repeat_heads((*d)?, size(&slot.shape), sum))).collect()
            }
        };
        let repeated = Cotangents {
            outs: wide.iter().map(Option::as_deref).collect(),
            finals: cotangents.finals.clone(),
        };
        let cotangents = if problem.sum == 1 { cotangents } else { &repeated };
        match (self, kept) {
            (Form::Recurrent(form), Kept::Recurrent(kept)) => {
                form.backward(problem, kept, cotangents)
            }
            (Form::Scan(scan), Kept::Chunk(kept)) => {
                let problem = head_packing::problem(problem, &scan.wide, scan.lanes);
                scan.chunked.backward(&problem, kept, cotangents)
            }
            (Form::Attention(form), _) => form.backward_from(problem, cotangents, first),
            _ => unreachable!("a form's own forward pass comes before its backward pass"),
        }
    }
}
