//! Gives tiles their memory by when they live.

use std::cmp::Reverse;

use super::layout::{apart, are_apart, turn};
use super::lower::FRAGMENT;
use super::rests::join_rests;
use super::sync::sync;
use super::{Grid, Kernel, Number, Space, Step, Stmt, Swizzle, Target, Tile, TileId};

/// Bytes to whose multiples tiles are aligned: what a copy of a matrix fragment needs, and more.
const ALIGN: usize = 128;

/// Bytes of each block that are the system's.
const SYSTEM: usize = 1024;

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

/// In which order tiles are given their places, each the lowest that is free.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// As they begin to live, those first that can lie nowhere else.
    Born,
    /// The largest first.
    Large,
    /// Those that live longest first.
    Lasting,
}

/// Orders among which the one that takes least room is chosen, where room is short.
const ORDERS: [Order; 3] = [Order::Born, Order::Large, Order::Lasting];

/// Where tiles lie.
struct Placed {
    tiles: Vec<Tile>,
    /// Bytes of shared memory, and of the workspace.
    shared: usize,
    workspace: usize,
}

/// Places all tiles, in shared memory as long as there is `room`, and inserts barriers. `false`
/// where operands of matrix products do not fit. Where not all tiles have room, rows of operands are
/// swizzled instead of padded, and copies of what stays anyway are made as late as can be.
pub fn place(kernel: &mut Kernel, room: usize) -> bool {
    place_by(kernel, room, &ORDERS[..1])
}

/// The same, in the order that takes least room.
pub fn place_tightly(kernel: &mut Kernel, room: usize) -> bool {
    place_by(kernel, room, &ORDERS)
}

fn place_by(kernel: &mut Kernel, room: usize, orders: &[Order]) -> bool {
    let mut joined = kernel.clone();
    if join_rests(&mut joined) && place_as_is(&mut joined, room, orders) {
        let roomy = |kernel: &Kernel| kernel.workspace == 0 && are_apart(kernel);
        // Rests that are written early live longer.
        if !roomy(&joined) && place_as_is(kernel, room, orders) && roomy(kernel) {
            return true;
        }
        *kernel = joined;
        return true;
    }
    place_as_is(kernel, room, orders)
}

/// The same, of the steps that are there.
fn place_as_is(kernel: &mut Kernel, room: usize, orders: &[Order]) -> bool {
    turn(kernel);
    let mut best = least(kernel, room, orders);
    if best.as_ref().is_none_or(|placed| placed.workspace > 0) {
        let mut late = kernel.clone();
        put_off(&mut late.body, &late.tiles);
        let other = least(&late, room, orders);
        let before = best.as_ref().map_or(usize::MAX, |placed| placed.workspace);
        if other.as_ref().is_some_and(|placed| placed.workspace < before) {
            (best, kernel.body) = (other, late.body);
        }
    }
    let Some(Placed { tiles, shared, workspace }) = best else { return false };
    (kernel.tiles, kernel.shared, kernel.workspace) = (tiles, shared, workspace);
    sync(kernel);
    true
}

/// The places that need least workspace for steps in this order: with padded rows if these do, and with rows apart
/// where as many blocks have room as without.
fn least(kernel: &Kernel, room: usize, orders: &[Order]) -> Option<Placed> {
    let lives = lives(kernel);
    let blocks = |placed: &Placed| (room + SYSTEM) / (placed.shared + SYSTEM);
    let placed = |tiles: Vec<Tile>| {
        let all =
            orders.iter().filter_map(|order| in_order(tiles.clone(), kernel, &lives, room, *order));
        // The first of equals.
        all.min_by_key(|placed| (placed.workspace, Reverse(blocks(placed))))
    };
    let swizzled = |mut tiles: Vec<Tile>| {
        tiles.iter_mut().for_each(swizzle);
        placed(tiles)
    };
    let whole = |placed: &Placed| placed.workspace == 0;
    let padded = placed(kernel.tiles.clone());
    let here = match padded.as_ref().is_some_and(whole) {
        true => padded,
        // The first of equals.
        false => [padded, swizzled(kernel.tiles.clone())]
            .into_iter()
            .flatten()
            .min_by_key(|placed| placed.workspace),
    };
    // Of what goes through sequences there are hardly more blocks than multiprocessors.
    let most = if kernel.grid == Grid::Heads { 2 } else { usize::MAX };
    let fits = |far: &Placed| {
        let as_many = |here: &Placed| blocks(far) >= blocks(here).min(most);
        whole(far) && here.as_ref().is_some_and(as_many)
    };
    let far = placed(apart(kernel)).filter(fits);
    far.or_else(|| swizzled(apart(kernel)).filter(fits)).or(here)
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
    let mut touched: Vec<[Vec<TileId>; 2]> =
        body.iter().map(|stmt| [stmt.reads(), stmt.writes()]).collect();
    for at in (0..body.len()).rev() {
        let Stmt::Step(Step::Map { to: Target::Tile(made, _), rest: None, add: false, .. }) =
            &body[at]
        else {
            continue;
        };
        let stays = |tile: &TileId| tiles[tile.0].carried;
        let reads = &touched[at][0];
        if stays(made) || !reads.iter().all(stays) {
            continue;
        }
        let later = &touched[at + 1..];
        let alone = touched.iter().filter(|[_, writes]| writes.contains(made)).count() == 1;
        let Some(first) = later.iter().position(|[reads, _]| reads.contains(made)) else {
            continue;
        };
        let changed = |[_, writes]: &[Vec<TileId>; 2]| writes.iter().any(|t| reads.contains(t));
        let until = later[..first].iter().position(changed).unwrap_or(first);
        if alone {
            body[at..=at + until].rotate_left(1);
            touched[at..=at + until].rotate_left(1);
        }
    }
}

fn in_order(
    mut tiles: Vec<Tile>,
    kernel: &Kernel,
    lives: &[Option<Life>],
    room: usize,
    by: Order,
) -> Option<Placed> {
    let copied: Vec<TileId> = kernel.steps().iter().filter_map(|step| step.copies_to()).collect();
    // Matrix units read shared memory only, and copies go nowhere else; what lasts is used most.
    let inside_only = |tiles: &[Tile], at: usize| {
        tiles[at].number == Number::Bf16 || copied.contains(&TileId(at))
    };
    let mut order: Vec<usize> = (0..tiles.len()).collect();
    order.retain(|&at| !tiles[at].in_registers());
    order.sort_by_key(|&at| {
        let urgent = match (inside_only(&tiles, at), tiles[at].carried) {
            (true, _) => 0,
            (_, true) => 1,
            _ => 2,
        };
        let life = lives[at].map_or(0..0, |life| life.from..life.to);
        match by {
            Order::Born => (urgent, 0, life.start),
            Order::Large => (0, usize::MAX - tiles[at].all_bytes(), life.start),
            Order::Lasting => (0, usize::MAX - life.len(), life.start),
        }
    });
    let [mut inner, mut outer] = [Vec::new(), Vec::new()];
    let [mut shared, mut workspace] = [0; 2];
    for at in order {
        let bytes = tiles[at].all_bytes();
        if lives[at].is_none() && !tiles[at].carried {
            continue;
        }
        let inside = fit(&tiles, lives, &inner, at);
        if inside + bytes <= room {
            inner.push((at, inside));
            shared = shared.max(inside + bytes);
            tiles[at].at = Some(inside);
        } else if inside_only(&tiles, at) {
            return None;
        } else {
            let outside = fit(&tiles, lives, &outer, at);
            outer.push((at, outside));
            workspace = workspace.max(outside + bytes);
            tiles[at].space = Space::Workspace;
            tiles[at].at = Some(outside);
        }
    }
    Some(Placed { tiles, shared, workspace: workspace.next_multiple_of(ALIGN) })
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

/// Bytes of the tiles that live at the same time, at most: no order of places takes less room.
pub fn least_room(kernel: &Kernel) -> usize {
    let all: Vec<(usize, Option<Life>)> =
        kernel.tiles.iter().map(Tile::all_bytes).zip(lives(kernel)).collect();
    let at = |step: usize| {
        let now = all.iter().filter(|(_, life)| {
            life.as_ref().is_some_and(|life| (life.from..=life.to).contains(&step))
        });
        now.map(|(bytes, _)| bytes).sum()
    };
    (0..kernel.steps().len()).map(at).max().unwrap_or(0)
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
