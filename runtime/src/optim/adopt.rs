//! ADOPT (Taniguchi et al. 2024): Adam whose gradient is divided by the running mean of squares of the steps before it, and
//! averaged behind that, so that it converges whatever the decay of the squares.

use lrc_compiler::form::elementwise::{Arithmetic, Formula, InPlace};
use lrc_compiler::tile::{Binary, Unary};

use super::rule::{Rule, Step, step};
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

    fn update(&self) -> InPlace {
        InPlace::new(*self)
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

impl Formula<3, 1, 9> for Adopt {
    #[inline(always)]
    fn write<A: Arithmetic>(
        &self,
        a: &mut A,
        [x, m, v]: [A::Number; 3],
        [g]: [A::Number; 1],
        [keep, clip, b1, c1, b2, c2, rate, eps, most]: [A::Number; 9],
    ) -> [A::Number; 3] {
        let g = a.mul(g, clip);
        let root = a.unary(Unary::Sqrt, v);
        let divisor = a.binary(Binary::Max, root, eps);
        let scaled = a.div(g, divisor);
        let least = a.unary(Unary::Neg, most);
        let scaled = a.binary(Binary::Min, scaled, most);
        let scaled = a.binary(Binary::Max, scaled, least);
        let m = a.mix([b1, m], [c1, scaled]);
        let update = a.mul(rate, m);
        let x = step(a, [x, keep], update);
        let (share, old) = (a.mul(c2, g), a.mul(b2, v));
        let square = a.mul(share, g);
        [x, m, a.add(old, square)]
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
