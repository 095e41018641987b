//! P14, P15 and P17: copies in the order in which they start, round after round.

use std::collections::BTreeMap;

use super::Wrong;
use crate::plan::index::Ix;
use crate::plan::{
    Condition, Dim, Element, Kernel, Loop, Round, Schedule, Space, Step, Stmt, TileId, Transport,
};

pub fn check(schedule: &Schedule, kernel: &Kernel, wrong: &mut Wrong) {
    let steps = kernel.steps();
    let copied: Vec<TileId> = steps.iter().filter_map(|step| step.copies_to()).collect();
    if copied.is_empty() {
        return;
    }
    for step in steps {
        if let Step::Copy { from, when, to, piece, first, .. } = step {
            let what = misplaced(schedule, kernel, from, *to, *piece);
            let what = what.or_else(|| unmanned(kernel, *to, *piece, *first));
            if let Some(what) = what.or_else(|| torn(kernel, when, *to, *piece)) {
                wrong.say(17, format!("copy to tile{}: {what}", to.0));
            }
        }
    }
    let (held, in_flight, readers) = (BTreeMap::new(), vec![], vec![]);
    let mut order = Order { kernel, wrong, copied, round: 0, held, in_flight, readers };
    order.walk(&kernel.body);
}

/// A stage of a tile.
type Stage = (TileId, usize);

/// What a stage holds.
struct Held {
    /// For which round.
    round: usize,
    /// Whether its own threads have waited for the copy.
    landed: bool,
    /// Whether all have.
    ready: bool,
}

struct Order<'a> {
    kernel: &'a Kernel,
    wrong: &'a mut Wrong,
    copied: Vec<TileId>,
    round: usize,
    held: BTreeMap<Stage, Held>,
    /// Copies nobody has waited for, the first one first.
    in_flight: Vec<Stage>,
    /// Stages that are read since the last barrier.
    readers: Vec<Stage>,
}

impl Order<'_> {
    fn walk(&mut self, body: &[Stmt]) {
        for stmt in body {
            match stmt {
                Stmt::Step(step) => self.step(step),
                Stmt::Given(_, body) => self.walk(body),
                Stmt::Loop(Loop { body, .. }) => {
                    let stages = self.kernel.tiles.iter().map(|tile| tile.stages).max();
                    for round in 0..stages.unwrap_or(1) + 2 {
                        self.round = round;
                        self.walk(body);
                    }
                }
            }
        }
    }

    fn stage(&self, tile: TileId, round: usize) -> Stage {
        let stages = self.kernel.tiles.get(tile.0).map_or(1, |tile| tile.stages.max(1));
        (tile, round % stages)
    }

    fn step(&mut self, step: &Step) {
        for tile in step.reads() {
            if self.copied.contains(&tile) {
                self.read(tile);
            }
        }
        match step {
            Step::Copy { by, to, round, .. } => self.copy(*by, *to, *round),
            Step::Wait { pending, .. } => {
                let landed = self.in_flight.len().saturating_sub(*pending);
                for stage in self.in_flight.drain(..landed) {
                    self.held.entry(stage).and_modify(|held| held.landed = true);
                }
            }
            Step::Barrier => {
                self.held.values_mut().for_each(|held| held.ready = held.landed);
                self.readers.clear();
            }
            _ => {}
        }
    }

    fn read(&mut self, tile: TileId) {
        let stage = self.stage(tile, self.round);
        let ready =
            self.held.get(&stage).is_some_and(|held| held.ready && held.round == self.round);
        if !ready {
            let what = format!("tile{} is read in round {} before it is there", tile.0, self.round);
            self.wrong.say(14, what);
        }
        self.readers.push(stage);
    }

    fn copy(&mut self, by: Transport, to: TileId, round: Round) {
        let round = match round {
            Round::First(at) => at,
            Round::Ahead(at) => self.round + at,
        };
        let stage = self.stage(to, round);
        if self.in_flight.contains(&stage) {
            self.wrong.say(15, format!("two copies to tile{} at a time", to.0));
        }
        if self.readers.contains(&stage) {
            self.wrong.say(15, format!("a copy to tile{} while it is read", to.0));
        }
        let landed = by == Transport::Plain;
        if !landed {
            self.in_flight.push(stage);
        }
        self.held.insert(stage, Held { round, landed, ready: false });
    }
}

/// Why a copy cannot move its numbers as they are.
fn misplaced(
    schedule: &Schedule,
    kernel: &Kernel,
    from: &Element,
    to: TileId,
    piece: usize,
) -> Option<String> {
    let (Some(tile), Some(buffer)) = (kernel.tiles.get(to.0), schedule.buffers.get(from.buffer.0))
    else {
        return Some("there is no such tile or buffer".into());
    };
    if !matches!(tile.space, Space::Shared(_)) || tile.number != buffer.number {
        return Some(format!("{:?} numbers go to {:?} ones", buffer.number, tile.number));
    }
    let row = from.row.iter().map(|token| &token.row);
    let index: Vec<&Ix> = row.chain(&from.index).collect();
    let straight =
        index.len() == tile.shape.len()
            && index.iter().zip(&tile.shape).enumerate().all(|(axis, (i, n))| {
                i.as_axis() == Some(axis) || *n == 1 && i.as_number() == Some(0)
            });
    if !straight {
        return Some("the numbers are not in the tile's order".into());
    }
    // Numbers that lie one after the other on both sides.
    let ends_in_value = matches!(buffer.dims.last(), Some(Dim::Number(_)));
    let own = if ends_in_value { tile.shape.last().copied().unwrap_or(1) } else { 1 };
    let whole = match buffer.dims.last() {
        Some(Dim::Number(n)) => *n,
        _ => 1,
    };
    let fits = |n: usize| (n * tile.number.bytes()).is_multiple_of(piece);
    let starts = tile.strides[..tile.strides.len().saturating_sub(1)].iter().all(|n| fits(*n));
    let pieces = matches!(piece, 4 | 8 | 16) && fits(own) && fits(whole);
    (!pieces || own > 1 && !starts).then(|| format!("{own} numbers by {piece} bytes"))
}

/// Whether a condition of a copy tears a piece apart.
fn torn(kernel: &Kernel, when: &[Condition], to: TileId, piece: usize) -> Option<String> {
    let tile = kernel.tiles.get(to.0)?;
    let last = tile.shape.iter().rposition(|n| *n > 1)?;
    let size = (piece / tile.number.bytes()) as i64;
    let whole = |i: &Ix| i.moves(last, size) == Some(false);
    let all = size <= 1 || when.iter().flat_map(Condition::indices).all(whole);
    (!all).then(|| format!("a condition differs within {piece} bytes"))
}

/// Whether threads from the first that copies on leave pieces to nobody.
fn unmanned(kernel: &Kernel, to: TileId, piece: usize, first: usize) -> Option<String> {
    let tile = kernel.tiles.get(to.0).filter(|_| first > 0)?;
    let bytes = tile.shape.iter().product::<usize>() * tile.number.bytes();
    let left = first + bytes.div_ceil(piece) > kernel.threads;
    left.then(|| format!("{bytes} bytes by threads from {first} on"))
}
