//! P5, P9 and P11: steps in the order in which they run, with hazards of its own finding.

use super::{Wrong, bytes, overlap};
use crate::plan::index::Ix;
use crate::plan::{BufferId, Expr, Kernel, Loop, Schedule, Step, Stmt, Target, TileId};

pub fn check(schedule: &Schedule, kernel: &Kernel, wrong: &mut Wrong) {
    let mut order = Order { schedule, kernel, wrong, since: vec![], written: vec![] };
    order.walk(&kernel.body);
    for (at, step) in kernel.steps().into_iter().enumerate() {
        if let Some(what) = reads_beside(kernel, step) {
            wrong.say(11, format!("step {at}: {what}"));
        }
    }
}

/// What a step has touched since a barrier.
#[derive(Clone, PartialEq)]
struct Touch {
    /// Each with how many stages it lies behind the present one, and whether it is written.
    tiles: Vec<(TileId, usize, bool)>,
    adds: Option<BufferId>,
}

struct Order<'a> {
    schedule: &'a Schedule,
    kernel: &'a Kernel,
    wrong: &'a mut Wrong,
    since: Vec<Touch>,
    written: Vec<TileId>,
}

impl Order<'_> {
    fn walk(&mut self, body: &[Stmt]) {
        for stmt in body {
            match stmt {
                Stmt::Step(Step::Barrier) => self.since.clear(),
                Stmt::Step(step) => self.step(step),
                // With the buffer and without it, both orders must hold.
                Stmt::Given(_, body) => {
                    let (without, written) = (self.since.clone(), self.written.clone());
                    self.walk(body);
                    self.since.extend(without);
                    self.written = written;
                }
                // A second round meets what the first one leaves; there may be none at all.
                Stmt::Loop(Loop { body, .. }) => {
                    let (without, written) = (self.since.clone(), self.written.clone());
                    self.walk(body);
                    self.walk(body);
                    self.since.extend(without);
                    self.written = written;
                }
            }
        }
    }

    fn step(&mut self, step: &Step) {
        let (reads, writes) = (step.reads(), step.writes());
        for tile in &reads {
            if !self.written.contains(tile) {
                self.wrong.say(9, format!("{}: tile{} is read first", self.label(step), tile.0));
            }
        }
        let stage = step.stage(&self.kernel.tiles);
        self.written.extend(&writes);
        let reads = reads.into_iter().map(|tile| (tile, 0, false));
        let writes = writes.into_iter().map(|tile| (tile, stage, true));
        let touch = Touch { tiles: reads.chain(writes).collect(), adds: step.adds_to() };
        for other in &self.since {
            if let Some(what) = self.hazard(other, &touch) {
                self.wrong.say(5, format!("{}: {what} without a barrier", self.label(step)));
                break;
            }
        }
        self.since.push(touch);
    }

    /// The start of a step's text.
    fn label(&self, step: &Step) -> String {
        let text = self.schedule.shown(step).to_string();
        text.split(':').next().unwrap_or_default().to_string()
    }

    /// Where two steps meet, if they do.
    fn hazard(&self, a: &Touch, b: &Touch) -> Option<String> {
        if a.adds.is_some() && a.adds == b.adds {
            return a.adds.map(|id| format!("{} is added to twice", self.schedule.buffer(id).name));
        }
        for &(one, stage, one_writes) in &a.tiles {
            for &(other, other_stage, other_writes) in &b.tiles {
                let x = bytes(self.kernel, one.0, stage..stage + 1);
                let y = bytes(self.kernel, other.0, other_stage..other_stage + 1);
                let meet = x.zip(y).is_some_and(|(x, y)| overlap(x, y));
                if (one_writes || other_writes) && meet {
                    return Some(format!("tile{} meets tile{}", one.0, other.0));
                }
            }
        }
        None
    }
}

/// What a map or a product reads of the bytes that it writes beside the element itself.
fn reads_beside(kernel: &Kernel, step: &Step) -> Option<String> {
    step.targets().find_map(|to| match to {
        Target::Tile(to, index) => reads_beside_one(kernel, step, *to, index),
        Target::Buffer(..) => None,
    })
}

fn reads_beside_one(kernel: &Kernel, step: &Step, to: TileId, index: &[Ix]) -> Option<String> {
    let own = bytes(kernel, to.0, 0..1)?;
    let mut found = None;
    let mut see = |tile: TileId, same: bool| {
        if !same && bytes(kernel, tile.0, 0..1).is_some_and(|bytes| overlap(bytes, own)) {
            found = Some(format!("tile{} is read beside the element written", tile.0));
        }
    };
    for value in step.values() {
        value.walk(&mut |e| {
            if let Expr::Tile(tile, at) = e {
                see(*tile, *tile == to && at == index && !matches!(step, Step::Reduce { .. }));
            }
        });
    }
    if let Step::Product { terms, .. } = step {
        for term in terms {
            see(term.left.tile, false);
            see(term.right.tile, false);
        }
    }
    found
}
