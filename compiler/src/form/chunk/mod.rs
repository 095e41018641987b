//! The chunk form: many tokens at a time, one head of one sequence after the other.
//!
//! Full chunks run the plain program; the last one of a sequence, if it is shorter, runs the masked
//! one, its padding rows filled with copies of the last token so that every number stays ordinary.
//! The backward pass reads the states that entered each chunk and what is dear to compute again:
//! the solved writes and the Gram products.

mod head;

use std::ops::Range;

use rayon::prelude::*;

use self::head::{Backward, Forward, Head};
use super::task::{Rows, Task, gather, gather_params, hand_out, sheets};
use super::{Cotangents, Gradients, Operand, Outputs, Problem, init_backward};
use crate::block::Block;
use crate::chunk::gradient::{Gradient, Wrt};
use crate::elaborate::Recurrence;
use crate::interpret::{Plan, Surroundings};
use crate::memory;
use crate::num::Real;
use crate::tile::mask::{Mask, masks};
use crate::tile::wanted::{Wanted, wanted};
use crate::tile::{Builder, Leaf, Program, size};

/// Forward and backward programs of one chunk.
#[derive(Clone, Debug)]
struct Programs {
    /// Outputs, then states.
    forward: Plan,
    /// The same, then what the backward program reads of them.
    keeping: Plan,
    backward: Plan,
    wrt: Vec<Wrt>,
    /// Per input whether each row of its gradient is written by its own token only.
    once: Vec<bool>,
    /// Where a chunk's record holds each kept value; the entering states come first.
    kept: Vec<Range<usize>>,
}

impl Programs {
    fn new(r: &Recurrence, block: Block, fades: bool) -> Programs {
        let Block { chunk, gradient: Gradient { program, wrt, kept }, .. } = block;
        let outputs = [chunk.program.outputs.as_slice(), kept.as_slice()].concat();
        let keeping = Program { nodes: chunk.program.nodes.clone(), outputs };
        let mut end = r.state_size();
        let places = kept.iter().map(|value| {
            end += size(chunk.program.shape(*value));
            end - size(chunk.program.shape(*value))..end
        });
        let once = (0..r.inputs.len()).map(|input| {
            let mut of_input = wrt.iter().filter_map(|wrt| match wrt {
                Wrt::Input(i, at) if *i == input => Some(at.lag()),
                _ => None,
            });
            (of_input.next(), of_input.next()) == (Some(Some(0)), None)
        });
        let all = chunk.program.outputs.len();
        let masks = masks(&chunk.program, &|_| None);
        let of_kept = |k: usize| masks[kept[k].at()].clone();
        let read = read_of_kept(&program, kept.len(), &of_kept);
        let plan = |program: &Program, results: &dyn Fn(usize) -> Wanted| {
            let (lent, kept) = (&is_kept, &of_kept);
            Plan::within(program, &Surroundings { lent, fades, kept, results })
        };
        Programs {
            once: once.collect(),
            kept: places.collect(),
            forward: plan(&chunk.program, &|_| Wanted::All),
            keeping: plan(&keeping, &|k| {
                k.checked_sub(all).map_or(Wanted::All, |kept| read[kept].clone())
            }),
            backward: plan(&program, &|_| Wanted::All),
            wrt,
        }
    }

    /// Numbers of a chunk's record.
    fn record(&self, r: &Recurrence) -> usize {
        self.kept.last().map_or(r.state_size(), |place| place.end)
    }
}

/// What a backward program reads of each kept value.
fn read_of_kept(
    backward: &Program,
    count: usize,
    masks_of_kept: &dyn Fn(usize) -> Option<Mask>,
) -> Vec<Wanted> {
    let masks = masks(backward, masks_of_kept);
    let read = wanted(backward, &masks, &|_| Wanted::All);
    let mut found = vec![Wanted::Nothing; count];
    for (value, leaf, _) in backward.leaves() {
        if let Leaf::Kept(k) = leaf {
            found[*k] = read[value.at()].clone();
        }
    }
    found
}

/// Leaves that are read where the records hold them: large, and dense.
fn is_kept(leaf: &Leaf) -> bool {
    matches!(leaf, Leaf::Carry(_) | Leaf::CarryCotangent(_) | Leaf::Kept(_))
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

/// Per task the records of its chunks: the entering states, and what else the gradient reads.
#[derive(Clone, Debug)]
pub struct Kept<R: Real> {
    records: Vec<Vec<R>>,
}

impl<R: Real> Drop for Kept<R> {
    fn drop(&mut self) {
        self.records.drain(..).for_each(memory::give);
    }
}

/// Numbers of states that stay near a processor.
const NEAR: usize = 1 << 16;

impl Chunked {
    /// The form of blocks of tokens: a full one, and a masked one for the end of a sequence. With
    /// `fades`, products of decays may fade to 0.
    pub fn new(r: &Recurrence, [full, tail]: [Block; 2], fades: bool) -> Chunked {
        Chunked {
            tokens: full.chunk.tokens,
            full: Programs::new(r, full, fades),
            tail: Programs::new(r, tail, fades),
            init: Plan::new(&r.init),
            init_params: init_backward(Builder::extending(r.init.clone()), &r.init.outputs),
        }
    }

    /// Runs forward. With `keep`, the backward pass can follow.
    pub fn forward<R: Real>(&self, problem: &Problem<R>, keep: bool) -> (Outputs<R>, Kept<R>) {
        let r = problem.recurrence;
        let shares = vec![problem.sum; r.outs.len()];
        let mut outs = sheets(problem, &r.outs, &shares);
        let tasks = hand_out(problem, &mut outs, &r.outs, &shares);
        let done: Vec<Forward<R>> = self
            .groups(problem, tasks, problem.sum)
            .into_par_iter()
            .flat_map_iter(|group| {
                let heads = group.into_iter().map(|(task, rows)| (Head::new(self, task), rows));
                let (heads, rows) = heads.unzip();
                Forward::run(heads, rows, keep)
            })
            .collect();
        let finals = by_state(r, done.iter().map(|head| head.carry.as_slice()));
        let records = done.into_iter().map(|head| head.records).collect();
        (Outputs { outs, finals }, Kept { records })
    }

    /// Runs backward after [`Chunked::forward`] with `keep`.
    pub fn backward<R: Real>(
        &self,
        problem: &Problem<R>,
        kept: &Kept<R>,
        cotangents: &Cotangents<R>,
    ) -> Gradients<R> {
        let r = problem.recurrence;
        let shares = shares(problem, &self.full.once);
        let mut wide = sheets(problem, &r.inputs, &shares);
        for (wide, once) in wide.iter_mut().zip(&self.full.once) {
            if !once {
                wide.fill(R::ZERO);
            }
        }
        let tasks = hand_out(problem, &mut wide, &r.inputs, &shares);
        let tasks = tasks.into_iter().zip(&kept.records).collect();
        let unit = shares.iter().copied().max().unwrap_or(1);
        let done: Vec<Backward<R>> = self
            .groups(problem, tasks, unit)
            .into_par_iter()
            .flat_map_iter(|group| {
                let heads = group.into_iter().map(|((task, rows), records)| {
                    ((Head::new(self, task), records.as_slice()), rows)
                });
                let (heads, rows) = heads.unzip();
                Backward::run(heads, rows, &shares, cotangents)
            })
            .collect();
        let initial = by_state(r, done.iter().map(|head| head.d_carry.as_slice()));
        let params = gather_params(problem, done.into_iter().map(|head| head.params));
        Gradients { inputs: gather(problem, wide), params, initial }
    }

    /// Heads of a sequence that one thread runs together, chunk by chunk: they lie side by side in
    /// the rows, so that the second finds its rows where the first has fetched them. As many as
    /// leave work for every thread and whose states stay near the processor; whole `unit`s of heads,
    /// which write to the same rows.
    fn groups<R: Real, T>(&self, problem: &Problem<R>, tasks: Vec<T>, unit: usize) -> Vec<Vec<T>> {
        let each = tasks.len() / rayon::current_num_threads().max(1);
        let near = NEAR / problem.recurrence.state_size().max(1);
        let together = each.min(near).clamp(1, problem.heads);
        let together = (together / unit).max(1) * unit;
        let mut groups: Vec<Vec<T>> = Vec::new();
        for (at, task) in tasks.into_iter().enumerate() {
            match groups.last_mut() {
                Some(last) if !(at % problem.heads).is_multiple_of(together) => last.push(task),
                _ => groups.push(vec![task]),
            }
        }
        groups
    }
}

/// How many neighbouring heads add to the same rows of each input's gradient. Heads that share a
/// row run one after the other, so this is 1, with a row for each, where too few tasks would be
/// left; the sums are the same to the last bit.
fn shares<R: Real>(problem: &Problem<R>, once: &[bool]) -> Vec<usize> {
    let tasks = problem.sequences() * problem.heads;
    let enough = 2 * rayon::current_num_threads();
    let mut unit = 1;
    // What a token gives to several rows would be added in another order.
    let share = |(operand, once): (&Operand<R>, &bool)| {
        let share = problem.heads / operand.heads;
        // Of several shares each must be a multiple of the smaller ones.
        let fits = share.is_multiple_of(unit) || unit.is_multiple_of(share);
        if !fits || !once || tasks / share < enough {
            return 1;
        }
        unit = unit.max(share);
        share
    };
    problem.inputs.iter().zip(once).map(share).collect()
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
            tasks.clone().map(|all| &all[range.clone()]).collect::<Vec<_>>().concat()
        })
        .collect()
}
