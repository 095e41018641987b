//! Puts barriers where threads must wait for each other.

use super::{BufferId, Kernel, Loop, Space, Step, Stmt, Tile, TileId};

/// Memory that a step touches.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Region {
    /// Bytes of shared memory.
    Shared(usize, usize),
    /// Bytes of the workspace.
    Workspace(usize, usize),
    /// A buffer that is added to.
    Whole(BufferId),
}

impl Region {
    fn meets(&self, other: &Region) -> bool {
        match (self, other) {
            (Region::Shared(a, b), Region::Shared(c, d))
            | (Region::Workspace(a, b), Region::Workspace(c, d)) => a < d && c < b,
            (Region::Whole(a), Region::Whole(b)) => a == b,
            _ => false,
        }
    }
}

/// What steps since the last barrier have read and written.
#[derive(Default)]
struct Touched {
    reads: Vec<Region>,
    writes: Vec<Region>,
}

impl Touched {
    fn by(tiles: &[Tile], steps: &[&Step]) -> Touched {
        let region = |id: TileId, stage: usize| {
            let tile = &tiles[id.0];
            let from = tile.at? + stage * tile.bytes;
            Some(match tile.space {
                Space::Register(_) => return None,
                Space::Shared(_) => Region::Shared(from, from + tile.bytes),
                Space::Workspace => Region::Workspace(from, from + tile.bytes),
            })
        };
        let mut all = Touched::default();
        for step in steps {
            let stage = step.stage(tiles);
            all.reads.extend(step.reads().into_iter().filter_map(|id| region(id, 0)));
            all.writes.extend(step.writes().into_iter().filter_map(|id| region(id, stage)));
            all.writes.extend(step.adds_to().map(Region::Whole));
        }
        all
    }

    fn is_empty(&self) -> bool {
        self.reads.is_empty() && self.writes.is_empty()
    }

    /// Whether what comes next must wait.
    fn meets(&self, next: &Touched) -> bool {
        let meet = |a: &[Region], b: &[Region]| a.iter().any(|x| b.iter().any(|y| x.meets(y)));
        meet(&next.reads, &self.writes)
            || meet(&next.writes, &self.writes)
            || meet(&next.writes, &self.reads)
    }

    fn add(&mut self, next: Touched) {
        self.reads.extend(next.reads);
        self.writes.extend(next.writes);
    }
}

/// Inserts barriers into a kernel whose tiles are placed.
pub fn sync(kernel: &mut Kernel) {
    let body = std::mem::take(&mut kernel.body);
    kernel.body = synced(&kernel.tiles, body, &mut Touched::default());
}

/// Puts a barrier before what meets what others have touched since the last one, before a loop, and at
/// its end: the next round begins with the same steps.
fn synced(tiles: &[Tile], body: Vec<Stmt>, pending: &mut Touched) -> Vec<Stmt> {
    let mut done = Vec::with_capacity(body.len() * 2);
    for stmt in body {
        let next = Touched::by(tiles, &stmt.steps());
        let waits = match &stmt {
            Stmt::Loop(_) => !pending.is_empty(),
            Stmt::Step(_) | Stmt::Given(..) => pending.meets(&next),
        };
        if waits {
            done.push(Stmt::Step(Step::Barrier));
            *pending = Touched::default();
        }
        done.push(match stmt {
            Stmt::Step(step) => {
                pending.add(next);
                Stmt::Step(step)
            }
            Stmt::Given(id, body) => {
                // Its own barriers are not there in every call.
                let body = synced(tiles, body, &mut Touched::default());
                pending.add(next);
                Stmt::Given(id, body)
            }
            Stmt::Loop(Loop { over, body }) => {
                let mut own = Touched::default();
                let mut body = synced(tiles, body, &mut own);
                if !own.is_empty() {
                    body.push(Stmt::Step(Step::Barrier));
                }
                Stmt::Loop(Loop { over, body })
            }
        });
    }
    done
}
