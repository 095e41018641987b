//! Tiles that stay in registers.
//!
//! Problem: a state that lasts from chunk to chunk fills half of a block's shared memory, and every
//! product that updates it reads and writes all of it there.
//!
//! Idea: a product leaves its sums in registers, in fragments. Where every step that touches a tile that
//! lasts goes element by element, threads can keep what they have made: the steps go over the same
//! fragments, and no memory is touched at all.

use super::index::Ix;
use super::{Expr, Fragment, Kernel, Loop, Number, Space, Step, Stmt, Target, TileId};

/// Numbers that a thread may hold for all such tiles together: half of what it has room for without
/// spilling, the rest being for products.
const MOST: usize = 64;

/// Puts tiles that last into registers, where all steps allow it.
pub fn registers(kernel: &mut Kernel) {
    let mut room = MOST;
    for at in 0..kernel.tiles.len() {
        let tile = &kernel.tiles[at];
        let eligible = tile.carried
            && tile.number == Number::F32
            && tile.shape.len() == 2
            && tile.shape.iter().all(|n| *n > 1);
        let Some(fragment) = eligible.then(|| fragment(kernel, TileId(at))).flatten() else {
            continue;
        };
        let warps = kernel.threads / super::lower::WARP;
        let numbers = fragment.jobs(&kernel.tiles[at].shape).0.div_ceil(warps) * fragment.numbers();
        if numbers <= room {
            room -= numbers;
            kernel.tiles[at].space = Space::Register(fragment);
            by_fragments(&mut kernel.body, TileId(at), fragment);
        }
    }
}

/// The fragments that a product makes of a tile, if all steps can go over them.
fn fragment(kernel: &Kernel, id: TileId) -> Option<Fragment> {
    let mut found: Option<Fragment> = None;
    for step in kernel.steps() {
        if !step.reads().contains(&id) && !step.writes().contains(&id) {
            continue;
        }
        let (sizes, value, to, own) = match step {
            Step::Map { sizes, value, to, fragment: None, .. } => (sizes, value, to, None),
            Step::Product { sizes, axes, warp, terms, value, to, .. } => {
                if terms.iter().any(|term| term.left.tile == id || term.right.tile == id) {
                    return None;
                }
                (sizes, value, to, Some(Fragment { warp: *warp, axes: *axes }))
            }
            _ => return None,
        };
        let mut same = *sizes == kernel.tile(id).shape;
        let mut see = |tile: TileId, index: &[Ix]| {
            let here = index.iter().enumerate().all(|(axis, i)| i.as_axis() == Some(axis));
            same &= tile != id || here;
        };
        value.walk(&mut |e| {
            if let Expr::Tile(tile, index) = e {
                see(*tile, index);
            }
        });
        if let Target::Tile(tile, index) = to {
            see(*tile, index);
        }
        if !same || own.is_some_and(|own| *found.get_or_insert(own) != own) {
            return None;
        }
    }
    found
}

/// Lets maps that touch a tile go over its fragments.
fn by_fragments(body: &mut [Stmt], id: TileId, over: Fragment) {
    for stmt in body {
        match stmt {
            Stmt::Loop(Loop { body, .. }) | Stmt::Given(_, body) => by_fragments(body, id, over),
            Stmt::Step(step) => {
                let touches = step.reads().contains(&id) || step.writes().contains(&id);
                if let (true, Step::Map { fragment, .. }) = (touches, step) {
                    *fragment = Some(over);
                }
            }
        }
    }
}
