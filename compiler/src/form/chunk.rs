//! The chunk form: many tokens at a time, one task per sequence and head.
//!
//! Full chunks run the plain program; the last one of a sequence, if it is shorter, runs the masked
//! one, its padding rows filled with copies of the last token so that every number stays ordinary.

use rayon::prelude::*;

use super::{Cotangents, Gradients, Outputs, Problem, add, init_backward, join, join_input};
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
            let forward = Plan::new(&chunk.program);
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

    fn tasks<R: Real>(&self, problem: &Problem<R>) -> Vec<(usize, usize)> {
        (0..problem.sequences())
            .flat_map(|sequence| (0..problem.heads).map(move |head| (sequence, head)))
            .collect()
    }

    /// Runs forward. With `keep`, the backward pass can follow.
    pub fn forward<R: Real>(&self, problem: &Problem<R>, keep: bool) -> (Outputs<R>, Kept<R>) {
        let r = problem.recurrence;
        let tasks = self.tasks(problem);
        let done: Vec<_> = tasks
            .par_iter()
            .map_init(
                || (Machine::new(&self.full.forward), None),
                |machines, &(sequence, head)| {
                    Task { form: self, problem, sequence, head }.forward(machines, keep)
                },
            )
            .collect();
        let mut outputs = Outputs { outs: Vec::new(), finals: Vec::new() };
        for (k, slot) in r.outs.iter().enumerate() {
            let parts: Vec<&[R]> = done.iter().map(|(outs, _, _)| outs[k].as_slice()).collect();
            outputs.outs.push(join(problem, &parts, size(&slot.shape)));
        }
        let mut start = 0;
        for slot in &r.states {
            let one = size(&slot.shape);
            let states = done.iter().flat_map(|(_, state, _)| &state[start..start + one]);
            outputs.finals.push(states.copied().collect());
            start += one;
        }
        (outputs, Kept { carries: done.into_iter().map(|(_, _, carries)| carries).collect() })
    }

    /// Runs backward after [`Chunked::forward`] with `keep`.
    pub fn backward<R: Real>(
        &self,
        problem: &Problem<R>,
        kept: &Kept<R>,
        cotangents: &Cotangents<R>,
    ) -> Gradients<R> {
        let r = problem.recurrence;
        let tasks = self.tasks(problem);
        let done: Vec<TaskGradients<R>> = tasks
            .par_iter()
            .zip(&kept.carries)
            .map_init(
                || (Machine::new(&self.full.backward), None),
                |machines, (&(sequence, head), carries)| {
                    let task = Task { form: self, problem, sequence, head };
                    task.backward(machines, carries, cotangents)
                },
            )
            .collect();
        let mut gradients = Gradients { inputs: vec![], params: vec![], initial: vec![] };
        for (i, slot) in r.inputs.iter().enumerate() {
            let parts: Vec<&[R]> = done.iter().map(|d| d.inputs[i].as_slice()).collect();
            gradients.inputs.push(join_input(problem, i, &parts, size(&slot.shape)));
        }
        for (i, slot) in r.params.iter().enumerate() {
            let one = size(&slot.shape);
            let mut sum = vec![R::ZERO; problem.params[i].data.len()];
            for (task, (_, head)) in done.iter().zip(&tasks) {
                let own = head / (problem.heads / problem.params[i].heads);
                add(&mut sum[own * one..][..one], &task.params[i]);
            }
            gradients.params.push(sum);
        }
        let mut start = 0;
        for slot in &r.states {
            let one = size(&slot.shape);
            let states = done.iter().flat_map(|task| &task.carry[start..start + one]);
            gradients.initial.push(states.copied().collect());
            start += one;
        }
        gradients
    }
}

/// The gradient program of a chunk, for people.
pub fn gradient_program(r: &Recurrence, chunk: &crate::chunk::Chunk) -> Program {
    backward_program(r, Builder::extending(chunk.program.clone())).0
}

fn backward(r: &Recurrence, b: Builder) -> (Plan, Vec<Target>) {
    let (program, targets) = backward_program(r, b);
    (Plan::new(&program), targets)
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

/// One sequence and one head.
struct Task<'a, 'p, R> {
    form: &'a Chunked,
    problem: &'a Problem<'p, R>,
    sequence: usize,
    head: usize,
}

struct TaskGradients<R> {
    inputs: Vec<Vec<R>>,
    params: Vec<Vec<R>>,
    carry: Vec<R>,
}

/// Memory of the program of full chunks, and of the tail's once it is needed.
type Machines<R> = (Machine<R>, Option<Machine<R>>);

impl<R: Real> Task<'_, '_, R> {
    fn start(&self) -> usize {
        self.problem.bounds[self.sequence]
    }

    fn tokens(&self) -> usize {
        self.problem.bounds[self.sequence + 1] - self.start()
    }

    /// First token and number of tokens of each chunk.
    fn chunks(&self) -> Vec<(usize, usize)> {
        let (tokens, c) = (self.tokens(), self.form.tokens);
        (0..tokens.div_ceil(c)).map(|i| (i * c, c.min(tokens - i * c))).collect()
    }

    /// Fills a leaf that the states have no part in.
    fn feed(&self, leaf: &Leaf, first: usize, count: usize, to: &mut [R]) {
        let p = self.problem;
        match leaf {
            Leaf::Read(Stream::Input(i), at) => {
                let one = size(&p.recurrence.inputs[*i].shape);
                for (row, to) in to.chunks_exact_mut(one).enumerate() {
                    let token = first + row.min(count - 1);
                    match at.eval(token as i64, &[]) {
                        at if at < 0 => to.fill(R::ZERO),
                        at => p.input(*i, self.start() + at as usize, self.head, to),
                    }
                }
            }
            Leaf::Param(i) => {
                let own = self.head / (p.heads / p.params[*i].heads);
                to.copy_from_slice(&p.params[*i].data[own * to.len()..][..to.len()]);
            }
            Leaf::Number(at) => {
                for (row, x) in to.iter_mut().enumerate() {
                    let token = first + row.min(count - 1);
                    *x = R::of(at.eval(token as i64, &[]) as f64);
                }
            }
            Leaf::Head => to.fill(R::of(self.head as f64)),
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
        for (k, slot) in self.problem.recurrence.states.iter().enumerate() {
            let one = size(&slot.shape);
            match self.problem.initial[k] {
                Some(given) => {
                    let at = (self.sequence * self.problem.heads + self.head) * one;
                    carry.extend_from_slice(&given[at..][..one]);
                }
                None => carry.extend_from_slice(plan.output(&machine, k)),
            }
        }
        carry
    }

    /// Where each state lies among all of them.
    fn offsets(&self) -> Vec<usize> {
        let mut at = 0;
        let states = &self.problem.recurrence.states;
        states
            .iter()
            .map(|slot| {
                at += size(&slot.shape);
                at - size(&slot.shape)
            })
            .collect()
    }

    fn forward(&self, machines: &mut Machines<R>, keep: bool) -> (Vec<Vec<R>>, Vec<R>, Vec<R>) {
        let r = self.problem.recurrence;
        let offsets = self.offsets();
        let mut carry = self.initial();
        let mut carries = Vec::new();
        let mut outs: Vec<Vec<R>> = r
            .outs
            .iter()
            .map(|slot| Vec::with_capacity(self.tokens() * size(&slot.shape)))
            .collect();
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
            plan.run(machine, 0, &[], &mut |leaf, _, to| match leaf {
                Leaf::Carry(k) => to.copy_from_slice(&carry[offsets[*k]..][..to.len()]),
                other => self.feed(other, first, count, to),
            });
            for (k, slot) in r.outs.iter().enumerate() {
                let rows = plan.output(machine, k);
                outs[k].extend_from_slice(&rows[..count * size(&slot.shape)]);
            }
            for (k, offset) in offsets.iter().enumerate() {
                let state = plan.output(machine, r.outs.len() + k);
                carry[*offset..][..state.len()].copy_from_slice(state);
            }
        }
        (outs, carry, carries)
    }

    fn backward(
        &self,
        machines: &mut Machines<R>,
        carries: &[R],
        cotangents: &Cotangents<R>,
    ) -> TaskGradients<R> {
        let p = self.problem;
        let r = p.recurrence;
        let offsets = self.offsets();
        let width = r.state_size();
        let mut d_carry = self.final_cotangents(cotangents);
        let mut d_next = vec![R::ZERO; width];
        let zeros = |n: usize, shape: &[usize]| vec![R::ZERO; n * size(shape)];
        let mut inputs: Vec<Vec<R>> =
            r.inputs.iter().map(|slot| zeros(self.tokens(), &slot.shape)).collect();
        let mut params: Vec<Vec<R>> = r.params.iter().map(|slot| zeros(1, &slot.shape)).collect();
        for (at, (first, count)) in self.chunks().into_iter().enumerate().rev() {
            let carry = &carries[at * width..][..width];
            let (programs, machine) = if count == self.form.tokens {
                (&self.form.full, &mut machines.0)
            } else {
                let plan = &self.form.tail.backward;
                (&self.form.tail, machines.1.get_or_insert_with(|| Machine::new(plan)))
            };
            programs.backward.run(machine, 0, &[], &mut |leaf, _, to| match leaf {
                Leaf::Carry(k) => to.copy_from_slice(&carry[offsets[*k]..][..to.len()]),
                Leaf::CarryCotangent(k) => {
                    to.copy_from_slice(&d_carry[offsets[*k]..][..to.len()]);
                }
                Leaf::Cotangent(Stream::Out(k)) => {
                    let one = size(&r.outs[*k].shape);
                    cotangents.rows(*k, one, p.heads, self.head, self.start() + first, count, to);
                }
                other => self.feed(other, first, count, to),
            });
            d_next.fill(R::ZERO);
            for (k, target) in programs.targets.iter().enumerate() {
                let d = programs.backward.output(machine, k);
                match target {
                    Target::Carry(state) => {
                        add(&mut d_next[offsets[*state]..][..d.len()], d);
                    }
                    Target::Param(i) => add(&mut params[*i], d),
                    Target::Input(i, lag) => {
                        let one = size(&r.inputs[*i].shape);
                        for row in 0..count {
                            let token = lag.eval((first + row) as i64, &[]);
                            if token >= 0 {
                                add(
                                    &mut inputs[*i][token as usize * one..][..one],
                                    &d[row * one..],
                                );
                            }
                        }
                    }
                }
            }
            std::mem::swap(&mut d_carry, &mut d_next);
        }
        self.initial_gradients(&d_carry, &offsets, &mut params);
        TaskGradients { inputs, params, carry: d_carry }
    }

    fn final_cotangents(&self, cotangents: &Cotangents<R>) -> Vec<R> {
        let p = self.problem;
        let mut d = Vec::with_capacity(p.recurrence.state_size());
        for (k, slot) in p.recurrence.states.iter().enumerate() {
            let one = size(&slot.shape);
            match cotangents.finals.get(k).copied().flatten() {
                Some(given) => {
                    let at = (self.sequence * p.heads + self.head) * one;
                    d.extend_from_slice(&given[at..][..one]);
                }
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
            Leaf::Cotangent(Stream::State(k)) if self.problem.initial[*k].is_none() => {
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
