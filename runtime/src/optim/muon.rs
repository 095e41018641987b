//! Muon: the running mean of a matrix's gradient, made orthogonal by a few steps of a Newton–Schulz
//! iteration.

use crate::ops::dense;

/// The numbers of a step.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Decay of the running mean.
    pub momentum: f32,
    /// Factor on the gradient.
    pub clip: f32,
    /// What is left of a weight after weight decay.
    pub keep: f32,
    /// The learning rate.
    pub lr: f32,
}

/// Coefficients of the iteration `X ← aX + (bA + cA²)X`, `A = XXᵀ` (Jordan et al. 2024): they drive
/// singular values from anywhere in (0, 1] to about 1.
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];
/// Steps of the iteration.
const STEPS: usize = 5;

/// Updates the matrices of one parameter, which lie one after the other.
pub fn step(x: &mut [f32], g: &[f32], m: &mut [f32], [rows, columns]: [usize; 2], n: Numbers) {
    let one = rows * columns;
    // As large as an update of AdamW, whose entries are near 0.2 (Liu et al. 2025).
    let scale = n.lr * 0.2 * (rows.max(columns) as f32).sqrt();
    for ((x, g), m) in x.chunks_mut(one).zip(g.chunks(one)).zip(m.chunks_mut(one)) {
        let ahead: Vec<f32> = m
            .iter_mut()
            .zip(g)
            .map(|(m, g)| {
                let g = g * n.clip;
                *m = n.momentum * *m + (1.0 - n.momentum) * g;
                n.momentum * *m + (1.0 - n.momentum) * g
            })
            .collect();
        let update = orthogonal(ahead, [rows, columns]);
        x.iter_mut().zip(&update).for_each(|(x, u)| *x = *x * n.keep - scale * u);
    }
}

/// The nearest matrix with orthogonal rows or columns, roughly: singular values between 0.7 and 1.2.
fn orthogonal(x: Vec<f32>, [rows, columns]: [usize; 2]) -> Vec<f32> {
    if rows > columns {
        let turned = transposed(&x, [rows, columns]);
        return transposed(&orthogonal(turned, [columns, rows]), [columns, rows]);
    }
    let norm = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt() + 1e-7;
    let mut x: Vec<f32> = x.into_iter().map(|x| (f64::from(x) / norm) as f32).collect();
    let [a, b, c] = COEFFICIENTS;
    let (mut square, mut fourth) = (vec![0.0; rows * rows], vec![0.0; rows * rows]);
    let mut next = vec![0.0; rows * columns];
    for _ in 0..STEPS {
        dense::forward(&mut square, &x, &x, 1, [columns, rows]);
        dense::forward(&mut fourth, &square, &square, 1, [rows, rows]);
        fourth.iter_mut().zip(&square).for_each(|(f, s)| *f = b * s + c * *f);
        dense::grad_input(&mut next, &fourth, &x, 1, [columns, rows]);
        x.iter_mut().zip(&next).for_each(|(x, n)| *x = a * *x + n);
    }
    x
}

fn transposed(x: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let mut to = vec![0.0; x.len()];
    for (row, line) in x.chunks_exact(columns).enumerate() {
        for (column, value) in line.iter().enumerate() {
            to[column * rows + row] = *value;
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random::{Purpose, Stream};

    #[test]
    fn rows_become_nearly_orthogonal() {
        for shape @ [rows, columns] in [[6, 10], [10, 6], [7, 7]] {
            let mut random = Stream::new(1, Purpose::Verify, 0);
            let x: Vec<f32> = (0..rows * columns).map(|_| random.normal() as f32).collect();
            let o = orthogonal(x.clone(), shape);
            let (o, n) = if rows > columns { (transposed(&o, shape), columns) } else { (o, rows) };
            let m = o.len() / n;
            for i in 0..n {
                for j in 0..n {
                    let dot: f32 = (0..m).map(|k| o[i * m + k] * o[j * m + k]).sum();
                    let near = if i == j { 0.45..1.5 } else { -0.4..0.4 };
                    assert!(near.contains(&dot), "{shape:?} {i} {j} {dot}");
                }
            }
            // It keeps the direction: the product with what came in is positive.
            let back = orthogonal(x.clone(), shape);
            assert!(x.iter().zip(&back).map(|(a, b)| a * b).sum::<f32>() > 0.0);
        }
    }

    #[test]
    fn an_update_is_as_large_as_one_of_adamw() {
        let mut random = Stream::new(2, Purpose::Verify, 0);
        let g: Vec<f32> = (0..32 * 64).map(|_| random.normal() as f32).collect();
        let (mut x, mut m) = (vec![0.0; g.len()], vec![0.0; g.len()]);
        step(
            &mut x,
            &g,
            &mut m,
            [32, 64],
            Numbers { momentum: 0.95, clip: 1.0, keep: 1.0, lr: 1.0 },
        );
        let size = (x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32).sqrt();
        assert!((0.1..0.3).contains(&size), "{size}");
    }
}
