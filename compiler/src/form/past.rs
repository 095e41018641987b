//! The past form: sums and softmax over earlier tokens, a block of queries at a time.
//!
//! The program of one token gets two leading axes, queries and keys. What depends on the current
//! token only keeps size 1 along the keys and the other way round, so a score `qᵀ k[u]` becomes one
//! matrix product, and a weighted sum `Σ p[u] v[u]` another. Positions outside the declared range
//! are masked: `-inf` for scores, 0 for terms. A program is made for each number of keys (in steps
//! of a block); which keys a block of queries reads follows from the declared range, so a window
//! costs what the window holds. (Tiles as in FlashAttention; on a CPU all keys of a block of
//! queries fit the cache, so no running softmax is needed.)

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::task::{Rows, Task, gather, gather_params, hand_out, sheets, zero_params, zero_sheets};
use super::{Cotangents, Gradients, Outputs, Problem, add};
use crate::elaborate::Recurrence;
use crate::grad::{ByLeaves, by_leaves};
use crate::interpret::{Machine, Plan};
use crate::normal::Refusal;
use crate::num::Real;
use crate::tile::lift::{Over, one};
use crate::tile::{Builder, Gather, Int, Leaf, Op, Past, Program, Stream, Unary, Value, size};

/// Queries of a block, and the step in which the number of keys grows.
const BLOCK: usize = 64;

/// Tokens at which a range is looked at.
pub const SAMPLES: i64 = 4096;

/// Which positions the sums of a recurrence read; some at every token.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// First position, at each token.
    pub low: Int,
    /// Last position, included.
    pub high: Int,
}

impl Range {
    /// The range that all sums of a recurrence have in common.
    pub fn of(r: &Recurrence) -> Result<Range, Refusal> {
        let refuse = |span, why: &str| Refusal { span, why: why.into() };
        if !r.states.is_empty() {
            return Err(refuse(None, "it has states beside sums over the past"));
        }
        let mut pasts = r.token.nodes.iter().filter_map(|node| match &node.op {
            Op::Past(past) => Some((&**past, node.span)),
            _ => None,
        });
        let none = || refuse(None, "it has no state and reads no past by `sum` or `softmax`");
        let (first, span) = pasts.next().ok_or_else(none)?;
        if let Some((_, span)) = pasts.find(|(p, _)| p.low != first.low || p.high != first.high) {
            return Err(refuse(span, "its sums over the past have different ranges"));
        }
        // Sampled, as where ranges are declared: every range of the sources shows itself early.
        let empty = |t: i64| first.low.eval(t, &[]).max(0) > first.high.eval(t, &[]);
        if (0..SAMPLES).any(empty) {
            let why =
                "its range over the past holds no token at some tokens, such as the first one";
            return Err(refuse(span, why));
        }
        Ok(Range { low: first.low.clone(), high: first.high.clone() })
    }

    /// First and last position that a token reads.
    pub fn at(&self, t: usize) -> (usize, usize) {
        let within = |at: &Int| at.eval(t as i64, &[]).clamp(0, t as i64) as usize;
        (within(&self.low), within(&self.high))
    }

    /// First and last position that some of the tokens read.
    pub fn of_rows(&self, tokens: std::ops::Range<usize>) -> (usize, usize) {
        let low = tokens.clone().map(|t| self.at(t).0).min().unwrap_or(0);
        (low, tokens.map(|t| self.at(t).1).max().unwrap_or(0))
    }
}

/// Programs for one number of keys.
#[derive(Debug)]
struct Programs {
    forward: Plan,
    backward: Plan,
    targets: Vec<Target>,
}

/// What a gradient belongs to: an input read by queries or by keys, or a parameter.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Query(usize, Int),
    Key(usize),
    Param(usize),
}

/// The past form of a recurrence.
#[derive(Debug)]
pub struct PastForm {
    recurrence: Recurrence,
    queries: usize,
    /// The step in which the number of keys grows.
    keys: usize,
    range: Range,
    programs: Mutex<BTreeMap<usize, Arc<Programs>>>,
}

impl Clone for PastForm {
    fn clone(&self) -> PastForm {
        PastForm {
            recurrence: self.recurrence.clone(),
            queries: self.queries,
            keys: self.keys,
            range: self.range.clone(),
            programs: Mutex::new(BTreeMap::new()),
        }
    }
}

impl PastForm {
    /// Prepares the form for sequences of at most `longest` tokens.
    pub fn new(r: &Recurrence, longest: usize) -> Result<PastForm, Refusal> {
        let queries = BLOCK.min(longest.max(1));
        PastForm::with_blocks(r, queries, queries)
    }

    /// Prepares the form for one query at a time.
    pub fn single(r: &Recurrence) -> Result<PastForm, Refusal> {
        PastForm::with_blocks(r, 1, BLOCK)
    }

    fn with_blocks(r: &Recurrence, queries: usize, keys: usize) -> Result<PastForm, Refusal> {
        let form = PastForm {
            recurrence: r.clone(),
            queries,
            keys,
            range: Range::of(r)?,
            programs: Mutex::new(BTreeMap::new()),
        };
        pair_program(r, form.queries, BLOCK)?;
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

    /// Runs forward.
    pub fn forward<R: Real>(&self, problem: &Problem<R>) -> Outputs<R> {
        self.forward_from(problem, 0)
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

    /// Runs backward; nothing of the forward pass is needed but its inputs.
    pub fn backward<R: Real>(
        &self,
        problem: &Problem<R>,
        cotangents: &Cotangents<R>,
    ) -> Gradients<R> {
        let r = problem.recurrence;
        let mut wide = zero_sheets(problem, &r.inputs);
        let params: Vec<Vec<Vec<R>>> =
            hand_out(problem, &mut wide, &r.inputs, &vec![1; r.inputs.len()])
                .into_par_iter()
                .map_init(BTreeMap::new, |machines, (task, mut rows)| {
                    Head { form: self, task }.backward(machines, &mut rows, cotangents)
                })
                .collect();
        let params = gather_params(problem, params.into_iter());
        Gradients { inputs: gather(problem, wide), params, initial: vec![] }
    }
}

/// The program of a block of queries and a block of keys.
pub(crate) fn pair_program(
    r: &Recurrence,
    queries: usize,
    keys: usize,
) -> Result<Program, Refusal> {
    let mut b = Builder::new();
    let mut maker = Pair { b: &mut b, queries, keys };
    let new = maker.lift(&r.token, &[])?;
    let mut outputs = Vec::new();
    for (slot, output) in r.outs.iter().zip(&r.token.outputs) {
        let full = [&[queries, 1], slot.shape.as_slice()].concat();
        let value = b.expand(new[output.at()], &full);
        outputs.push(b.reshape(value, &[&[queries], slot.shape.as_slice()].concat()));
    }
    Ok(b.finish(&outputs))
}

struct Pair<'b> {
    b: &'b mut Builder,
    queries: usize,
    keys: usize,
}

impl Pair<'_> {
    fn lift(&mut self, program: &Program, outer: &[Value]) -> Result<Vec<Value>, Refusal> {
        let mut new: Vec<Value> = Vec::with_capacity(program.nodes.len());
        for node in &program.nodes {
            self.b.span = node.span;
            let refuse = |why: &str| Refusal { span: node.span, why: why.into() };
            let args: Vec<Value> = node.args.iter().map(|arg| new[arg.at()]).collect();
            let value = match &node.op {
                Op::Leaf(Leaf::Outer(k)) => outer[*k],
                Op::Leaf(leaf) => self.leaf(leaf, &node.shape).map_err(refuse)?,
                Op::Past(past) => self.past(past, &args)?,
                // A softmax over entries knows no positions that it may not read.
                Op::Weight if !matches!(program.node(node.args[1]).op, Op::LogSumExp(_)) => {
                    let score = self.masked(args[0], f64::NEG_INFINITY);
                    self.b.weight(score, args[1])
                }
                op => one(self.b, op, &args, &node.shape, Over::Tokens, 2, &mut |_, leaf, _| {
                    unreachable!("{leaf} is lifted above")
                })
                .map_err(refuse)?,
            };
            new.push(value);
        }
        Ok(new)
    }

    fn leaf(&mut self, leaf: &Leaf, shape: &[usize]) -> Result<Value, &'static str> {
        let (queries, keys) = match leaf {
            Leaf::Read(Stream::Input(_), at) | Leaf::Number(at) => {
                match (at.binds(0), *at == Int::T) {
                    (true, _) if *at == Int::Bound(0) => (1, self.keys),
                    (true, _) if matches!(leaf, Leaf::Number(_)) => (self.queries, self.keys),
                    (false, true) => (self.queries, 1),
                    (false, _) if at.lag().is_some() => (self.queries, 1),
                    _ => {
                        return Err(
                            "attention reads inputs at the bound position itself, as `k[u]`, and this is another",
                        );
                    }
                }
            }
            Leaf::Param(_) | Leaf::Head => (1, 1),
            _ => {
                return Err(
                    "a value that another token computes is read: write out what it is made of, as `2 * k[u]`",
                );
            }
        };
        let front: Vec<usize> = match leaf {
            Leaf::Param(_) | Leaf::Head => vec![],
            _ if queries > 1 && keys > 1 => vec![queries, keys],
            _ => vec![queries.max(keys)],
        };
        let value = self.b.leaf(leaf.clone(), &[front.as_slice(), shape].concat());
        Ok(self.b.reshape(value, &[&[queries, keys], shape].concat()))
    }

    /// The value where a query may read a key, else a constant.
    fn masked(&mut self, value: Value, other: f64) -> Value {
        let rank = self.b.shape(value).len();
        let mut shape = vec![1; rank];
        (shape[0], shape[1]) = (self.queries, self.keys);
        let allowed = self.b.leaf(Leaf::Allowed, &[self.queries, self.keys]);
        let allowed = self.b.reshape(allowed, &shape);
        let full = [&[self.queries, self.keys], &self.b.shape(value)[2..]].concat();
        let value = self.b.expand(value, &full);
        let other = self.b.fill(other, &vec![1; rank]);
        self.b.select(allowed, value, other)
    }

    fn past(&mut self, past: &Past, args: &[Value]) -> Result<Value, Refusal> {
        let new = self.lift(&past.term, args)?;
        let term = new[past.term.outputs[0].at()];
        match past.gather {
            Gather::Sum => {
                let term = if vanishes(self.b, term) { term } else { self.masked(term, 0.0) };
                let full = [&[self.queries, self.keys], &self.b.shape(term)[2..]].concat();
                let term =
                    if self.b.shape(term)[1] == 1 { self.b.expand(term, &full) } else { term };
                Ok(self.b.sum(term, &[1]))
            }
            Gather::LogSumExp => {
                let score = self.masked(term, f64::NEG_INFINITY);
                Ok(self.b.log_sum_exp(score, 1))
            }
        }
    }
}

/// Whether a term is 0 wherever a weight is.
fn vanishes(b: &Builder, value: Value) -> bool {
    let node = b.node(value);
    match &node.op {
        Op::Weight => matches!(b.node(node.args[0]).op, Op::Select),
        Op::MulSum(_) => node.args.iter().any(|arg| vanishes(b, *arg)),
        Op::Reshape | Op::Permute(_) | Op::Expand | Op::Unary(Unary::Neg) => {
            vanishes(b, node.args[0])
        }
        _ => false,
    }
}

/// Adds the gradient of the outputs.
pub(crate) fn gradient(b: &mut Builder) -> ByLeaves<Target> {
    let outputs = b.program.outputs.clone().into_iter().enumerate();
    let seeds = outputs.map(|(k, output)| (output, Leaf::Cotangent(Stream::Out(k))));
    by_leaves(b, seeds, |leaf| match leaf {
        Leaf::Read(Stream::Input(i), at) if at.binds(0) => Some(Target::Key(*i)),
        Leaf::Read(Stream::Input(i), at) => Some(Target::Query(*i, at.clone())),
        Leaf::Param(i) => Some(Target::Param(*i)),
        _ => None,
    })
}

/// One sequence and one head in the past form.
struct Head<'a, 'p, R> {
    form: &'a PastForm,
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
    ) -> Vec<Vec<R>> {
        let p = self.task.problem;
        let r = p.recurrence;
        let mut params = zero_params(p);
        for block in self.blocks() {
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
