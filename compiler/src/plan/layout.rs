//! How f32 tiles lie: along which axis neighbours are neighbours in memory, and how far rows are apart.
//!
//! Problem: a product leaves a tile by columns of its result, and what reads it goes over rows of another shape; then all
//! threads of a warp meet in one bank of shared memory.
//!
//! Idea: nothing but the tile's strides says where an element is. The axis along which most of its elements are touched,
//! thread after thread, becomes the one that lies side by side. Products touch eight rows at a time: rows that are
//! whole rounds of all banks get a few numbers more between them.

use super::lower::FRAGMENT;
use super::{Expr, Kernel, Number, ScanOp, Step, Target, Tile, TileId};

/// Numbers of f32 that all banks of shared memory hold.
const BANKS: usize = 32;
/// Numbers between rows: four rows of pairs are in different banks.
const APART: usize = 8;

/// Turns tiles so that steps go along their rows.
pub fn turn(kernel: &mut Kernel) {
    let mut all: Vec<Vec<usize>> =
        kernel.tiles.iter().map(|tile| vec![0; tile.shape.len()]).collect();
    kernel.steps().into_iter().for_each(|step| vote(step, &mut all));
    for at in free(kernel, false) {
        let (tile, votes) = (&kernel.tiles[at], &all[at]);
        let most = votes.iter().copied().max().unwrap_or(0);
        let own = tile.strides.iter().rposition(|stride| *stride == 1).unwrap_or(0);
        if most > 0 && votes[own] < most {
            let axis = votes.iter().position(|n| *n == most).unwrap_or(own);
            let order = (0..votes.len()).filter(|other| *other != axis).chain([axis]);
            lie(&mut kernel.tiles[at], &order.collect::<Vec<_>>(), 0);
        }
    }
}

/// The same tiles with rows that products touch in different banks.
pub fn apart(kernel: &Kernel) -> Vec<Tile> {
    let mut tiles = kernel.tiles.clone();
    let mut touched = vec![false; tiles.len()];
    // Inverses are merged by products too.
    let by_fragments = |step: &&Step| match step {
        Step::Product { .. } | Step::Invert { .. } => true,
        Step::Map { fragment, .. } => fragment.is_some(),
        _ => false,
    };
    for step in kernel.steps().into_iter().filter(by_fragments) {
        step.reads().into_iter().chain(step.writes()).for_each(|id| touched[id.0] = true);
    }
    for at in free(kernel, true) {
        let tile = &mut tiles[at];
        let mut order: Vec<usize> = (0..tile.shape.len()).collect();
        order.sort_by_key(|axis| std::cmp::Reverse((tile.strides[*axis], tile.shape[*axis])));
        let row = order.last().map_or(0, |axis| tile.shape[*axis]);
        if touched[at] && row.is_multiple_of(BANKS) {
            lie(tile, &order, APART);
        }
    }
    tiles
}

/// Whether rows that products touch are in different banks.
pub fn are_apart(kernel: &Kernel) -> bool {
    let strides = |tiles: &[Tile]| -> Vec<Vec<usize>> {
        tiles.iter().map(|tile| tile.strides.clone()).collect()
    };
    strides(&apart(kernel)) == strides(&kernel.tiles)
}

/// f32 tiles that lie in memory as nothing but their strides says: steps that go over tiles by their own counting
/// want them in the order of their axes, some with rows `between` which nothing lies.
fn free(kernel: &Kernel, between: bool) -> Vec<usize> {
    let counted = |step: &Step| match step {
        Step::Invert { .. } | Step::Copy { .. } if between => vec![],
        Step::Scan { op: ScanOp::DecayMask(_), .. } if between => step.reads(),
        Step::Scan { .. }
        | Step::Solve { .. }
        | Step::Invert { .. }
        | Step::LinearSolve { .. }
        | Step::Copy { .. } => [step.reads(), step.writes()].concat(),
        _ => vec![],
    };
    let mut plain = vec![false; kernel.tiles.len()];
    kernel.steps().into_iter().flat_map(counted).for_each(|id| plain[id.0] = true);
    let is_free = |at: &usize| {
        let tile = &kernel.tiles[*at];
        let axes = tile.shape.iter().filter(|n| **n > 1).count();
        axes > 1
            && tile.number == Number::F32
            && (tile.stages == 1 || between)
            && !tile.in_registers()
            && !plain[*at]
    };
    (0..kernel.tiles.len()).filter(is_free).collect()
}

/// Adds the elements that a step touches to the axis of each tile along which its threads go.
fn vote(step: &Step, votes: &mut [Vec<usize>]) {
    let (sizes, along) = match step {
        Step::Map { sizes, fragment: Some(fragment), .. } => (sizes, Some(fragment.axes[1])),
        Step::Product { sizes, axes, .. } => (sizes, Some(axes[1])),
        Step::Map { sizes, .. } | Step::Reduce { sizes, .. } => {
            (sizes, sizes.iter().rposition(|n| *n > 1))
        }
        _ => return,
    };
    let Some(along) = along else { return };
    // Fragments are eight rows by eight columns: they lose little by the other order.
    let by_fragments = matches!(step, Step::Product { .. } | Step::Map { fragment: Some(_), .. });
    let elements = sizes.iter().product::<usize>() * if by_fragments { 1 } else { 4 };
    let mut see = |tile: TileId, index: &[super::index::Ix]| {
        let moves = index.iter().position(|i| i.as_axis() == Some(along));
        moves.into_iter().for_each(|axis| votes[tile.0][axis] += elements);
    };
    for value in step.values() {
        value.walk(&mut |e| {
            if let Expr::Tile(tile, index) = e {
                see(*tile, index);
            }
        });
    }
    for to in step.targets() {
        if let Target::Tile(tile, index) = to {
            see(*tile, index);
        }
    }
}

/// Lets a tile lie in an order of its axes, the last one side by side, with so many numbers between rows.
fn lie(tile: &mut Tile, order: &[usize], between: usize) {
    let mut stride = 1;
    for (at, axis) in order.iter().rev().enumerate() {
        tile.strides[*axis] = stride;
        stride *= tile.shape[*axis];
        if at == 0 {
            stride += between;
        }
    }
    tile.bytes = stride.next_multiple_of(FRAGMENT) * tile.number.bytes();
}
