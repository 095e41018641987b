//! The attention form: sums and softmax over earlier tokens, a block of queries at a time.
//!
//! A program ([`crate::chunk::attention`]) is made for each number of keys (in steps of a block); which
//! keys a block of queries reads follows from the declared range, so a window costs what the window
//! holds. (Tiles as in FlashAttention; on a CPU all keys of a block of queries fit the cache, so no
//! running softmax is needed.)

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::task::{Rows, Task, gather, gather_params, hand_out, sheets, zero_params, zero_sheets};
use super::{Cotangents, Gradients, Outputs, Problem, add};
use crate::chunk::attention::{Range, Target, gradient, pair_program};
use crate::elaborate::Recurrence;
use crate::interpret::{Machine, Plan};
use crate::normal::Refusal;
use crate::num::Real;
use crate::tile::{Builder, Leaf, Stream, size};

/// Queries of a block, and the step in which the number of keys grows.
const BLOCK: usize = 64;

/// Programs for one number of keys.
#[derive(Debug)]
struct Programs {
    forward: Plan,
    backward: Plan,
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
    programs: Mutex<BTreeMap<usize, Arc<Programs>>>,
}

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

    fn programs(&self, keys: usize) -> Arc<Programs> {
        let mut known = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let made = known.entry(keys).or_insert_with(|| {
            let program = pair_program(&self.recurrence, self.queries, keys)
                .expect("the number of keys does not change what can be lifted");
            let forward = Plan::new(&program);
            let mut b = Builder::extending(program);
            let found = gradient(&mut b);
            let backward = Plan::new(&b.finish(&found.values));
            Arc::new(Programs { forward, backward, targets: found.targets })
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
                Head { form: self, task }.forward(machines, &mut rows, first);
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
                    Head { form: self, task }.backward(machines, &mut rows, cotangents, first)
                })
                .collect();
        let params = gather_params(problem, params.into_iter());
        Gradients { inputs: gather(problem, wide), params, initial: vec![] }
    }
}

/// One sequence and one head in the attention form.
struct Head<'a, 'p, R> {
    form: &'a Attention,
    task: Task<'a, 'p, R>,
}

/// A block of queries and the keys it reads.
#[derive(Clone, Copy)]
struct Block {
    first: usize,
    count: usize,
    first_key: usize,
    keys: usize,
}

type Machines<R> = BTreeMap<(usize, bool), (Arc<Programs>, Machine<R>)>;

impl<R: Real> Head<'_, '_, R> {
    fn blocks(&self) -> Vec<Block> {
        let (tokens, c) = (self.task.tokens(), self.form.queries);
        (0..tokens.div_ceil(c))
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
            Leaf::Read(Stream::Input(i), at) => match (at.binds(0), at.lag()) {
                (true, _) => self.task.input(*i, |row| key(row) as i64, to),
                (false, Some(lag)) => self.task.input(*i, |row| token(row) as i64 - lag, to),
                (false, None) => self.task.input(*i, |row| at.eval(token(row) as i64, &[]), to),
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
        backward: bool,
    ) -> &'m mut (Arc<Programs>, Machine<R>) {
        machines.entry((keys, backward)).or_insert_with(|| {
            let programs = self.form.programs(keys);
            let plan = if backward { &programs.backward } else { &programs.forward };
            let machine = Machine::new(plan);
            (programs, machine)
        })
    }

    /// Writes the outputs' rows from token `first` on.
    fn forward(&self, machines: &mut Machines<R>, rows: &mut [Rows<R>], first: usize) {
        let r = self.task.problem.recurrence;
        let wanted = |block: &Block| block.first + block.count > first;
        for block in self.blocks().into_iter().filter(wanted) {
            let (programs, machine) = self.machine(machines, block.keys, false);
            let plan = &programs.forward;
            plan.run(machine, 0, &[], &mut |leaf, _, to| self.feed(leaf, block, to));
            for (k, slot) in r.outs.iter().enumerate() {
                let made = &plan.output(machine, k)[..block.count * size(&slot.shape)];
                rows[k].put(block.first, made);
            }
        }
    }

    /// Adds to the rows of the inputs' gradients; gives those of the parameters.
    fn backward(
        &self,
        machines: &mut Machines<R>,
        rows: &mut [Rows<R>],
        cotangents: &Cotangents<R>,
        first: usize,
    ) -> Vec<Vec<R>> {
        let p = self.task.problem;
        let r = p.recurrence;
        let mut params = zero_params(p);
        for block in self.blocks().into_iter().filter(|block| block.first + block.count > first) {
            let (programs, machine) = self.machine(machines, block.keys, true);
            let plan = &programs.backward;
            plan.run(machine, 0, &[], &mut |leaf, _, to| match leaf {
                Leaf::Cotangent(Stream::Out(k)) => {
                    let one = size(&r.outs[*k].shape);
                    let first = self.task.start() + block.first;
                    cotangents.rows(*k, one, p.heads, self.task.head, first, block.count, to);
                }
                other => self.feed(other, block, to),
            });
            for (k, target) in programs.targets.iter().enumerate() {
                let d = plan.output(machine, k);
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
