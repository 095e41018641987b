//! Gives tiles their memory by when they live.

use super::lower::FRAGMENT;
use super::sync::sync;
use super::{Kernel, Number, Space, Step, Stmt, Swizzle, Target, Tile, TileId};

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
/// where operands of matrix products do not fit. Where not all tiles have room, rows of operands are
/// swizzled instead of padded, and copies of what stays anyway are made as late as can be.
pub fn place(kernel: &mut Kernel, room: usize) -> bool {
    let mut best: Option<Kernel> = None;
    for (swizzled, late) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut tried = kernel.clone();
        if swizzled {
            tried.tiles.iter_mut().for_each(swizzle);
        }
        if late {
            put_off(&mut tried.body, &tried.tiles);
        }
        let fits = place_in_order(&mut tried, room);
        if fits && best.as_ref().is_none_or(|best| tried.workspace < best.workspace) {
            let done = tried.workspace == 0;
            best = Some(tried);
            if done {
                break;
            }
        }
    }
    let fits = best.is_some();
    best.into_iter().for_each(|best| *kernel = best);
    fits
}

/// Takes the padding out of an operand's rows, where exchanging their pieces does as well.
fn swizzle(tile: &mut Tile) {
    let whole = |n: usize| n.next_multiple_of(FRAGMENT);
    if tile.number != Number::Bf16 || tile.shape.len() != 2 {
        return;
    }
    let strides = vec![whole(tile.shape[1]), 1];
    let bytes = whole(tile.shape[0]) * strides[0] * tile.number.bytes();
    let tried = Tile { strides, bytes, space: Space::Shared(Swizzle::Rows), ..tile.clone() };
    if tried.swizzled().is_some() {
        *tile = tried;
    }
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
    let copied: Vec<TileId> = kernel.steps().iter().filter_map(|step| step.copies_to()).collect();
    // Matrix units read shared memory only, and copies go nowhere else; what lasts is used most.
    let inside_only = |kernel: &Kernel, at: usize| {
        kernel.tiles[at].number == Number::Bf16 || copied.contains(&TileId(at))
    };
    let mut order: Vec<usize> = (0..kernel.tiles.len()).collect();
    order.retain(|&at| !kernel.tiles[at].in_registers());
    order.sort_by_key(|&at| {
        let urgent = match (inside_only(kernel, at), kernel.tiles[at].carried) {
            (true, _) => 0,
            (_, true) => 1,
            _ => 2,
        };
        (urgent, lives[at].map_or(0, |life| life.from))
    });
    let (mut shared, mut outer) = (Vec::new(), Vec::new());
    for at in order {
        let bytes = kernel.tiles[at].all_bytes();
        if lives[at].is_none() && !kernel.tiles[at].carried {
            continue;
        }
        let inside = fit(&kernel.tiles, &lives, &shared, at);
        if inside + bytes <= room {
            shared.push((at, inside));
            kernel.shared = kernel.shared.max(inside + bytes);
            kernel.tiles[at].at = Some(inside);
        } else if inside_only(kernel, at) {
            return false;
        } else {
            let outside = fit(&kernel.tiles, &lives, &outer, at);
            outer.push((at, outside));
            kernel.workspace = kernel.workspace.max(outside + bytes);
            kernel.tiles[at].space = Space::Workspace;
            kernel.tiles[at].at = Some(outside);
        }
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
        .map(|(other, start)| (*start, start + tiles[*other].all_bytes()))
        .collect();
    // The end of all others is free.
    let last = taken.iter().map(|(_, end)| end.next_multiple_of(ALIGN)).max().unwrap_or(0);
    let mut starts: Vec<usize> =
        taken.iter().map(|(_, end)| end.next_multiple_of(ALIGN)).chain([0]).collect();
    starts.sort_unstable();
    let free = |start: usize| {
        taken.iter().all(|(from, to)| start + tiles[at].all_bytes() <= *from || *to <= start)
    };
    starts.into_iter().find(|start| free(*start)).unwrap_or(last)
}
