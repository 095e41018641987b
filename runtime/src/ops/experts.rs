//! Mixtures of experts on the processor: who sits in each slot, and products by expert.
//!
//! The rows of one expert are gathered, multiplied as one matrix and scattered, so an expert costs
//! what its tokens cost. Experts share no output, and an expert's rows keep their order: sums do
//! not depend on the number of threads.

use lrc_compiler::num::{Mat, MatMut, Real};
use rayon::prelude::*;

/// Nobody sits in a slot.
const NOBODY: f32 = -1.0;

/// Per row of `weights: [rows, experts]`, the experts whose weight is not 0 in their order, and
/// their weights; with more of them than slots, the largest.
pub fn route(weights: &[f32], experts: usize, slots: usize, ids: &mut [f32], kept: &mut [f32]) {
    let rows = ids.chunks_exact_mut(slots).zip(kept.chunks_exact_mut(slots));
    for (row, (ids, kept)) in weights.chunks_exact(experts).zip(rows) {
        let mut some: Vec<usize> = (0..experts).filter(|e| row[*e] != 0.0).collect();
        if some.len() > slots {
            some.sort_by(|a, b| row[*b].abs().total_cmp(&row[*a].abs()).then(a.cmp(b)));
            some.truncate(slots);
            some.sort_unstable();
        }
        ids.fill(NOBODY);
        kept.fill(0.0);
        for (slot, expert) in some.into_iter().enumerate() {
            ids[slot] = expert as f32;
            kept[slot] = row[expert];
        }
    }
}

/// The gradient of [`route`] by the weights.
pub fn route_grad(ids: &[f32], d_kept: &[f32], experts: usize, slots: usize, dw: &mut [f32]) {
    dw.fill(0.0);
    let rows = ids.chunks_exact(slots).zip(d_kept.chunks_exact(slots));
    for (dw, (ids, d)) in dw.chunks_exact_mut(experts).zip(rows) {
        for (id, d) in ids.iter().zip(d).filter(|(id, _)| **id >= 0.0) {
            dw[*id as usize] += d;
        }
    }
}

/// Slots by expert, in order.
fn seats(ids: &[f32], experts: usize) -> Vec<Vec<usize>> {
    let mut seats = vec![Vec::new(); experts];
    for (at, id) in ids.iter().enumerate().filter(|(_, id)| **id >= 0.0) {
        seats[*id as usize].push(at);
    }
    seats
}

/// One product by expert.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Matrices.
    pub experts: usize,
    /// Slots of a token.
    pub slots: usize,
    /// Numbers in and out of a slot.
    pub shape: [usize; 2],
    /// Whether `x` has an axis of slots; else all slots of a token read the same.
    pub own: bool,
}

impl Sizes {
    fn gather(&self, from: &[f32], seats: &[usize], width: usize, own: bool) -> Vec<f32> {
        let mut rows = Vec::with_capacity(seats.len() * width);
        for seat in seats {
            let row = if own { *seat } else { seat / self.slots };
            rows.extend_from_slice(&from[row * width..][..width]);
        }
        rows
    }
}

/// The slots of each expert, and the product of their rows of `from`, `inner` numbers each, with its
/// matrix, `[inner, outer]` at the given distances between rows and columns.
fn by_expert(
    [from, w]: [&[f32]; 2],
    ids: &[f32],
    sizes: Sizes,
    [inner, outer]: [usize; 2],
    own: bool,
    [row, col]: [usize; 2],
) -> Vec<(Vec<usize>, Vec<f32>)> {
    let one = |(e, seats): (usize, Vec<usize>)| {
        let mut made = vec![0.0; seats.len() * outer];
        if !seats.is_empty() {
            let rows = sizes.gather(from, &seats, inner, own);
            let to = MatMut { data: &mut made, row: outer, col: 1 };
            let rows = Mat { data: &rows, row: inner, col: 1 };
            let w = Mat { data: &w[e * inner * outer..][..inner * outer], row, col };
            f32::gemm([seats.len(), inner, outer], to, rows, w, false);
        }
        (seats, made)
    };
    seats(ids, sizes.experts).into_par_iter().enumerate().map(one).collect()
}

/// `y = W_e x` for each slot; 0 where nobody sits.
pub fn forward(y: &mut [f32], x: &[f32], w: &[f32], ids: &[f32], sizes: Sizes) {
    let [inner, outer] = sizes.shape;
    y.fill(0.0);
    for (seats, made) in by_expert([x, w], ids, sizes, [inner, outer], sizes.own, [1, inner]) {
        for (seat, row) in seats.iter().zip(made.chunks_exact(outer)) {
            y[seat * outer..][..outer].copy_from_slice(row);
        }
    }
}

/// `dx = W_eᵀ dy`, summed over the slots of a token where they read the same.
pub fn grad_input(dx: &mut [f32], dy: &[f32], w: &[f32], ids: &[f32], sizes: Sizes) {
    let [inner, outer] = sizes.shape;
    dx.fill(0.0);
    for (seats, made) in by_expert([dy, w], ids, sizes, [outer, inner], true, [inner, 1]) {
        for (seat, row) in seats.iter().zip(made.chunks_exact(inner)) {
            let to = if sizes.own { *seat } else { seat / sizes.slots };
            dx[to * inner..][..inner].iter_mut().zip(row).for_each(|(x, d)| *x += d);
        }
    }
}

/// `dW_e += dyᵀ x` over all slots of each expert.
pub fn grad_weight(dw: &mut [f32], x: &[f32], dy: &[f32], ids: &[f32], sizes: Sizes) {
    let [inner, outer] = sizes.shape;
    let seats = seats(ids, sizes.experts);
    let asked = dw.par_chunks_exact_mut(inner * outer).zip(&seats).filter(|(_, s)| !s.is_empty());
    asked.for_each(|(dw, seats)| {
        let x = sizes.gather(x, seats, inner, sizes.own);
        let dy = sizes.gather(dy, seats, outer, true);
        let to = MatMut { data: dw, row: inner, col: 1 };
        let (a, b) = (Mat { data: &dy, row: 1, col: outer }, Mat { data: &x, row: inner, col: 1 });
        f32::gemm([outer, seats.len(), inner], to, a, b, true);
    });
}
