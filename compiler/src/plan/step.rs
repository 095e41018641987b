//! What a step reads and writes.

use super::buffer::BufferId;
use super::index::Ix;
use super::{Condition, Element, Expr, Loop, Round, Step, Stmt, Target, Tile, TileId};

impl Step {
    /// A map that fills nothing and adds to nothing.
    pub fn map(sizes: &[usize], value: Expr, to: Target) -> Step {
        let sizes = sizes.to_vec();
        Step::Map {
            filled: sizes.clone(),
            sizes,
            value,
            to,
            rest: None,
            add: false,
            fragment: None,
            group: 1,
            exchanged: 1,
        }
    }

    /// The expression that the step evaluates, if it has one.
    pub fn value(&self) -> Option<&Expr> {
        match self {
            Step::Map { value, .. } | Step::Reduce { value, .. } | Step::Product { value, .. } => {
                Some(value)
            }
            _ => None,
        }
    }

    /// All expressions that the step evaluates.
    pub fn values(&self) -> impl Iterator<Item = &Expr> {
        let also = if let Step::Product { also, .. } = self { also.as_slice() } else { &[] };
        self.value().into_iter().chain(also.iter().map(|(value, _)| value))
    }

    /// All places where the step puts results of expressions.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        let also = if let Step::Product { also, .. } = self { also.as_slice() } else { &[] };
        self.target().into_iter().chain(also.iter().map(|(_, to)| to))
    }

    /// Where the step puts its results, if by an expression.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Step::Map { to, .. } | Step::Reduce { to, .. } | Step::Product { to, .. } => Some(to),
            _ => None,
        }
    }

    /// Tiles that the step reads, with repetitions.
    pub fn reads(&self) -> Vec<TileId> {
        let mut tiles = Vec::new();
        for value in self.values() {
            value.walk(&mut |e| {
                if let Expr::Tile(tile, _) = e {
                    tiles.push(*tile);
                }
            });
        }
        match self {
            Step::Product { terms, .. } => {
                tiles.extend(terms.iter().flat_map(|term| [term.left.tile, term.right.tile]));
            }
            Step::Scan { from, .. } => tiles.extend(from),
            Step::Solve { a, x, .. } | Step::LinearSolve { a, x } => tiles.extend([a, x]),
            Step::Invert { a, .. } => tiles.push(*a),
            _ => {}
        }
        if let Step::Map { to: Target::Tile(tile, _), add: true, .. }
        | Step::Product { to: Target::Tile(tile, _), add: true, .. } = self
        {
            tiles.push(*tile);
        }
        tiles
    }

    /// Tiles that the step writes.
    pub fn writes(&self) -> Vec<TileId> {
        match self {
            Step::Scan { to, scratch, .. } => [Some(*to), *scratch].into_iter().flatten().collect(),
            Step::Solve { x, .. } | Step::Invert { x, .. } => vec![*x],
            Step::LinearSolve { a, x } => vec![*a, *x],
            Step::Copy { to, .. } => vec![*to],
            Step::Wait { tiles, .. } => tiles.clone(),
            Step::Barrier => vec![],
            Step::Map { to: Target::Tile(tile, _), rest: Some(rest), .. } => vec![*tile, *rest],
            step => {
                let tile =
                    |to: &Target| if let Target::Tile(id, _) = to { Some(*id) } else { None };
                step.targets().filter_map(tile).collect()
            }
        }
    }

    /// The tile that the step copies to, if it is a copy.
    pub fn copies_to(&self) -> Option<TileId> {
        if let Step::Copy { to, .. } = self { Some(*to) } else { None }
    }

    /// How many stages behind the present one a tile's stage lies that the step writes.
    pub fn stage(&self, tiles: &[Tile]) -> usize {
        match self {
            Step::Copy { round: Round::First(at) | Round::Ahead(at), to, .. } => {
                tiles.get(to.0).map_or(0, |tile| at % tile.stages.max(1))
            }
            _ => 0,
        }
    }

    /// The device's memory that the step adds to: two such steps must not meet.
    pub fn adds_to(&self) -> Option<BufferId> {
        match self {
            Step::Map { to: Target::Buffer(element, _), add: true, .. }
            | Step::Product { to: Target::Buffer(element, _), add: true, .. } => {
                Some(element.buffer)
            }
            _ => None,
        }
    }
}

impl Stmt {
    /// All steps inside, in order.
    pub fn steps(&self) -> Vec<&Step> {
        match self {
            Stmt::Step(step) => vec![step],
            Stmt::Loop(Loop { body, .. }) | Stmt::Given(_, body) => {
                body.iter().flat_map(Stmt::steps).collect()
            }
        }
    }

    /// Tiles that are read inside, with repetitions.
    pub fn reads(&self) -> Vec<TileId> {
        self.steps().into_iter().flat_map(Step::reads).collect()
    }

    /// Tiles that are written inside.
    pub fn writes(&self) -> Vec<TileId> {
        self.steps().into_iter().flat_map(Step::writes).collect()
    }
}

impl Target {
    /// The element of a buffer, if it is one.
    pub fn element(&self) -> Option<&Element> {
        match self {
            Target::Buffer(element, _) => Some(element),
            Target::Tile(..) => None,
        }
    }
}

/// Calls `f` for every step of statements, in order.
pub(super) fn each_step(body: &mut [Stmt], f: &mut dyn FnMut(&mut Step)) {
    for stmt in body {
        match stmt {
            Stmt::Step(step) => f(step),
            Stmt::Loop(Loop { body, .. }) | Stmt::Given(_, body) => each_step(body, f),
        }
    }
}

impl Expr {
    /// Whether it reads the device's memory.
    pub fn reads_buffers(&self) -> bool {
        let mut found = false;
        self.walk(&mut |e| found |= matches!(e, Expr::Buffer(_)));
        found
    }

    /// Calls `f` for every expression inside, outermost first.
    pub fn walk<'a>(&'a self, f: &mut dyn FnMut(&'a Expr)) {
        f(self);
        match self {
            Expr::Unary(_, x) => x.walk(f),
            Expr::Binary(_, of) | Expr::Mul(of) | Expr::Weight(of) => {
                of.iter().for_each(|x| x.walk(f));
            }
            Expr::Where(_, of) => of.iter().for_each(|x| x.walk(f)),
            Expr::Select(of) => of.iter().for_each(|x| x.walk(f)),
            _ => {}
        }
    }
}

impl Condition {
    /// The indices on which it depends.
    pub fn indices(&self) -> Vec<&Ix> {
        match self {
            Condition::Less(a, b) | Condition::Equal(a, b) => vec![a, b],
            Condition::Inside(_, row) => vec![row],
            Condition::Reached(token) => vec![&token.row],
            Condition::FirstPart | Condition::Given(_) => vec![],
        }
    }
}

/// What each buffer is to be instead.
type Places<'a> = &'a dyn Fn(BufferId) -> BufferId;

impl Stmt {
    /// Puts other buffers in the place of those that are read and written.
    pub fn rename_buffers(&mut self, place: Places) {
        match self {
            Stmt::Step(
                Step::Map { value, to, .. }
                | Step::Reduce { value, to, .. }
                | Step::Product { value, to, .. },
            ) => {
                value.rename_buffers(place);
                if let Target::Buffer(element, conditions) = to {
                    element.buffer = place(element.buffer);
                    conditions.iter_mut().for_each(|when| when.rename_buffers(place));
                }
                if let Stmt::Step(Step::Product { also, .. }) = self {
                    also.iter_mut().for_each(|(value, _)| value.rename_buffers(place));
                }
            }
            Stmt::Step(Step::Copy { from, when, .. }) => {
                from.buffer = place(from.buffer);
                when.iter_mut().for_each(|when| when.rename_buffers(place));
            }
            Stmt::Step(_) => {}
            Stmt::Loop(Loop { body, .. }) => {
                body.iter_mut().for_each(|stmt| stmt.rename_buffers(place));
            }
            Stmt::Given(id, body) => {
                *id = place(*id);
                body.iter_mut().for_each(|stmt| stmt.rename_buffers(place));
            }
        }
    }
}

impl Condition {
    fn rename_buffers(&mut self, place: Places) {
        if let Condition::Given(id) = self {
            *id = place(*id);
        }
    }
}

impl Expr {
    fn rename_buffers(&mut self, place: Places) {
        match self {
            Expr::Buffer(element) => element.buffer = place(element.buffer),
            Expr::Unary(_, x) => x.rename_buffers(place),
            Expr::Binary(_, of) | Expr::Mul(of) | Expr::Weight(of) => {
                of.iter_mut().for_each(|x| x.rename_buffers(place));
            }
            Expr::Where(when, of) => {
                when.rename_buffers(place);
                of.iter_mut().for_each(|x| x.rename_buffers(place));
            }
            Expr::Select(of) => of.iter_mut().for_each(|x| x.rename_buffers(place)),
            Expr::Number(_)
            | Expr::Tile(..)
            | Expr::Position(..)
            | Expr::Allowed { .. }
            | Expr::Head
            | Expr::Sum(_) => {}
        }
    }
}
