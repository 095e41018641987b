//! The kernels of a recurrence in the normal form: forward, backward, and a token at a time.

use std::collections::HashMap;

use super::index::{Ix, flat};
use super::lower::{Lower, axes_of, new_tile, plannable, steps};
use super::narrow::{Narrow, Whole, narrow};
use super::place::{keep_better, place};
use super::target::Gpu;
use super::{
    Buffer, Condition, Expr, Grid, Kernel, Number, Part, Pass, Row, Section, Step, Target, Tile,
    TileId,
};
use crate::chunk::gradient::{Target as Gradient, gradient};
use crate::chunk::token::of_token;
use crate::chunk::{Chunk, derive, scan};
use crate::elaborate::Recurrence;
use crate::elaborate::recurrence::Slot;
use crate::grad::by_leaves;
use crate::normal::{Decay, Normal, Refusal};
use crate::tile::{Bits, Builder, Int, Leaf, Program, Stream, size};

/// What may be chosen about a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Tokens of a chunk.
    pub chunk: usize,
    /// Blocks that share a head.
    pub parts: usize,
    /// Threads of a block.
    pub threads: usize,
    /// Whether products run on the matrix units. Not where a state passes through a product at
    /// every token: rounded each time, it would drift away.
    pub matrix_units: bool,
}

/// Micro-steps of a chunk with one decay per head, and with a decay per channel: its Gram products
/// cost the square of the chunk on the ordinary units.
const MICRO_STEPS: [usize; 2] = [64, 16];

/// Numbers that a state has at all rows of a scan's chunk together, at most: several such tiles share
/// a block's memory.
const SCAN_NUMBERS: usize = 1 << 11;

/// Values of a part at least: what fills the rows of a matrix fragment twice.
const PART_VALUES: usize = 32;
/// Values of a part at most, if there is a choice: more blocks fill the machine sooner.
const PART_WIDE: usize = 64;

/// What a kernel runs for each chunk.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// The program derived from the normal form.
    Normal(&'a Normal),
    /// The program of states entry by entry.
    Scan,
    /// The program of one token, for recurrences without a normal form.
    Token,
}

/// The kernel of a pass, by the best plan that fits a GPU. The error names what is too large.
pub fn kernel(
    r: &Recurrence,
    body: Body,
    pass: Pass,
    gpu: Gpu,
    given: Option<usize>,
) -> Result<Kernel, Refusal> {
    let mut best: Option<Kernel> = None;
    let choices = match body {
        Body::Normal(normal) => choices(normal, pass, given),
        Body::Scan => scan_choices(r, if pass == Pass::Decode { Some(1) } else { given }),
        Body::Token => vec![token_choice(r)],
    };
    for choice in choices {
        let Some(made) = build(r, body, pass, choice, gpu)? else { continue };
        if keep_better(&mut best, made) {
            break;
        }
    }
    best.ok_or_else(|| {
        let largest = r.states.iter().max_by_key(|state| size(&state.shape));
        let what = largest
            .map_or(String::new(), |state| format!(": state `{}` is {}", state.name, state.text));
        let why = format!("no plan fits the shared memory of {}{what}", gpu.arch);
        Refusal { span: largest.map(|state| state.span), why }
    })
}

/// The only plan of a token's program: as many threads as its largest state has work for.
fn token_choice(r: &Recurrence) -> Choice {
    let largest = r.states.iter().map(|state| size(&state.shape)).max().unwrap_or(1);
    let threads = largest.next_multiple_of(32).clamp(32, 256);
    Choice { chunk: 1, parts: 1, threads, matrix_units: false }
}

/// Plans of a scan in the order in which they are tried: longer chunks for smaller states.
fn scan_choices(r: &Recurrence, given: Option<usize>) -> Vec<Choice> {
    let widest = r.states.iter().map(|state| size(&state.shape)).max().unwrap_or(1).max(1);
    let fits = |chunk: &usize| *chunk == 8 || chunk * widest <= SCAN_NUMBERS;
    let chunks = match given {
        Some(given) => vec![given],
        None => [256, 128, 64, 32, 16, 8].into_iter().filter(fits).collect(),
    };
    let of = |chunk: usize| {
        let threads = (chunk * widest).next_multiple_of(32).clamp(32, 256);
        Choice { chunk, parts: 1, threads, matrix_units: true }
    };
    chunks.into_iter().map(of).collect()
}

/// Plans in the order in which they are tried.
fn choices(normal: &Normal, pass: Pass, given: Option<usize>) -> Vec<Choice> {
    let updates = normal.states.iter().flat_map(|state| &state.updates);
    let vector = updates.clone().any(|update| matches!(update.decay, Decay::Vector(_)));
    let micro = normal.states.iter().map(|s| s.updates.len()).max().unwrap_or(1);
    let steps = MICRO_STEPS[usize::from(vector)];
    let mut chunks: Vec<usize> = [64, 32, 16, 8].into_iter().filter(|n| *n <= steps).collect();
    chunks.iter_mut().for_each(|n| *n = (*n / micro).max(1));
    if pass == Pass::Decode {
        chunks = vec![1];
    } else if let Some(given) = given {
        chunks = vec![given];
    }
    let values = normal.states.first().map_or(1, |state| state.v);
    let fits = |parts: &usize| {
        *parts == 1 || values.is_multiple_of(*parts) && values / parts >= PART_VALUES
    };
    let mut parts: Vec<usize> = [1, 2, 4, 8].into_iter().filter(fits).collect();
    parts.sort_by_key(|parts| (values / parts > PART_WIDE, *parts));
    let mut choices = Vec::new();
    for &chunk in &chunks {
        for &parts in &parts {
            let threads = if values / parts >= 64 || chunk >= 64 { 256 } else { 128 };
            choices.push(Choice { chunk, parts, threads, matrix_units: true });
        }
    }
    choices
}

/// One plan; `None` if it cannot be, since the values cannot be cut so or operands do not fit.
pub fn build(
    r: &Recurrence,
    body: Body,
    pass: Pass,
    choice: Choice,
    gpu: Gpu,
) -> Result<Option<Kernel>, Refusal> {
    let outs = (0..r.outs.len()).map(Whole::Out);
    let results: Vec<Whole> = outs.chain((0..r.states.len()).map(Whole::State)).collect();
    let (chunk, body) = match body {
        Body::Normal(normal) => {
            let chunk = derive(r, normal, choice.chunk, pass != Pass::Decode)?;
            let values = usize::from(!normal.states[0].transposed);
            let cut = [(Whole::State(0), values)];
            let body = narrow(&chunk.program, true, &results, &cut, choice.parts);
            (chunk, body)
        }
        Body::Scan => {
            let chunk = scan::derive(r, choice.chunk, pass != Pass::Decode)?;
            let body = Narrow::not(chunk.program.clone());
            (chunk, Some(body))
        }
        Body::Token => {
            let chunk = of_token(r)?;
            let body = Narrow::not(chunk.program.clone());
            (chunk, Some(body))
        }
    };
    plannable(&chunk.program)?;
    let Some(body) = body else { return Ok(None) };
    let states: Vec<(Whole, usize)> = body
        .axis
        .iter()
        .filter(|(whole, _)| matches!(whole, Whole::State(_)))
        .map(|(whole, axis)| (*whole, *axis))
        .collect();
    let initial: Vec<Whole> = (0..r.states.len()).map(Whole::State).collect();
    let Some(init) = narrow(&r.init, false, &initial, &states, choice.parts) else {
        return Ok(None);
    };
    let maker = Maker { r, choice, body, init, tiles: vec![] };
    let kernel = match pass {
        Pass::Backward => maker.backward(&chunk),
        _ => maker.forward(pass),
    };
    let mut kernel = kernel;
    let fits = place(&mut kernel, gpu.shared);
    Ok(fits.then_some(kernel))
}

/// Axes of tensors that the parts of a head cut, and the number of parts.
pub(super) struct Cut<'a> {
    pub(super) r: &'a Recurrence,
    pub(super) axis: &'a HashMap<Whole, usize>,
    pub(super) parts: usize,
}

impl Cut<'_> {
    /// The shape that a tensor has when it is whole, and by how much the parts of a head lie apart.
    fn whole(&self, whole: Whole, shape: &[usize]) -> (Vec<usize>, usize) {
        let mut full = shape.to_vec();
        let Some(&axis) = self.axis.get(&whole) else { return (full, 0) };
        full[axis] *= self.parts;
        let part = shape[axis] * size(&full[axis + 1..]);
        (full, part)
    }

    /// An element of a tensor of tokens.
    fn row(
        &self,
        buffer: Buffer,
        whole: Whole,
        at: Int,
        row: Ix,
        rest: &[Ix],
        shape: &[usize],
    ) -> Row {
        let slot: &Slot = match whole {
            Whole::Input(i) => &self.r.inputs[i],
            Whole::Out(k) => &self.r.outs[k],
            other => unreachable!("{other:?} has no tokens"),
        };
        let (full, part) = self.whole(whole, shape);
        let counted = usize::from(slot.count.is_some());
        Row {
            buffer,
            at,
            row,
            slot: if counted == 1 { rest[0].clone() } else { Ix::default() },
            inner: flat(&rest[counted..], &full[counted..]),
            count: slot.count.unwrap_or(1),
            one: size(&full[counted..]),
            part,
        }
    }

    /// An element of an input or of what flows into an output, as leaves of a program name them.
    pub(super) fn leaf_row(&self, leaf: &Leaf, shape: &[usize], index: &[Ix]) -> Row {
        let (buffer, whole, at) = match leaf {
            Leaf::Read(Stream::Input(i), at) => (Buffer::Input(*i), Whole::Input(*i), at.clone()),
            Leaf::Cotangent(Stream::Out(k)) => (Buffer::OutGrad(*k), Whole::Out(*k), Int::T),
            other => unreachable!("{other} has no tokens"),
        };
        self.row(buffer, whole, at, index[0].clone(), &index[1..], &shape[1..])
    }

    /// An element of an output.
    pub(super) fn out_row(&self, k: usize, shape: &[usize], index: &[Ix]) -> Row {
        let (buffer, row) = (Buffer::Out(k), index[0].clone());
        self.row(buffer, Whole::Out(k), Int::T, row, &index[1..], &shape[1..])
    }

    /// An element of the gradient of an input that was read at a position.
    pub(super) fn input_grad_row(&self, i: usize, at: &Int, shape: &[usize], index: &[Ix]) -> Row {
        let (buffer, row) = (Buffer::InputGrad(i), index[0].clone());
        self.row(buffer, Whole::Input(i), at.clone(), row, &index[1..], &shape[1..])
    }

    /// An element of a parameter.
    pub(super) fn leaf_param(&self, i: usize, shape: &[usize], index: &[Ix]) -> Part {
        let rows = shape.len() - self.r.params[i].shape.len();
        self.part(Buffer::Param(i), Whole::Param(i), &index[rows..], &shape[rows..])
    }

    /// An element of the gradient of a parameter.
    pub(super) fn param_grad(&self, i: usize, shape: &[usize], index: &[Ix]) -> Part {
        let rows = shape.len() - self.r.params[i].shape.len();
        self.part(Buffer::ParamGrad(i), Whole::Param(i), &index[rows..], &shape[rows..])
    }

    /// What flows in from behind into something that all parts of a head hold whole: their gradients
    /// add up, so one of them takes it.
    fn once(&self, whole: Whole, flows: Expr) -> Expr {
        if self.parts == 1 || self.axis.contains_key(&whole) {
            return flows;
        }
        Expr::Where(Condition::FirstPart, Box::new([flows, zero()]))
    }

    /// An element of a tensor of heads.
    fn part(&self, buffer: Buffer, whole: Whole, index: &[Ix], shape: &[usize]) -> Part {
        let (full, part) = self.whole(whole, shape);
        Part { buffer, inner: flat(index, &full), size: size(&full), part }
    }
}

struct Maker<'a> {
    r: &'a Recurrence,
    choice: Choice,
    body: Narrow,
    init: Narrow,
    tiles: Vec<Tile>,
}

fn zero() -> Expr {
    Expr::Number(Bits::of(0.0))
}

fn map(sizes: &[usize], value: Expr, to: Target) -> Step {
    Step::Map { sizes: sizes.to_vec(), value, to, add: false }
}

fn tile(id: TileId, shape: &[usize]) -> Target {
    Target::Tile(id, axes_of(shape))
}

impl Maker<'_> {
    fn cut(&self) -> Cut<'_> {
        Cut { r: self.r, axis: &self.body.axis, parts: self.choice.parts }
    }

    /// The part of a state's shape that a block holds.
    fn state(&self, k: usize) -> Vec<usize> {
        let mut shape = self.r.states[k].shape.clone();
        if let Some(&axis) = self.body.axis.get(&Whole::State(k)) {
            shape[axis] /= self.choice.parts;
        }
        shape
    }

    fn param(&self, i: usize) -> Vec<usize> {
        let mut shape = self.r.params[i].shape.clone();
        if let Some(&axis) = self.body.axis.get(&Whole::Param(i)) {
            shape[axis] /= self.choice.parts;
        }
        shape
    }

    fn lasting(&mut self, name: String, shape: &[usize]) -> TileId {
        let id = new_tile(&mut self.tiles, name, Number::F32, shape);
        self.tiles[id.0].lasting = true;
        id
    }

    fn kernel(&self, pass: Pass, before: Vec<Step>, each: Vec<Step>, after: Vec<Step>) -> Kernel {
        let (r, tiles) = (self.r, self.tiles.clone());
        let Choice { chunk, parts, threads, .. } = self.choice;
        let name = format!("{}_{}", r.name, pass.name());
        let buffers = buffers(r, pass);
        let (shared, working) = (0, 0);
        Kernel {
            grid: Grid::Heads,
            name,
            pass,
            threads,
            chunk,
            parts,
            buffers,
            tiles,
            sections: vec![Section::once(before), Section::each(each), Section::once(after)],
            shared,
            working,
        }
    }

    /// An element of a leaf, given where the states and what flows into them stand.
    fn leaf(
        &self,
        axis: &HashMap<Whole, usize>,
        leaf: &Leaf,
        shape: &[usize],
        index: &[Ix],
        states: &States,
    ) -> Expr {
        let cut = Cut { r: self.r, axis, parts: self.choice.parts };
        match leaf {
            Leaf::Read(Stream::Input(_), _) => Expr::Row(cut.leaf_row(leaf, shape, index)),
            Leaf::Cotangent(Stream::Out(k)) => {
                cut.once(Whole::Out(*k), Expr::Row(cut.leaf_row(leaf, shape, index)))
            }
            Leaf::Param(i) => Expr::Part(cut.leaf_param(*i, shape, index)),
            Leaf::Number(at) => Expr::Position(at.clone(), [index[0].clone(), Ix::default()]),
            Leaf::Head => Expr::Head,
            Leaf::Valid => Expr::Valid(index[0].clone()),
            Leaf::Carry(k) => match states.carry.get(*k) {
                Some(id) => Expr::Tile(*id, index.to_vec()),
                None => Expr::Part(cut.part(Buffer::Entered(*k), Whole::State(*k), index, shape)),
            },
            Leaf::CarryCotangent(k) => Expr::Tile(states.gradient[*k], index.to_vec()),
            Leaf::Cotangent(Stream::State(k)) => {
                let flows = Expr::Tile(states.gradient[*k], index.to_vec());
                Expr::Given(Buffer::Initial(*k), Box::new([zero(), flows]))
            }
            other => unreachable!("{other} is no leaf of a chunk"),
        }
    }

    /// Lowers parts of a program; `write` makes the steps.
    fn lower(
        &mut self,
        program: &Program,
        axis: &HashMap<Whole, usize>,
        states: &States,
        write: impl FnOnce(&mut Lower, &Cut),
    ) -> Vec<Step> {
        let mut tiles = std::mem::take(&mut self.tiles);
        let leaf = |leaf: &Leaf, shape: &[usize], index: &[Ix]| {
            self.leaf(axis, leaf, shape, index, states)
        };
        let steps = steps(program, &mut tiles, &leaf, |lower| {
            lower.matrix_units = self.choice.matrix_units;
            write(lower, &Cut { r: self.r, axis, parts: self.choice.parts });
        });
        self.tiles = tiles;
        steps
    }

    fn forward(mut self, pass: Pass) -> Kernel {
        let r = self.r;
        let shapes: Vec<Vec<usize>> = (0..r.states.len()).map(|k| self.state(k)).collect();
        let carry: Vec<TileId> = (0..r.states.len())
            .map(|k| self.lasting(format!("state {}", r.states[k].name), &shapes[k]))
            .collect();
        let states = States { carry: carry.clone(), gradient: vec![] };
        let before = self.initial(&states);
        let mut each = Vec::new();
        if pass == Pass::Keeping {
            for (k, shape) in shapes.iter().enumerate() {
                let part =
                    self.cut().part(Buffer::Entered(k), Whole::State(k), &axes_of(shape), shape);
                let value = Expr::Tile(carry[k], axes_of(shape));
                each.push(map(shape, value, Target::Part(part)));
            }
        }
        let next: Vec<TileId> = (0..r.states.len())
            .map(|k| {
                new_tile(
                    &mut self.tiles,
                    format!("next {}", r.states[k].name),
                    Number::F32,
                    &shapes[k],
                )
            })
            .collect();
        let Narrow { program, axis, .. } = self.body.clone();
        each.extend(self.lower(&program, &axis, &states, |lower, cut| {
            for (k, &output) in program.outputs.iter().enumerate() {
                match k.checked_sub(r.outs.len()) {
                    None => {
                        let shape = program.shape(output);
                        let index = axes_of(shape);
                        let row = cut.out_row(k, shape, &index);
                        lower.write(output, &index, shape, Target::Row(row), false);
                    }
                    Some(state) => lower.write_tile(output, next[state], false),
                }
            }
        }));
        replace(&mut each, &carry, &next, &shapes);
        let after = (0..r.states.len())
            .map(|k| {
                let index = axes_of(&shapes[k]);
                let part = self.cut().part(Buffer::Final(k), Whole::State(k), &index, &shapes[k]);
                map(&shapes[k], Expr::Tile(carry[k], index), Target::Part(part))
            })
            .collect();
        self.kernel(pass, before, each, after)
    }

    /// The states before the first token: as given, else as declared.
    fn initial(&mut self, states: &States) -> Vec<Step> {
        let Narrow { program, axis, .. } = self.init.clone();
        let mut steps = self.lower(&program, &axis, states, |lower, _| {
            for (k, &output) in program.outputs.iter().enumerate() {
                lower.write_tile(output, states.carry[k], false);
            }
        });
        for (k, id) in states.carry.iter().enumerate() {
            let shape = self.state(k);
            let index = axes_of(&shape);
            let part = self.cut().part(Buffer::Initial(k), Whole::State(k), &index, &shape);
            let declared = Expr::Tile(*id, index);
            let value = Expr::Given(Buffer::Initial(k), Box::new([Expr::Part(part), declared]));
            steps.push(map(&shape, value, tile(*id, &shape)));
        }
        steps
    }

    fn backward(mut self, chunk: &Chunk) -> Kernel {
        let r = self.r;
        let shapes: Vec<Vec<usize>> = (0..r.states.len()).map(|k| self.state(k)).collect();
        let flows: Vec<TileId> = (0..r.states.len())
            .map(|k| self.lasting(format!("gradient of {}", r.states[k].name), &shapes[k]))
            .collect();
        let params: Vec<(Vec<usize>, TileId)> = (0..r.params.len())
            .map(|i| {
                let shape = self.param(i);
                let id = self.lasting(format!("gradient of {}", r.params[i].name), &shape);
                (shape, id)
            })
            .collect();
        let states = States { carry: vec![], gradient: flows.clone() };
        let mut before = Vec::new();
        for (k, shape) in shapes.iter().enumerate() {
            let index = axes_of(shape);
            let part = self.cut().part(Buffer::FinalGrad(k), Whole::State(k), &index, shape);
            let given = Expr::Given(Buffer::FinalGrad(k), Box::new([Expr::Part(part), zero()]));
            let value = self.cut().once(Whole::State(k), given);
            before.push(map(shape, value, tile(flows[k], shape)));
        }
        for (shape, id) in &params {
            before.push(map(shape, zero(), tile(*id, shape)));
        }
        let each = self.chunk_gradient(chunk, &states, &params, &shapes);
        let mut after = self.init_gradient(&states, &params);
        for (k, shape) in shapes.iter().enumerate() {
            let index = axes_of(shape);
            let part = self.cut().part(Buffer::InitialGrad(k), Whole::State(k), &index, shape);
            after.push(map(shape, Expr::Tile(flows[k], index), Target::Part(part)));
        }
        for (i, (shape, id)) in params.iter().enumerate() {
            let index = axes_of(shape);
            let part = self.cut().part(Buffer::ParamGrad(i), Whole::Param(i), &index, shape);
            after.push(map(shape, Expr::Tile(*id, index), Target::Part(part)));
        }
        self.kernel(Pass::Backward, before, each, after)
    }

    fn chunk_gradient(
        &mut self,
        chunk: &Chunk,
        states: &States,
        params: &[(Vec<usize>, TileId)],
        shapes: &[Vec<usize>],
    ) -> Vec<Step> {
        let r = self.r;
        let narrow = Chunk { tokens: chunk.tokens, program: self.body.program.clone() };
        let found = gradient(r, &narrow, &|_, _| false);
        let next: Vec<TileId> = (0..r.states.len())
            .map(|k| {
                new_tile(
                    &mut self.tiles,
                    format!("next gradient of {}", r.states[k].name),
                    Number::F32,
                    &shapes[k],
                )
            })
            .collect();
        let mut started = vec![false; next.len()];
        let once = |input: usize| {
            let mut of_input = found.targets.iter().filter_map(|target| match target {
                Gradient::Input(i, at) if *i == input => Some(at.lag() == Some(0)),
                _ => None,
            });
            of_input.next() == Some(true) && of_input.next().is_none()
        };
        let program = &found.program;
        let axis = self.body.axis.clone();
        let mut each = self.lower(program, &axis, states, |lower, cut| {
            for (&output, target) in program.outputs.iter().zip(&found.targets) {
                let shape = program.shape(output);
                let index = axes_of(shape);
                match target {
                    Gradient::Carry(k) => {
                        lower.write_tile(
                            output,
                            next[*k],
                            std::mem::replace(&mut started[*k], true),
                        );
                    }
                    Gradient::Param(i) => {
                        let rows = shape.len() - params[*i].0.len();
                        let to = Target::Tile(params[*i].1, index[rows..].to_vec());
                        lower.write(output, &index, shape, to, true);
                    }
                    Gradient::Input(i, at) => {
                        let row = cut.input_grad_row(*i, at, shape, &index);
                        lower.write(output, &index, shape, Target::Row(row), !once(*i));
                    }
                }
            }
        });
        for (k, started) in started.iter().enumerate() {
            if !started {
                each.push(map(&shapes[k], zero(), tile(next[k], &shapes[k])));
            }
        }
        replace(&mut each, &states.gradient, &next, shapes);
        each
    }

    /// Where no state was given, the declared one may come from parameters.
    fn init_gradient(&mut self, states: &States, params: &[(Vec<usize>, TileId)]) -> Vec<Step> {
        let Narrow { program, axis, .. } = self.init.clone();
        let mut b = Builder::extending(program.clone());
        let outputs = program.outputs.iter().enumerate();
        let seeds = outputs.map(|(k, &output)| (output, Leaf::Cotangent(Stream::State(k))));
        let found = by_leaves(&mut b, seeds, |leaf| match leaf {
            Leaf::Param(i) => Some(*i),
            _ => None,
        });
        let program = b.finish(&found.values);
        self.lower(&program, &axis, states, |lower, _| {
            for (&output, &i) in program.outputs.iter().zip(&found.targets) {
                lower.write_tile(output, params[i].1, true);
            }
        })
    }
}

/// The tiles in which a kernel holds states and what flows into them.
struct States {
    carry: Vec<TileId>,
    gradient: Vec<TileId>,
}

/// Lets each `next` value take the place of the one before: in the step that makes it, where
/// nothing else reads the old value any more, else by a copy.
fn replace(each: &mut Vec<Step>, old: &[TileId], next: &[TileId], shapes: &[Vec<usize>]) {
    let mut copies = Vec::new();
    for (k, (&old, &next)) in old.iter().zip(next).enumerate() {
        let makers: Vec<usize> =
            (0..each.len()).filter(|&at| each[at].writes().contains(&next)).collect();
        let read_later = |at: usize| each[at + 1..].iter().any(|step| step.reads().contains(&old));
        match makers.as_slice() {
            [at] if !read_later(*at) && same_element(&each[*at], old) => {
                if let Step::Map { to: Target::Tile(id, _), .. }
                | Step::Product { to: Target::Tile(id, _), .. } = &mut each[*at]
                {
                    *id = old;
                }
            }
            _ => {
                let value = Expr::Tile(next, axes_of(&shapes[k]));
                copies.push(map(&shapes[k], value, tile(old, &shapes[k])));
            }
        }
    }
    each.extend(copies);
}

/// Whether a step reads a tile at most at the element that it writes.
fn same_element(step: &Step, tile: TileId) -> bool {
    let (Step::Map { value, to: Target::Tile(_, index), .. }
    | Step::Product { value, to: Target::Tile(_, index), .. }) = step
    else {
        return false;
    };
    let mut same = true;
    value.walk(&mut |e| {
        if let Expr::Tile(id, at) = e {
            same &= *id != tile || at == index;
        }
    });
    same
}

/// The arguments of a pass, in order.
fn buffers(r: &Recurrence, pass: Pass) -> Vec<Buffer> {
    let all = |n: usize, buffer: fn(usize) -> Buffer| (0..n).map(buffer);
    let (inputs, params) = (r.inputs.len(), r.params.len());
    let (states, outs) = (r.states.len(), r.outs.len());
    let first = all(inputs, Buffer::Input)
        .chain(all(params, Buffer::Param))
        .chain(all(states, Buffer::Initial));
    match pass {
        Pass::Forward | Pass::Decode => {
            first.chain(all(outs, Buffer::Out)).chain(all(states, Buffer::Final)).collect()
        }
        Pass::Keeping => first
            .chain(all(outs, Buffer::Out))
            .chain(all(states, Buffer::Final))
            .chain(all(states, Buffer::Entered))
            .collect(),
        Pass::Backward => first
            .chain(all(states, Buffer::Entered))
            .chain(all(outs, Buffer::OutGrad))
            .chain(all(states, Buffer::FinalGrad))
            .chain(all(inputs, Buffer::InputGrad))
            .chain(all(params, Buffer::ParamGrad))
            .chain(all(states, Buffer::InitialGrad))
            .collect(),
        Pass::Keys => unreachable!("states have no keys"),
    }
}
