//! Moves what is the same in each round of a loop before it.

use super::super::{Element, Expr, Loop, Step, Stmt, Tile, TileId};
use super::{KEYS, QUERIES};

/// Moves steps that do the same in each round of a loop before it.
pub fn hoist(body: Vec<Stmt>, tiles: &mut [Tile], axis: usize) -> Vec<Stmt> {
    let mut done: Vec<Stmt> = Vec::with_capacity(body.len());
    for stmt in body {
        let Stmt::Loop(Loop { over, body }) = stmt else {
            done.push(stmt);
            continue;
        };
        let makers = |tile: &TileId| body.iter().filter(|s| s.writes().contains(tile)).count();
        let mut same: Vec<TileId> = Vec::new();
        let mut rest = Vec::new();
        for stmt in &body {
            let written = stmt.writes();
            let fixed = |tile: &TileId| same.contains(tile) || makers(tile) == 0;
            let own = |tile: &TileId| makers(tile) == 1 && !tiles[tile.0].carried;
            let step = if let Stmt::Step(step) = stmt { Some(step) } else { None };
            let constant = !written.is_empty()
                && written.iter().all(own)
                && stmt.reads().iter().all(fixed)
                && step.and_then(Step::value).is_some_and(|value| !varies(value, axis));
            if constant {
                same.extend(&written);
                done.push(stmt.clone());
            } else {
                rest.push(stmt.clone());
            }
        }
        same.iter().for_each(|tile| tiles[tile.0].carried = true);
        done.push(Stmt::Loop(Loop { over, body: rest }));
    }
    done
}

/// Whether an expression reads tokens of the side that a loop runs over.
fn varies(value: &Expr, axis: usize) -> bool {
    let mut found = false;
    value.walk(&mut |e| {
        found |= match e {
            Expr::Buffer(Element { row: Some(row), .. }) => row.at.binds(0) == (axis == KEYS),
            Expr::Position(at, _) => at.binds(0) || axis == QUERIES,
            Expr::Allowed { .. } => true,
            _ => false,
        }
    });
    found
}
