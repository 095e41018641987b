//! Tiles that live shortly, where blocks of threads run alone.
//!
//! Problem: a block that takes more than half of a multiprocessor's memory runs alone, and nothing else runs while its
//! threads wait for each other. Often it takes so much because a tile is filled long before it is read, or because a step
//! reads a tile for the last time while it fills another one of the same elements.
//!
//! Idea: a step that fills a tile waits until the tile is read, where what it reads itself lasts until then or is
//! smaller; and a step that goes element by element fills the tile that it reads for the last time.

use super::early::Touches;
use super::index::Ix;
use super::lower::axes_of;
use super::pipeline::each_value;
use super::step::each_step;
use super::{Expr, Kernel, Number, Step, Stmt, Target, Tile, TileId};

/// Lets the tiles of a kernel of single chunks live as shortly as can be.
pub(super) fn short_lives(kernel: &mut Kernel) {
    late(&mut kernel.body, &kernel.tiles);
    in_place(&mut kernel.body, &kernel.tiles);
}

/// Lets steps that fill tiles wait until these are read.
fn late(body: &mut [Stmt], tiles: &[Tile]) {
    let touches = |stmt: &Stmt| match stmt {
        Stmt::Step(step) => Some(Touches::of(step)),
        _ => None,
    };
    let mut all: Vec<Option<Touches>> = body.iter().map(touches).collect();
    for at in (0..body.len()).rev() {
        let Some(own) = all[at].as_ref().filter(|own| own.to.is_none()) else { continue };
        let waits = |later: &Option<Touches>| later.as_ref().is_none_or(|later| own.before(later));
        let Some(until) = all[at + 1..].iter().position(waits) else { continue };
        let behind = &all[at + 1 + until..];
        let last = |tile: &&TileId| !behind.iter().flatten().any(|step| step.reads.contains(tile));
        let bytes = |tile: &TileId| if tiles[tile.0].carried { 0 } else { tiles[tile.0].bytes };
        let longer: usize = own.reads.difference(&own.writes).filter(last).map(bytes).sum();
        if longer < own.writes.iter().map(bytes).sum() {
            body[at..=at + until].rotate_left(1);
            all[at..=at + until].rotate_left(1);
        }
    }
}

/// Lets steps fill the tiles that they read for the last time.
fn in_place(body: &mut [Stmt], tiles: &[Tile]) {
    for at in 0..body.len() {
        if let Some([old, new]) = renewed(body, tiles, at) {
            rename(body, tiles, old, new);
        }
    }
}

/// Sizes of the axes that have more than one element.
fn extents(shape: &[usize]) -> Vec<usize> {
    shape.iter().copied().filter(|n| *n > 1).collect()
}

/// An index without those of axes that have one element.
fn along(shape: &[usize], index: &[Ix]) -> Vec<Ix> {
    shape.iter().zip(index).filter(|(n, _)| **n > 1).map(|(_, at)| at.clone()).collect()
}

/// A tile that the step at a place reads last, element by element, and the one that it fills with as many.
fn renewed(body: &[Stmt], tiles: &[Tile], at: usize) -> Option<[TileId; 2]> {
    let Stmt::Step(Step::Map {
        sizes,
        filled,
        value,
        to: Target::Tile(new, index),
        rest: None,
        add: false,
        fragment: None,
        ..
    }) = &body[at]
    else {
        return None;
    };
    let plain = |tile: &Tile| tile.number == Number::F32 && !tile.carried && !tile.in_registers();
    let shape = &tiles[new.0].shape;
    let touches = |stmt: &Stmt, tile| stmt.reads().contains(&tile) || stmt.writes().contains(&tile);
    let fresh = !body[..at].iter().any(|stmt| touches(stmt, *new));
    let whole = sizes == filled && shape == sizes && *index == axes_of(sizes);
    if !(fresh && whole && plain(&tiles[new.0])) {
        return None;
    }
    let mut read: Vec<TileId> = Vec::new();
    value.walk(&mut |e| {
        if let Expr::Tile(id, _) = e {
            read.push(*id);
        }
    });
    let own = along(shape, index);
    let fits = |old: &TileId| {
        let tile = &tiles[old.0];
        let mut same = plain(tile) && extents(&tile.shape) == extents(shape);
        value.walk(&mut |e| {
            if let Expr::Tile(id, index) = e {
                same &= id != old || along(&tile.shape, index) == own;
            }
        });
        let last = !body[at + 1..].iter().any(|stmt| touches(stmt, *old));
        same && last && body[..at].iter().flat_map(Stmt::steps).all(|step| by_element(step, *old))
    };
    read.into_iter().find(fits).map(|old| [old, *new])
}

/// Whether a step touches a tile by its elements alone, if at all.
fn by_element(step: &Step, tile: TileId) -> bool {
    match step {
        Step::Map { rest, .. } => *rest != Some(tile),
        Step::Reduce { .. } => true,
        Step::Product { terms, .. } => {
            !terms.iter().any(|term| [term.left.tile, term.right.tile].contains(&tile))
        }
        step => !step.reads().contains(&tile) && !step.writes().contains(&tile),
    }
}

/// Lets steps touch another tile of the same elements.
fn rename(body: &mut [Stmt], tiles: &[Tile], old: TileId, new: TileId) {
    let [from, to] = [old, new].map(|tile| &tiles[tile.0].shape);
    let place = |index: &[Ix]| {
        let mut own = along(from, index).into_iter();
        to.iter().map(|n| if *n > 1 { own.next() } else { None }.unwrap_or_default()).collect()
    };
    each_value(body, &mut |value| renamed(value, old, new, &place));
    each_step(body, &mut |step| {
        let (main, also) = match step {
            Step::Map { to, .. } | Step::Reduce { to, .. } => (to, None),
            Step::Product { to, also, .. } => (to, Some(also)),
            _ => return,
        };
        let also = also.into_iter().flatten().map(|(_, to)| to);
        for target in std::iter::once(main).chain(also) {
            match target {
                Target::Tile(id, index) if *id == old => (*id, *index) = (new, place(index)),
                _ => {}
            }
        }
    });
}

fn renamed(e: &mut Expr, old: TileId, new: TileId, place: &dyn Fn(&[Ix]) -> Vec<Ix>) {
    match e {
        Expr::Tile(id, index) if *id == old => (*id, *index) = (new, place(index)),
        Expr::Unary(_, x) => renamed(x, old, new, place),
        Expr::Binary(_, of) | Expr::Mul(of) | Expr::Weight(of) | Expr::Where(_, of) => {
            of.iter_mut().for_each(|e| renamed(e, old, new, place));
        }
        Expr::Select(of) => of.iter_mut().for_each(|e| renamed(e, old, new, place)),
        _ => {}
    }
}
