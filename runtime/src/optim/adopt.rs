//! ADOPT (Taniguchi et al. 2024): Adam whose gradient is divided by the running mean of squares of the steps before it, and
//! averaged behind that, so that it converges whatever the decay of the squares.

use lrc_compiler::tile::{Binary, Program, Unary};

use super::rule::{Formula, Rule, Step};
use super::{CLIP, EPS, Settings, beta1, beta2, decay, lr};
use crate::fields::{Field, Given, Preset, Variant, variant};

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adopt {
    /// Decay of the running means of scaled gradients, and of squares.
    pub betas: [f64; 2],
    /// The least divisor.
    pub eps: f64,
}

impl Settings for Adopt {
    const FIELDS: Variant = variant(
        "adopt",
        &[
            lr(1e-3),
            beta1(0.9),
            beta2(0.9999),
            Field { default: Preset::Number(1e-6), ..EPS },
            decay(0.1),
            CLIP,
        ],
        "ADOPT (Taniguchi et al. 2024): like AdamW, but gradients are scaled by the squares of earlier steps alone",
    );

    fn read(given: &mut dyn Given) -> Adopt {
        let betas = [given.number("beta1"), given.number("beta2")];
        Adopt { betas, eps: given.number("eps") }
    }

    fn rule(&self) -> Box<dyn Rule> {
        Box::new(*self)
    }
}

impl Rule for Adopt {
    fn slots(&self) -> usize {
        2
    }

    fn program(&self, shape: &[usize]) -> Program {
        let mut f = Formula::new(shape);
        let [x, m, v, g] = [0, 1, 2, 3].map(|at| f.input(at));
        let [keep, clip, b1, c1, b2, c2, rate, eps, most] =
            [0, 1, 2, 3, 4, 5, 6, 7, 8].map(|at| f.number(at));
        let g = f.b.mul(g, clip);
        let root = f.b.unary(Unary::Sqrt, v);
        let divisor = f.b.binary(Binary::Max, root, eps);
        let scaled = f.b.div(g, divisor);
        let least = f.b.unary(Unary::Neg, most);
        let scaled = f.b.binary(Binary::Min, scaled, most);
        let scaled = f.b.binary(Binary::Max, scaled, least);
        let m = f.mix([b1, m], [c1, scaled]);
        let update = f.b.mul(rate, m);
        let x = f.step([x, keep], update);
        let share = f.b.mul(c2, g);
        let square = f.b.mul(share, g);
        let old = f.b.mul(b2, v);
        let v = f.b.add(old, square);
        f.b.finish(&[x, m, v])
    }

    /// The first step only starts the mean of squares.
    fn numbers(&self, step: &Step) -> Vec<f32> {
        let [b1, b2] = self.betas.map(|beta| beta as f32);
        let eps = self.eps as f32;
        if step.number <= 1 {
            return vec![1.0, step.clip, 1.0, 0.0, 0.0, 1.0, 0.0, eps, 1.0];
        }
        let most = ((step.number - 1) as f64).powf(0.25) as f32;
        vec![step.keep, step.clip, b1, 1.0 - b1, b2, 1.0 - b2, step.lr as f32, eps, most]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::Method;
    use crate::optim::state::tests::{GRADS, run};

    #[test]
    fn three_steps_by_hand() {
        let adopt = Adopt { betas: [0.9, 0.99], eps: 1e-6 };
        let (mut m, mut v, mut x) = (0.0, GRADS[0] * GRADS[0], 1.0);
        for (n, g) in GRADS.into_iter().enumerate().skip(1) {
            let most = (n as f64).powf(0.25);
            let scaled: f64 = g / v.sqrt().max(1e-6);
            m = 0.9 * m + 0.1 * scaled.clamp(-most, most);
            x = x * (1.0 - 0.01 * 0.3) - 0.01 * m;
            v = 0.99 * v + 0.01 * g * g;
        }
        assert!((run(Method::Adopt(adopt), 0.3, 0.01, &GRADS) - x).abs() < 1e-6);
    }
}
