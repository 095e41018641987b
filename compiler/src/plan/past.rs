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

use super::buffer::{name_apart, numbers};
use super::chunk::buffers::{arguments, input_grad, out_grads, outs, param_grad};
use super::cut::{Cut, find};
use super::index::Ix;
use super::lower::{Lower, around_quotients, axes_of, log_of, new_tile, plannable, steps};
use super::place::{keep_better, place};
use super::target::Gpu;
use super::{
    Binding, Buffer, Dim, Element, Expr, Grid, Kernel, Number, Pass, Role, Schedule, Section, Side,
    Step, Target, Tile, TileId, Token,
};
use crate::chunk::attention::{Range, Target as Gradient, gradient, pair_program};
use crate::elaborate::Recurrence;
use crate::normal::Refusal;
use crate::tile::{Binary, Bits, Builder, Int, Leaf, Node, Op, Program, Stream, Value};

/// Tokens of the block itself and of the blocks of the other side, in order of preference.
const BLOCKS: [[usize; 2]; 5] = [[64, 64], [64, 32], [32, 32], [32, 16], [16, 16]];
/// Threads of a block.
const THREADS: usize = 256;

/// What a pass is, each kernel by the first plan that fits a GPU; with blocks of `tokens` if given.
pub fn schedule(
    r: &Recurrence,
    pass: Pass,
    gpu: Gpu,
    tokens: Option<usize>,
) -> Result<Schedule, Refusal> {
    let works: &[Work] = match pass {
        Pass::Forward => &[Work::Forward],
        Pass::Backward => &[Work::Queries, Work::Keys],
        Pass::Decode => {
            let why = "a sum over the past has no state to decode from";
            return Err(Refusal { span: None, why: why.into() });
        }
    };
    let range = Range::of(r)?;
    let buffers = buffers(r, pass, &Derived::new(r, BLOCKS[0][0], BLOCKS[0][1])?);
    let mut kernels = Vec::new();
    for &work in works {
        kernels.push(kernel(r, work, &range, &buffers, gpu, tokens)?);
    }
    let name = format!("{}_{}", r.name, pass.name());
    Ok(Schedule { name, pass, buffers, kernels }.finish())
}

fn kernel(
    r: &Recurrence,
    work: Work,
    range: &Range,
    buffers: &[Buffer],
    gpu: Gpu,
    tokens: Option<usize>,
) -> Result<Kernel, Refusal> {
    let mut best: Option<Kernel> = None;
    let given = tokens.map(|n| [n, n]);
    for [own, other] in given.into_iter().chain(BLOCKS.into_iter().filter(|_| given.is_none())) {
        let mut made = Maker::new(r, work, buffers, [own, other])?.kernel(range);
        if place(&mut made, gpu.shared) && keep_better(&mut best, made, |kernel| kernel.working) {
            break;
        }
    }
    let why = || format!("no plan fits the shared memory of {}", gpu.arch);
    best.ok_or_else(|| Refusal { span: None, why: why() })
}

/// What a kernel is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// The outputs.
    Forward,
    /// What queries get.
    Queries,
    /// What keys get from the queries that read them.
    Keys,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Work::Forward => "forward",
            Work::Queries => "backward",
            Work::Keys => "backward_keys",
        }
    }
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
    work: Work,
    buffers: &'a [Buffer],
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
    fn new(
        r: &'a Recurrence,
        work: Work,
        buffers: &'a [Buffer],
        blocks: [usize; 2],
    ) -> Result<Maker<'a>, Refusal> {
        let [queries, keys] = if work == Work::Keys { [blocks[1], blocks[0]] } else { blocks };
        let derived = Derived::new(r, queries, keys)?;
        plannable(&derived.program)?;
        let late = derived
            .gradients
            .iter()
            .any(|(_, target)| matches!(target, Gradient::Query(_, at) if at.lag() != Some(0)));
        if late && work == Work::Queries {
            let why = "a query reads an input of an earlier token";
            return Err(Refusal { span: None, why: why.into() });
        }
        let (tiles, held, sections) = (vec![], BTreeMap::new(), vec![]);
        Ok(Maker { r, work, buffers, blocks, derived, tiles, held, sections })
    }

    /// The axis of the pair that the kernel's loop runs over.
    fn axis(&self) -> usize {
        if self.work == Work::Keys { QUERIES } else { KEYS }
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
        match self.work {
            Work::Forward => outputs().chain(left(&d.forward, 0)).collect(),
            Work::Queries => gradients(false).chain(left(&d.backward, d.forward.len())).collect(),
            Work::Keys => gradients(true).collect(),
        }
    }

    /// The number under which another kernel has left a value, if one has: those of the way
    /// forward come first.
    fn kept(&self, value: Value) -> Option<usize> {
        let d = &self.derived;
        let forward = d.forward.iter().position(|v| *v == value);
        let backward = d.backward.iter().position(|v| *v == value);
        match self.work {
            Work::Forward => None,
            Work::Queries => forward,
            Work::Keys => forward.or(backward.map(|at| d.forward.len() + at)),
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
        let own = if self.work == Work::Keys { Side::Keys } else { Side::Queries };
        Kernel {
            grid: Grid::Pairs { own, other: self.blocks[1], range: range.clone() },
            name: format!("{}_{}", self.r.name, self.work.name()),
            reverse: false,
            threads: THREADS,
            chunk: self.blocks[0],
            parts: 1,
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
        let leaf = |leaf: &Leaf, _: &[usize], index: &[Ix]| self.leaf(leaf, index);
        let steps = steps(program, &mut tiles, &leaf, |lower| {
            lower.whole = whole;
            write(lower);
        });
        self.tiles = tiles;
        steps
    }

    /// An element of a leaf.
    fn leaf(&self, leaf: &Leaf, index: &[Ix]) -> Expr {
        let axis = Default::default();
        let cut = Cut { r: self.r, buffers: self.buffers, axis: &axis, parts: 1 };
        let first = || index.first().cloned().unwrap_or_default();
        match leaf {
            Leaf::Read(Stream::Input(_), _) | Leaf::Cotangent(_) => cut.leaf_row(leaf, index),
            Leaf::Param(i) => cut.leaf_param(*i, index),
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
                    (_, Some(k)) => self.kept_value(k, index),
                    _ => unreachable!("a gathered value is held or kept"),
                }
            }
            other => unreachable!("{other} is no leaf of a pair of blocks"),
        }
    }

    /// A value that another kernel has left. Rows past the sequence's end have those of the last
    /// one, as they have its inputs, so that what is computed of them is a number; what flows into
    /// them is nothing.
    fn kept_value(&self, k: usize, index: &[Ix]) -> Expr {
        let value = Expr::Buffer(saved(self.buffers, k, index));
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
        let (r, buffers) = (self.r, self.buffers);
        self.lower(&program, whole, |lower| {
            let axis = Default::default();
            let cut = Cut { r, buffers, axis: &axis, parts: 1 };
            for (output, place) in program.outputs.iter().zip(places) {
                let shape = program.shape(*output).to_vec();
                let index = axes_of(&shape);
                let (to, add) = match place {
                    Place::Out(k) => (cut.out(k, &index), false),
                    Place::Kept(k) => (saved(buffers, k, &index), false),
                    Place::Gradient(Gradient::Query(i, at)) => {
                        (cut.input_grad(i, &at, &index), both[i])
                    }
                    Place::Gradient(Gradient::Key(i)) => {
                        (cut.input_grad(i, &Int::Bound(0), &index), both[i])
                    }
                    Place::Gradient(Gradient::Param(i)) => (cut.param_grad(i, &index), false),
                };
                let to = Target::Buffer(to);
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
}

/// The arguments of a pass, in order.
fn buffers(r: &Recurrence, pass: Pass, derived: &Derived) -> Vec<Buffer> {
    let mut all = arguments(r);
    let saved = |values: &[Value], first: usize, role: Role| -> Vec<Buffer> {
        let named = values.iter().zip(first..);
        let one = |(value, at): (&Value, usize)| {
            let axes = numbers(&derived.program.shape(*value)[1..]);
            let dims = [Dim::Rows, Dim::Heads].into_iter().chain(axes).collect();
            Buffer::new(&format!("saved_{at}"), Binding::Saved(at), role, dims)
        };
        named.map(one).collect()
    };
    if pass == Pass::Backward {
        all.extend(out_grads(r));
        all.extend(saved(&derived.forward, 0, Role::Argument));
        all.extend(saved(&derived.backward, derived.forward.len(), Role::Temporary));
        all.extend((0..r.inputs.len()).map(|i| input_grad(r, i)));
        let jobs = Dim::Jobs { kernel: 0 };
        all.extend((0..r.params.len()).map(|i| param_grad(r, i).summed(vec![jobs])));
    } else {
        all.extend(outs(r));
        all.extend(saved(&derived.forward, 0, Role::Saved).into_iter().map(Buffer::optional));
    }
    name_apart(&mut all);
    all
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
fn saved(buffers: &[Buffer], k: usize, index: &[Ix]) -> Element {
    let row = Some(Token { at: Int::T, row: index[0].clone() });
    let buffer = find(buffers, Binding::Saved(k));
    Element { buffer, row, index: index[1..].to_vec(), split: None }
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
            Expr::Buffer(Element { row: Some(row), .. }) => row.at.binds(0) == (axis == KEYS),
            Expr::Position(at, _) => at.binds(0) || axis == QUERIES,
            Expr::Allowed(_) => true,
            _ => false,
        }
    });
    found
}
