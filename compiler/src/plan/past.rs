//! The kernels of sums and softmax over the past: forward, and backward for queries and for keys.
//!
//! Problem: the weights of all pairs of tokens fit no memory, and a softmax needs the sum over all
//! keys before its first weight is known.
//!
//! Idea: a block of threads holds a block of queries and goes over the keys block by block
//! (FlashAttention, Dao et al. 2022). What the program of a pair of blocks gathers over keys adds up
//! in a tile that lasts; a `log Σ exp` keeps its largest entry and a sum relative to it. What depends
//! on a gathered value waits for the next *sweep* over the keys: the weights of a softmax for the
//! second one, the gradient of its scores for the third. The gradients of keys are gathered over
//! queries by a kernel of their own, which reads what the others gathered over keys.

use std::collections::BTreeMap;

use super::chunk::Cut;
use super::index::{Ix, flat};
use super::lower::{Lower, around_quotients, axes_of, log_of, new_tile, plannable, steps};
use super::place::{keep_better, place};
use super::target::Gpu;
use super::{
    Buffer, Expr, Grid, Kernel, Number, Pass, Row, Section, Side, Step, Target, Tile, TileId,
};
use crate::chunk::attention::{Range, Target as Gradient, gradient, pair_program};
use crate::elaborate::Recurrence;
use crate::normal::Refusal;
use crate::tile::{Binary, Bits, Builder, Int, Leaf, Node, Op, Program, Stream, Value, size};

/// Tokens of the block itself and of the blocks of the other side, in order of preference.
const BLOCKS: [[usize; 2]; 5] = [[64, 64], [64, 32], [32, 32], [32, 16], [16, 16]];
/// Threads of a block.
const THREADS: usize = 256;

/// The kernel of a pass, by the first plan that fits a GPU; with blocks of `tokens` if given.
pub fn kernel(
    r: &Recurrence,
    pass: Pass,
    gpu: Gpu,
    tokens: Option<usize>,
) -> Result<Kernel, Refusal> {
    let range = Range::of(r)?;
    let mut best: Option<Kernel> = None;
    let given = tokens.map(|n| [n, n]);
    for [own, other] in given.into_iter().chain(BLOCKS.into_iter().filter(|_| given.is_none())) {
        let mut made = Maker::new(r, pass, [own, other])?.kernel(&range);
        if place(&mut made, gpu.shared) && keep_better(&mut best, made) {
            break;
        }
    }
    let why = || format!("no plan fits the shared memory of {}", gpu.arch);
    best.ok_or_else(|| Refusal { span: None, why: why() })
}

/// What each block of threads does: sequence, first own token, and the other side's first token and
/// end. The longest loops come first, so that they do not run alone at the end.
pub fn jobs(kernel: &Kernel, bounds: &[usize]) -> Vec<[usize; 4]> {
    let Grid::Pairs { own, range, .. } = &kernel.grid else { return vec![] };
    let mut jobs = Vec::new();
    for (sequence, w) in bounds.windows(2).enumerate() {
        let tokens = w[1] - w[0];
        let blocks = || (0..tokens).step_by(kernel.chunk);
        let rows = |first: usize| first..tokens.min(first + kernel.chunk);
        let reads: Vec<(usize, usize)> = blocks().map(|first| range.of_rows(rows(first))).collect();
        for (at, first) in blocks().enumerate() {
            let (from, until) = match own {
                Side::Queries => (reads[at].0, reads[at].1 + 1),
                Side::Keys => {
                    let meets =
                        |(low, high): &(usize, usize)| *low < rows(first).end && *high >= first;
                    let found = reads.iter().position(meets).zip(reads.iter().rposition(meets));
                    found.map_or((0, 0), |(a, b)| (a * kernel.chunk, rows(b * kernel.chunk).end))
                }
            };
            jobs.push([sequence, first, from, until]);
        }
    }
    jobs.sort_by_key(|[_, _, from, until]| std::cmp::Reverse(until.saturating_sub(*from)));
    jobs
}

/// The program of a pair of blocks with its gradient, and what passes between kernels.
struct Derived {
    program: Program,
    outputs: Vec<Value>,
    gradients: Vec<(Value, Gradient)>,
    /// Values gathered over keys on the way forward that the way back needs.
    forward: Vec<Value>,
    /// Values gathered over keys on the way back that gradients of keys need.
    backward: Vec<Value>,
    /// Which products read their operands in two pieces; a sweep sees its own part of the program only.
    whole: Vec<bool>,
}

/// The axis of a pair's program that is gathered over.
const KEYS: usize = 1;
/// The other one.
const QUERIES: usize = 0;

/// Whether a node gathers over an axis of the pair.
fn gathers(program: &Program, node: &Node, axis: usize) -> bool {
    let over = match &node.op {
        Op::Sum(over) | Op::MulSum(over) => over.contains(&axis),
        Op::LogSumExp(over) => *over == axis,
        _ => false,
    };
    over && node.args.iter().any(|arg| program.shape(*arg)[axis] > 1)
}

/// Which nodes some values need, where what `stop` picks needs nothing.
fn needed(program: &Program, of: &[Value], stop: &dyn Fn(Value) -> bool) -> Vec<bool> {
    let mut needed = vec![false; program.nodes.len()];
    of.iter().for_each(|value| needed[value.at()] = true);
    for at in (0..needed.len()).rev() {
        if needed[at] && !stop(Value(at as u32)) {
            program.nodes[at].args.iter().for_each(|arg| needed[arg.at()] = true);
        }
    }
    needed
}

impl Derived {
    fn new(r: &Recurrence, queries: usize, keys: usize) -> Result<Derived, Refusal> {
        let mut b = Builder::extending(pair_program(r, queries, keys)?);
        let (outputs, forward_nodes) = (b.program.outputs.clone(), b.program.nodes.len());
        let found = gradient(&mut b);
        let program = b.program;
        let gathered = |value: Value| gathers(&program, program.node(value), KEYS);
        let at = |found: Vec<bool>, from: usize| -> Vec<Value> {
            let all = found.iter().enumerate().skip(from).filter(|(_, needed)| **needed);
            all.map(|(at, _)| Value(at as u32)).filter(|value| gathered(*value)).collect()
        };
        let early = |value: Value| value.at() < forward_nodes && gathered(value);
        // What the way back gathers itself is no matter of the way forward.
        let mut forward = at(needed(&program, &found.values, &early), 0);
        forward.retain(|value| value.at() < forward_nodes);
        let gradients: Vec<(Value, Gradient)> =
            found.values.into_iter().zip(found.targets).collect();
        let of_keys: Vec<Value> = gradients
            .iter()
            .filter(|(_, target)| matches!(target, Gradient::Key(_)))
            .map(|(value, _)| *value)
            .collect();
        let backward = at(needed(&program, &of_keys, &gathered), forward_nodes);
        let whole = around_quotients(&program);
        Ok(Derived { program, outputs, gradients, forward, backward, whole })
    }
}

/// Makes one kernel.
struct Maker<'a> {
    r: &'a Recurrence,
    pass: Pass,
    /// Tokens of the block itself and of the other side's blocks.
    blocks: [usize; 2],
    derived: Derived,
    tiles: Vec<Tile>,
    /// Tiles that hold gathered values.
    held: BTreeMap<Value, TileId>,
    sections: Vec<Section>,
}

fn number(x: f64) -> Expr {
    Expr::Number(Bits::of(x))
}

impl<'a> Maker<'a> {
    fn new(r: &'a Recurrence, pass: Pass, blocks: [usize; 2]) -> Result<Maker<'a>, Refusal> {
        let refuse = |why: &str| Err(Refusal { span: None, why: why.into() });
        if pass == Pass::Decode {
            return refuse("a sum over the past has no state to decode from");
        }
        let [queries, keys] = if pass == Pass::Keys { [blocks[1], blocks[0]] } else { blocks };
        let derived = Derived::new(r, queries, keys)?;
        plannable(&derived.program)?;
        let late = derived
            .gradients
            .iter()
            .any(|(_, target)| matches!(target, Gradient::Query(_, at) if at.lag() != Some(0)));
        if late && pass == Pass::Backward {
            return refuse("a query reads an input of an earlier token");
        }
        let (tiles, held, sections) = (vec![], BTreeMap::new(), vec![]);
        Ok(Maker { r, pass, blocks, derived, tiles, held, sections })
    }

    /// The axis of the pair that the kernel's loop runs over.
    fn axis(&self) -> usize {
        if self.pass == Pass::Keys { QUERIES } else { KEYS }
    }

    /// What the kernel is to compute: results, and gathered values that it leaves for others.
    /// One value may have several places: inputs that are added have one gradient.
    fn wanted(&self) -> Vec<(Value, Place)> {
        let d = &self.derived;
        let outputs = || d.outputs.iter().enumerate().map(|(k, value)| (*value, Place::Out(k)));
        let gradients = |keys: bool| {
            let mine = move |target: &Gradient| matches!(target, Gradient::Key(_)) == keys;
            let mine = d.gradients.iter().filter(move |(_, target)| mine(target));
            mine.map(|(value, target)| (*value, Place::Gradient(target.clone())))
        };
        let left = |values: &[Value], first: usize| -> Vec<(Value, Place)> {
            let places = (first..).map(Place::Kept);
            values.iter().copied().zip(places).collect()
        };
        match self.pass {
            Pass::Keeping => outputs().chain(left(&d.forward, 0)).collect(),
            Pass::Backward => gradients(false).chain(left(&d.backward, d.forward.len())).collect(),
            Pass::Keys => gradients(true).collect(),
            Pass::Forward | Pass::Decode => outputs().collect(),
        }
    }

    /// The number under which another kernel has left a value, if one has: those of the way
    /// forward come first.
    fn kept(&self, value: Value) -> Option<usize> {
        let d = &self.derived;
        let forward = d.forward.iter().position(|v| *v == value);
        let backward = d.backward.iter().position(|v| *v == value);
        match self.pass {
            Pass::Backward => forward,
            Pass::Keys => forward.or(backward.map(|at| d.forward.len() + at)),
            _ => None,
        }
    }

    fn kernel(mut self, range: &Range) -> Kernel {
        let wanted = self.wanted();
        let values: Vec<Value> = wanted.iter().map(|(value, _)| *value).collect();
        self.sweeps(&values);
        let last = self.results(wanted);
        self.sections.push(Section::once(last));
        let axis = self.axis();
        hoist(&mut self.sections, &mut self.tiles, axis);
        let own = if self.pass == Pass::Keys { Side::Keys } else { Side::Queries };
        Kernel {
            grid: Grid::Pairs { own, other: self.blocks[1], range: range.clone() },
            name: format!("{}_{}", self.r.name, self.pass.name()),
            pass: self.pass,
            threads: THREADS,
            chunk: self.blocks[0],
            parts: 1,
            buffers: self.buffers(),
            tiles: self.tiles,
            sections: self.sections,
            shared: 0,
            working: 0,
        }
    }

    /// In which sweep each gathered value that is needed adds up.
    fn stages(&self, wanted: &[Value]) -> BTreeMap<Value, usize> {
        let (program, axis) = (&self.derived.program, self.axis());
        let needed = needed(program, wanted, &|value| self.kept(value).is_some());
        let mut stage = vec![0; program.nodes.len()];
        let mut stages = BTreeMap::new();
        for (at, node) in program.nodes.iter().enumerate().filter(|(at, _)| needed[*at]) {
            let value = Value(at as u32);
            if self.kept(value).is_some() {
                continue;
            }
            let after = |arg: &Value| stage[arg.at()] + usize::from(stages.contains_key(arg));
            stage[at] = node.args.iter().map(after).max().unwrap_or(0);
            if gathers(program, node, axis) {
                stages.insert(value, stage[at]);
            }
        }
        stages
    }

    fn sweeps(&mut self, wanted: &[Value]) {
        let stages = self.stages(wanted);
        let count = stages.values().max().map_or(0, |last| last + 1);
        for sweep in 0..count {
            let gathered: Vec<Value> =
                stages.iter().filter(|(_, s)| **s == sweep).map(|(value, _)| *value).collect();
            self.sweep(&gathered);
        }
    }

    /// One loop over the other side: gathers some values that depend on none of each other.
    fn sweep(&mut self, gathered: &[Value]) {
        let nodes: Vec<Node> =
            gathered.iter().map(|value| self.derived.program.node(*value).clone()).collect();
        let mut start = Vec::new();
        let mut sums: Vec<Vec<TileId>> = Vec::new();
        for node in &nodes {
            let parts: &[(&str, f64)] = match node.op {
                Op::LogSumExp(_) => &[("largest so far", LOWEST), ("sum so far", 0.0)],
                _ => &[("gathered", 0.0)],
            };
            let tiles = parts.iter().map(|(what, x)| {
                let tile = self.lasting(what, &node.shape);
                start.push(map(&node.shape, number(*x), tile));
                tile
            });
            sums.push(tiles.collect());
        }
        // The values that sweeps before this one gathered are leaves; of a `log Σ exp` the
        // argument is asked for.
        let outputs: Vec<Value> = gathered
            .iter()
            .zip(&nodes)
            .map(
                |(value, node)| {
                    if matches!(node.op, Op::LogSumExp(_)) { node.args[0] } else { *value }
                },
            )
            .collect();
        let (program, whole) = self.with_leaves(&outputs);
        let steps = self.lower(&program, whole, |lower| {
            for ((output, node), sums) in program.outputs.iter().zip(&nodes).zip(&sums) {
                match (&node.op, sums.as_slice()) {
                    (Op::LogSumExp(axis), [peak, sum]) => {
                        let found = lower.exponentials(*output, *axis);
                        merge(lower, &node.shape, [*peak, *sum], found);
                    }
                    _ => lower.write_tile(*output, sums[0], true),
                }
            }
        });
        self.sections.push(Section::once(start));
        self.sections.push(Section::each(steps));
        let mut after = Vec::new();
        for ((value, node), sums) in gathered.iter().zip(&nodes).zip(&sums) {
            let tile = match sums.as_slice() {
                [peak, sum] => {
                    let tile = self.lasting("log of the sum", &node.shape);
                    after.push(log_of([*peak, *sum], &node.shape, tile));
                    tile
                }
                _ => sums[0],
            };
            self.held.insert(*value, tile);
        }
        if !after.is_empty() {
            self.sections.push(Section::once(after));
        }
    }

    fn lasting(&mut self, what: &str, shape: &[usize]) -> TileId {
        let tile = new_tile(&mut self.tiles, what.to_string(), Number::F32, shape);
        self.tiles[tile.0].lasting = true;
        tile
    }

    /// The program of some values; what this kernel or others have gathered before are leaves. With it,
    /// which of its products read their operands in two pieces.
    fn with_leaves(&self, outputs: &[Value]) -> (Program, Vec<bool>) {
        let mut program = self.derived.program.clone();
        for (at, node) in program.nodes.iter_mut().enumerate() {
            let value = Value(at as u32);
            if self.held.contains_key(&value) || self.kept(value).is_some() {
                (node.op, node.args) = (Op::Leaf(Leaf::Kept(at)), vec![]);
            }
        }
        let stays = needed(&program, outputs, &|_| false);
        let whole = self.derived.whole.iter().zip(stays).filter(|(_, stays)| *stays);
        let whole = whole.map(|(whole, _)| *whole).collect();
        (Program { outputs: outputs.to_vec(), ..program }.pruned(), whole)
    }

    fn lower(
        &mut self,
        program: &Program,
        whole: Vec<bool>,
        write: impl FnOnce(&mut Lower),
    ) -> Vec<Step> {
        let mut tiles = std::mem::take(&mut self.tiles);
        let leaf = |leaf: &Leaf, shape: &[usize], index: &[Ix]| self.leaf(leaf, shape, index);
        let steps = steps(program, &mut tiles, &leaf, |lower| {
            lower.whole = whole;
            write(lower);
        });
        self.tiles = tiles;
        steps
    }

    /// An element of a leaf.
    fn leaf(&self, leaf: &Leaf, shape: &[usize], index: &[Ix]) -> Expr {
        let axis = Default::default();
        let cut = Cut { r: self.r, axis: &axis, parts: 1 };
        let first = || index.first().cloned().unwrap_or_default();
        match leaf {
            Leaf::Read(Stream::Input(_), _) | Leaf::Cotangent(_) => {
                Expr::Row(cut.leaf_row(leaf, shape, index))
            }
            Leaf::Param(i) => Expr::Part(cut.leaf_param(*i, shape, index)),
            Leaf::Number(at) if *at == Int::Bound(0) => {
                Expr::Position(at.clone(), [Ix::default(), first()])
            }
            Leaf::Number(at) => {
                let key = index.get(1).cloned().unwrap_or_default();
                Expr::Position(at.clone(), [first(), key])
            }
            Leaf::Allowed => Expr::Allowed([index[0].clone(), index[1].clone()]),
            Leaf::Head => Expr::Head,
            Leaf::Kept(at) => {
                let value = Value(*at as u32);
                match (self.held.get(&value), self.kept(value)) {
                    (Some(tile), _) => Expr::Tile(*tile, index.to_vec()),
                    (_, Some(k)) => self.kept_value(k, shape, index),
                    _ => unreachable!("a gathered value is held or kept"),
                }
            }
            other => unreachable!("{other} is no leaf of a pair of blocks"),
        }
    }

    /// A value that another kernel has left. Rows past the sequence's end have those of the last
    /// one, as they have its inputs, so that what is computed of them is a number; what flows into
    /// them is nothing.
    fn kept_value(&self, k: usize, shape: &[usize], index: &[Ix]) -> Expr {
        let value = Expr::Row(kept_row(k, shape, index));
        if k < self.derived.forward.len() {
            return value;
        }
        let valid = Expr::Valid(index[QUERIES].clone());
        Expr::Select(Box::new([valid, value, number(0.0)]))
    }

    /// The steps that write what the kernel gives.
    fn results(&mut self, wanted: Vec<(Value, Place)>) -> Vec<Step> {
        let (values, places): (Vec<Value>, Vec<Place>) = wanted.into_iter().unzip();
        let (program, whole) = self.with_leaves(&values);
        let both = self.shared_gradients();
        let r = self.r;
        self.lower(&program, whole, |lower| {
            let axis = Default::default();
            let cut = Cut { r, axis: &axis, parts: 1 };
            for (output, place) in program.outputs.iter().zip(places) {
                let shape = program.shape(*output).to_vec();
                let index = axes_of(&shape);
                let (to, add) = match place {
                    Place::Out(k) => (Target::Row(cut.out_row(k, &shape, &index)), false),
                    Place::Kept(k) => (Target::Row(kept_row(k, &shape, &index)), false),
                    Place::Gradient(Gradient::Query(i, at)) => {
                        (Target::Row(cut.input_grad_row(i, &at, &shape, &index)), both[i])
                    }
                    Place::Gradient(Gradient::Key(i)) => {
                        let at = Int::Bound(0);
                        (Target::Row(cut.input_grad_row(i, &at, &shape, &index)), both[i])
                    }
                    Place::Gradient(Gradient::Param(i)) => {
                        (Target::Part(cut.param_grad(i, &shape, &index)), false)
                    }
                };
                lower.write(*output, &index, &shape, to, add);
            }
        })
    }

    /// Inputs whose gradient comes from more than one place and so must be added up.
    fn shared_gradients(&self) -> Vec<bool> {
        let mut count = vec![0; self.r.inputs.len()];
        for (_, target) in &self.derived.gradients {
            match target {
                Gradient::Query(i, _) | Gradient::Key(i) => count[*i] += 1,
                Gradient::Param(_) => {}
            }
        }
        count.into_iter().map(|n| n > 1).collect()
    }

    /// The arguments, in order.
    fn buffers(&self) -> Vec<Buffer> {
        let (r, d) = (self.r, &self.derived);
        let inputs = (0..r.inputs.len()).map(Buffer::Input);
        let first = inputs.chain((0..r.params.len()).map(Buffer::Param));
        let outs = (0..r.outs.len()).map(Buffer::Out);
        let (forward, all) = (d.forward.len(), d.forward.len() + d.backward.len());
        let keys = |i: usize| {
            d.gradients.iter().any(|(_, target)| matches!(target, Gradient::Key(k) if *k == i))
        };
        let queries = |i: usize| {
            d.gradients.iter().any(|(_, target)| matches!(target, Gradient::Query(k, _) if *k == i))
        };
        let grads = |mine: &dyn Fn(usize) -> bool| -> Vec<Buffer> {
            (0..r.inputs.len()).filter(|i| mine(*i)).map(Buffer::InputGrad).collect()
        };
        match self.pass {
            Pass::Forward | Pass::Decode => first.chain(outs).collect(),
            Pass::Keeping => first.chain(outs).chain((0..forward).map(Buffer::Kept)).collect(),
            Pass::Backward => first
                .chain((0..r.outs.len()).map(Buffer::OutGrad))
                .chain((0..all).map(Buffer::Kept))
                // What nobody reads has a gradient too: zero.
                .chain(grads(&|i| queries(i) || !keys(i)))
                .chain((0..r.params.len()).map(Buffer::ParamGrad))
                .collect(),
            Pass::Keys => first
                .chain((0..r.outs.len()).map(Buffer::OutGrad))
                .chain((0..all).map(Buffer::Kept))
                .chain(grads(&keys))
                .collect(),
        }
    }
}

/// Where a result goes.
enum Place {
    Out(usize),
    Kept(usize),
    Gradient(Gradient),
}

/// The largest entry of none, as in `tile.cuh`.
const LOWEST: f64 = -3.0e38;

fn map(shape: &[usize], value: Expr, to: TileId) -> Step {
    let to = Target::Tile(to, axes_of(shape));
    Step::Map { sizes: shape.to_vec(), value, to, add: false }
}

/// An element of a value that one kernel leaves for another: `[queries, 1, …]`.
fn kept_row(k: usize, shape: &[usize], index: &[Ix]) -> Row {
    let inner = flat(&index[1..], &shape[1..]);
    let one = size(&shape[1..]);
    let (row, slot) = (index[0].clone(), Ix::default());
    Row { buffer: Buffer::Kept(k), at: Int::T, row, slot, inner, count: 1, one, part: 0 }
}

/// Puts a block's largest entries and sums together with those so far.
fn merge(lower: &mut Lower, shape: &[usize], [peak, sum]: [TileId; 2], found: [TileId; 2]) {
    let at = |tile: TileId| Expr::Tile(tile, axes_of(shape));
    let new = new_tile(&mut lower.tiles, "larger".to_string(), Number::F32, shape);
    let larger = Expr::Binary(Binary::Max, Box::new([at(peak), at(found[0])]));
    let relative = |peak: TileId, sum: TileId| {
        let factor = Expr::Weight(Box::new([at(peak), at(new)]));
        Expr::Mul(Box::new([at(sum), factor]))
    };
    let both = [relative(peak, sum), relative(found[0], found[1])];
    lower.steps.push(map(shape, larger, new));
    lower.steps.push(map(shape, Expr::Binary(Binary::Add, Box::new(both)), sum));
    lower.steps.push(map(shape, at(new), peak));
}

/// Moves steps that do the same in each round of a loop before it.
fn hoist(sections: &mut Vec<Section>, tiles: &mut [Tile], axis: usize) {
    let mut done: Vec<Section> = Vec::with_capacity(sections.len());
    for Section { each, steps } in std::mem::take(sections) {
        if !each {
            done.push(Section { each, steps });
            continue;
        }
        let makers = |tile: &TileId| steps.iter().filter(|s| s.writes().contains(tile)).count();
        let mut same: Vec<TileId> = Vec::new();
        let mut before = Vec::new();
        let mut rest = Vec::new();
        for step in &steps {
            let written = step.writes();
            let fixed = |tile: &TileId| same.contains(tile) || makers(tile) == 0;
            let own = |tile: &TileId| makers(tile) == 1 && !tiles[tile.0].lasting;
            let constant = !written.is_empty()
                && written.iter().all(own)
                && step.reads().iter().all(fixed)
                && step.value().is_some_and(|value| !varies(value, axis));
            if constant {
                same.extend(&written);
                before.push(step.clone());
            } else {
                rest.push(step.clone());
            }
        }
        same.iter().for_each(|tile| tiles[tile.0].lasting = true);
        if !before.is_empty() {
            done.push(Section::once(before));
        }
        done.push(Section::each(rest));
    }
    *sections = done;
}

/// Whether an expression reads tokens of the side that a loop runs over.
fn varies(value: &Expr, axis: usize) -> bool {
    let mut found = false;
    value.walk(&mut |e| {
        found |= match e {
            Expr::Row(row) => row.at.binds(0) == (axis == KEYS),
            Expr::Position(at, _) => at.binds(0) || axis == QUERIES,
            Expr::Allowed(_) => true,
            _ => false,
        }
    });
    found
}
