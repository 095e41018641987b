//! The step form: one token at a time, forward and backward, for every recurrence.
//!
//! The program of one token runs for all heads at once (a leading axis of lanes). The backward pass
//! is the gradient of the same program, run from the last token to the first; it computes the
//! token's own values anew from the stored states. In f64 this is the truth that every other form
//! is compared with.

use rayon::prelude::*;

use super::{Cotangents, Gradients, Outputs, Problem, add, init_backward};
use crate::elaborate::Recurrence;
use crate::grad::{Scatter, by_leaves};
use crate::interpret::{Machine, Plan};
use crate::num::Real;
use crate::tile::lift::{Over, lift};
use crate::tile::{Builder, Gather, Int, IntOp, Leaf, Op, Past, Program, Stream, Value, size};

/// Most heads that one task steps together.
const MAX_LANES: usize = 64;

/// What a leaf's gradient is added to.
#[derive(Clone, Debug, PartialEq)]
enum Target {
    Stream(Stream, Int),
    Param(usize),
}

/// The programs of one number of lanes.
#[derive(Clone, Debug)]
struct Lanes {
    forward: Plan,
    backward: Plan,
    targets: Vec<Target>,
    scatters: Vec<(Scatter, Plan)>,
    init: Plan,
    init_backward: Plan,
    init_targets: Vec<usize>,
}

/// The step form of a recurrence for given head counts.
#[derive(Clone, Debug)]
pub struct Step {
    lanes: usize,
    whole: Lanes,
    rest: Option<Lanes>,
    /// Whether only the state before the token is read.
    only_last: bool,
}

/// States and exports of every token, kept for the backward pass: per task, per stream,
/// `[tokens + 1, lanes, …]` with the value before the first token at 0.
#[derive(Clone, Debug)]
pub struct Kept<R> {
    tasks: Vec<Trajectories<R>>,
}

#[derive(Clone, Debug, Default)]
struct Trajectories<R> {
    states: Vec<Vec<R>>,
    exports: Vec<Vec<R>>,
}

impl Step {
    /// Prepares the step form. `shared_inputs[i]` and `shared_params[i]` say whether all heads
    /// share a tensor.
    pub fn new(
        recurrence: &Recurrence,
        heads: usize,
        shared_inputs: &[bool],
        shared_params: &[bool],
    ) -> Step {
        let lanes = heads.clamp(1, MAX_LANES);
        let token = peel(recurrence);
        let make = |lanes| Lanes::new(recurrence, &token, lanes, shared_inputs, shared_params);
        let rest = heads % lanes;
        let only_last = token.leaves().all(|(_, leaf, _)| match leaf {
            Leaf::Read(Stream::State(_), at) => at.lag() == Some(1),
            Leaf::Read(Stream::Export(_), _) => false,
            _ => true,
        }) && !token.nodes.iter().any(|n| matches!(n.op, Op::Past(_)));
        Step { lanes, whole: make(lanes), rest: (rest > 0).then(|| make(rest)), only_last }
    }

    /// All (sequence, first head, lanes) triples, in order.
    fn tasks<R: Real>(&self, problem: &Problem<R>) -> Vec<(usize, usize, &Lanes)> {
        let mut tasks = Vec::new();
        for sequence in 0..problem.sequences() {
            let mut head = 0;
            while head < problem.heads {
                let full = problem.heads - head >= self.lanes;
                let lanes = if full { Some(&self.whole) } else { self.rest.as_ref() };
                tasks.push((sequence, head, lanes.expect("made for what is left")));
                head += self.lanes;
            }
        }
        tasks
    }

    fn width<R: Real>(&self, problem: &Problem<R>, head: usize) -> usize {
        self.lanes.min(problem.heads - head)
    }

    /// Runs forward. With `keep`, the backward pass can follow.
    pub fn forward<R: Real>(&self, problem: &Problem<R>, keep: bool) -> (Outputs<R>, Kept<R>) {
        let tasks = self.tasks(problem);
        let keep = keep || !self.only_last;
        let done: Vec<_> = tasks
            .par_iter()
            .map(|&(sequence, head, lanes)| {
                let width = self.width(problem, head);
                Task { problem, lanes, sequence, head, width }.forward(keep)
            })
            .collect();
        let r = problem.recurrence;
        let mut outputs = Outputs {
            outs: r.outs.iter().map(|o| zeros(problem.rows() * problem.heads, &o.shape)).collect(),
            finals: r
                .states
                .iter()
                .map(|s| zeros(problem.sequences() * problem.heads, &s.shape))
                .collect(),
        };
        let mut kept = Kept { tasks: Vec::new() };
        for ((outs, finals, trajectories), (sequence, head, _)) in done.into_iter().zip(&tasks) {
            let width = self.width(problem, *head);
            let block = Block { heads: problem.heads, head: *head, width };
            for ((to, from), slot) in outputs.outs.iter_mut().zip(&outs).zip(&r.outs) {
                block.place(to, from, problem.bounds[*sequence], size(&slot.shape));
            }
            for ((to, from), slot) in outputs.finals.iter_mut().zip(&finals).zip(&r.states) {
                block.place(to, from, *sequence, size(&slot.shape));
            }
            kept.tasks.push(trajectories);
        }
        (outputs, kept)
    }

    /// Runs backward after [`Step::forward`] with `keep`.
    pub fn backward<R: Real>(
        &self,
        problem: &Problem<R>,
        kept: &Kept<R>,
        cotangents: &Cotangents<R>,
    ) -> Gradients<R> {
        let tasks = self.tasks(problem);
        let done: Vec<_> = tasks
            .par_iter()
            .zip(&kept.tasks)
            .map(|(&(sequence, head, lanes), trajectories)| {
                let width = self.width(problem, head);
                Task { problem, lanes, sequence, head, width }.backward(trajectories, cotangents)
            })
            .collect();
        let r = problem.recurrence;
        let mut gradients = Gradients {
            inputs: problem.inputs.iter().map(|i| vec![R::ZERO; i.data.len()]).collect(),
            params: problem.params.iter().map(|p| vec![R::ZERO; p.data.len()]).collect(),
            initial: r
                .states
                .iter()
                .map(|s| zeros(problem.sequences() * problem.heads, &s.shape))
                .collect(),
        };
        for (task, (sequence, head, lanes)) in done.iter().zip(&tasks) {
            let width = self.width(problem, *head);
            let place = Task { problem, lanes, sequence: *sequence, head: *head, width };
            place.collect(task, &mut gradients);
        }
        gradients
    }
}

fn zeros<R: Real>(count: usize, shape: &[usize]) -> Vec<R> {
    vec![R::ZERO; count * size(shape)]
}

/// Some heads of a tensor `[rows, heads, …]`.
#[derive(Clone, Copy)]
struct Block {
    heads: usize,
    head: usize,
    width: usize,
}

impl Block {
    /// Copies `[n, width, one]` to rows `row..row + n` of `[rows, heads, one]`.
    fn place<R: Real>(self, to: &mut [R], from: &[R], row: usize, one: usize) {
        let run = self.width * one;
        for (i, values) in from.chunks_exact(run.max(1)).enumerate() {
            to[((row + i) * self.heads + self.head) * one..][..run].copy_from_slice(values);
        }
    }

    /// The values of row `row`.
    fn row<R>(self, from: &[R], row: usize, one: usize) -> &[R] {
        &from[(row * self.heads + self.head) * one..][..self.width * one]
    }
}

impl Lanes {
    fn new(
        r: &Recurrence,
        token: &Program,
        lanes: usize,
        shared_inputs: &[bool],
        shared_params: &[bool],
    ) -> Lanes {
        let lead = |leaf: &Leaf| match leaf {
            Leaf::Read(Stream::Input(i), _) if shared_inputs[*i] => 1,
            Leaf::Param(i) if shared_params[*i] => 1,
            Leaf::Number(_) => 1,
            _ => lanes,
        };
        let mut add = |b: &mut Builder, leaf: &Leaf, shape: &[usize]| {
            b.leaf(leaf.clone(), &[&[lead(leaf)], shape].concat())
        };
        let lifted =
            |program: &Program, leaf: &mut dyn FnMut(&mut Builder, &Leaf, &[usize]) -> Value| {
                let mut b = Builder::new();
                let new = lift(&mut b, program, Over::Lanes, 1, leaf)
                    .expect("every operation of a token can be done for many heads");
                let outputs: Vec<Value> = program
                    .outputs
                    .iter()
                    .map(|output| {
                        let full = [&[lanes], program.shape(*output)].concat();
                        b.expand(new[output.at()], &full)
                    })
                    .collect();
                (b, outputs)
            };
        let (b, outputs) = lifted(token, &mut add);
        let (backward, targets, scatters) = backward(r, b.clone(), &outputs);
        let (ib, init_outputs) = lifted(&r.init, &mut add);
        let (init_backward, init_targets) = init_backward(ib.clone(), &init_outputs);
        Lanes {
            forward: Plan::new(&b.finish(&outputs)),
            backward,
            targets,
            scatters,
            init: Plan::new(&ib.finish(&init_outputs)),
            init_backward,
            init_targets,
        }
    }
}

/// The stream that the k-th result of a token's program belongs to.
fn result_stream(r: &Recurrence, k: usize) -> Stream {
    let (outs, states) = (r.outs.len(), r.states.len());
    if k < outs {
        Stream::Out(k)
    } else if k < outs + states {
        Stream::State(k - outs)
    } else {
        Stream::Export(k - outs - states)
    }
}

/// The gradient of one token: by every leaf, given the gradients of its results.
fn backward(
    r: &Recurrence,
    mut b: Builder,
    outputs: &[Value],
) -> (Plan, Vec<Target>, Vec<(Scatter, Plan)>) {
    let results = outputs.iter().enumerate();
    let seeds = results.map(|(k, &output)| (output, Leaf::Cotangent(result_stream(r, k))));
    let found = by_leaves(&mut b, seeds, |leaf| match leaf {
        Leaf::Read(stream, at) => Some(Target::Stream(*stream, at.clone())),
        Leaf::Param(i) => Some(Target::Param(*i)),
        _ => None,
    });
    let mut results = found.values;
    // What scatters capture is given out too, behind the gradients.
    for scatter in &found.scatters {
        results.extend(&scatter.args);
    }
    let scatters = found
        .scatters
        .into_iter()
        .map(|scatter| {
            let plan = Plan::new(&scatter.past.term);
            (scatter, plan)
        })
        .collect();
    (Plan::new(&b.finish(&results)), found.targets, scatters)
}

/// Takes the current token out of sums over the past whose terms read what this token computes, so
/// that every stored value a term reads is older than the token.
fn peel(r: &Recurrence) -> Program {
    let mut b = Builder::new();
    let mut new: Vec<Value> = Vec::new();
    let first_state = r.outs.len();
    let current = |stream: Stream| match stream {
        Stream::State(i) => r.token.outputs[first_state + i],
        Stream::Export(i) => r.token.outputs[first_state + r.states.len() + i],
        _ => unreachable!("inputs are stored before the token runs"),
    };
    for node in &r.token.nodes {
        b.span = node.span;
        let args: Vec<Value> = node.args.iter().map(|arg| new[arg.at()]).collect();
        let value = match &node.op {
            Op::Past(past) if past.high == Int::T && reads_computed(&past.term) => {
                let term = past.term.at_position(past.level, &Int::T);
                let inlined = b.inline(&term, |b, leaf, shape| match leaf {
                    Leaf::Outer(k) => args[*k],
                    Leaf::Read(stream @ (Stream::State(_) | Stream::Export(_)), Int::T) => {
                        new[current(*stream).at()]
                    }
                    other => b.leaf(other.clone(), shape),
                });
                let last = inlined[past.term.outputs[0].at()];
                let high = Int::op(IntOp::Sub, Int::T, Int::Const(1));
                let rest = Past { high, ..(**past).clone() };
                let rest = b.raw(Op::Past(Box::new(rest)), args, node.shape.clone());
                match past.gather {
                    Gather::Sum => b.add(rest, last),
                    Gather::LogSumExp => b.binary(crate::tile::Binary::LogAddExp, rest, last),
                }
            }
            op => b.raw(op.clone(), args, node.shape.clone()),
        };
        new.push(value);
    }
    let outputs: Vec<Value> = r.token.outputs.iter().map(|output| new[output.at()]).collect();
    b.finish(&outputs)
}

fn reads_computed(term: &Program) -> bool {
    term.leaves()
        .any(|(_, leaf, _)| matches!(leaf, Leaf::Read(Stream::State(_) | Stream::Export(_), _)))
}

/// One sequence and some of the heads.
#[derive(Clone, Copy)]
struct Task<'a, 'p, R> {
    problem: &'a Problem<'p, R>,
    lanes: &'a Lanes,
    sequence: usize,
    head: usize,
    width: usize,
}

/// Gradients of one task: inputs `[tokens, lanes, …]`, parameters and initial states `[lanes, …]`.
struct TaskGradients<R> {
    inputs: Vec<Vec<R>>,
    params: Vec<Vec<R>>,
    initial: Vec<Vec<R>>,
}

impl<R: Real> Task<'_, '_, R> {
    fn start(&self) -> usize {
        self.problem.bounds[self.sequence]
    }

    fn tokens(&self) -> usize {
        self.problem.bounds[self.sequence + 1] - self.start()
    }

    fn block(&self) -> Block {
        Block { heads: self.problem.heads, head: self.head, width: self.width }
    }

    /// Fills a leaf that does not depend on the run of tokens before `t`.
    fn feed_given(&self, leaf: &Leaf, t: i64, bound: &[i64], to: &mut [R]) {
        let p = self.problem;
        match leaf {
            Leaf::Read(Stream::Input(i), at) => {
                let at = at.eval(t, bound);
                if at < 0 {
                    return to.fill(R::ZERO);
                }
                let one = size(&p.recurrence.inputs[*i].shape);
                let row = self.start() + at as usize;
                for (lane, to) in to.chunks_exact_mut(one).enumerate() {
                    p.input(*i, row, self.head + lane, to);
                }
            }
            Leaf::Param(i) => {
                let one = size(&p.recurrence.params[*i].shape);
                let operand = p.params[*i];
                for (lane, to) in to.chunks_exact_mut(one).enumerate() {
                    let own = operand.own(self.head + lane, p.heads);
                    to.copy_from_slice(&operand.data[own * one..][..one]);
                }
            }
            Leaf::Number(int) => to.fill(R::of(int.eval(t, bound) as f64)),
            Leaf::Head => {
                for (lane, x) in to.iter_mut().enumerate() {
                    *x = R::of((self.head + lane) as f64);
                }
            }
            other => unreachable!("{other} is filled elsewhere"),
        }
    }

    /// The states before the first token.
    fn initial(&self) -> Vec<Vec<R>> {
        let mut machine = Machine::new(&self.lanes.init);
        let plan = &self.lanes.init;
        plan.run(&mut machine, 0, &[], &mut |leaf, bound, to| self.feed_given(leaf, 0, bound, to));
        let states = &self.problem.recurrence.states;
        states
            .iter()
            .enumerate()
            .map(|(k, slot)| match self.problem.initial[k] {
                Some(given) => self.block().row(given, self.sequence, size(&slot.shape)).to_vec(),
                None => plan.output(&machine, k).to_vec(),
            })
            .collect()
    }

    fn forward(&self, keep: bool) -> (Vec<Vec<R>>, Vec<Vec<R>>, Trajectories<R>) {
        let r = self.problem.recurrence;
        let tokens = self.tokens();
        let depth = if keep { tokens + 1 } else { 1 };
        let mut stored = Trajectories { states: self.initial(), exports: Vec::new() };
        for (state, slot) in stored.states.iter_mut().zip(&r.states) {
            state.resize(depth * self.width * size(&slot.shape), R::ZERO);
        }
        for slot in &r.exports {
            stored.exports.push(vec![R::ZERO; depth * self.width * size(&slot.shape)]);
        }
        let mut outs: Vec<Vec<R>> = r.outs.iter().map(|_| Vec::new()).collect();
        let mut machine = Machine::new(&self.lanes.forward);
        for t in 0..tokens {
            let feed = &mut |leaf: &Leaf, bound: &[i64], to: &mut [R]| {
                self.feed_stored(leaf, t as i64, bound, to, &stored, keep);
            };
            self.lanes.forward.run(&mut machine, t as i64, &[], feed);
            for (k, out) in outs.iter_mut().enumerate() {
                out.extend_from_slice(self.lanes.forward.output(&machine, k));
            }
            let slot = if keep { t + 1 } else { 0 };
            let streams = stored.states.iter_mut().chain(&mut stored.exports);
            for (k, stream) in streams.enumerate() {
                let value = self.lanes.forward.output(&machine, r.outs.len() + k);
                stream[slot * value.len()..][..value.len()].copy_from_slice(value);
            }
        }
        let finals = stored
            .states
            .iter()
            .zip(&r.states)
            .map(|(state, slot)| state[state.len() - self.width * size(&slot.shape)..].to_vec())
            .collect();
        (outs, finals, if keep { stored } else { Trajectories::default() })
    }

    fn feed_stored(
        &self,
        leaf: &Leaf,
        t: i64,
        bound: &[i64],
        to: &mut [R],
        stored: &Trajectories<R>,
        keep: bool,
    ) {
        let (stream, at) = match leaf {
            Leaf::Read(Stream::State(k), at) => (&stored.states[*k], at),
            Leaf::Read(Stream::Export(k), at) => (&stored.exports[*k], at),
            other => return self.feed_given(other, t, bound, to),
        };
        // Before the first token a state has its initial value, whatever the position.
        let slot = if keep { (at.eval(t, bound) + 1).max(0) as usize } else { 0 };
        to.copy_from_slice(&stream[slot * to.len()..][..to.len()]);
    }

    fn backward(&self, stored: &Trajectories<R>, cotangents: &Cotangents<R>) -> TaskGradients<R> {
        let r = self.problem.recurrence;
        let tokens = self.tokens();
        let zeroed = |streams: &[Vec<R>]| -> Vec<Vec<R>> {
            streams.iter().map(|stream| vec![R::ZERO; stream.len()]).collect()
        };
        let mut d_states = zeroed(&stored.states);
        let mut d_exports = zeroed(&stored.exports);
        for (k, slot) in r.states.iter().enumerate() {
            if let Some(given) = cotangents.finals.get(k).copied().flatten() {
                let given = self.block().row(given, self.sequence, size(&slot.shape));
                d_states[k][tokens * given.len()..].copy_from_slice(given);
            }
        }
        let mut gradients = TaskGradients {
            inputs: r
                .inputs
                .iter()
                .zip(&self.problem.inputs)
                .map(|(slot, _)| vec![R::ZERO; tokens * self.width * size(&slot.shape)])
                .collect(),
            params: r
                .params
                .iter()
                .map(|slot| vec![R::ZERO; self.width * size(&slot.shape)])
                .collect(),
            initial: Vec::new(),
        };
        let mut machine = Machine::new(&self.lanes.backward);
        let mut scatter_machines: Vec<Machine<R>> =
            self.lanes.scatters.iter().map(|(_, plan)| Machine::new(plan)).collect();
        for t in (0..tokens).rev() {
            let feed = &mut |leaf: &Leaf, bound: &[i64], to: &mut [R]| match leaf {
                Leaf::Cotangent(Stream::Out(k)) => self.feed_out(cotangents, *k, t, to),
                Leaf::Cotangent(Stream::State(k)) => {
                    to.copy_from_slice(&d_states[*k][(t + 1) * to.len()..][..to.len()]);
                }
                Leaf::Cotangent(Stream::Export(k)) => {
                    to.copy_from_slice(&d_exports[*k][(t + 1) * to.len()..][..to.len()]);
                }
                other => self.feed_stored(other, t as i64, bound, to, stored, true),
            };
            self.lanes.backward.run(&mut machine, t as i64, &[], feed);
            for (k, target) in self.lanes.targets.iter().enumerate() {
                let d = self.lanes.backward.output(&machine, k);
                let streams = [&mut gradients.inputs, &mut d_states, &mut d_exports];
                match target {
                    Target::Stream(stream, at) => {
                        self.give(streams, *stream, at.eval(t as i64, &[]), d);
                    }
                    Target::Param(i) => add(&mut gradients.params[*i], d),
                }
            }
            let mut captured = self.lanes.targets.len();
            for ((scatter, plan), inner) in self.lanes.scatters.iter().zip(&mut scatter_machines) {
                let streams = [&mut gradients.inputs, &mut d_states, &mut d_exports];
                self.scatter(scatter, plan, inner, &machine, captured, t, stored, streams);
                captured += scatter.args.len();
            }
        }
        self.initial_gradients(&d_states, &mut gradients);
        gradients
    }

    fn feed_out(&self, cotangents: &Cotangents<R>, k: usize, t: usize, to: &mut [R]) {
        match cotangents.outs.get(k).copied().flatten() {
            Some(given) => {
                let one = to.len() / self.width;
                to.copy_from_slice(self.block().row(given, self.start() + t, one));
            }
            None => to.fill(R::ZERO),
        }
    }

    /// Adds to the gradient of a stream at a position; inputs before the sequence have none.
    fn give(&self, streams: [&mut Vec<Vec<R>>; 3], stream: Stream, at: i64, d: &[R]) {
        let [inputs, states, exports] = streams;
        match stream {
            Stream::Input(i) if at >= 0 => {
                let run = self.width * size(&self.problem.recurrence.inputs[i].shape);
                add(&mut inputs[i][at as usize * run..][..run], d);
            }
            Stream::State(k) => {
                let slot = (at + 1).max(0) as usize;
                add(&mut states[k][slot * d.len()..][..d.len()], d);
            }
            Stream::Export(k) if at >= 0 => {
                add(&mut exports[k][(at as usize + 1) * d.len()..][..d.len()], d);
            }
            _ => {}
        }
    }

    fn scatter(
        &self,
        scatter: &Scatter,
        plan: &Plan,
        inner: &mut Machine<R>,
        machine: &Machine<R>,
        captured: usize,
        t: usize,
        stored: &Trajectories<R>,
        [inputs, states, exports]: [&mut Vec<Vec<R>>; 3],
    ) {
        let t = t as i64;
        let (low, high) = (scatter.past.low.eval(t, &[]), scatter.past.high.eval(t, &[]));
        for u in low.max(0)..=high.min(t) {
            let feed = &mut |leaf: &Leaf, bound: &[i64], to: &mut [R]| match leaf {
                Leaf::Outer(k) => {
                    to.copy_from_slice(self.lanes.backward.output(machine, captured + k));
                }
                other => self.feed_stored(other, t, bound, to, stored, true),
            };
            plan.run_term(inner, t, &[u], feed);
            let d = plan.output(inner, 0);
            let at = scatter.at.eval(t, &[u]);
            self.give([&mut *inputs, &mut *states, &mut *exports], scatter.stream, at, d);
        }
    }

    fn initial_gradients(&self, d_states: &[Vec<R>], gradients: &mut TaskGradients<R>) {
        let r = self.problem.recurrence;
        for (d, slot) in d_states.iter().zip(&r.states) {
            gradients.initial.push(d[..self.width * size(&slot.shape)].to_vec());
        }
        let plan = &self.lanes.init_backward;
        let mut machine = Machine::new(plan);
        let initial = &gradients.initial;
        let feed = &mut |leaf: &Leaf, bound: &[i64], to: &mut [R]| match leaf {
            Leaf::Cotangent(Stream::State(k)) if self.problem.initial[*k].is_none() => {
                to.copy_from_slice(&initial[*k]);
            }
            Leaf::Cotangent(_) => to.fill(R::ZERO),
            other => self.feed_given(other, 0, bound, to),
        };
        plan.run(&mut machine, 0, &[], feed);
        for (k, i) in self.lanes.init_targets.iter().enumerate() {
            add(&mut gradients.params[*i], plan.output(&machine, k));
        }
    }

    /// Adds one task's gradients to those of the whole problem.
    fn collect(&self, task: &TaskGradients<R>, all: &mut Gradients<R>) {
        let r = self.problem.recurrence;
        for (i, slot) in r.inputs.iter().enumerate() {
            let one = size(&slot.shape);
            let lanes = if self.problem.inputs[i].heads == 1 { 1 } else { self.width };
            for t in 0..self.tokens() {
                for lane in 0..lanes {
                    let d = &task.inputs[i][(t * self.width + lane) * one..][..one];
                    let (row, head) = (self.start() + t, self.head + lane);
                    self.problem.give_input(&mut all.inputs[i], i, row, head, d);
                }
            }
        }
        for (i, slot) in r.params.iter().enumerate() {
            let one = size(&slot.shape);
            let heads = self.problem.params[i].heads;
            let lanes = if heads == 1 { 1 } else { self.width };
            for lane in 0..lanes {
                let own = self.problem.params[i].own(self.head + lane, self.problem.heads);
                let d = &task.params[i][lane * one..][..one];
                add(&mut all.params[i][own * one..][..one], d);
            }
        }
        for (k, slot) in r.states.iter().enumerate() {
            let one = size(&slot.shape);
            self.block().place(&mut all.initial[k], &task.initial[k], self.sequence, one);
        }
    }
}
