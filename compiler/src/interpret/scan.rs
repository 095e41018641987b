//! Scans over the rows of a tile: each row from the one before it.

use crate::num::Real;
use crate::tile::Scan;

/// Rows, states that are carried together, and entries of each.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Rows.
    pub rows: usize,
    /// States.
    pub states: usize,
    /// Entries of a state.
    pub width: usize,
}

/// `y_i = A_i y_{i-1} + b_i` or `y_i = max(y_{i-1} + a_i, b_i)` from `y_{-1} = start`.
pub fn forward<R: Real>(scan: Scan, to: &mut [R], a: &[R], b: &[R], start: &[R], sizes: Sizes) {
    let Sizes { rows, states, width } = sizes;
    let (row, square) = (states * width, states * states * width);
    for i in 0..rows {
        let (before, rest) = to.split_at_mut(i * row);
        let before = if i == 0 { &start[..row] } else { &before[(i - 1) * row..] };
        let (a, b) = (&a[i * square..][..square], &b[i * row..][..row]);
        let to = &mut rest[..row];
        match scan {
            Scan::Linear if states == 1 => {
                for (k, y) in to.iter_mut().enumerate() {
                    *y = a[k] * before[k] + b[k];
                }
            }
            Scan::Linear => {
                to.copy_from_slice(b);
                for (p, to) in to.chunks_exact_mut(width).enumerate() {
                    for (q, before) in before.chunks_exact(width).enumerate() {
                        let a = &a[(p * states + q) * width..][..width];
                        for (k, y) in to.iter_mut().enumerate() {
                            *y += a[k] * before[k];
                        }
                    }
                }
            }
            // The sides in the order of the text: it decides what is not a number.
            Scan::Max { first: true } => {
                for (k, y) in to.iter_mut().enumerate() {
                    *y = (before[k] + a[k]).max(b[k]);
                }
            }
            Scan::Max { first: false } => {
                for (k, y) in to.iter_mut().enumerate() {
                    *y = b[k].max(before[k] + a[k]);
                }
            }
        }
    }
}

/// `d_i = dy_i + A_{i+1}ᵀ d_{i+1}`: what reaches each row of a linear scan from behind.
pub fn backward<R: Real>(to: &mut [R], a: &[R], dy: &[R], sizes: Sizes) {
    let Sizes { rows, states, width } = sizes;
    let (row, square) = (states * width, states * states * width);
    for i in (0..rows).rev() {
        let (to, behind) = to.split_at_mut((i + 1) * row);
        let to = &mut to[i * row..];
        to.copy_from_slice(&dy[i * row..][..row]);
        if i + 1 == rows {
            continue;
        }
        let (behind, a) = (&behind[..row], &a[(i + 1) * square..][..square]);
        for (q, to) in to.chunks_exact_mut(width).enumerate() {
            for (p, behind) in behind.chunks_exact(width).enumerate() {
                let a = &a[(p * states + q) * width..][..width];
                for (k, d) in to.iter_mut().enumerate() {
                    *d += a[k] * behind[k];
                }
            }
        }
    }
}
