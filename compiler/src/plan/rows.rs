//! The kernels of pointwise nodes: a block of rows at a time, forward and backward.
//!
//! A row may read rows before it (a short convolution), so what flows into it comes from rows after
//! it too. The backward kernel therefore computes a few rows more than it owns and adds up what each
//! of its rows gets, instead of giving to rows that other blocks own. Gradients of what all rows
//! share add up in a tile of each block; a block goes over several groups of rows.

use std::collections::BTreeMap;

use super::buffer::{identifier, numbers};
use super::cost::Cost;
use super::cut::{Cut, statements, zero};
use super::index::Ix;
use super::lower::{Lower, axes_of, new_tile, plannable, steps};
use super::place::place;
use super::space::{Choice, Given, Subject, choose, space};
use super::target::Gpu;
use super::value_split::{ValueSplit, Whole, split_values};
use super::{
    Binding, Buffer, Dim, Expr, Grid, Kernel, Loop, Number, Over, Pass, Role, Schedule, Step, Stmt,
    Target, Tile,
};
use crate::chunk::pointwise::{RowsGrad, lifted};
use crate::grad::gradient;
use crate::normal::Refusal;
use crate::tile::{Binary, Builder, Int, Leaf, Op, Program, Stream, Value};

/// A pointwise node: its program, and which of its inputs and whether its output have a single row.
#[derive(Clone, Copy, Debug)]
pub struct Pointwise<'a> {
    /// What it is called in texts.
    pub label: &'a str,
    /// The program of one row.
    pub program: &'a Program,
    /// Which inputs have a single row.
    pub once: &'a [bool],
    /// Whether the output has.
    pub output_once: bool,
    /// How tensors are held that are not f32.
    pub numbers: &'a [(Binding, Number)],
    /// Whether outputs may lie where inputs do.
    pub in_place: bool,
}

impl Pointwise<'_> {
    /// The forward kernel.
    pub fn forward(&self, gpu: Gpu) -> Result<Schedule, Refusal> {
        let buffers = self.buffers(None);
        let kernel = self.kernel(Pass::Forward, gpu, &|choice| {
            let (b, outputs) = self.lifted(choice.chunk);
            let program = b.finish(&outputs);
            let results: Vec<Whole> = (0..outputs.len()).map(Whole::Out).collect();
            let ValueSplit { program, axis } = self.cut(&program, &results, choice.parts)?;
            let cut = Cut { buffers: &buffers, axis: &axis, parts: choice.parts };
            let mut maker = Maker { node: self, buffers: &buffers, choice, tiles: vec![] };
            let steps = maker.lower(&cut, &program, |lower| {
                for (at, &output) in program.outputs.iter().enumerate() {
                    let shape = program.shape(output).to_vec();
                    let index = axes_of(&shape);
                    lower.write(output, &index, &shape, cut.store(cut.out(at, &index)), false);
                }
            });
            let body = vec![groups(choice.chunk, 0, statements(&buffers, steps))];
            Some(Made { tiles: maker.tiles, body })
        })?;
        Ok(self.schedule(Pass::Forward, buffers, kernel, gpu))
    }

    /// The backward kernel, whose gradients are numbered as in [`RowsGrad`].
    pub fn backward(&self, grad: &RowsGrad, gpu: Gpu) -> Result<Schedule, Refusal> {
        let halo = self.halo();
        let buffers = self.buffers(Some(grad));
        let kernel = self.kernel(Pass::Backward, gpu, &|choice| {
            let mut maker = Maker { node: self, buffers: &buffers, choice, tiles: vec![] };
            Some(Made { body: maker.backward(grad, halo)?, tiles: maker.tiles })
        })?;
        Ok(self.schedule(Pass::Backward, buffers, kernel, gpu))
    }

    /// Rows behind a block's own that its gradient needs.
    fn halo(&self) -> usize {
        self.program.leaves().map(|(_, leaf, _)| lag(leaf)).max().unwrap_or(0)
    }

    fn schedule(&self, pass: Pass, buffers: Vec<Buffer>, kernel: Kernel, gpu: Gpu) -> Schedule {
        Schedule { name: kernel.name.clone(), pass, buffers, kernels: vec![kernel] }.finish(gpu)
    }

    /// The program for a part of the output's first axis, and of whatever goes with it. `None` where that cannot be cut.
    fn cut(&self, program: &Program, results: &[Whole], parts: usize) -> Option<ValueSplit> {
        let results: Vec<(Whole, usize)> = results.iter().map(|whole| (*whole, 1)).collect();
        split_values(program, true, &results, &[(Whole::Out(0), 0)], parts)
    }

    fn lifted(&self, rows: usize) -> (Builder, Vec<Value>) {
        lifted(self.program, rows, self.once, self.output_once)
    }

    /// Tries numbers of rows until a plan fits.
    fn kernel(
        &self,
        pass: Pass,
        gpu: Gpu,
        make: &dyn Fn(Choice) -> Option<Made>,
    ) -> Result<Kernel, Refusal> {
        plannable(self.program)?;
        let halo = if pass == Pass::Backward { self.halo() } else { 0 };
        let subject = Subject::Rows { program: self.program, single: self.output_once, halo };
        let name = format!("rows_{}_{}", identifier(self.label), pass.name());
        let workspace = |kernel: &Kernel| kernel.workspace;
        let made = |choice: Choice| {
            let Made { tiles, body } = make(choice)?;
            let mut kernel = Kernel {
                grid: Grid::Rows,
                name: name.clone(),
                arguments: vec![],
                threads: choice.threads(),
                chunk: choice.chunk,
                parts: choice.parts,
                tiles,
                body,
                shared: 0,
                workspace: 0,
                cost: Cost::default(),
            };
            place(&mut kernel, gpu.shared).then_some(kernel)
        };
        // Blocks that wait for memory need others beside them.
        let hidden = |kernel: &Kernel| gpu.blocks(kernel.shared, kernel.threads) >= RESIDENT;
        let all = || space(subject, Given::Nothing);
        let best = choose(all(), workspace, |_| 0, |choice| Ok(made(choice).filter(hidden)))?;
        let best = match best {
            Some(best) => Some(best),
            None => choose(all(), workspace, |_| 0, |choice| Ok(made(choice)))?,
        };
        best.ok_or_else(|| {
            let why = format!("no plan of `{}` fits the shared memory of {}", self.label, gpu.arch);
            Refusal { span: None, why }
        })
    }

    /// The arguments, in order: inputs and parameters that the program reads, then results. What all
    /// rows share has a gradient in each block.
    fn buffers(&self, grad: Option<&RowsGrad>) -> Vec<Buffer> {
        let mut shapes: BTreeMap<Binding, &[usize]> = BTreeMap::new();
        for (_, leaf, shape) in self.program.leaves() {
            let binding = match leaf {
                Leaf::Read(Stream::Input(i), _) => Binding::Input(*i),
                Leaf::Param(i) => Binding::Param(*i),
                _ => continue,
            };
            shapes.insert(binding, shape);
        }
        let make = |name: &str, binding, role, rows: bool, shape: &[usize]| {
            let dims = rows.then_some(Dim::Rows).into_iter().chain(numbers(shape)).collect();
            let known = self.numbers.iter().find(|(of, _)| *of == binding);
            let number = known.map_or(Number::F32, |(_, number)| *number);
            let in_place = self.in_place && role == Role::Argument;
            Buffer { number, in_place, ..Buffer::new(name, binding, role, dims) }
        };
        let mut all: Vec<Buffer> = Vec::new();
        for (binding, shape) in &shapes {
            all.push(match binding {
                Binding::Input(i) => {
                    make(&format!("in_{i}"), *binding, Role::Argument, !self.once[*i], shape)
                }
                Binding::Param(i) => {
                    make(&format!("param_{i}"), *binding, Role::Argument, false, shape)
                }
                _ => continue,
            });
        }
        let output = self.program.shape(self.program.outputs[0]);
        let Some(grad) = grad else {
            all.push(make("out", Binding::Out(0), Role::Result, true, output));
            for (at, more) in self.program.outputs.iter().enumerate().skip(1) {
                let (name, shape) = (format!("out_{at}"), self.program.shape(*more));
                all.push(make(&name, Binding::Out(at), Role::Result, true, shape));
            }
            return all;
        };
        all.push(make("d_out", Binding::OutGrad(0), Role::Argument, true, output));
        let jobs = || vec![Dim::Jobs { kernel: 0 }];
        for (place, i) in grad.wanted.iter().enumerate() {
            let (binding, shape) = (Binding::InputGrad(place), shapes[&Binding::Input(*i)]);
            let name = format!("d_in_{i}");
            let alone = self.alone(*i);
            let made = make(&name, binding, Role::Result, !alone, shape);
            all.push(if alone { made.summed(jobs()) } else { made });
        }
        for (place, i) in grad.params.iter().enumerate() {
            let (binding, shape) = (Binding::ParamGrad(place), shapes[&Binding::Param(*i)]);
            let name = format!("d_param_{i}");
            all.push(make(&name, binding, Role::Result, false, shape).summed(jobs()));
        }
        all
    }

    /// Whether all rows share an input.
    fn alone(&self, input: usize) -> bool {
        self.once[input] && !self.output_once
    }
}

/// Blocks of a row kernel that a multiprocessor should hold at a time.
const RESIDENT: usize = 4;

/// A plan in the making.
struct Made {
    tiles: Vec<Tile>,
    body: Vec<Stmt>,
}

/// A loop over groups of rows.
fn groups(rows: usize, halo: usize, body: Vec<Stmt>) -> Stmt {
    Stmt::Loop(Loop { over: Over::Groups { rows, halo }, body })
}

struct Maker<'a> {
    node: &'a Pointwise<'a>,
    buffers: &'a [Buffer],
    choice: Choice,
    tiles: Vec<Tile>,
}

/// What the gradient of a leaf belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Input(usize),
    Once(usize),
    Param(usize),
}

impl Of {
    /// The tensor of the gradient.
    fn binding(self) -> Binding {
        match self {
            Of::Input(place) | Of::Once(place) => Binding::InputGrad(place),
            Of::Param(place) => Binding::ParamGrad(place),
        }
    }

    /// What it is the gradient of.
    fn whole(self, grad: &RowsGrad) -> Whole {
        match self {
            Of::Input(place) | Of::Once(place) => Whole::Input(grad.wanted[place]),
            Of::Param(place) => Whole::Param(grad.params[place]),
        }
    }
}

impl Maker<'_> {
    fn lower(&mut self, cut: &Cut, program: &Program, write: impl FnOnce(&mut Lower)) -> Vec<Step> {
        let mut tiles = std::mem::take(&mut self.tiles);
        let leaf = |leaf: &Leaf, _: &[usize], index: &[Ix]| self.leaf(cut, leaf, index);
        let steps = steps(program, &[], self.choice, &mut tiles, &leaf, write);
        self.tiles = tiles;
        steps
    }

    fn leaf(&self, cut: &Cut, leaf: &Leaf, index: &[Ix]) -> Expr {
        match leaf {
            Leaf::Read(Stream::Input(i), _) if self.node.once[*i] => {
                Expr::Buffer(cut.shared(Binding::Input(*i), Whole::Input(*i), index))
            }
            Leaf::Read(Stream::Input(_), _) | Leaf::Cotangent(_) => cut.leaf_row(leaf, index),
            Leaf::Param(i) => cut.leaf_param(*i, index),
            Leaf::Number(at) => Expr::Position(at.clone(), [index[0].clone(), Ix::default()]),
            other => unreachable!("{other} is no leaf of a pointwise program"),
        }
    }

    fn backward(&mut self, grad: &RowsGrad, halo: usize) -> Option<Vec<Stmt>> {
        let (b, results) = self.gradients(grad, halo);
        let values: Vec<Value> = results.values().copied().collect();
        let wholes: Vec<Whole> = results.keys().map(|of| of.whole(grad)).collect();
        let ValueSplit { program, axis } =
            self.node.cut(&b.finish(&values), &wholes, self.choice.parts)?;
        let cut = Cut { buffers: self.buffers, axis: &axis, parts: self.choice.parts };
        let mut sums = Vec::new();
        for (of, &output) in results.keys().zip(&program.outputs) {
            let shape = program.shape(output)[1..].to_vec();
            if matches!(of, Of::Input(_)) {
                continue;
            }
            let tile = new_tile(&mut self.tiles, format!("sum of {of:?}"), Number::F32, &shape);
            self.tiles[tile.0].carried = true;
            sums.push((*of, shape, tile));
        }
        let steps = self.lower(&cut, &program, |lower| {
            for (of, &output) in results.keys().zip(&program.outputs) {
                let shape = program.shape(output).to_vec();
                let index = axes_of(&shape);
                let (to, add) = match sums.iter().find(|(key, ..)| key == of) {
                    Some((.., tile)) => (Target::Tile(*tile, index[1..].to_vec()), true),
                    None => {
                        let to = cut.row(of.binding(), of.whole(grad), &Int::T, &index);
                        (cut.store(to), false)
                    }
                };
                lower.write(output, &index, &shape, to, add);
            }
        });
        let mut body = Vec::new();
        for (_, shape, tile) in &sums {
            body.push(Stmt::Step(Step::map(shape, zero(), Target::Tile(*tile, axes_of(shape)))));
        }
        body.push(groups(self.choice.chunk, halo, statements(self.buffers, steps)));
        for (of, shape, tile) in &sums {
            let index = axes_of(shape);
            let to = cut.store(cut.own(of.binding(), of.whole(grad), &index));
            body.push(Stmt::Step(Step::map(shape, Expr::Tile(*tile, index), to)));
        }
        Some(body)
    }

    /// The gradients of the rows that the block owns: what all rows share gets a sum over them, an
    /// input the sum of what later rows read of it.
    fn gradients(&self, grad: &RowsGrad, halo: usize) -> (Builder, BTreeMap<Of, Value>) {
        let (mut b, outputs) = self.node.lifted(self.choice.chunk + halo);
        let shape = b.shape(outputs[0]).to_vec();
        let flows = b.leaf(Leaf::Cotangent(Stream::Out(0)), &shape);
        let leaves: Vec<(Value, Of, usize)> = b
            .program
            .leaves()
            .filter_map(|(value, leaf, _)| Some((value, self.of(grad, leaf)?, lag(leaf))))
            .collect();
        let wrt: Vec<Value> = leaves.iter().map(|(value, ..)| *value).collect();
        let found = gradient(&mut b, &[(outputs[0], flows)], &wrt);
        let mut own = Own { rows: [self.choice.chunk, halo], known: BTreeMap::new() };
        let mut results: BTreeMap<Of, Value> = BTreeMap::new();
        for ((_, of, lag), d) in leaves.into_iter().zip(found.values) {
            let Some(d) = d else { continue };
            // Inputs get from rows past the block's own too; what all rows share gets from each row once.
            let d = match of {
                Of::Input(_) => self.given(&mut b, d, lag, halo),
                Of::Once(_) | Of::Param(_) => own.sums(&mut b, d),
            };
            let sum = match results.get(&of) {
                Some(&known) => b.add(known, d),
                None => d,
            };
            results.insert(of, sum);
        }
        (b, results)
    }

    /// What the block's own rows get of what rows `lag` after them give.
    fn given(&self, b: &mut Builder, d: Value, lag: usize, halo: usize) -> Value {
        if halo == 0 {
            return d;
        }
        let mut d = d;
        if lag > 0 {
            // A row gives nothing to rows of the sequence before its own.
            let rows = self.choice.chunk + halo;
            let rank = b.shape(d).len();
            let t = b.leaf(Leaf::Number(Int::T), &[rows]);
            let t = b.reshape(t, &[&[rows], vec![1; rank - 1].as_slice()].concat());
            let far = b.fill(lag as f64, &vec![1; rank]);
            let reaches = b.binary(Binary::Ge, t, far);
            d = b.mul(d, reaches);
        }
        b.slice(d, 0, lag, self.choice.chunk)
    }

    /// What a leaf's gradient belongs to, if it is wanted.
    fn of(&self, grad: &RowsGrad, leaf: &Leaf) -> Option<Of> {
        match leaf {
            Leaf::Read(Stream::Input(i), _) => {
                let place = grad.wanted.iter().position(|w| w == i)?;
                Some(if self.node.alone(*i) { Of::Once(place) } else { Of::Input(place) })
            }
            Leaf::Param(i) => Some(Of::Param(grad.params.iter().position(|p| p == i)?)),
            _ => None,
        }
    }
}

/// Sums over all rows, made sums over the rows that a block owns.
struct Own {
    /// Rows that the block owns, and those behind them.
    rows: [usize; 2],
    /// What has been made of values.
    known: BTreeMap<Value, Value>,
}

impl Own {
    /// What a value is where each sum over rows goes over the own ones. What is summed belongs to one row each, so
    /// that those behind are left out as they stand.
    fn sums(&mut self, b: &mut Builder, value: Value) -> Value {
        let [own, halo] = self.rows;
        if halo == 0 {
            return value;
        }
        if let Some(known) = self.known.get(&value) {
            return *known;
        }
        let node = b.node(value).clone();
        let over_rows = match &node.op {
            Op::Sum(axes) | Op::MulSum(axes) => axes.contains(&0),
            _ => false,
        };
        let args = node.args.iter().map(|arg| {
            if !over_rows {
                self.sums(b, *arg)
            } else if b.shape(*arg)[0] == own + halo {
                b.slice(*arg, 0, 0, own)
            } else {
                *arg
            }
        });
        let args: Vec<Value> = args.collect();
        let made = if args == node.args { value } else { b.raw(node.op, args, node.shape) };
        self.known.insert(value, made);
        made
    }
}

/// How many rows back a leaf reads.
fn lag(leaf: &Leaf) -> usize {
    match leaf {
        Leaf::Read(_, at) => at.lag().unwrap_or(0).max(0) as usize,
        _ => 0,
    }
}
