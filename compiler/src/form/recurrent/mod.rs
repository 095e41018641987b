//! The recurrent form: one token at a time, forward and backward, for every recurrence.
//!
//! The program of one token runs for all heads at once (a leading axis of lanes). The backward pass
//! is the gradient of the same program, run from the last token to the first; it computes the
//! token's own values anew from the stored states. In f64 this is the truth that every other form
//! is compared with.

mod task;

use rayon::prelude::*;

use self::task::Task;
use super::{Cotangents, Gradients, Outputs, Problem, init_backward};
use crate::elaborate::Recurrence;
use crate::grad::{Scatter, by_leaves};
use crate::interpret::Plan;
use crate::num::Real;
use crate::tile::lift::lift_token;
use crate::tile::{Builder, Gather, Int, IntOp, Leaf, Op, Past, Program, Stream, Value, size};

/// Most heads that one task steps together.
pub(super) const MOST_HEADS: usize = 64;

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

/// The recurrent form of a recurrence for given head counts.
#[derive(Clone, Debug)]
pub struct Recurrent {
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

impl Recurrent {
    /// Prepares the recurrent form of so many heads, of which so many run together. `shared_inputs[i]` and
    /// `shared_params[i]` say whether all heads share a tensor.
    pub fn new(
        recurrence: &Recurrence,
        [heads, lanes]: [usize; 2],
        shared_inputs: &[bool],
        shared_params: &[bool],
    ) -> Recurrent {
        let token = peel(recurrence);
        let make = |lanes| Lanes::new(recurrence, &token, lanes, shared_inputs, shared_params);
        let rest = heads % lanes;
        let only_last = token.leaves().all(|(_, leaf, _)| match leaf {
            Leaf::Read(Stream::State(_), at) => at.lag() == Some(1),
            Leaf::Read(Stream::Export(_), _) => false,
            _ => true,
        }) && !token.nodes.iter().any(|n| matches!(n.op, Op::Past(_)));
        Recurrent { lanes, whole: make(lanes), rest: (rest > 0).then(|| make(rest)), only_last }
    }

    /// All (sequence, first head, lanes) triples, in order.
    fn tasks<R: Real>(&self, problem: &Problem<R>) -> Vec<(usize, usize, &Lanes)> {
        let mut tasks = Vec::new();
        for sequence in 0..problem.sequences() {
            let whole = problem.heads / self.lanes;
            tasks.extend((0..whole).map(|at| (sequence, at * self.lanes, &self.whole)));
            tasks.extend(self.rest.iter().map(|rest| (sequence, whole * self.lanes, rest)));
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

    /// Runs backward after [`Recurrent::forward`] with `keep`.
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
                let new = lift_token(&mut b, program, leaf);
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
pub fn peel(r: &Recurrence) -> Program {
    let mut b = Builder::new();
    let mut new: Vec<Value> = Vec::new();
    let first_state = r.outs.len();
    let first_export = first_state + r.states.len();
    for node in &r.token.nodes {
        b.span = node.span;
        let args: Vec<Value> = node.args.iter().map(|arg| new[arg.at()]).collect();
        let value = match &node.op {
            Op::Past(past) if past.high == Int::T && reads_computed(&past.term) => {
                let term = past.term.at_position(past.level, &Int::T);
                let inlined = b.inline(&term, |b, leaf, shape| match leaf {
                    Leaf::Outer(k) => args[*k],
                    Leaf::Read(Stream::State(i), Int::T) => {
                        new[r.token.outputs[first_state + i].at()]
                    }
                    Leaf::Read(Stream::Export(i), Int::T) => {
                        new[r.token.outputs[first_export + i].at()]
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
