//! Low-rank products beside others, added into them: what leaves a run is a model without them.

use lrc_compiler::graph::{Adapter, Model};
use rayon::prelude::*;

/// Adds every low-rank product to the matrix that it stands beside, `W + scale B A`, and makes B 0: the numbers then mean the same
/// with the low-rank products and without them.
pub fn merge(model: &Model, params: &mut [Vec<f32>]) {
    for Adapter { weight, a, b, scale } in &model.adapters {
        let shape = &model.graph.params[weight.0].shape;
        let [rows, columns] = [shape[shape.len() - 2], shape[shape.len() - 1]];
        let shape = &model.graph.params[a.0].shape;
        let rank = shape[shape.len() - 2];
        let [down, up] = [a, b].map(|one| params[one.0].clone());
        params[weight.0].par_chunks_mut(columns).enumerate().for_each(|(at, row)| {
            // Of one matrix of several.
            let down = &down[at / rows * rank * columns..][..rank * columns];
            for (x, column) in row.iter_mut().zip(0..) {
                let terms =
                    up[at * rank..][..rank].iter().zip(down[column..].iter().step_by(columns));
                let update: f64 = terms.map(|(b, a)| f64::from(*b) * f64::from(*a)).sum();
                *x = (f64::from(*x) + scale * update) as f32;
            }
        });
        params[b.0].fill(0.0);
    }
}
