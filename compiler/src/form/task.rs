//! Work cut by sequence and head, for the forms that run one head of one sequence at a time.

use super::Problem;
use super::stripes::{Stripe, stripes};
use crate::elaborate::recurrence::Slot;
use crate::memory;
use crate::num::Real;
use crate::tile::{Int, size};

/// One sequence and one head of a problem.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a, 'p, R> {
    /// The whole problem.
    pub problem: &'a Problem<'p, R>,
    /// Which sequence.
    pub sequence: usize,
    /// Which head.
    pub head: usize,
}

impl<R: Real> Task<'_, '_, R> {
    /// Row of the sequence's first token.
    pub fn start(&self) -> usize {
        self.problem.bounds[self.sequence]
    }

    /// Tokens of the sequence.
    pub fn tokens(&self) -> usize {
        self.problem.bounds[self.sequence + 1] - self.start()
    }

    /// Where a `[sequences, heads, one]` tensor holds this task's part.
    pub fn place(&self, one: usize) -> std::ops::Range<usize> {
        let at = (self.sequence * self.problem.heads + self.head) * one;
        at..at + one
    }

    /// Fills each row of a tile with an input at the token that `token` gives for it; before the
    /// first token an input is zero.
    pub fn input(&self, input: usize, token: impl Fn(usize) -> i64, to: &mut [R]) {
        let p = self.problem;
        let slot = &p.recurrence.inputs[input];
        let (one, count) = (size(slot.one()), slot.count.unwrap_or(1));
        let (heads, data) = (p.inputs[input].heads, p.inputs[input].data);
        let own = p.inputs[input].own(self.head, p.heads);
        for (row, to) in to.chunks_exact_mut(count * one).enumerate() {
            let token = token(row);
            if token < 0 {
                to.fill(R::ZERO);
                continue;
            }
            let first = (self.start() + token as usize) * count * heads;
            for (j, to) in to.chunks_exact_mut(one).enumerate() {
                to.copy_from_slice(&data[(first + j * heads + own) * one..][..one]);
            }
        }
    }

    /// Fills a tile with this head's part of a parameter.
    pub fn param(&self, param: usize, to: &mut [R]) {
        let operand = self.problem.params[param];
        let own = operand.own(self.head, self.problem.heads);
        to.copy_from_slice(&operand.data[own * to.len()..][..to.len()]);
    }
}

/// A task's rows of a tensor `[rows, count, heads, one]` that all tasks write together.
pub struct Rows<'t, R> {
    stripe: Stripe<'t, R>,
    count: usize,
}

impl<R: Real> Rows<'_, R> {
    /// Calls `f` with the rows from token `first` on and their parts of `from`.
    fn beside(&mut self, first: usize, from: &[R], f: impl Fn(&mut [R], &[R])) {
        let one = self.stripe.width().max(1);
        for (k, from) in from.chunks_exact(one).enumerate() {
            f(self.stripe.piece(first * self.count + k), from);
        }
    }

    /// Writes the rows from token `first` on.
    pub fn put(&mut self, first: usize, from: &[R]) {
        self.beside(first, from, |to, from| to.copy_from_slice(from));
    }

    /// Adds to the rows from token `first` on.
    pub fn add(&mut self, first: usize, from: &[R]) {
        self.beside(first, from, |to, from| super::add(to, from));
    }

    /// Adds to the rows of an input what the tokens from `first` on give for the positions `at`
    /// that they read; `width` numbers each.
    pub fn add_read(&mut self, at: &Int, first: usize, from: &[R], width: usize) {
        if at.lag() == Some(0) {
            return self.add(first, from);
        }
        for (row, from) in from.chunks_exact(width).enumerate() {
            let token = at.eval((first + row) as i64, &[]);
            if token >= 0 {
                self.add(token as usize, from);
            }
        }
    }
}

/// Every task with its rows of tensors as wide as `slots` say. Of the `shares[i]` neighbouring heads
/// that write to the same rows of tensor `i`, the first gets them.
pub fn hand_out<'a, 'p, 't, R: Real>(
    problem: &'a Problem<'p, R>,
    tensors: &'t mut [Vec<R>],
    slots: &[Slot],
    shares: &[usize],
) -> Vec<(Task<'a, 'p, R>, Vec<Rows<'t, R>>)> {
    let heads = problem.heads;
    let mut tasks: Vec<(Task<R>, Vec<Rows<R>>)> = (0..problem.sequences())
        .flat_map(|sequence| (0..heads).map(move |head| (sequence, head)))
        .map(|(sequence, head)| (Task { problem, sequence, head }, Vec::new()))
        .collect();
    for ((tensor, slot), share) in tensors.iter_mut().zip(slots).zip(shares) {
        let (count, one) = (slot.count.unwrap_or(1), size(slot.one()));
        let mut rest = tensor.as_mut_slice();
        for tasks in tasks.chunks_mut(heads) {
            let length = tasks[0].0.tokens() * count * heads / share * one;
            let own;
            (own, rest) = rest.split_at_mut(length);
            let mut stripes = stripes(own, heads / share, one);
            for (at, (_, rows)) in tasks.iter_mut().enumerate() {
                let stripe = if at % share == 0 { stripes.next() } else { None };
                rows.push(Rows { stripe: stripe.unwrap_or_default(), count });
            }
        }
    }
    tasks
}

/// Tensors as wide as each slot for all rows and heads, of which `shares[i]` have the same part,
/// with arbitrary contents.
pub fn sheets<R: Real>(problem: &Problem<R>, slots: &[Slot], shares: &[usize]) -> Vec<Vec<R>> {
    let width = problem.rows() * problem.heads;
    let slots = slots.iter().zip(shares);
    slots.map(|(slot, share)| memory::take(width / share * size(&slot.shape))).collect()
}

/// The same filled with zeros, every head with a part of its own.
pub fn zero_sheets<R: Real>(problem: &Problem<R>, slots: &[Slot]) -> Vec<Vec<R>> {
    let mut sheets = sheets(problem, slots, &vec![1; slots.len()]);
    sheets.iter_mut().for_each(|sheet| sheet.fill(R::ZERO));
    sheets
}

/// The gradient of each input from that of every head: heads that share an input add up.
pub fn gather<R: Real>(problem: &Problem<R>, wide: Vec<Vec<R>>) -> Vec<Vec<R>> {
    let inputs = problem.inputs.iter().zip(&problem.recurrence.inputs);
    inputs
        .zip(wide)
        .map(|((operand, slot), wide)| {
            if wide.len() == operand.data.len() {
                return wide;
            }
            let (one, share) = (size(slot.one()), problem.heads / operand.heads);
            let mut sum = memory::zeros(operand.data.len());
            for (sum, wide) in sum.chunks_exact_mut(one).zip(wide.chunks_exact(share * one)) {
                wide.chunks_exact(one).for_each(|d| super::add(sum, d));
            }
            memory::give(wide);
            sum
        })
        .collect()
}

/// The gradient of each parameter from that of every task, in the order of the tasks.
pub fn gather_params<R: Real>(
    problem: &Problem<R>,
    parts: impl Iterator<Item = Vec<Vec<R>>>,
) -> Vec<Vec<R>> {
    let mut sums: Vec<Vec<R>> =
        problem.params.iter().map(|param| vec![R::ZERO; param.data.len()]).collect();
    for (task, params) in parts.enumerate() {
        let head = task % problem.heads;
        for ((sum, d), operand) in sums.iter_mut().zip(&params).zip(&problem.params) {
            let own = operand.own(head, problem.heads);
            super::add(&mut sum[own * d.len()..][..d.len()], d);
        }
    }
    sums
}

/// Fresh sums for the gradients of one head's parameters.
pub fn zero_params<R: Real>(problem: &Problem<R>) -> Vec<Vec<R>> {
    problem.recurrence.params.iter().map(|slot| vec![R::ZERO; size(&slot.shape)]).collect()
}
