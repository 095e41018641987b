//! What is stored as products read it is stored from there.
//!
//! Problem: a value that is an operand of products and is kept for other kernels, or for the way back, is rounded twice: once
//! for the operand, once for the device's memory. From the fragments of a product it goes there in small pieces.
//!
//! Idea: where an operand holds the very numbers, in the very type, they are stored from the operand, by whole rows.

use super::lower::axes_of;
use super::{Buffer, Expr, Kernel, Loop, Number, Step, Stmt, Target, Tile, TileId};

/// Lets steps store what operands hold.
pub(super) fn stored(kernel: &mut Kernel, buffers: &[Buffer]) {
    from_operands(&mut kernel.body, &kernel.tiles, buffers);
}

fn from_operands(body: &mut Vec<Stmt>, tiles: &[Tile], buffers: &[Buffer]) {
    for stmt in body.iter_mut() {
        if let Stmt::Loop(Loop { body, .. }) = stmt {
            from_operands(body, tiles, buffers);
        }
    }
    let mut at = 0;
    while at < body.len() {
        let found = stores(&body[at], buffers).and_then(|value| operand(body, tiles, at, value));
        let Some((maker, operand)) = found else {
            at += 1;
            continue;
        };
        let mut store = body.remove(at);
        reads(&mut store, operand, &tiles[operand.0].shape);
        // Behind the step that fills the operand.
        let place = if maker > at { maker } else { at };
        body.insert(place, store);
        at += usize::from(maker < at);
    }
}

/// What a statement stores in bf16, if it only does that.
fn stores<'a>(stmt: &'a Stmt, buffers: &[Buffer]) -> Option<(&'a [usize], &'a Expr)> {
    match stmt {
        Stmt::Step(Step::Map { sizes, value, to: Target::Buffer(to, _), add: false, .. }) => {
            let narrow = buffers[to.buffer.0].number == Number::Bf16;
            (narrow && !value.reads_buffers()).then_some((sizes, value))
        }
        Stmt::Given(_, inner) if inner.len() == 1 => stores(&inner[0], buffers),
        _ => None,
    }
}

/// The step that fills an operand with the same values, and the operand, where it holds them when they are stored.
fn operand(
    body: &[Stmt],
    tiles: &[Tile],
    at: usize,
    (sizes, value): (&[usize], &Expr),
) -> Option<(usize, TileId)> {
    let made = |stmt: &Stmt| match stmt {
        Stmt::Step(Step::Map {
            sizes: own,
            value: same,
            to: Target::Tile(to, index),
            add: false,
            ..
        }) => {
            let tile = &tiles[to.0];
            let whole = tile.number == Number::Bf16 && tile.shape == *own && *index == axes_of(own);
            (whole && own == sizes && same == value).then_some(*to)
        }
        _ => None,
    };
    let (maker, to) = body.iter().enumerate().find_map(|(n, stmt)| Some((n, made(stmt)?)))?;
    let mut read = vec![to];
    value.walk(&mut |e| {
        if let Expr::Tile(tile, _) = e {
            read.push(*tile);
        }
    });
    let between = maker.min(at) + 1..maker.max(at);
    let changes = |stmt: &Stmt| stmt.writes().iter().any(|tile| read.contains(tile));
    (!body[between].iter().any(changes)).then_some((maker, to))
}

/// Lets a statement store what an operand holds.
fn reads(stmt: &mut Stmt, operand: TileId, shape: &[usize]) {
    match stmt {
        Stmt::Step(Step::Map { value, fragment, .. }) => {
            *value = Expr::Tile(operand, axes_of(shape));
            *fragment = None;
        }
        Stmt::Given(_, inner) => inner.iter_mut().for_each(|stmt| reads(stmt, operand, shape)),
        _ => {}
    }
}
