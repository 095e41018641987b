//! P3, P4, P8, P10 and P12: what each step names is there, and as large as it says.

use super::Wrong;
use crate::plan::index::Ix;
use crate::plan::{
    Argument, BufferId, Condition, Dim, Element, Expr, Grid, Kernel, Loop, Number, Operand, Over,
    Schedule, Step, Stmt, Target, Term, TileId, WarpTile,
};

pub fn check(schedule: &Schedule, kernel: &Kernel, wrong: &mut Wrong) {
    let mut bounds = Bounds { schedule, kernel, wrong, given: vec![], sizes: vec![] };
    bounds.walk(&kernel.body);
}

struct Bounds<'a> {
    schedule: &'a Schedule,
    kernel: &'a Kernel,
    wrong: &'a mut Wrong,
    /// Buffers that the call has for certain, where they may be absent.
    given: Vec<BufferId>,
    /// Sizes of the loop of the step that is looked at.
    sizes: Vec<usize>,
}

impl Bounds<'_> {
    fn walk(&mut self, body: &[Stmt]) {
        for stmt in body {
            match stmt {
                Stmt::Step(step) => self.step(step),
                Stmt::Given(buffer, body) => {
                    self.given.push(*buffer);
                    self.walk(body);
                    self.given.pop();
                }
                Stmt::Loop(Loop { over, body }) => {
                    let fits = matches!(
                        (&self.kernel.grid, over),
                        (Grid::Heads, Over::Chunks { .. })
                            | (Grid::Pairs { .. }, Over::Blocks { .. })
                            | (Grid::Rows, Over::Groups { .. })
                    );
                    if !fits {
                        self.wrong.say(12, format!("a loop over {over} in another grid"));
                    }
                    self.walk(body);
                }
            }
        }
    }

    fn step(&mut self, step: &Step) {
        if let Step::Copy { from, when, to, .. } = step {
            let shape = self.kernel.tiles.get(to.0).map(|tile| tile.shape.clone());
            self.sizes = shape.unwrap_or_default();
            // What the call lacks is not copied, or zeros are instead.
            let asked = when.is_empty() || when.contains(&Condition::Given(from.buffer));
            self.given.extend(asked.then_some(from.buffer));
            self.element(from);
            self.given.truncate(self.given.len() - usize::from(asked));
        }
        let (Step::Map { sizes, .. } | Step::Reduce { sizes, .. } | Step::Product { sizes, .. }) =
            step
        else {
            return;
        };
        self.sizes.clone_from(sizes);
        for to in step.targets() {
            match to {
                Target::Tile(id, index) => self.tile(*id, index),
                Target::Buffer(element, _) => self.element(element),
            }
        }
        step.values().for_each(|value| self.expr(value));
        if let Step::Product { sizes, axes: [p, q], terms, warp, .. } = step {
            self.product([sizes[*p], sizes[*q]], terms, *warp);
        }
        let sums = |e: &Expr| match (e, step) {
            (Expr::Sum(sum), Step::Product { terms, .. }) => {
                terms.iter().any(|term| term.sum == *sum)
            }
            (Expr::Sum(_), _) => false,
            _ => true,
        };
        let mut all = true;
        step.values().for_each(|value| value.walk(&mut |e| all &= sums(e)));
        if !all {
            self.wrong.say(10, "a sum is read to which nothing is added");
        }
    }

    /// Elements behind a comparison are read only where it holds: their bounds are not known here.
    fn expr(&mut self, e: &Expr) {
        match e {
            Expr::Tile(id, index) => self.tile(*id, index),
            Expr::Buffer(element) => self.element(element),
            Expr::Where(Condition::Less(..) | Condition::Equal(..), _) => {}
            Expr::Where(Condition::Given(buffer), both) => {
                self.given.push(*buffer);
                self.expr(&both[0]);
                self.given.pop();
                self.expr(&both[1]);
            }
            Expr::Where(_, both) | Expr::Binary(_, both) | Expr::Mul(both) | Expr::Weight(both) => {
                both.iter().for_each(|e| self.expr(e));
            }
            Expr::Unary(_, x) => self.expr(x),
            Expr::Select(all) => all.iter().for_each(|e| self.expr(e)),
            Expr::Number(_)
            | Expr::Position(..)
            | Expr::Allowed { .. }
            | Expr::Head
            | Expr::Sum(_) => {}
        }
    }

    /// What a copy brings only if the call has it is there only then.
    fn copied(&mut self, id: TileId) {
        let lacks = |step: &&Step| match step {
            Step::Copy { from, when, to, .. } if *to == id && when.is_empty() => {
                let buffer = self.schedule.buffers.get(from.buffer.0);
                buffer.is_some_and(|buffer| buffer.may_be_absent)
                    && !self.given.contains(&from.buffer)
            }
            _ => false,
        };
        if self.kernel.steps().iter().any(lacks) {
            self.wrong.say(8, format!("tile{} is a copy of what may be absent", id.0));
        }
    }

    fn tile(&mut self, id: TileId, index: &[Ix]) {
        self.copied(id);
        match self.kernel.tiles.get(id.0) {
            Some(tile) => self.index(3, &format!("tile{}", id.0), &tile.shape, index),
            None => self.wrong.say(3, format!("there is no tile{}", id.0)),
        }
    }

    fn element(&mut self, element: &Element) {
        let Some(buffer) = self.schedule.buffers.get(element.buffer.0) else {
            return self.wrong.say(4, format!("there is no buffer {}", element.buffer.0));
        };
        if !self.kernel.arguments.contains(&Argument::Buffer(element.buffer)) {
            self.wrong.say(12, format!("{} is no argument", buffer.name));
        }
        if buffer.may_be_absent && !self.given.contains(&element.buffer) {
            self.wrong.say(8, format!("{} may be absent", buffer.name));
        }
        if buffer.dims.contains(&Dim::Rows) != element.row.is_some() {
            self.wrong.say(4, format!("{} is at a row that it lacks, or at none", buffer.name));
        }
        let mut shape = buffer.value();
        if let Some(n) = element.split.and_then(|axis| shape.get_mut(axis)) {
            *n /= self.kernel.parts;
        }
        self.index(4, &buffer.name, &shape, &element.index);
    }

    fn index(&mut self, promise: u8, name: &str, shape: &[usize], index: &[Ix]) {
        if index.len() != shape.len() {
            let (has, given) = (shape.len(), index.len());
            return self.wrong.say(promise, format!("{name} has {has} axes, not {given}"));
        }
        for (i, n) in index.iter().zip(shape) {
            let (low, high) = i.range(&self.sizes);
            if low < 0 || high >= *n as i64 {
                self.wrong.say(promise, format!("{name}: index {low}..={high} of {n}"));
            }
        }
    }

    fn product(&mut self, [rows, cols]: [usize; 2], terms: &[Term], warp: WarpTile) {
        if warp.rows == 0 || warp.cols == 0 || !warp.cols.is_multiple_of(16) {
            self.wrong.say(10, format!("warps make {}x{}", warp.rows, warp.cols));
            return;
        }
        // Operands are read up to whole warp tiles.
        let whole = [rows.next_multiple_of(warp.rows), cols.next_multiple_of(warp.cols)];
        for Term { left, right, length, .. } in terms {
            self.operand(left, [rows, *length], [whole[0], *length]);
            self.operand(right, [*length, cols], [*length, whole[1]]);
        }
    }

    fn operand(&mut self, operand: &Operand, shape: [usize; 2], read: [usize; 2]) {
        self.copied(operand.tile);
        let Some(tile) = self.kernel.tiles.get(operand.tile.0) else { return };
        let turn = |[a, b]: [usize; 2]| if operand.transposed { [b, a] } else { [a, b] };
        let padded = |n: usize| n.next_multiple_of(crate::plan::lower::FRAGMENT);
        let fits = tile.number == Number::Bf16
            && tile.shape == turn(shape)
            && turn(read).map(padded) == turn(shape).map(padded);
        if !fits {
            let what = format!("operand {operand} is {:?} {:?}", tile.number, tile.shape);
            self.wrong.say(10, format!("{what}, not bf16 {:?}", turn(shape)));
        }
    }
}
