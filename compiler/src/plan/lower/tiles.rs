//! Tiles as they lie in memory.

use crate::plan::index::Ix;
use crate::plan::{Number, Space, Swizzle, Tile, TileId};
use crate::tile::size;

/// Adds a tile with the given padding after each row.
pub fn new_tile(tiles: &mut Vec<Tile>, name: String, number: Number, shape: &[usize]) -> TileId {
    let mut strides = vec![1; shape.len()];
    let mut row = shape.last().copied().unwrap_or(1);
    let mut rows = size(&shape[..shape.len().saturating_sub(1)]);
    if number == Number::Bf16 {
        // Whole matrix fragments, and rows that start in different banks.
        row = row.next_multiple_of(FRAGMENT) + BANK_SHIFT;
        rows = rows.next_multiple_of(FRAGMENT);
    }
    let mut stride = row;
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = stride;
        stride *= shape[axis];
    }
    let bytes = rows * row * number.bytes();
    let shape = shape.to_vec();
    let space = Space::Shared(Swizzle::None);
    let (stages, carried, at) = (1, false, None);
    tiles.push(Tile { name, number, shape, strides, bytes, stages, carried, space, at });
    TileId(tiles.len() - 1)
}

/// Threads of a warp.
pub const WARP: usize = 32;

/// Rows, columns and inner length of a fragment of the matrix units, as tiles are padded to.
pub const FRAGMENT: usize = 16;

/// Numbers between the end of an operand's row and the next.
const BANK_SHIFT: usize = 8;

/// The indices of a loop over a shape.
pub fn axes_of(shape: &[usize]) -> Vec<Ix> {
    shape
        .iter()
        .enumerate()
        .map(|(axis, n)| if *n == 1 { Ix::default() } else { Ix::axis(axis) })
        .collect()
}
