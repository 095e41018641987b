//! One sequence and some of its heads, token after token.

use super::{Block, Lanes, Target, Trajectories};
use crate::elaborate::recurrence::Slot;
use crate::form::{Cotangents, Gradients, Problem, add};
use crate::grad::Scatter;
use crate::interpret::{Machine, Plan};
use crate::num::Real;
use crate::tile::{Leaf, Stream, size};

/// One sequence and some of the heads.
#[derive(Clone, Copy)]
pub(super) struct Task<'a, 'p, R> {
    pub(super) problem: &'a Problem<'p, R>,
    pub(super) lanes: &'a Lanes,
    pub(super) sequence: usize,
    pub(super) head: usize,
    pub(super) width: usize,
}

/// Gradients of one task: inputs `[tokens, lanes, …]`, parameters and initial states `[lanes, …]`.
pub(super) struct TaskGradients<R> {
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

    pub(super) fn forward(&self, keep: bool) -> (Vec<Vec<R>>, Vec<Vec<R>>, Trajectories<R>) {
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

    /// Gradients to which nothing has been added.
    fn no_gradients(&self) -> TaskGradients<R> {
        let r = self.problem.recurrence;
        let zeros = |slots: &[Slot], rows: usize| -> Vec<Vec<R>> {
            slots.iter().map(|slot| vec![R::ZERO; rows * self.width * size(&slot.shape)]).collect()
        };
        TaskGradients {
            inputs: zeros(&r.inputs, self.tokens()),
            params: zeros(&r.params, 1),
            initial: Vec::new(),
        }
    }

    pub(super) fn backward(
        &self,
        stored: &Trajectories<R>,
        cotangents: &Cotangents<R>,
    ) -> TaskGradients<R> {
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
        let mut gradients = self.no_gradients();
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
    pub(super) fn collect(&self, task: &TaskGradients<R>, all: &mut Gradients<R>) {
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
