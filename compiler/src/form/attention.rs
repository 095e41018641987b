//! The attention form: sums and softmax over earlier tokens, a block of queries at a time.
//!
//! A program ([`crate::chunk::attention`]) is made for each number of keys (in steps of a block); which
//! keys a block of queries reads follows from the declared range, so a window costs what the window
//! holds. (Tiles as in FlashAttention; on a CPU the scores of a block and all its keys fit the cache up to thousands of
//! keys, so no running softmax is needed.) A head's keys are put together once, and all its blocks read them where they are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::task::{Rows, Task, gather, gather_params, hand_out, sheets, zero_params, zero_sheets};
use super::{Cotangents, Gradients, Outputs, Problem, add};
use crate::chunk::attention::{Range, Target, gradient, pair_program};
use crate::elaborate::Recurrence;
use crate::interpret::{Machine, Plan};
use crate::memory;
use crate::normal::Refusal;
use crate::num::Real;
use crate::tile::{Builder, Leaf, Stream, size};

/// Queries of a block, and the step in which the number of keys grows.
const BLOCK: usize = 64;

/// A direction: forward, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Forward,
    Back,
}

/// The program of a block for one number of keys.
#[derive(Debug)]
struct Made {
    plan: Plan,
    /// On the way back, what its results belong to.
    targets: Vec<Target>,
}

/// The attention form of a recurrence.
#[derive(Debug)]
pub struct Attention {
    recurrence: Recurrence,
    queries: usize,
    /// The step in which the number of keys grows.
    keys: usize,
    range: Range,
    programs: Mutex<BTreeMap<Which, Arc<Made>>>,
}

/// Which program: the number of keys, and the way.
type Which = (usize, Way);

impl Clone for Attention {
    fn clone(&self) -> Attention {
        Attention {
            recurrence: self.recurrence.clone(),
            queries: self.queries,
            keys: self.keys,
            range: self.range.clone(),
            programs: Mutex::new(BTreeMap::new()),
        }
    }
}

impl Attention {
    /// Prepares the form for sequences of at most `longest` tokens, in blocks of so many if given.
    pub fn new(
        r: &Recurrence,
        longest: usize,
        tokens: Option<usize>,
    ) -> Result<Attention, Refusal> {
        let queries = tokens.unwrap_or(BLOCK).clamp(1, longest.max(1));
        Attention::with_blocks(r, queries, queries)
    }

    /// Prepares the form for one query at a time.
    pub fn single(r: &Recurrence) -> Result<Attention, Refusal> {
        Attention::with_blocks(r, 1, BLOCK)
    }

    fn with_blocks(r: &Recurrence, queries: usize, keys: usize) -> Result<Attention, Refusal> {
        let form = Attention {
            recurrence: r.clone(),
            queries,
            keys,
            range: Range::of(r)?,
            programs: Mutex::new(BTreeMap::new()),
        };
        pair_program(r, form.queries, form.keys)?;
        Ok(form)
    }

    fn program(&self, which: Which) -> Arc<Made> {
        let mut known = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let made = known.entry(which).or_insert_with(|| {
            let (keys, way) = which;
            let program = pair_program(&self.recurrence, self.queries, keys)
                .expect("the number of keys does not change what can be lifted");
            let (program, targets) = match way {
                Way::Forward => (program, vec![]),
                Way::Back => {
                    let mut b = Builder::extending(program);
                    let found = gradient(&mut b);
                    (b.finish(&found.values), found.targets)
                }
            };
            let plan = Plan::lending(&program, &|leaf| of_keys(leaf).is_some());
            Arc::new(Made { plan, targets })
        });
        Arc::clone(made)
    }

    /// Runs forward for the tokens of each sequence from `first` on; the rows before are arbitrary.
    pub fn forward_from<R: Real>(&self, problem: &Problem<R>, first: usize) -> Outputs<R> {
        let r = problem.recurrence;
        let own = vec![1; r.outs.len()];
        let mut outs = sheets(problem, &r.outs, &own);
        hand_out(problem, &mut outs, &r.outs, &own).into_par_iter().for_each_init(
            BTreeMap::new,
            |machines, (task, mut rows)| {
                Head::new(self, task, Way::Forward).forward(machines, &mut rows, first);
            },
        );
        Outputs { outs, finals: Vec::new() }
    }

    /// Runs backward; nothing of the forward pass is needed but its inputs, and nothing flows into the outputs of tokens before
    /// `first`.
    pub fn backward_from<R: Real>(
        &self,
        problem: &Problem<R>,
        cotangents: &Cotangents<R>,
        first: usize,
    ) -> Gradients<R> {
        let r = problem.recurrence;
        let mut wide = zero_sheets(problem, &r.inputs);
        let params: Vec<Vec<Vec<R>>> =
            hand_out(problem, &mut wide, &r.inputs, &vec![1; r.inputs.len()])
                .into_par_iter()
                .map_init(BTreeMap::new, |machines, (task, mut rows)| {
                    let head = Head::new(self, task, Way::Back);
                    head.backward(machines, &mut rows, cotangents, first)
                })
                .collect();
        let params = gather_params(problem, params.into_iter());
        Gradients { inputs: gather(problem, wide), params, initial: vec![] }
    }
}

/// The input that a leaf holds for every key.
fn of_keys(leaf: &Leaf) -> Option<usize> {
    match leaf {
        Leaf::Read(Stream::Input(i), at) if at.binds(0) => Some(*i),
        _ => None,
    }
}

/// One sequence and one head in the attention form.
struct Head<'a, 'p, R: Real> {
    form: &'a Attention,
    task: Task<'a, 'p, R>,
    way: Way,
    /// Per input what keys give, one after the other, as far as keys read it; from this one on.
    keys: Vec<Vec<R>>,
    first_key: usize,
}

impl<R: Real> Drop for Head<'_, '_, R> {
    fn drop(&mut self) {
        self.keys.drain(..).for_each(memory::give);
    }
}

/// A block of queries and the keys it reads.
#[derive(Clone, Copy)]
struct Block {
    first: usize,
    count: usize,
    first_key: usize,
    keys: usize,
}

type Machines<R> = BTreeMap<Which, (Arc<Made>, Machine<R>)>;

impl<'a, 'p, R: Real> Head<'a, 'p, R> {
    fn new(form: &'a Attention, task: Task<'a, 'p, R>, way: Way) -> Head<'a, 'p, R> {
        let keys = form.recurrence.inputs.iter().map(|_| Vec::new()).collect();
        Head { form, task, way, keys, first_key: 0 }
    }

    /// Puts together what the keys of blocks give; those past the last token are copies of it.
    fn gather(&mut self, program: &Plan, blocks: &[Block]) {
        let end = blocks.iter().map(|block| block.first_key + block.keys).max().unwrap_or(0);
        self.first_key = blocks.iter().map(|block| block.first_key).min().unwrap_or(0);
        let (first, last) = (self.first_key, self.task.tokens() - 1);
        for i in program.leaves().filter_map(of_keys) {
            if self.keys[i].is_empty() {
                let one = size(&self.form.recurrence.inputs[i].shape);
                let mut rows = memory::take((end - first) * one);
                self.task.input(i, |row| (first + row).min(last) as i64, &mut rows);
                self.keys[i] = rows;
            }
        }
    }

    /// The keys of a block, where the head has them.
    fn lent(&self, leaf: &Leaf, block: Block) -> Option<&[R]> {
        let i = of_keys(leaf)?;
        let one = size(&self.form.recurrence.inputs[i].shape);
        Some(&self.keys[i][(block.first_key - self.first_key) * one..])
    }

    /// The blocks that hold tokens from `first` on.
    fn blocks(&self, first: usize) -> Vec<Block> {
        let (tokens, c) = (self.task.tokens(), self.form.queries);
        (first / c..tokens.div_ceil(c))
            .map(|i| {
                let (first, count) = (i * c, c.min(tokens - i * c));
                let (low, high) = self.form.range.of_rows(first..first + count);
                let keys = (high + 1 - low).next_multiple_of(self.form.keys);
                Block { first, count, first_key: low, keys }
            })
            .collect()
    }

    fn feed(&self, leaf: &Leaf, block: Block, to: &mut [R]) {
        let token = |row: usize| block.first + row.min(block.count - 1);
        let last = self.task.tokens() - 1;
        let key = |row: usize| (block.first_key + row).min(last);
        match leaf {
            Leaf::Read(Stream::Input(i), at) => match at.lag() {
                Some(lag) => self.task.input(*i, |row| token(row) as i64 - lag, to),
                None => self.task.input(*i, |row| at.eval(token(row) as i64, &[]), to),
            },
            Leaf::Param(i) => self.task.param(*i, to),
            Leaf::Number(at) => {
                let keys = if !at.binds(0) { 1 } else { block.keys };
                let queries_vary = to.len() > keys;
                for (i, x) in to.iter_mut().enumerate() {
                    let row = if at.binds(0) && !queries_vary { 0 } else { i / keys };
                    let u = key(i % keys) as i64;
                    *x = R::of(at.eval(token(row) as i64, &[u]) as f64);
                }
            }
            Leaf::Head => to.fill(R::of(self.task.head as f64)),
            Leaf::Allowed => {
                for (row, to) in to.chunks_exact_mut(block.keys).enumerate() {
                    let (low, high) = self.form.range.at(token(row));
                    let (from, until) = (low - block.first_key, high + 1 - block.first_key);
                    to.fill(R::ZERO);
                    to[from..until].fill(R::ONE);
                }
            }
            other => unreachable!("{other} is filled elsewhere"),
        }
    }

    fn machine<'m>(
        &self,
        machines: &'m mut Machines<R>,
        keys: usize,
    ) -> &'m mut (Arc<Made>, Machine<R>) {
        machines.entry((keys, self.way)).or_insert_with_key(|which| {
            let made = self.form.program(*which);
            let machine = Machine::new(&made.plan);
            (made, machine)
        })
    }

    /// Writes the outputs' rows from token `first` on.
    fn forward(mut self, machines: &mut Machines<R>, rows: &mut [Rows<R>], first: usize) {
        let r = self.task.problem.recurrence;
        let blocks = self.blocks(first);
        for block in &blocks {
            let (made, machine) = self.machine(machines, block.keys);
            self.gather(&made.plan, &blocks);
            let feed = &mut |leaf: &Leaf, _: &[i64], to: &mut [R]| self.feed(leaf, *block, to);
            made.plan.run_lent(machine, 0, &[], &|leaf| self.lent(leaf, *block), feed);
            for (k, slot) in r.outs.iter().enumerate() {
                let made = &made.plan.output(machine, k)[..block.count * size(&slot.shape)];
                rows[k].put(block.first, made);
            }
        }
    }

    /// Adds to the rows of the inputs' gradients; gives those of the parameters.
    fn backward(
        mut self,
        machines: &mut Machines<R>,
        rows: &mut [Rows<R>],
        cotangents: &Cotangents<R>,
        first: usize,
    ) -> Vec<Vec<R>> {
        let p = self.task.problem;
        let r = p.recurrence;
        let mut params = zero_params(p);
        let blocks = self.blocks(first);
        for block in &blocks {
            let (made, machine) = self.machine(machines, block.keys);
            self.gather(&made.plan, &blocks);
            let feed = &mut |leaf: &Leaf, _: &[i64], to: &mut [R]| match leaf {
                Leaf::Cotangent(Stream::Out(k)) => {
                    let one = size(&r.outs[*k].shape);
                    let first = self.task.start() + block.first;
                    cotangents.rows(*k, one, p.heads, self.task.head, first, block.count, to);
                }
                other => self.feed(other, *block, to),
            };
            made.plan.run_lent(machine, 0, &[], &|leaf| self.lent(leaf, *block), feed);
            for (k, target) in made.targets.iter().enumerate() {
                let d = made.plan.output(machine, k);
                match target {
                    Target::Param(i) => add(&mut params[*i], d),
                    Target::Key(i) => {
                        let one = size(&r.inputs[*i].shape);
                        let count = block.keys.min(self.task.tokens() - block.first_key);
                        rows[*i].add(block.first_key, &d[..count * one]);
                    }
                    Target::Query(i, at) => {
                        let one = size(&r.inputs[*i].shape);
                        rows[*i].add_read(at, block.first, &d[..block.count * one], one);
                    }
                }
            }
        }
        params
    }
}
