//! Puts the kernel of a recurrence in the normal form together: what both ways have in common, and
//! the forward one.

use std::collections::HashMap;

use super::super::cost::Cost;
use super::super::cut::{Cut, find, inside, one, statements, zero};
use super::super::early::early;
use super::super::index::Ix;
use super::super::lower::{Lower, axes_of, new_tile, products_of, steps};
use super::super::space::Choice;
use super::super::value_split::{ValueSplit, Whole};
use super::super::{
    Binding, Buffer, Condition, Expr, Grid, Kernel, Loop, Number, Over, Side, Step, Stmt, Target,
    Tile, TileId,
};
use super::shares::Made;
use crate::elaborate::Recurrence;
use crate::tile::mask::Mask;
use crate::tile::{Leaf, Op, Program, Stream, Value};

/// Makes a kernel.
pub(super) struct Maker<'a> {
    pub(super) r: &'a Recurrence,
    pub(super) choice: Choice,
    pub(super) buffers: &'a [Buffer],
    pub(super) body: ValueSplit,
    pub(super) init: ValueSplit,
    /// What each result of the body is.
    pub(super) made: Vec<Made>,
    /// Numbers of kept values that are inverses of matrices.
    pub(super) inverses: &'a [usize],
    /// What masks exclude of kept values.
    pub(super) masks: &'a [Option<Mask>],
    pub(super) tiles: Vec<Tile>,
}

pub(super) fn tile(id: TileId, shape: &[usize]) -> Target {
    Target::Tile(id, axes_of(shape))
}

impl Maker<'_> {
    pub(super) fn cut(&self) -> Cut<'_> {
        self.cut_by(&self.body.axis)
    }

    fn cut_by<'c>(&'c self, axis: &'c HashMap<Whole, usize>) -> Cut<'c> {
        Cut { buffers: self.buffers, axis, parts: self.choice.parts }
    }

    /// The part of a state's shape that a block holds.
    pub(super) fn state(&self, k: usize) -> Vec<usize> {
        let mut shape = self.r.states[k].shape.clone();
        if let Some(&axis) = self.body.axis.get(&Whole::State(k)) {
            shape[axis] /= self.choice.parts;
        }
        shape
    }

    pub(super) fn param(&self, i: usize) -> Vec<usize> {
        let mut shape = self.r.params[i].shape.clone();
        if let Some(&axis) = self.body.axis.get(&Whole::Param(i)) {
            shape[axis] /= self.choice.parts;
        }
        shape
    }

    /// A tile that keeps its contents from chunk to chunk.
    pub(super) fn carried(&mut self, name: String, shape: &[usize]) -> TileId {
        let id = new_tile(&mut self.tiles, name, Number::F32, shape);
        self.tiles[id.0].carried = true;
        id
    }

    /// The kernel of steps before, in and after a loop over the chunks.
    pub(super) fn kernel(self, reverse: bool, [before, each, after]: [Vec<Step>; 3]) -> Kernel {
        let over = Over::Chunks { tokens: self.choice.chunk, reverse };
        let each = Loop { over, body: statements(self.buffers, each) };
        let mut body = statements(self.buffers, before);
        body.push(Stmt::Loop(each));
        body.extend(statements(self.buffers, after));
        self.of(Grid::Heads, body)
    }

    fn of(self, grid: Grid, body: Vec<Stmt>) -> Kernel {
        let Choice { chunk, parts, .. } = self.choice;
        Kernel {
            grid,
            name: String::new(),
            arguments: vec![],
            threads: self.choice.threads(),
            chunk,
            parts,
            tiles: self.tiles,
            body,
            shared: 0,
            workspace: 0,
            cost: Cost::default(),
        }
    }

    /// An element of a leaf, given where the states and what flows into them stand.
    fn leaf(
        &self,
        axis: &HashMap<Whole, usize>,
        leaf: &Leaf,
        index: &[Ix],
        states: &States,
    ) -> Expr {
        let cut = self.cut_by(axis);
        match leaf {
            Leaf::Read(Stream::Input(_), _) => cut.leaf_row(leaf, index),
            Leaf::Cotangent(Stream::Out(k)) => cut.once(Whole::Out(*k), cut.leaf_row(leaf, index)),
            Leaf::Param(i) => cut.leaf_param(*i, index),
            Leaf::Number(at) => Expr::Position(at.clone(), [index[0].clone(), Ix::default()]),
            Leaf::Head => Expr::Head,
            Leaf::Valid => inside(Side::Queries, index[0].clone(), one()),
            Leaf::Carry(k) => match states.carry.get(*k) {
                Some(id) => Expr::Tile(*id, index.to_vec()),
                None => Expr::Buffer(cut.own(Binding::Boundary(*k), Whole::State(*k), index)),
            },
            Leaf::CarryCotangent(k) => match states.gradient.get(*k) {
                Some(id) => Expr::Tile(*id, index.to_vec()),
                None => Expr::Buffer(cut.own(Binding::BoundaryGrad(*k), Whole::State(*k), index)),
            },
            Leaf::Kept(i) => Expr::Buffer(cut.own(Binding::Kept(*i), Whole::Kept(*i), index)),
            Leaf::Cotangent(Stream::State(k)) => {
                let flows = Expr::Tile(states.gradient[*k], index.to_vec());
                let given = find(self.buffers, Binding::Initial(*k));
                Expr::Where(Condition::Given(given), Box::new([zero(), flows]))
            }
            other => unreachable!("{other} is no leaf of a chunk"),
        }
    }

    /// Whether the numbers of a leaf lie in memory in bf16.
    fn is_narrow(&self, leaf: &Leaf, states: &States) -> bool {
        match leaf {
            Leaf::Read(Stream::Input(i), _) => self.r.inputs[*i].number == Number::Bf16,
            Leaf::Kept(i) => is_narrow(self.buffers, Binding::Kept(*i)),
            Leaf::Carry(k) if states.carry.is_empty() => {
                is_narrow(self.buffers, Binding::Boundary(*k))
            }
            Leaf::CarryCotangent(k) if states.gradient.is_empty() => {
                is_narrow(self.buffers, Binding::BoundaryGrad(*k))
            }
            _ => false,
        }
    }

    /// Results of the body that are written in bf16.
    pub(super) fn rounded(&self) -> Vec<Value> {
        let narrow = |made: &Made| match *made {
            Made::Kept(i) => is_narrow(self.buffers, Binding::Kept(i)),
            Made::Result(_) => false,
        };
        let results = self.body.program.outputs.iter().zip(&self.made);
        results.filter(|(_, made)| narrow(made)).map(|(value, _)| *value).collect()
    }

    /// Lowers parts of a program; `write` makes the steps, `rounded` are results that are written in bf16.
    pub(super) fn lower(
        &mut self,
        program: &Program,
        axis: &HashMap<Whole, usize>,
        states: &States,
        rounded: &[Value],
        write: impl FnOnce(&mut Lower, &Cut),
    ) -> Vec<Step> {
        let mut tiles = std::mem::take(&mut self.tiles);
        let leaf = |leaf: &Leaf, _: &[usize], index: &[Ix]| self.leaf(axis, leaf, index, states);
        let inverse = |value: Value| match program.node(value).op {
            Op::Leaf(Leaf::Kept(i)) => self.inverses.contains(&i),
            _ => false,
        };
        let with_inverses = products_of(program, &inverse);
        let steps = steps(program, rounded, self.choice, &mut tiles, &leaf, |lower| {
            lower.whole.iter_mut().zip(with_inverses).for_each(|(whole, with)| *whole |= with);
            for (value, leaf, _) in program.leaves() {
                lower.exact[value.at()] = self.is_narrow(leaf, states);
            }
            write(lower, &self.cut_by(axis));
        });
        self.tiles = tiles;
        steps
    }

    /// Chunk by chunk; the states that enter each one are saved where somebody asks for them.
    pub(super) fn forward(mut self) -> Kernel {
        let r = self.r;
        let shapes: Vec<Vec<usize>> = (0..r.states.len()).map(|k| self.state(k)).collect();
        let carry: Vec<TileId> = (0..r.states.len())
            .map(|k| self.carried(format!("state {}", r.states[k].name), &shapes[k]))
            .collect();
        let states = States { carry: carry.clone(), gradient: vec![] };
        let before = self.initial(&states);
        let mut each = self.copies(&carry, &shapes, Binding::Boundary);
        let next = self.next("next", &shapes);
        let (ValueSplit { program, axis, .. }, made) = (self.body.clone(), self.made.clone());
        let rounded = self.rounded();
        let masks = self.masks;
        each.extend(self.lower(&program, &axis, &states, &rounded, |lower, cut| {
            lower.keep_apart(masks);
            for (&output, made) in program.outputs.iter().zip(&made) {
                match result(r, *made) {
                    Whole::State(k) => lower.write_tile(output, next[k], false),
                    whole => write(lower, cut, output, whole),
                }
            }
        }));
        replace(&mut each, &carry, &next, &shapes);
        let after = self.copies(&carry, &shapes, Binding::Final);
        self.kernel(false, [before, each, after])
    }

    /// All chunks at once: outputs, and values for other kernels.
    pub(super) fn of_chunks(mut self) -> Kernel {
        let r = self.r;
        let (ValueSplit { program, axis, .. }, made) = (self.body.clone(), self.made.clone());
        let states = States { carry: vec![], gradient: vec![] };
        let rounded = self.rounded();
        let masks = self.masks;
        let steps = self.lower(&program, &axis, &states, &rounded, |lower, cut| {
            lower.keep_apart(masks);
            for (&output, made) in program.outputs.iter().zip(&made) {
                write(lower, cut, output, result(r, *made));
            }
        });
        self.at_once(steps)
    }

    /// The kernel of steps for each chunk of any sequence.
    pub(super) fn at_once(self, steps: Vec<Step>) -> Kernel {
        let body = statements(self.buffers, early(steps, &self.tiles));
        self.of(Grid::Chunks, body)
    }

    /// Copies of states, or of what flows into them, to buffers.
    pub(super) fn copies(
        &self,
        from: &[TileId],
        shapes: &[Vec<usize>],
        to: fn(usize) -> Binding,
    ) -> Vec<Step> {
        let copy = |(k, shape): (usize, &Vec<usize>)| {
            let index = axes_of(shape);
            let cut = self.cut();
            let to = cut.store(cut.own(to(k), Whole::State(k), &index));
            Step::map(shape, Expr::Tile(from[k], index), to)
        };
        shapes.iter().enumerate().map(copy).collect()
    }

    /// Tiles for states, or for what flows into them, as they are after a chunk.
    pub(super) fn next(&mut self, what: &str, shapes: &[Vec<usize>]) -> Vec<TileId> {
        let named = shapes.iter().zip(&self.r.states);
        named
            .map(|(shape, state)| {
                let name = format!("{what} {}", state.name);
                new_tile(&mut self.tiles, name, Number::F32, shape)
            })
            .collect()
    }

    /// The states before the first token: as given, else as declared.
    fn initial(&mut self, states: &States) -> Vec<Step> {
        let ValueSplit { program, axis, .. } = self.init.clone();
        let mut steps = self.lower(&program, &axis, states, &[], |lower, _| {
            for (k, &output) in program.outputs.iter().enumerate() {
                lower.write_tile(output, states.carry[k], false);
            }
        });
        for (k, id) in states.carry.iter().enumerate() {
            let shape = self.state(k);
            let index = axes_of(&shape);
            let given = self.cut().own(Binding::Initial(k), Whole::State(k), &index);
            let declared = Expr::Tile(*id, index);
            let condition = Condition::Given(given.buffer);
            let value = Expr::Where(condition, Box::new([Expr::Buffer(given), declared]));
            steps.push(Step::map(&shape, value, tile(*id, &shape)));
        }
        steps
    }
}

/// What a result of a forward program is.
fn result(r: &Recurrence, made: Made) -> Whole {
    match made {
        Made::Kept(i) => Whole::Kept(i),
        Made::Result(k) => k.checked_sub(r.outs.len()).map_or(Whole::Out(k), Whole::State),
    }
}

/// Whether what is bound so is held in bf16.
fn is_narrow(buffers: &[Buffer], binding: Binding) -> bool {
    buffers[find(buffers, binding).0].number == Number::Bf16
}

/// Writes an output, or a value for other kernels.
pub(super) fn write(lower: &mut Lower, cut: &Cut, value: Value, whole: Whole) {
    let shape = lower.shape(value).to_vec();
    let index = axes_of(&shape);
    let to = match whole {
        Whole::Out(k) => cut.out(k, &index),
        Whole::Kept(i) => {
            let to = cut.store(cut.own(Binding::Kept(i), whole, &index));
            return if is_narrow(cut.buffers, Binding::Kept(i)) {
                lower.write_rounded(value, to);
            } else {
                lower.write(value, &index, &shape, to, false);
            };
        }
        Whole::State(_) | Whole::Input(_) | Whole::Param(_) => return,
    };
    lower.write(value, &index, &shape, cut.store(to), false);
}

/// The tiles in which a kernel holds states and what flows into them.
pub(super) struct States {
    pub(super) carry: Vec<TileId>,
    pub(super) gradient: Vec<TileId>,
}

/// Lets each `next` value take the place of the one before: in the step that makes it, where
/// nothing else reads the old value any more, else by a copy.
pub(super) fn replace(
    each: &mut Vec<Step>,
    old: &[TileId],
    next: &[TileId],
    shapes: &[Vec<usize>],
) {
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
                copies.push(Step::map(&shapes[k], value, tile(old, &shapes[k])));
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
