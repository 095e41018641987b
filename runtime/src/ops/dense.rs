//! Dense products of the training graph, on all threads.
//!
//! `x: [rows, groups, inner]`, `w: [groups, outer, inner]`, `y: [rows, groups, outer]`.

use std::time::Duration;

use lrc_compiler::num::{Mat, MatMut, Real};

use crate::ground::timing::{Repeat, median};

/// Which product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dense {
    /// [`forward`], of `x` and `w`.
    Forward,
    /// [`grad_input`], of `dy` and `w`.
    GradInput,
    /// [`grad_weight`], of `x` and `dy`.
    GradWeight,
}

impl Dense {
    /// Whether the result is added to what is there.
    pub fn adds(self) -> bool {
        self == Dense::GradWeight
    }

    /// Numbers of the result and of both operands; `None` where there would be more than can be counted.
    pub fn numbers(
        self,
        Sizes { rows, groups, shape: [inner, outer] }: Sizes,
    ) -> [Option<usize>; 3] {
        let product = |factors: [usize; 3]| {
            factors.into_iter().try_fold(1_usize, |all, n| all.checked_mul(n))
        };
        let (x, y) = (product([rows, groups, inner]), product([rows, groups, outer]));
        let w = product([groups, inner, outer]);
        match self {
            Dense::Forward => [y, x, w],
            Dense::GradInput => [x, y, w],
            Dense::GradWeight => [w, x, y],
        }
    }
}

/// Sizes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sizes {
    /// Rows of `x`.
    pub rows: usize,
    /// Independent products.
    pub groups: usize,
    /// Numbers of a row of `x` in one group, and of a row of `y`.
    pub shape: [usize; 2],
}

/// Runs a product of the given kind.
pub fn run(kind: Dense, to: &mut [f32], [a, b]: [&[f32]; 2], Sizes { groups, shape, .. }: Sizes) {
    match kind {
        Dense::Forward => forward(to, a, b, groups, shape),
        Dense::GradInput => grad_input(to, a, b, groups, shape),
        Dense::GradWeight => grad_weight(to, a, b, groups, shape),
    }
}

/// `y = x Wᵀ` per group.
pub fn forward(y: &mut [f32], x: &[f32], w: &[f32], groups: usize, [inner, outer]: [usize; 2]) {
    let (wide_in, wide_out) = (groups * inner, groups * outer);
    let rows = x.len() / wide_in;
    for g in 0..groups {
        let c = MatMut { data: &mut y[g * outer..], row: wide_out, col: 1 };
        let a = Mat { data: &x[g * inner..], row: wide_in, col: 1 };
        let b = Mat { data: &w[g * outer * inner..], row: 1, col: inner };
        f32::gemm_shared([rows, inner, outer], c, a, b, false);
    }
}

/// `dx = dy W` per group.
pub fn grad_input(
    dx: &mut [f32],
    dy: &[f32],
    w: &[f32],
    groups: usize,
    [inner, outer]: [usize; 2],
) {
    let (wide_in, wide_out) = (groups * inner, groups * outer);
    let rows = dy.len() / wide_out;
    for g in 0..groups {
        let c = MatMut { data: &mut dx[g * inner..], row: wide_in, col: 1 };
        let a = Mat { data: &dy[g * outer..], row: wide_out, col: 1 };
        let b = Mat { data: &w[g * outer * inner..], row: inner, col: 1 };
        f32::gemm_shared([rows, outer, inner], c, a, b, false);
    }
}

/// `dW += dyᵀ x` per group.
pub fn grad_weight(
    dw: &mut [f32],
    x: &[f32],
    dy: &[f32],
    groups: usize,
    [inner, outer]: [usize; 2],
) {
    let (wide_in, wide_out) = (groups * inner, groups * outer);
    let rows = x.len() / wide_in;
    for g in 0..groups {
        let c = MatMut { data: &mut dw[g * outer * inner..], row: inner, col: 1 };
        let a = Mat { data: &dy[g * outer..], row: 1, col: wide_out };
        let b = Mat { data: &x[g * inner..], row: wide_in, col: 1 };
        f32::gemm_shared([outer, rows, inner], c, a, b, true);
    }
}

/// Operations per second of dense products between layers of a width, on all threads.
pub fn speed(width: usize) -> f64 {
    let (rows, width) = (512, width.clamp(16, 2048));
    let (x, w) = (vec![0.5; rows * width], vec![0.25; width * width]);
    let mut y = vec![0.0; rows * width];
    let repeat = Repeat { least: 3, time: Duration::from_millis(100) };
    let seconds = median(repeat, || forward(&mut y, &x, &w, 1, [width, width]));
    2.0 * (rows * width * width) as f64 / seconds
}
