//! P13, P16 and P18: every tile is touched as the memory that it lies in allows.

use super::Wrong;
use crate::plan::index::Ix;
use crate::plan::{Expr, Fragment, Kernel, Number, Space, Step, Swizzle, Target, Tile, TileId};

pub fn check(kernel: &Kernel, wrong: &mut Wrong) {
    for (id, tile) in kernel.tiles.iter().enumerate() {
        match tile.space {
            Space::Shared(Swizzle::Rows) if tile.swizzled().is_none() => {
                wrong.say(16, format!("rows of tile{id} ({}) cannot be swizzled", tile.name));
            }
            Space::Register(fragment) => {
                for (at, step) in kernel.steps().into_iter().enumerate() {
                    if touches(step, TileId(id)) && !by_fragments(step, TileId(id), tile, fragment)
                    {
                        wrong.say(13, format!("step {at} touches tile{id} in another layout"));
                    }
                }
            }
            Space::Shared(_) | Space::Workspace => {}
        }
    }
    for (at, step) in kernel.steps().into_iter().enumerate() {
        if let Some(tile) = wants_plain(step).into_iter().find(|id| !is_plain(kernel, *id)) {
            wrong.say(18, format!("step {at} wants tile{} in f32, as it stands", tile.0));
        }
        if let Step::Map { to, rest: Some(rest), .. } = step {
            let beside = matches!(to, Target::Tile(tile, _) if lie_alike(kernel, *tile, *rest));
            if !beside {
                wrong.say(
                    18,
                    format!("step {at} leaves a rest to tile{}, which lies apart", rest.0),
                );
            }
        }
        if let Some(tile) = adds_to(step).filter(|id| !is_f32(kernel, *id)) {
            wrong.say(18, format!("step {at} adds to tile{}, which is rounded", tile.0));
        }
    }
}

fn touches(step: &Step, tile: TileId) -> bool {
    step.reads().contains(&tile) || step.writes().contains(&tile)
}

/// Whether a step goes over a tile's own fragments, each thread at what it holds.
fn by_fragments(step: &Step, id: TileId, tile: &Tile, fragment: Fragment) -> bool {
    let (sizes, value, to, own) = match step {
        Step::Map { sizes, value, to, fragment, .. } => (sizes, value, to, *fragment),
        Step::Product { sizes, value, to, axes, warp, terms, also, .. } => {
            let operand = terms.iter().any(|t| t.left.tile == id || t.right.tile == id);
            if operand || !also.is_empty() {
                return false;
            }
            (sizes, value, to, Some(Fragment { warp: *warp, axes: *axes }))
        }
        _ => return false,
    };
    let here = |index: &[Ix]| {
        let axis = |(axis, i): (usize, &Ix)| i.as_axis() == Some(axis);
        index.len() == 2 && index.iter().enumerate().all(axis)
    };
    let mut same = tile.number == Number::F32 && tile.stages == 1;
    value.walk(&mut |e| {
        if let Expr::Tile(read, index) = e {
            same &= *read != id || here(index);
        }
    });
    if let Target::Tile(written, index) = to {
        same &= *written != id || here(index);
    }
    same && own == Some(fragment) && *sizes == tile.shape
}

/// Tiles that a step reads or writes by its own counting.
fn wants_plain(step: &Step) -> Vec<TileId> {
    match step {
        Step::Scan { .. } | Step::Solve { .. } | Step::LinearSolve { .. } => {
            [step.reads(), step.writes()].concat()
        }
        Step::Invert { a, x } => vec![*a, *x],
        _ => vec![],
    }
}

/// Whether two tiles are of bf16 numbers in the same places.
fn lie_alike(kernel: &Kernel, a: TileId, b: TileId) -> bool {
    let [Some(a), Some(b)] = [a, b].map(|id| kernel.tiles.get(id.0)) else { return false };
    let narrow = a.number == Number::Bf16 && b.number == Number::Bf16;
    narrow && a.shape == b.shape && a.strides == b.strides && a.space == b.space
}

fn is_f32(kernel: &Kernel, id: TileId) -> bool {
    kernel.tiles.get(id.0).is_some_and(|tile| tile.number == Number::F32)
}

fn is_plain(kernel: &Kernel, id: TileId) -> bool {
    let space = kernel.tiles.get(id.0).map(|tile| tile.space);
    is_f32(kernel, id) && matches!(space, Some(Space::Shared(Swizzle::None) | Space::Workspace))
}

fn adds_to(step: &Step) -> Option<TileId> {
    match step {
        Step::Map { to: Target::Tile(tile, _), add: true, .. }
        | Step::Product { to: Target::Tile(tile, _), add: true, .. } => Some(*tile),
        _ => None,
    }
}
