//! What is made of a product and nothing else is made where its sums are.
//!
//! Problem: a product that two steps go on from is written to a tile in f32, and read as often as there are such steps,
//! behind a barrier.
//!
//! Idea: where each of them goes over the same elements, one by one, the warps that hold the sums make all of it.

use super::index::Ix;
use super::lower::{FRAGMENT, axes_of};
use super::{Expr, Kernel, Loop, Number, Step, Stmt, Target, Tile, TileId};

/// Results of a product at most: each takes as many registers as the sums.
const RESULTS: usize = 2;

/// Lets products make what steps make of them.
pub(super) fn together(kernel: &mut Kernel) {
    let all: Vec<Step> = kernel.steps().into_iter().cloned().collect();
    join(&mut kernel.body, &kernel.tiles, &all);
}

fn join(body: &mut Vec<Stmt>, tiles: &[Tile], all: &[Step]) {
    for stmt in body.iter_mut() {
        if let Stmt::Loop(Loop { body, .. }) = stmt {
            join(body, tiles, all);
        }
    }
    for at in (0..body.len()).rev() {
        if let Some(makers) = makers(body, tiles, all, at) {
            take(body, at, &makers);
        }
    }
}

/// The tile of a product that nothing but maps over the same elements reads, and its element.
fn product<'a>(stmt: &'a Stmt, tiles: &[Tile]) -> Option<(TileId, &'a Step)> {
    let Stmt::Step(step) = stmt else { return None };
    let Step::Product { sizes, to: Target::Tile(id, _), add: false, also, .. } = step else {
        return None;
    };
    let tile = &tiles[id.0];
    let plain = tile.number == Number::F32 && !tile.carried && !tile.in_registers();
    let whole = sizes.iter().all(|n| *n == 1 || n.is_multiple_of(FRAGMENT));
    (plain && whole && also.is_empty()).then_some((*id, step))
}

/// The places of the steps that read the product at a place, if it can make all of what they make.
fn makers(body: &[Stmt], tiles: &[Tile], all: &[Step], at: usize) -> Option<Vec<usize>> {
    let (own, step) = product(&body[at], tiles)?;
    let readers: Vec<usize> =
        (at + 1..body.len()).filter(|n| body[*n].reads().contains(&own)).collect();
    let used = |step: &&Step| step.reads().contains(&own);
    let known = readers.len() == all.iter().filter(used).count();
    let alone = all.iter().filter(|step| step.writes().contains(&own)).count() == 1;
    let fits = |n: &usize| is_made_of(body, tiles, all, (at, step, own), *n);
    let some = !readers.is_empty() && readers.len() <= RESULTS;
    (known && alone && some && readers.iter().all(fits)).then_some(readers)
}

/// What a statement computes element by element, the tile that it fills with it, and its index, if it does no more.
fn made(stmt: &Stmt) -> Option<(&Expr, TileId, &[Ix])> {
    match stmt {
        Stmt::Step(Step::Map {
            sizes,
            filled,
            value,
            to: Target::Tile(to, index),
            rest: None,
            add: false,
            fragment: None,
            ..
        }) => (sizes == filled).then_some((value, *to, index)),
        _ => None,
    }
}

/// Whether a step makes something of a product's elements that the product can make itself.
fn is_made_of(
    body: &[Stmt],
    tiles: &[Tile],
    all: &[Step],
    (at, product, own): (usize, &Step, TileId),
    n: usize,
) -> bool {
    let (Stmt::Step(Step::Map { sizes: looped, .. }), Some((value, to, index))) =
        (&body[n], made(&body[n]))
    else {
        return false;
    };
    let Step::Product { sizes, axes, to: Target::Tile(_, element), .. } = product else {
        return false;
    };
    let fresh = !tiles[to.0].carried && !tiles[to.0].in_registers();
    if looped != sizes || !fresh || index != axes_of(sizes) || product.reads().contains(&to) {
        return false;
    }
    let (mut same, mut read) = (true, vec![]);
    value.walk(&mut |e| match e {
        Expr::Tile(id, index) if *id == own => same &= index == element,
        Expr::Tile(id, _) => {
            same &= !tiles[id.0].in_registers();
            read.push(*id);
        }
        Expr::Buffer(from) => {
            let written = |step: &Step| {
                let to = step.target().and_then(Target::element);
                to.is_some_and(|to| to.buffer == from.buffer)
            };
            same &= !all.iter().any(written);
        }
        _ => {}
    });
    let meets = |stmt: &Stmt| {
        stmt.writes().iter().any(|id| read.contains(id) || *id == to) || stmt.reads().contains(&to)
    };
    let along = index.last().and_then(|i| i.as_axis()) == Some(axes[1]);
    same && along && !body[at + 1..n].iter().any(meets)
}

/// Lets the product at a place make what steps behind it make of it.
fn take(body: &mut Vec<Stmt>, at: usize, makers: &[usize]) {
    let mut results: Vec<(Expr, Target)> = makers
        .iter()
        .filter_map(|n| made(&body[*n]))
        .map(|(value, to, index)| (value.clone(), Target::Tile(to, index.to_vec())))
        .collect();
    makers.iter().rev().for_each(|n| drop(body.remove(*n)));
    let Stmt::Step(Step::Product { value, to, also, filled, .. }) = &mut body[at] else { return };
    if let Target::Tile(own, _) = to {
        let own = *own;
        results.iter_mut().for_each(|(made, _)| replace(made, own, value));
    }
    (*value, *to) = results.remove(0);
    (*also, *filled) = (results, false);
}

/// Puts what a product makes of its sums in the place of its tile.
fn replace(e: &mut Expr, tile: TileId, by: &Expr) {
    match e {
        Expr::Tile(id, _) if *id == tile => *e = by.clone(),
        Expr::Unary(_, x) => replace(x, tile, by),
        Expr::Binary(_, of) | Expr::Mul(of) | Expr::Weight(of) | Expr::Where(_, of) => {
            of.iter_mut().for_each(|e| replace(e, tile, by));
        }
        Expr::Select(of) => of.iter_mut().for_each(|e| replace(e, tile, by)),
        _ => {}
    }
}
