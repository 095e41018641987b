//! Pointwise nodes: a tile program over a block of rows, forward and backward.

use rayon::prelude::*;

use crate::grad::by_leaves;
use crate::graph::backward::RowsGrad;
use crate::interpret::{Machine, Plan};
use crate::tile::lift::{Over, lift};
use crate::tile::{Builder, Leaf, Program, Stream, Value, size};

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

/// Lifts a program over `block` rows.
fn lifted(
    program: &Program,
    block: usize,
    once: &[bool],
    outputs_once: bool,
) -> (Builder, Vec<Value>) {
    let mut b = Builder::new();
    let mut leaf = |b: &mut Builder, leaf: &Leaf, shape: &[usize]| {
        let rows = match leaf {
            Leaf::Read(Stream::Input(i), _) if once[*i] => 1,
            Leaf::Param(_) => 1,
            _ => block,
        };
        b.leaf(leaf.clone(), &[&[rows], shape].concat())
    };
    let new = lift(&mut b, program, Over::Tokens, 1, &mut leaf)
        .expect("mixers are made of operations that lift over tokens");
    let rows = if outputs_once { 1 } else { block };
    let outputs = program
        .outputs
        .iter()
        .map(|output| {
            let full = [&[rows], program.shape(*output)].concat();
            b.expand(new[output.at()], &full)
        })
        .collect();
    (b, outputs)
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
        Rows { plan: Plan::new(&b.finish(&outputs)), block, width }
    }

    /// Runs it for all rows, or once.
    pub fn forward(&self, input: &RowsInput, to: &mut [f32]) {
        to.par_chunks_mut(self.block * self.width).enumerate().for_each_init(
            || Machine::new(&self.plan),
            |machine, (at, to)| {
                let first = at * self.block;
                self.plan.run(machine, 0, &[], &mut |leaf, _, tile| {
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

/// Gradients of a pointwise node.
pub struct RowsGradients {
    /// Per wanted input.
    pub inputs: Vec<Vec<f32>>,
    /// Per wanted parameter.
    pub params: Vec<Vec<f32>>,
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
        let plan = Plan::new(&b.finish(&results));
        RowsBackward { plan, block, targets, wanted: grad.wanted.clone(), widths, param_sizes }
    }

    /// Runs it for all rows; `dy` has one row per row of the output.
    pub fn backward(&self, input: &RowsInput, dy: &[f32]) -> RowsGradients {
        let tasks = input.rows.div_ceil(self.block);
        let width = dy.len() / input.rows.max(1);
        // Blocks in a fixed order, a fixed number per group: sums do not depend on the machine.
        let group = tasks.div_ceil(GROUPS).max(1);
        let done: Vec<Group> = (0..tasks.div_ceil(group))
            .into_par_iter()
            .map(|at| {
                let blocks = at * group..tasks.min((at + 1) * group);
                self.group(input, dy, width, blocks)
            })
            .collect();
        let mut gradients = RowsGradients {
            inputs: self
                .wanted
                .iter()
                .zip(&self.widths)
                .map(|(i, w)| vec![0.0; if input.once[*i] { *w } else { input.rows * w }])
                .collect(),
            params: self.param_sizes.iter().map(|n| vec![0.0; *n]).collect(),
        };
        for part in &done {
            for (sum, d) in gradients.params.iter_mut().zip(&part.params) {
                super::add(sum, d);
            }
            for (k, target) in self.targets.iter().enumerate() {
                match target {
                    Target::Input(place, lag) => {
                        let to = &mut gradients.inputs[*place];
                        let width = self.widths[*place];
                        self.place(input, to, &part.rows[k], part.first, width, *lag);
                    }
                    Target::Once(place) => super::add(&mut gradients.inputs[*place], &part.rows[k]),
                    Target::Param(_) => {}
                }
            }
        }
        gradients
    }

    fn place(
        &self,
        input: &RowsInput,
        to: &mut [f32],
        from: &[f32],
        first: usize,
        width: usize,
        lag: usize,
    ) {
        if lag == 0 {
            return super::add(&mut to[first * width..][..from.len()], from);
        }
        for (row, d) in from.chunks_exact(width.max(1)).enumerate() {
            let row = first + row;
            if input.positions[row] as usize >= lag {
                super::add(&mut to[(row - lag) * width..][..width], d);
            }
        }
    }

    fn group(
        &self,
        input: &RowsInput,
        dy: &[f32],
        width: usize,
        blocks: std::ops::Range<usize>,
    ) -> Group {
        let mut machine = Machine::new(&self.plan);
        let mut group = Group {
            first: blocks.start * self.block,
            rows: self.targets.iter().map(|_| Vec::new()).collect(),
            params: self.param_sizes.iter().map(|n| vec![0.0; *n]).collect(),
        };
        for at in blocks {
            let first = at * self.block;
            let count = self.block.min(input.rows - first);
            self.plan.run(&mut machine, 0, &[], &mut |leaf, _, tile| match leaf {
                Leaf::Cotangent(_) => {
                    let given = &dy[first * width..][..count * width];
                    tile[..given.len()].copy_from_slice(given);
                    tile[given.len()..].fill(0.0);
                }
                other => feed(other, input, first, self.block, tile),
            });
            for (k, target) in self.targets.iter().enumerate() {
                let d = self.plan.output(&machine, k);
                match target {
                    Target::Param(place) => super::add(&mut group.params[*place], d),
                    Target::Once(_) => {
                        group.rows[k].resize(d.len(), 0.0);
                        super::add(&mut group.rows[k], d);
                    }
                    Target::Input(place, _) => {
                        group.rows[k].extend_from_slice(&d[..count * self.widths[*place]]);
                    }
                }
            }
        }
        group
    }
}

/// Groups of blocks whose parameter gradients are summed one after the other.
const GROUPS: usize = 16;

struct Group {
    first: usize,
    rows: Vec<Vec<f32>>,
    params: Vec<Vec<f32>>,
}
