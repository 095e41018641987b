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

fn product(rows: usize, a: &[f32], w: &[f32], [inner, outer]: [usize; 2], w_col: bool) -> Vec<f32> {
    let mut c = vec![0.0; rows * outer];
    if rows == 0 {
        return c;
    }
    let b = match w_col {
        true => Mat { data: w, row: 1, col: inner },
        false => Mat { data: w, row: outer, col: 1 },
    };
    let to = MatMut { data: &mut c, row: outer, col: 1 };
    f32::gemm([rows, inner, outer], to, Mat { data: a, row: inner, col: 1 }, b, false);
    c
}

/// `y = W_e x` for each slot; 0 where nobody sits.
pub fn forward(y: &mut [f32], x: &[f32], w: &[f32], ids: &[f32], sizes: Sizes) {
    let [inner, outer] = sizes.shape;
    let seats = seats(ids, sizes.experts);
    let made: Vec<Vec<f32>> = seats
        .par_iter()
        .enumerate()
        .map(|(e, seats)| {
            let rows = sizes.gather(x, seats, inner, sizes.own);
            product(seats.len(), &rows, &w[e * inner * outer..][..inner * outer], sizes.shape, true)
        })
        .collect();
    y.fill(0.0);
    for (seats, made) in seats.iter().zip(made) {
        for (seat, row) in seats.iter().zip(made.chunks_exact(outer)) {
            y[seat * outer..][..outer].copy_from_slice(row);
        }
    }
}

/// `dx = W_eᵀ dy`, summed over the slots of a token where they read the same.
pub fn grad_input(dx: &mut [f32], dy: &[f32], w: &[f32], ids: &[f32], sizes: Sizes) {
    let [inner, outer] = sizes.shape;
    let seats = seats(ids, sizes.experts);
    let made: Vec<Vec<f32>> = seats
        .par_iter()
        .enumerate()
        .map(|(e, seats)| {
            let rows = sizes.gather(dy, seats, outer, true);
            let w = &w[e * inner * outer..][..inner * outer];
            product(seats.len(), &rows, w, [outer, inner], false)
        })
        .collect();
    dx.fill(0.0);
    for (seats, made) in seats.iter().zip(made) {
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
