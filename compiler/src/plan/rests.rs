//! What rounding leaves of an operand is written beside it.
//!
//! Problem: a product that reads more of an operand than bf16 has its rest as an operand of its own, and a step that fills
//! it computes every value again, just to take off what has been rounded.
//!
//! Idea: where the one step follows the other with nothing but element by element in between, the first writes both.

use super::lower::axes_of;
use super::{Expr, Kernel, Number, Step, Stmt, Target, Tile, TileId};
use crate::tile::Binary;

/// Lets steps write rests that steps behind them compute. Whether any does.
pub fn join_rests(kernel: &mut Kernel) -> bool {
    let tiles = &kernel.tiles;
    join(&mut kernel.body, tiles)
}

fn join(body: &mut Vec<Stmt>, tiles: &[Tile]) -> bool {
    let mut joined = false;
    for stmt in body.iter_mut() {
        if let Stmt::Loop(inner) = stmt {
            joined |= join(&mut inner.body, tiles);
        }
    }
    let mut at = 0;
    while at < body.len() {
        match rest_of(&body[at], tiles).and_then(|found| whole_of(body, at, found)) {
            Some((whole, rest)) => {
                if let Stmt::Step(Step::Map { rest: own, .. }) = &mut body[whole] {
                    *own = Some(rest);
                }
                body.remove(at);
                joined = true;
            }
            None => at += 1,
        }
    }
    joined
}

/// The tile that a step fills with what rounding to another leaves, and that one.
fn rest_of(stmt: &Stmt, tiles: &[Tile]) -> Option<[TileId; 2]> {
    let Stmt::Step(Step::Map { value, to: Target::Tile(rest, index), add: false, .. }) = stmt
    else {
        return None;
    };
    let Expr::Binary(Binary::Sub, both) = value else { return None };
    let Expr::Tile(rounded, own) = &both[1] else { return None };
    let same = |a: &Tile, b: &Tile| {
        let narrow = [a, b].iter().all(|tile| tile.number == Number::Bf16);
        narrow && a.shape == b.shape && a.strides == b.strides && a.space == b.space
    };
    let place = axes_of(&tiles[rest.0].shape);
    let fits = *index == place && *own == place && same(&tiles[rest.0], &tiles[rounded.0]);
    fits.then_some([*rest, *rounded])
}

/// The step before one at a place that writes what is rounded, if it may write the rest too.
fn whole_of(body: &[Stmt], at: usize, [rest, rounded]: [TileId; 2]) -> Option<(usize, TileId)> {
    let Stmt::Step(Step::Map { sizes, filled, value, fragment: None, .. }) = &body[at] else {
        return None;
    };
    let Expr::Binary(Binary::Sub, both) = value else { return None };
    let mut read = vec![rounded, rest];
    both[0].walk(&mut |e| {
        if let Expr::Tile(tile, _) = e {
            read.push(*tile);
        }
    });
    for (before, stmt) in body[..at].iter().enumerate().rev() {
        let Stmt::Step(step) = stmt else { return None };
        match step {
            Step::Map {
                sizes: own,
                filled: up_to,
                value,
                to: Target::Tile(to, index),
                add: false,
                fragment: None,
                rest: None,
                ..
            } if *to == rounded => {
                let same = own == sizes && up_to == filled && *value == both[0];
                return (same && *index == axes_of(sizes)).then_some((before, rest));
            }
            Step::Map { .. } | Step::Copy { .. } | Step::Wait { .. } => {
                let changes = step.writes().iter().any(|tile| read.contains(tile));
                let device = matches!(step.target(), Some(Target::Buffer(..)));
                if changes || device && both[0].reads_buffers() {
                    return None;
                }
            }
            // Behind a product a rest may have the room that the product's operands had.
            _ => return None,
        }
    }
    None
}
