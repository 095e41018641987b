//! AdamW (Loshchilov and Hutter 2019) over all parameters, with clipping of the whole gradient.

use lrc_compiler::graph::Param;
use rayon::prelude::*;

use crate::device::fixed::Update;
use crate::spec::AdamW;

/// Running means of gradients and of their squares, per parameter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Of the gradients.
    pub first: Vec<Vec<f32>>,
    /// Of their squares.
    pub second: Vec<Vec<f32>>,
}

impl Moments {
    /// Zeros shaped like the parameters.
    pub fn new(params: &[Vec<f32>]) -> Moments {
        let zeros: Vec<Vec<f32>> = params.iter().map(|p| vec![0.0; p.len()]).collect();
        Moments { first: zeros.clone(), second: zeros }
    }
}

impl Update {
    /// The numbers of step `step`, counted from 1.
    pub fn new(adamw: &AdamW, lr: f64, step: u64) -> Update {
        let correct = |beta: f64| 1.0 - beta.powi(step.min(i32::MAX as u64) as i32);
        Update {
            keep: (1.0 - lr * adamw.weight_decay) as f32,
            clip: adamw.clip as f32,
            betas: [adamw.beta1 as f32, adamw.beta2 as f32],
            rate: (lr / correct(adamw.beta1)) as f32,
            root: (1.0 / correct(adamw.beta2)).sqrt() as f32,
            eps: adamw.eps as f32,
        }
    }
}

/// Updates all parameters; `step` counts from 1. Gives the norm of the whole gradient before
/// clipping.
pub fn step(
    adamw: &AdamW,
    lr: f64,
    step: u64,
    declared: &[Param],
    params: &mut [Vec<f32>],
    grads: &[Vec<f32>],
    moments: &mut Moments,
) -> f64 {
    // Sums of parts of a fixed size, added in order: the same on any number of threads.
    let squares: Vec<f64> = grads
        .iter()
        .flat_map(|grad| grad.chunks(SHARE))
        .collect::<Vec<&[f32]>>()
        .into_par_iter()
        .map(|part| pulp::Arch::new().dispatch(Squares(part)))
        .collect();
    let norm = squares.iter().sum::<f64>().sqrt();
    let clip = if adamw.clip > 0.0 && norm > adamw.clip { adamw.clip / norm } else { 1.0 };
    let Update { betas: [b1, b2], rate, root, eps, .. } = Update::new(adamw, lr, step);
    let mut parts = Vec::new();
    let pairs = params.iter_mut().zip(grads);
    let means = moments.first.iter_mut().zip(&mut moments.second);
    for (((x, g), (m, v)), declared) in pairs.zip(means).zip(declared) {
        let decay = if declared.decay { adamw.weight_decay } else { 0.0 };
        let keep = (1.0 - lr * decay) as f32;
        let xg = x.chunks_mut(SHARE).zip(g.chunks(SHARE));
        for ((x, g), (m, v)) in xg.zip(m.chunks_mut(SHARE).zip(v.chunks_mut(SHARE))) {
            let clip = clip as f32;
            parts.push(Part { x, g, m, v, keep, clip, b1, b2, rate, root, eps });
        }
    }
    parts.into_par_iter().for_each(|part| pulp::Arch::new().dispatch(part));
    norm
}

/// Numbers that one thread handles at a time.
const SHARE: usize = 1 << 15;

/// The sum of squares, in f64.
struct Squares<'a>(&'a [f32]);

impl pulp::NullaryFnOnce for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn call(self) -> f64 {
        let mut lanes = [0.0; 8];
        let chunks = self.0.chunks_exact(8);
        let rest: f64 = chunks.remainder().iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
        for chunk in chunks {
            for i in 0..8 {
                lanes[i] += f64::from(chunk[i]) * f64::from(chunk[i]);
            }
        }
        lanes.iter().sum::<f64>() + rest
    }
}

/// Part of a parameter with its gradient and moments, and the numbers of the step.
struct Part<'a> {
    x: &'a mut [f32],
    g: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    keep: f32,
    clip: f32,
    b1: f32,
    b2: f32,
    rate: f32,
    root: f32,
    eps: f32,
}

impl pulp::NullaryFnOnce for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Part { x, g, m, v, keep, clip, b1, b2, rate, root, eps } = self;
        for ((x, g), (m, v)) in x.iter_mut().zip(g).zip(m.iter_mut().zip(v)) {
            let g = g * clip;
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * g * g;
            *x = *x * keep - rate * *m / (v.sqrt() * root + eps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lrc_compiler::graph::Init;

    #[test]
    fn three_steps_by_hand() {
        let adamw =
            AdamW { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.5, clip: 0.0 };
        let declared = |decay| Param {
            name: "w".into(),
            shape: vec![1],
            init: Init::Number(0.0),
            decay,
            f32: false,
        };
        let declared = [declared(true), declared(false)];
        let mut params = vec![vec![1.0_f32], vec![1.0]];
        let mut moments = Moments::new(&params);
        let (mut m, mut v, mut decayed, mut plain) = (0.0_f64, 0.0_f64, 1.0_f64, 1.0_f64);
        for (n, g) in [0.5, -0.25, 2.0].into_iter().enumerate() {
            let grads = vec![vec![g as f32]; 2];
            step(&adamw, 0.1, n as u64 + 1, &declared, &mut params, &grads, &mut moments);
            m = 0.9 * m + 0.1 * g;
            v = 0.99 * v + 0.01 * g * g;
            let power = n as i32 + 1;
            let move_by = 0.1 * (m / (1.0 - 0.9_f64.powi(power)))
                / ((v / (1.0 - 0.99_f64.powi(power))).sqrt() + 1e-8);
            decayed = decayed * (1.0 - 0.05) - move_by;
            plain -= move_by;
        }
        assert!((f64::from(params[0][0]) - decayed).abs() < 1e-6);
        assert!((f64::from(params[1][0]) - plain).abs() < 1e-6);
    }

    #[test]
    fn a_large_gradient_is_clipped_to_its_norm() {
        let adamw =
            AdamW { lr: 1.0, beta1: 0.0, beta2: 0.0, eps: 1.0, weight_decay: 0.0, clip: 1.0 };
        let declared = [Param {
            name: "w".into(),
            shape: vec![2],
            init: Init::Number(0.0),
            decay: false,
            f32: false,
        }];
        let mut params = vec![vec![0.0_f32, 0.0]];
        let mut moments = Moments::new(&params);
        let norm = step(&adamw, 1.0, 1, &declared, &mut params, &[vec![30.0, 40.0]], &mut moments);
        assert_eq!(norm, 50.0);
        assert!(
            (moments.first[0][0] - 0.6).abs() < 1e-6 && (moments.first[0][1] - 0.8).abs() < 1e-6
        );
    }
}
