//! P1 and P2: tiles in memory, by lives of its own making.

use super::{Wrong, bytes, overlap};
use crate::plan::{Kernel, Loop, Number, Space, Stmt, TileId};

pub fn check(kernel: &Kernel, room: usize, wrong: &mut Wrong) {
    if kernel.shared > room {
        wrong.say(1, format!("{} bytes of shared memory where {room} exist", kernel.shared));
    }
    let lives = lives(kernel);
    for (id, (tile, life)) in kernel.tiles.iter().zip(&lives).enumerate() {
        if life.is_none() {
            continue;
        }
        let Some(at) = tile.at else {
            if !tile.in_registers() {
                wrong.say(1, format!("tile{id} ({}) has no place", tile.name));
            }
            continue;
        };
        let workspace = tile.space == Space::Workspace;
        let room = if workspace { kernel.workspace } else { kernel.shared };
        let end = at + tile.all_bytes();
        if end > room {
            wrong.say(1, format!("tile{id} ({}) ends at {end} of {room}", tile.name));
        }
        if tile.number == Number::Bf16 && workspace {
            wrong.say(1, format!("operand tile{id} ({}) lies outside shared memory", tile.name));
        }
    }
    for a in 0..lives.len() {
        for b in a + 1..lives.len() {
            let Some(((from, to), (first, last))) = lives[a].zip(lives[b]) else { continue };
            let together = from <= last && first <= to;
            let all = |at: usize| bytes(kernel, at, 0..kernel.tiles[at].stages);
            let here = all(a).zip(all(b));
            if together && here.is_some_and(|(a, b)| overlap(a, b)) {
                wrong.say(2, format!("tile{a} and tile{b} live together in the same bytes"));
            }
        }
    }
}

/// First and last step at which each tile must keep what it holds.
fn lives(kernel: &Kernel) -> Vec<Option<(usize, usize)>> {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; kernel.tiles.len()];
    for (at, step) in kernel.steps().into_iter().enumerate() {
        for TileId(tile) in step.reads().into_iter().chain(step.writes()) {
            if let Some(life) = lives.get_mut(tile) {
                life.get_or_insert((at, at)).1 = at;
            }
        }
    }
    let mut loops = Vec::new();
    find_loops(&kernel.body, &mut 0, &mut loops);
    // Inner loops come first, so that what stretches over one meets the one around it.
    for Rounds { first, last, enters } in loops {
        for (tile, life) in lives.iter_mut().enumerate() {
            let Some((from, to)) = life else { continue };
            let used = *from <= last && first <= *to;
            let outside = *from < first || last < *to;
            if used && (outside || enters.contains(&TileId(tile))) {
                (*from, *to) = (first.min(*from), last.max(*to));
            }
        }
    }
    lives
}

/// First and last step of a loop, and what its rounds read before they have written it: that comes
/// from the round before, or from before the loop.
struct Rounds {
    first: usize,
    last: usize,
    enters: Vec<TileId>,
}

fn find_loops(body: &[Stmt], at: &mut usize, found: &mut Vec<Rounds>) {
    for stmt in body {
        match stmt {
            Stmt::Step(_) => *at += 1,
            Stmt::Given(_, body) => find_loops(body, at, found),
            Stmt::Loop(Loop { body, .. }) => {
                let first = *at;
                find_loops(body, at, found);
                let (mut enters, mut written) = (Vec::new(), Vec::new());
                for step in body.iter().flat_map(Stmt::steps) {
                    enters.extend(step.reads().into_iter().filter(|id| !written.contains(id)));
                    written.extend(step.writes());
                }
                found.push(Rounds { first, last: at.saturating_sub(1), enters });
            }
        }
    }
}
