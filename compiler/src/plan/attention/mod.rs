//! The kernels of sums and softmax over the past: forward, and backward for queries and for keys.
//!
//! Problem: the weights of all pairs of tokens fit no memory, and a softmax needs the sum over all
//! keys before its first weight is known.
//!
//! Idea: a block of threads holds a block of queries and goes over the keys block by block
//! (FlashAttention, Dao et al. 2022). What the program of a pair of blocks gathers over keys adds up
//! in a tile that lasts; a `log Σ exp` keeps its largest entry and a sum relative to it. What depends
//! on a gathered value waits for the next *pass* over the keys: the weights of a softmax for the
//! second one, the gradient of its scores for the third. The gradients of keys are gathered over
//! queries by a kernel of their own, which reads what the others gathered over keys.

use std::collections::BTreeMap;

mod derived;
mod hoist;
mod jobs;

pub use jobs::{Job, jobs};

use super::cost::Cost;
use super::cut::{Cut, find, inside, read, statements, store};
use super::index::Ix;
use super::lower::{Lower, axes_of, log_of, new_tile, plannable, steps};
use super::place::place;
use super::space::{Choice, Given, Subject, choose, space};
use super::target::Gpu;
use super::{
    Binding, Buffer, Element, Expr, Grid, Kernel, Loop, Number, Over, Pass, Schedule, Side, Step,
    Stmt, Target, Tile, TileId, Token,
};
use crate::chunk::attention::{Range, Target as Gradient};
use crate::elaborate::Recurrence;
use crate::normal::Refusal;
use crate::tile::split::{Piece, piece};
use crate::tile::{Binary, Bits, Int, Leaf, Node, Op, Stream, Value, size};
use derived::{Derived, buffers, gathers};
use hoist::hoist;

/// What a pass is, each kernel by the first plan that fits a GPU; among those that agree with what is given.
pub fn schedule(r: &Recurrence, pass: Pass, gpu: Gpu, given: Given) -> Result<Schedule, Refusal> {
    let works: &[Work] = match pass {
        Pass::Forward => &[Work::Forward],
        Pass::Backward => &[Work::Queries, Work::Keys],
        Pass::Decode => {
            let why = "a sum over the past has no state to decode from";
            return Err(Refusal { span: None, why: why.into() });
        }
    };
    let range = Range::of(r)?;
    // What passes between kernels is the same for blocks of any size.
    let buffers = buffers(r, pass, &Derived::new(r, 2, 2)?);
    let mut kernels = Vec::new();
    for &work in works {
        kernels.push(kernel(r, work, &range, &buffers, gpu, given)?);
    }
    let name = format!("{}_{}", r.name, pass.name());
    Ok(Schedule { name, pass, buffers, kernels }.finish(gpu))
}

fn kernel(
    r: &Recurrence,
    work: Work,
    range: &Range,
    buffers: &[Buffer],
    gpu: Gpu,
    given: Given,
) -> Result<Kernel, Refusal> {
    let best = choose(
        space(Subject::Pairs, given),
        |kernel: &Kernel| kernel.workspace,
        |_| 0,
        |choice| {
            let mut made = Maker::new(r, work, buffers, range, choice)?.kernel();
            Ok(place(&mut made, gpu.shared).then_some(made))
        },
    )?;
    best.ok_or_else(|| {
        let largest = r.inputs.iter().max_by_key(|input| size(&input.shape));
        let what = largest.map_or(String::new(), |s| format!(": `{}` is {:?}", s.name, s.shape));
        let why = format!("no plan fits the shared memory of {}{what}", gpu.arch);
        Refusal { span: largest.map(|input| input.span), why }
    })
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

/// The axis of a pair's program that is gathered over.
const KEYS: usize = 1;
/// The other one.
const QUERIES: usize = 0;

/// Makes one kernel.
struct Maker<'a> {
    r: &'a Recurrence,
    work: Work,
    buffers: &'a [Buffer],
    range: &'a Range,
    choice: Choice,
    derived: Derived,
    tiles: Vec<Tile>,
    /// Tiles that hold gathered values.
    held: BTreeMap<Value, TileId>,
    body: Vec<Stmt>,
}

fn number(x: f64) -> Expr {
    Expr::Number(Bits::of(x))
}

impl<'a> Maker<'a> {
    fn new(
        r: &'a Recurrence,
        work: Work,
        buffers: &'a [Buffer],
        range: &'a Range,
        choice: Choice,
    ) -> Result<Maker<'a>, Refusal> {
        let Choice { chunk, other, .. } = choice;
        let (queries, keys) = if work == Work::Keys { (other, chunk) } else { (chunk, other) };
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
        let (tiles, held, body) = (vec![], BTreeMap::new(), vec![]);
        Ok(Maker { r, work, buffers, range, choice, derived, tiles, held, body })
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

    fn kernel(mut self) -> Kernel {
        let wanted = self.wanted();
        let values: Vec<Value> = wanted.iter().map(|(value, _)| *value).collect();
        self.passes(&values);
        let last = self.results(wanted);
        self.body.extend(statements(self.buffers, last));
        let axis = self.axis();
        let body = hoist(self.body, &mut self.tiles, axis);
        let own = if self.work == Work::Keys { Side::Keys } else { Side::Queries };
        Kernel {
            grid: Grid::Pairs { own, range: self.range.clone() },
            name: format!("{}_{}", self.r.name, self.work.name()),
            arguments: vec![],
            threads: self.choice.threads(),
            chunk: self.choice.chunk,
            parts: 1,
            tiles: self.tiles,
            body,
            shared: 0,
            workspace: 0,
            cost: Cost::default(),
        }
    }

    /// In which pass over keys each gathered value that is needed adds up.
    fn stages(&self, wanted: &[Value]) -> BTreeMap<Value, usize> {
        let (program, axis) = (&self.derived.program, self.axis());
        let needed = piece(program, wanted, &|value| self.kept(value).is_some()).of;
        let mut stage = vec![0; program.nodes.len()];
        let mut stages = BTreeMap::new();
        for value in needed {
            let (at, node) = (value.at(), program.node(value));
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

    fn passes(&mut self, wanted: &[Value]) {
        let stages = self.stages(wanted);
        let count = stages.values().max().map_or(0, |last| last + 1);
        for pass in 0..count {
            let gathered: Vec<Value> =
                stages.iter().filter(|(_, s)| **s == pass).map(|(value, _)| *value).collect();
            self.pass(&gathered);
        }
    }

    /// One loop over the other side: gathers some values that depend on none of each other.
    fn pass(&mut self, gathered: &[Value]) {
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
                let tile = self.carried(what, &node.shape);
                start.push(map(&node.shape, number(*x), tile));
                tile
            });
            sums.push(tiles.collect());
        }
        // The values that passes before this one gathered are leaves; of a `log Σ exp` the
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
        let part = self.piece(&outputs);
        let program = &part.program;
        let steps = self.lower(&part, |lower| {
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
        self.body.extend(start.into_iter().map(Stmt::Step));
        let side = if self.work == Work::Keys { Side::Queries } else { Side::Keys };
        let over = Over::Blocks { side, tokens: self.choice.other };
        let body = steps.into_iter().map(Stmt::Step).collect();
        self.body.push(Stmt::Loop(Loop { over, body }));
        for ((value, node), sums) in gathered.iter().zip(&nodes).zip(&sums) {
            let tile = match sums.as_slice() {
                [peak, sum] => {
                    let tile = self.carried("log of the sum", &node.shape);
                    self.body.push(Stmt::Step(log_of([*peak, *sum], &node.shape, tile)));
                    tile
                }
                _ => sums[0],
            };
            self.held.insert(*value, tile);
        }
    }

    fn carried(&mut self, what: &str, shape: &[usize]) -> TileId {
        let tile = new_tile(&mut self.tiles, what.to_string(), Number::F32, shape);
        self.tiles[tile.0].carried = true;
        tile
    }

    /// The piece of the program that computes some values: what this kernel or others have gathered
    /// before are leaves.
    fn piece(&self, outputs: &[Value]) -> Piece {
        let known = |value: Value| self.held.contains_key(&value) || self.kept(value).is_some();
        piece(&self.derived.program, outputs, &known)
    }

    fn lower(&mut self, part: &Piece, write: impl FnOnce(&mut Lower)) -> Vec<Step> {
        let mut tiles = std::mem::take(&mut self.tiles);
        let leaf = |leaf: &Leaf, _: &[usize], index: &[Ix]| self.leaf(&part.kept, leaf, index);
        let steps = steps(&part.program, &[], self.choice, &mut tiles, &leaf, |lower| {
            lower.whole = part.of.iter().map(|value| self.derived.whole[value.at()]).collect();
            if self.work == Work::Forward {
                lower.keep_apart(&[]);
            }
            write(lower);
        });
        self.tiles = tiles;
        steps
    }

    /// An element of a leaf; `kept` are the values that its numbers stand for.
    fn leaf(&self, kept: &[Value], leaf: &Leaf, index: &[Ix]) -> Expr {
        let axis = Default::default();
        let cut = Cut { buffers: self.buffers, axis: &axis, parts: 1 };
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
            Leaf::Allowed => Expr::Allowed {
                rows: [index[0].clone(), index[1].clone()],
                range: self.range.clone(),
            },
            Leaf::Head => Expr::Head,
            Leaf::Kept(at) => {
                let value = kept[*at];
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
        let value = read(saved(self.buffers, k, index));
        if k < self.derived.forward.len() {
            return value;
        }
        inside(Side::Queries, index[QUERIES].clone(), value)
    }

    /// The steps that write what the kernel gives.
    fn results(&mut self, wanted: Vec<(Value, Place)>) -> Vec<Step> {
        let (values, places): (Vec<Value>, Vec<Place>) = wanted.into_iter().unzip();
        let part = self.piece(&values);
        let program = &part.program;
        let both = self.shared_gradients();
        let buffers = self.buffers;
        self.lower(&part, |lower| {
            let axis = Default::default();
            let cut = Cut { buffers, axis: &axis, parts: 1 };
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
                let to = store(to);
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

/// Where a result goes.
enum Place {
    Out(usize),
    Kept(usize),
    Gradient(Gradient),
}

/// The largest entry of none, as in `templates/tile/numbers.cuh`.
const LOWEST: f64 = -3.0e38;

fn map(shape: &[usize], value: Expr, to: TileId) -> Step {
    Step::map(shape, value, Target::Tile(to, axes_of(shape)))
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
