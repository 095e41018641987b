//! Pointwise nodes: a tile program over a block of rows, forward and backward.

use std::ops::Range;

use rayon::prelude::*;

pub use crate::chunk::pointwise::RowsGrad;
use crate::chunk::pointwise::lifted;
use crate::grad::by_leaves;
use crate::interpret::{Machine, Plan};
use crate::tile::{Leaf, Program, Stream, size};

/// Numbers that a block's widest value should hold: a few of them fit the nearest cache.
const BLOCK_NUMBERS: usize = 16384;

/// Rows of one task.
fn block_rows(program: &Program) -> usize {
    let widest = program.nodes.iter().map(|node| size(&node.shape)).max().unwrap_or(1);
    (BLOCK_NUMBERS / widest.max(1)).clamp(1, 256)
}

/// What a pointwise program runs on.
pub struct RowsInput<'a> {
    /// `[rows, …]` per input, or one row where `once` says so.
    pub inputs: Vec<&'a [f32]>,
    /// Which inputs have a single row.
    pub once: &'a [bool],
    /// The parameters.
    pub params: Vec<&'a [f32]>,
    /// Position of each row in its sequence.
    pub positions: &'a [u32],
    /// Rows.
    pub rows: usize,
}

/// A planned pointwise program.
#[derive(Clone, Debug)]
pub struct Rows {
    plan: Plan,
    block: usize,
    width: usize,
}

/// Leaves that are rows of a tensor as they stand, unless the block is not full.
fn is_row(leaf: &Leaf) -> bool {
    match leaf {
        Leaf::Read(Stream::Input(_), at) => at.lag() == Some(0),
        Leaf::Param(_) | Leaf::Cotangent(_) => true,
        _ => false,
    }
}

/// The values of such a leaf.
fn lend<'a>(leaf: &Leaf, input: &RowsInput<'a>, first: usize, block: usize) -> Option<&'a [f32]> {
    match leaf {
        Leaf::Read(Stream::Input(i), _) if input.once[*i] => Some(input.inputs[*i]),
        Leaf::Read(Stream::Input(i), _) => {
            let data = input.inputs[*i];
            let width = data.len() / input.rows.max(1);
            data.get(first * width..(first + block) * width)
        }
        Leaf::Param(i) => Some(input.params[*i]),
        _ => None,
    }
}

fn feed(leaf: &Leaf, input: &RowsInput, first: usize, block: usize, to: &mut [f32]) {
    let count = block.min(input.rows - first);
    match leaf {
        Leaf::Read(Stream::Input(i), at) => {
            let data = input.inputs[*i];
            if input.once[*i] {
                return to.copy_from_slice(data);
            }
            let lag = at.lag().unwrap_or(0) as usize;
            let width = to.len() / block;
            if lag == 0 {
                to[..count * width].copy_from_slice(&data[first * width..][..count * width]);
            } else {
                for (row, to) in to.chunks_exact_mut(width).take(count).enumerate() {
                    let row = first + row;
                    if (input.positions[row] as usize) < lag {
                        to.fill(0.0);
                    } else {
                        to.copy_from_slice(&data[(row - lag) * width..][..width]);
                    }
                }
            }
            // Padding repeats the last row, so that every number stays ordinary.
            for row in count..block {
                to.copy_within((count - 1) * width..count * width, row * width);
            }
        }
        Leaf::Param(i) => to.copy_from_slice(input.params[*i]),
        Leaf::Number(at) => {
            for (row, x) in to.iter_mut().enumerate() {
                let t = input.positions[first + row.min(count - 1)];
                *x = at.eval(i64::from(t), &[]) as f32;
            }
        }
        other => unreachable!("{other} is no leaf of a pointwise program"),
    }
}

impl Rows {
    /// Plans the forward pass.
    pub fn new(program: &Program, once: &[bool], output_once: bool) -> Rows {
        let block = if output_once { 1 } else { block_rows(program) };
        let (b, outputs) = lifted(program, block, once, output_once);
        let width = size(program.shape(program.outputs[0]));
        Rows { plan: Plan::lending(&b.finish(&outputs), &is_row), block, width }
    }

    /// Runs it for all rows, or once.
    pub fn forward(&self, input: &RowsInput, to: &mut [f32]) {
        to.par_chunks_mut(self.block * self.width).enumerate().for_each_init(
            || Machine::new(&self.plan),
            |machine, (at, to)| {
                let first = at * self.block;
                let lend = |leaf: &Leaf| lend(leaf, input, first, self.block);
                self.plan.run_lent(machine, 0, &[], &lend, &mut |leaf, _, tile| {
                    feed(leaf, input, first, self.block, tile);
                });
                let rows = self.plan.output(machine, 0);
                to.copy_from_slice(&rows[..to.len()]);
            },
        );
    }
}

/// The planned gradient of a pointwise program.
#[derive(Clone, Debug)]
pub struct RowsBackward {
    plan: Plan,
    block: usize,
    targets: Vec<Target>,
    wanted: Vec<usize>,
    widths: Vec<usize>,
    param_sizes: Vec<usize>,
}

#[derive(Clone, Debug)]
enum Target {
    /// Position in `wanted`, and how many tokens back.
    Input(usize, usize),
    /// An input of a single row.
    Once(usize),
    /// Position in `params`.
    Param(usize),
}

impl RowsBackward {
    /// Plans the backward pass.
    pub fn new(grad: &RowsGrad, once: &[bool], output_once: bool) -> RowsBackward {
        let program = &grad.program;
        let block = if output_once { 1 } else { block_rows(program) };
        let (mut b, outputs) = lifted(program, block, once, output_once);
        let seeds = [(outputs[0], Leaf::Cotangent(Stream::Out(0)))];
        let found = by_leaves(&mut b, seeds, |leaf| match leaf {
            Leaf::Read(Stream::Input(i), at) => {
                let place = grad.wanted.iter().position(|w| w == i)?;
                Some(if once[*i] && !output_once {
                    Target::Once(place)
                } else {
                    Target::Input(place, at.lag().unwrap_or(0) as usize)
                })
            }
            Leaf::Param(i) => Some(Target::Param(grad.params.iter().position(|p| p == i)?)),
            _ => None,
        });
        let (results, targets) = (found.values, found.targets);
        let mut widths = vec![0; grad.inputs];
        let mut param_sizes = vec![0; grad.params.len()];
        for (_, leaf, shape) in program.leaves() {
            match leaf {
                Leaf::Read(Stream::Input(i), _) => widths[*i] = size(shape),
                Leaf::Param(i) => {
                    if let Some(place) = grad.params.iter().position(|p| p == i) {
                        param_sizes[place] = size(shape);
                    }
                }
                _ => {}
            }
        }
        let widths = grad.wanted.iter().map(|i| widths[*i]).collect();
        let plan = Plan::lending(&b.finish(&results), &is_row);
        RowsBackward { plan, block, targets, wanted: grad.wanted.clone(), widths, param_sizes }
    }

    /// Runs it for all rows; `dy` has one row per row of the output. Writes the gradients of the
    /// wanted inputs and gives those of the parameters.
    pub fn backward(&self, input: &RowsInput, dy: &[f32], to: &mut [Vec<f32>]) -> Vec<Vec<f32>> {
        let tasks = input.rows.div_ceil(self.block);
        // Blocks in a fixed order, a fixed number per group: sums do not depend on the machine.
        let rows = tasks.div_ceil(GROUPS).max(1) * self.block;
        let mut groups: Vec<Group> = (0..input.rows.div_ceil(rows))
            .map(|at| Group::new(self, at * rows..input.rows.min((at + 1) * rows)))
            .collect();
        for (place, to) in to.iter_mut().enumerate() {
            if self.is_once(place) {
                to.fill(0.0);
                continue;
            }
            let pieces = to.chunks_mut((rows * self.widths[place]).max(1));
            groups.iter_mut().zip(pieces).for_each(|(group, piece)| group.own[place] = piece);
        }
        groups.par_iter_mut().for_each(|group| group.run(self, input, dy));
        let mut params: Vec<Vec<f32>> = self.param_sizes.iter().map(|n| vec![0.0; *n]).collect();
        let mut late = Vec::new();
        let mut once = Vec::new();
        for group in groups {
            for (sum, d) in params.iter_mut().zip(&group.params) {
                super::add(sum, d);
            }
            once.push(group.once);
            late.push(group.late);
        }
        for (k, target) in self.targets.iter().enumerate() {
            match target {
                Target::Once(place) => {
                    once.iter().for_each(|sums| super::add(&mut to[*place], &sums[k]));
                }
                Target::Input(place, lag) if *lag > 0 => {
                    let from: Vec<&[f32]> = late.iter().map(|rows| rows[k].as_slice()).collect();
                    self.place(input, &mut to[*place], &from, rows, self.widths[*place], *lag);
                }
                _ => {}
            }
        }
        params
    }

    /// Whether a wanted input has a single row.
    fn is_once(&self, place: usize) -> bool {
        self.targets.iter().any(|target| matches!(target, Target::Once(p) if *p == place))
    }

    /// Adds what each row gives to the row `lag` before it, where that is in its sequence. Each
    /// group of `rows` rows has its part of what is given.
    fn place(
        &self,
        input: &RowsInput,
        to: &mut [f32],
        from: &[&[f32]],
        rows: usize,
        width: usize,
        lag: usize,
    ) {
        let width = width.max(1);
        to.par_chunks_mut(rows * width).enumerate().for_each(|(group, to)| {
            for (at, to) in to.chunks_exact_mut(width).enumerate() {
                let row = group * rows + at + lag;
                if row < input.rows && input.positions[row] as usize >= lag {
                    super::add(to, &from[row / rows][row % rows * width..][..width]);
                }
            }
        });
    }
}

/// Groups of blocks whose parameter gradients are summed one after the other.
const GROUPS: usize = 16;

/// Blocks of rows that one thread runs.
struct Group<'t> {
    rows: Range<usize>,
    /// Per wanted input the rows of its gradient.
    own: Vec<&'t mut [f32]>,
    /// Per target of an input some tokens back: what each row gives.
    late: Vec<Vec<f32>>,
    /// Per target of an input of a single row: the sum.
    once: Vec<Vec<f32>>,
    params: Vec<Vec<f32>>,
}

impl Group<'_> {
    fn new<'t>(backward: &RowsBackward, rows: Range<usize>) -> Group<'t> {
        Group {
            rows,
            own: backward.widths.iter().map(|_| Default::default()).collect(),
            late: vec![Vec::new(); backward.targets.len()],
            once: vec![Vec::new(); backward.targets.len()],
            params: backward.param_sizes.iter().map(|n| vec![0.0; *n]).collect(),
        }
    }

    fn run(&mut self, form: &RowsBackward, input: &RowsInput, dy: &[f32]) {
        let mut machine = Machine::new(&form.plan);
        let width = dy.len() / input.rows.max(1);
        for first in self.rows.clone().step_by(form.block) {
            let count = form.block.min(self.rows.end - first);
            let lend = |leaf: &Leaf| match leaf {
                Leaf::Cotangent(_) => dy.get(first * width..(first + form.block) * width),
                other => lend(other, input, first, form.block),
            };
            form.plan.run_lent(&mut machine, 0, &[], &lend, &mut |leaf, _, tile| match leaf {
                Leaf::Cotangent(_) => {
                    let given = &dy[first * width..][..count * width];
                    tile[..given.len()].copy_from_slice(given);
                    tile[given.len()..].fill(0.0);
                }
                other => feed(other, input, first, form.block, tile),
            });
            self.collect(form, &machine, first, count);
        }
    }

    /// Puts a block's results where they belong.
    fn collect(&mut self, form: &RowsBackward, machine: &Machine<f32>, first: usize, count: usize) {
        let mut written = vec![false; form.wanted.len()];
        for (k, target) in form.targets.iter().enumerate() {
            let d = form.plan.output(machine, k);
            match target {
                Target::Param(place) => super::add(&mut self.params[*place], d),
                Target::Once(_) => {
                    self.once[k].resize(d.len(), 0.0);
                    super::add(&mut self.once[k], d);
                }
                Target::Input(place, 0) => {
                    let width = form.widths[*place];
                    let to = &mut self.own[*place][(first - self.rows.start) * width..];
                    let (to, d) = (&mut to[..count * width], &d[..count * width]);
                    match std::mem::replace(&mut written[*place], true) {
                        true => super::add(to, d),
                        false => to.copy_from_slice(d),
                    }
                }
                Target::Input(place, _) => {
                    self.late[k].extend_from_slice(&d[..count * form.widths[*place]]);
                }
            }
        }
        for (place, written) in written.into_iter().enumerate() {
            if !written {
                let width = form.widths[place];
                let to = &mut self.own[place];
                let from = (first - self.rows.start) * width;
                if let Some(to) = to.get_mut(from..from + count * width) {
                    to.fill(0.0);
                }
            }
        }
    }
}
