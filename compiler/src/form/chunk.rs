//! The chunk form: many tokens at a time, one task per sequence and head.
//!
//! Full chunks run the plain program; the last one of a sequence, if it is shorter, runs the masked
//! one, its padding rows filled with copies of the last token so that every number stays ordinary.

use rayon::prelude::*;

use super::task::{Rows, Task, gather, gather_params, hand_out, sheets, zero_params};
use super::{Cotangents, Gradients, Outputs, Problem, add, init_backward};
use crate::chunk::{derive, result_stream};
use crate::elaborate::Recurrence;
use crate::grad::by_leaves;
use crate::interpret::{Machine, Plan};
use crate::normal::{Normal, Refusal};
use crate::num::Real;
use crate::tile::{Builder, Int, Leaf, Program, Stream, size};

/// What a gradient belongs to.
#[derive(Clone, Debug)]
enum Target {
    Input(usize, Int),
    Param(usize),
    Carry(usize),
}

/// Forward and backward programs of one chunk.
#[derive(Clone, Debug)]
struct Programs {
    forward: Plan,
    backward: Plan,
    targets: Vec<Target>,
}

/// The chunk form of a recurrence.
#[derive(Clone, Debug)]
pub struct Chunked {
    tokens: usize,
    full: Programs,
    tail: Programs,
    init: Plan,
    init_params: (Plan, Vec<usize>),
}

/// The states entering each chunk: per task, per chunk, all states one after the other.
#[derive(Clone, Debug)]
pub struct Kept<R> {
    carries: Vec<Vec<R>>,
}

impl Chunked {
    /// Derives the programs for chunks of `tokens` tokens.
    pub fn new(r: &Recurrence, normal: &Normal, tokens: usize) -> Result<Chunked, Refusal> {
        let programs = |masked| -> Result<Programs, Refusal> {
            let chunk = derive(r, normal, tokens, masked)?;
            let forward = Plan::lending(&chunk.program, &is_state);
            let (backward, targets) = backward(r, Builder::extending(chunk.program));
            Ok(Programs { forward, backward, targets })
        };
        Ok(Chunked {
            tokens,
            full: programs(false)?,
            tail: programs(true)?,
            init: Plan::new(&r.init),
            init_params: init_backward(Builder::extending(r.init.clone()), &r.init.outputs),
        })
    }

    /// Runs forward. With `keep`, the backward pass can follow.
    pub fn forward<R: Real>(&self, problem: &Problem<R>, keep: bool) -> (Outputs<R>, Kept<R>) {
        let r = problem.recurrence;
        let mut outs = sheets(problem, &r.outs);
        let done: Vec<(Vec<R>, Vec<R>)> = hand_out(problem, &mut outs, &r.outs)
            .into_par_iter()
            .map_init(
                || (Machine::new(&self.full.forward), None),
                |machines, (task, mut rows)| {
                    Head { form: self, task }.forward(machines, &mut rows, keep)
                },
            )
            .collect();
        let finals = by_state(r, done.iter().map(|(state, _)| state.as_slice()));
        let carries = done.into_iter().map(|(_, carries)| carries).collect();
        (Outputs { outs, finals }, Kept { carries })
    }

    /// Runs backward after [`Chunked::forward`] with `keep`.
    pub fn backward<R: Real>(
        &self,
        problem: &Problem<R>,
        kept: &Kept<R>,
        cotangents: &Cotangents<R>,
    ) -> Gradients<R> {
        let r = problem.recurrence;
        let mut wide = sheets(problem, &r.inputs);
        let done: Vec<(Vec<Vec<R>>, Vec<R>)> = hand_out(problem, &mut wide, &r.inputs)
            .into_par_iter()
            .zip(&kept.carries)
            .map_init(
                || (Machine::new(&self.full.backward), None),
                |machines, ((task, mut rows), carries)| {
                    Head { form: self, task }.backward(machines, &mut rows, carries, cotangents)
                },
            )
            .collect();
        let initial = by_state(r, done.iter().map(|(_, carry)| carry.as_slice()));
        let params = gather_params(problem, done.into_iter().map(|(params, _)| params));
        Gradients { inputs: gather(problem, wide), params, initial }
    }
}

/// Per state `[tasks, …]` from each task's states one after the other.
fn by_state<'s, R: Real>(
    r: &Recurrence,
    tasks: impl Iterator<Item = &'s [R]> + Clone,
) -> Vec<Vec<R>> {
    let mut start = 0;
    r.states
        .iter()
        .map(|slot| {
            let range = start..start + size(&slot.shape);
            start = range.end;
            tasks.clone().flat_map(|all| &all[range.clone()]).copied().collect()
        })
        .collect()
}

/// The gradient program of a chunk, for people.
pub fn gradient_program(r: &Recurrence, chunk: &crate::chunk::Chunk) -> Program {
    backward_program(r, Builder::extending(chunk.program.clone())).0
}

fn backward(r: &Recurrence, b: Builder) -> (Plan, Vec<Target>) {
    let (program, targets) = backward_program(r, b);
    (Plan::lending(&program, &is_state), targets)
}

/// States are the largest leaves, and dense: they are read where they are kept.
fn is_state(leaf: &Leaf) -> bool {
    matches!(leaf, Leaf::Carry(_) | Leaf::CarryCotangent(_))
}

/// The gradient of a chunk by its leaves.
fn backward_program(r: &Recurrence, mut b: Builder) -> (Program, Vec<Target>) {
    let outputs = b.program.outputs.clone().into_iter().enumerate();
    let seeds = outputs.map(|(k, output)| match result_stream(r, k) {
        Stream::State(state) => (output, Leaf::CarryCotangent(state)),
        stream => (output, Leaf::Cotangent(stream)),
    });
    let found = by_leaves(&mut b, seeds, |leaf| match leaf {
        Leaf::Read(Stream::Input(i), at) => Some(Target::Input(*i, at.clone())),
        Leaf::Param(i) => Some(Target::Param(*i)),
        Leaf::Carry(state) => Some(Target::Carry(*state)),
        _ => None,
    });
    (b.finish(&found.values), found.targets)
}

/// One sequence and one head in the chunk form.
struct Head<'a, 'p, R> {
    form: &'a Chunked,
    task: Task<'a, 'p, R>,
}

/// Memory of the program of full chunks, and of the tail's once it is needed.
type Machines<R> = (Machine<R>, Option<Machine<R>>);

impl<R: Real> Head<'_, '_, R> {
    /// First token and number of tokens of each chunk.
    fn chunks(&self) -> Vec<(usize, usize)> {
        let (tokens, c) = (self.task.tokens(), self.form.tokens);
        (0..tokens.div_ceil(c)).map(|i| (i * c, c.min(tokens - i * c))).collect()
    }

    /// Fills a leaf that the states have no part in.
    fn feed(&self, leaf: &Leaf, first: usize, count: usize, to: &mut [R]) {
        let token = |row: usize| (first + row.min(count - 1)) as i64;
        match leaf {
            Leaf::Read(Stream::Input(i), at) => match at.lag() {
                Some(lag) => self.task.input(*i, |row| token(row) - lag, to),
                None => self.task.input(*i, |row| at.eval(token(row), &[]), to),
            },
            Leaf::Param(i) => self.task.param(*i, to),
            Leaf::Number(at) => {
                for (row, x) in to.iter_mut().enumerate() {
                    *x = R::of(at.eval(token(row), &[]) as f64);
                }
            }
            Leaf::Head => to.fill(R::of(self.task.head as f64)),
            Leaf::Valid => {
                to[..count].fill(R::ONE);
                to[count..].fill(R::ZERO);
            }
            other => unreachable!("{other} is filled elsewhere"),
        }
    }

    /// All states before the first token, one after the other.
    fn initial(&self) -> Vec<R> {
        let plan = &self.form.init;
        let mut machine = Machine::new(plan);
        plan.run(&mut machine, 0, &[], &mut |leaf, _, to| self.feed(leaf, 0, 1, to));
        let mut carry = Vec::new();
        let p = self.task.problem;
        for (k, slot) in p.recurrence.states.iter().enumerate() {
            match p.initial[k] {
                Some(given) => {
                    carry.extend_from_slice(&given[self.task.place(size(&slot.shape))]);
                }
                None => carry.extend_from_slice(plan.output(&machine, k)),
            }
        }
        carry
    }

    /// Where each state lies among all of them.
    fn offsets(&self) -> Vec<usize> {
        let mut at = 0;
        let states = &self.task.problem.recurrence.states;
        states
            .iter()
            .map(|slot| {
                at += size(&slot.shape);
                at - size(&slot.shape)
            })
            .collect()
    }

    /// Writes the outputs' rows; gives the states after the last token, and with `keep` those
    /// entering each chunk.
    fn forward(
        &self,
        machines: &mut Machines<R>,
        rows: &mut [Rows<R>],
        keep: bool,
    ) -> (Vec<R>, Vec<R>) {
        let r = self.task.problem.recurrence;
        let offsets = self.offsets();
        let mut carry = self.initial();
        let mut carries = Vec::new();
        if keep {
            carries.reserve_exact(carry.len() * self.chunks().len());
        }
        for (first, count) in self.chunks() {
            if keep {
                carries.extend_from_slice(&carry);
            }
            let (plan, machine) = if count == self.form.tokens {
                (&self.form.full.forward, &mut machines.0)
            } else {
                let plan = &self.form.tail.forward;
                (plan, machines.1.get_or_insert_with(|| Machine::new(plan)))
            };
            let lend = |leaf: &Leaf| match leaf {
                Leaf::Carry(k) => Some(&carry[offsets[*k]..]),
                _ => None,
            };
            let feed = &mut |leaf: &Leaf, _: &[i64], to: &mut [R]| self.feed(leaf, first, count, to);
            plan.run_lent(machine, 0, &[], &lend, feed);
            for (k, slot) in r.outs.iter().enumerate() {
                rows[k].put(first, &plan.output(machine, k)[..count * size(&slot.shape)]);
            }
            for (k, offset) in offsets.iter().enumerate() {
                let state = plan.output(machine, r.outs.len() + k);
                carry[*offset..][..state.len()].copy_from_slice(state);
            }
        }
        (carry, carries)
    }

    /// Writes the rows of the inputs' gradients; gives those of the parameters and of the states
    /// before the first token.
    fn backward(
        &self,
        machines: &mut Machines<R>,
        rows: &mut [Rows<R>],
        carries: &[R],
        cotangents: &Cotangents<R>,
    ) -> (Vec<Vec<R>>, Vec<R>) {
        let p = self.task.problem;
        let r = p.recurrence;
        let offsets = self.offsets();
        let width = r.state_size();
        let mut d_carry = self.final_cotangents(cotangents);
        let mut params = zero_params(p);
        for (at, (first, count)) in self.chunks().into_iter().enumerate().rev() {
            let carry = &carries[at * width..][..width];
            let (programs, machine) = if count == self.form.tokens {
                (&self.form.full, &mut machines.0)
            } else {
                let plan = &self.form.tail.backward;
                (&self.form.tail, machines.1.get_or_insert_with(|| Machine::new(plan)))
            };
            let lend = |leaf: &Leaf| match leaf {
                Leaf::Carry(k) => Some(&carry[offsets[*k]..]),
                Leaf::CarryCotangent(k) => Some(&d_carry[offsets[*k]..]),
                _ => None,
            };
            programs.backward.run_lent(machine, 0, &[], &lend, &mut |leaf, _, to| match leaf {
                Leaf::Cotangent(Stream::Out(k)) => {
                    let one = size(&r.outs[*k].shape);
                    let row = self.task.start() + first;
                    cotangents.rows(*k, one, p.heads, self.task.head, row, count, to);
                }
                other => self.feed(other, first, count, to),
            });
            d_carry.fill(R::ZERO);
            for (k, target) in programs.targets.iter().enumerate() {
                let d = programs.backward.output(machine, k);
                match target {
                    Target::Carry(state) => add(&mut d_carry[offsets[*state]..][..d.len()], d),
                    Target::Param(i) => add(&mut params[*i], d),
                    Target::Input(i, at) => {
                        let one = size(&r.inputs[*i].shape);
                        rows[*i].add_read(at, first, &d[..count * one], one);
                    }
                }
            }
        }
        self.initial_gradients(&d_carry, &offsets, &mut params);
        (params, d_carry)
    }

    fn final_cotangents(&self, cotangents: &Cotangents<R>) -> Vec<R> {
        let r = self.task.problem.recurrence;
        let mut d = Vec::with_capacity(r.state_size());
        for (k, slot) in r.states.iter().enumerate() {
            let one = size(&slot.shape);
            match cotangents.finals.get(k).copied().flatten() {
                Some(given) => d.extend_from_slice(&given[self.task.place(one)]),
                None => d.resize(d.len() + one, R::ZERO),
            }
        }
        d
    }

    /// A declared initial value may come from parameters.
    fn initial_gradients(&self, d_carry: &[R], offsets: &[usize], params: &mut [Vec<R>]) {
        let (plan, targets) = &self.form.init_params;
        if targets.is_empty() {
            return;
        }
        let mut machine = Machine::new(plan);
        plan.run(&mut machine, 0, &[], &mut |leaf, _, to| match leaf {
            Leaf::Cotangent(Stream::State(k)) if self.task.problem.initial[*k].is_none() => {
                to.copy_from_slice(&d_carry[offsets[*k]..][..to.len()]);
            }
            Leaf::Cotangent(_) => to.fill(R::ZERO),
            other => self.feed(other, 0, 1, to),
        });
        for (k, i) in targets.iter().enumerate() {
            add(&mut params[*i], plan.output(&machine, k));
        }
    }
}
