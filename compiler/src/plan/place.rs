//! Gives tiles their memory by when they live.

use super::sync::sync;
use super::{Kernel, Number, Place, Step, Stmt, Target, Tile, TileId};

/// Bytes to whose multiples tiles are aligned: what a copy of a matrix fragment needs, and more.
const ALIGN: usize = 128;

/// Between which of a kernel's steps a tile is used.
#[derive(Clone, Copy, Debug)]
struct Life {
    from: usize,
    to: usize,
}

impl Life {
    fn meets(&self, other: &Life) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

/// Places all tiles, in shared memory as long as there is `room`, and inserts barriers. `false`
/// where operands of matrix products do not fit. Where not all tiles have room, copies of what stays
/// anyway are made as late as can be.
pub fn place(kernel: &mut Kernel, room: usize) -> bool {
    let mut late = kernel.clone();
    let fits = place_in_order(kernel, room);
    if fits && kernel.workspace == 0 {
        return true;
    }
    put_off(&mut late.body, &late.tiles);
    let late_fits = place_in_order(&mut late, room);
    if late_fits && (!fits || late.workspace < kernel.workspace) {
        *kernel = late;
    }
    fits || late_fits
}

/// Moves steps that make a tile from nothing but what stays, states and tensors, to just before the
/// tile's first reader.
fn put_off(body: &mut [Stmt], tiles: &[Tile]) {
    for stmt in body.iter_mut() {
        if let Stmt::Loop(inner) = stmt {
            put_off(&mut inner.body, tiles);
        }
    }
    for at in (0..body.len()).rev() {
        let Stmt::Step(Step::Map { to: Target::Tile(made, _), add: false, .. }) = &body[at] else {
            continue;
        };
        let (made, reads) = (*made, body[at].reads());
        let later = &body[at + 1..];
        let alone = body.iter().filter(|stmt| stmt.writes().contains(&made)).count() == 1;
        let stays = |tile: &TileId| tiles[tile.0].carried;
        if !alone || stays(&made) || !reads.iter().all(stays) {
            continue;
        }
        let Some(first) = later.iter().position(|stmt| stmt.reads().contains(&made)) else {
            continue;
        };
        let changed = |stmt: &Stmt| stmt.writes().iter().any(|tile| reads.contains(tile));
        let until = later[..first].iter().position(changed).unwrap_or(first);
        body[at..=at + until].rotate_left(1);
    }
}

fn place_in_order(kernel: &mut Kernel, room: usize) -> bool {
    let lives = lives(kernel);
    // Matrix units read shared memory only; what lasts is used most.
    let mut order: Vec<usize> = (0..kernel.tiles.len()).collect();
    order.sort_by_key(|&at| {
        let tile = &kernel.tiles[at];
        let urgent = match (tile.number, tile.carried) {
            (Number::Bf16, _) => 0,
            (_, true) => 1,
            _ => 2,
        };
        (urgent, lives[at].map_or(0, |life| life.from))
    });
    let (mut shared, mut outer) = (Vec::new(), Vec::new());
    for at in order {
        let tile = &kernel.tiles[at];
        if lives[at].is_none() && !tile.carried {
            continue;
        }
        let inside = fit(&kernel.tiles, &lives, &shared, at);
        let place = if inside + tile.bytes <= room {
            shared.push((at, inside));
            kernel.shared = kernel.shared.max(inside + tile.bytes);
            Place::Shared(inside)
        } else {
            if tile.number == Number::Bf16 {
                return false;
            }
            let outside = fit(&kernel.tiles, &lives, &outer, at);
            outer.push((at, outside));
            kernel.workspace = kernel.workspace.max(outside + tile.bytes);
            Place::Workspace(outside)
        };
        kernel.tiles[at].place = Some(place);
    }
    kernel.workspace = kernel.workspace.next_multiple_of(ALIGN);
    sync(kernel);
    true
}

/// The life of each tile that is used.
fn lives(kernel: &Kernel) -> Vec<Option<Life>> {
    let mut lives: Vec<Option<Life>> = vec![None; kernel.tiles.len()];
    for (at, step) in kernel.steps().into_iter().enumerate() {
        for TileId(tile) in step.reads().into_iter().chain(step.writes()) {
            lives[tile].get_or_insert(Life { from: at, to: at }).to = at;
        }
    }
    lives
}

/// The lowest place at which a tile meets no other.
fn fit(tiles: &[Tile], lives: &[Option<Life>], placed: &[(usize, usize)], at: usize) -> usize {
    let meets = |other: usize| {
        tiles[at].carried
            || tiles[other].carried
            || lives[at].zip(lives[other]).is_some_and(|(a, b)| a.meets(&b))
    };
    let taken: Vec<(usize, usize)> = placed
        .iter()
        .filter(|(other, _)| meets(*other))
        .map(|(other, start)| (*start, start + tiles[*other].bytes))
        .collect();
    // The end of all others is free.
    let last = taken.iter().map(|(_, end)| end.next_multiple_of(ALIGN)).max().unwrap_or(0);
    let mut starts: Vec<usize> =
        taken.iter().map(|(_, end)| end.next_multiple_of(ALIGN)).chain([0]).collect();
    starts.sort_unstable();
    let free = |start: usize| {
        taken.iter().all(|(from, to)| start + tiles[at].bytes <= *from || *to <= start)
    };
    starts.into_iter().find(|start| free(*start)).unwrap_or(last)
}
