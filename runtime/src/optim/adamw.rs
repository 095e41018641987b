//! AdamW (Loshchilov and Hutter 2019): running means of the gradient and of its square.

use lrc_compiler::form::elementwise::{Arithmetic, Formula, InPlace};
use lrc_compiler::tile::Unary;

use super::rule::{Rule, Step, step};
use super::{CLIP, EPS, Settings, beta1, beta2, decay, lr};
use crate::fields::{Given, Variant, variant};

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the two running means.
    pub betas: [f64; 2],
    /// Added to the root of the second.
    pub eps: f64,
}

impl Settings for AdamW {
    const FIELDS: Variant =
        variant("adamw", &[lr(1e-3), beta1(0.9), beta2(0.95), EPS, decay(0.1), CLIP], "AdamW");

    fn read(given: &mut dyn Given) -> AdamW {
        let betas = [given.number("beta1"), given.number("beta2")];
        AdamW { betas, eps: given.number("eps") }
    }

    fn rule(&self) -> Box<dyn Rule> {
        Box::new(*self)
    }
}

impl Rule for AdamW {
    fn slots(&self) -> usize {
        2
    }

    fn update(&self) -> InPlace {
        InPlace::new(*self)
    }

    fn numbers(&self, step: &Step) -> Vec<f32> {
        let correct = |beta: f64| 1.0 - beta.powi(step.number.min(i32::MAX as u64) as i32);
        let (rate, root) =
            (step.lr / correct(self.betas[0]), (1.0 / correct(self.betas[1])).sqrt());
        let [b1, b2] = self.betas.map(|beta| beta as f32);
        let (rate, root) = (rate as f32, root as f32);
        vec![step.keep, step.clip, b1, 1.0 - b1, b2, 1.0 - b2, rate, root, self.eps as f32]
    }
}

impl Formula<3, 1, 9> for AdamW {
    #[inline(always)]
    fn write<A: Arithmetic>(
        &self,
        a: &mut A,
        [x, m, v]: [A::Number; 3],
        [g]: [A::Number; 1],
        [keep, clip, b1, c1, b2, c2, rate, root, eps]: [A::Number; 9],
    ) -> [A::Number; 3] {
        let g = a.mul(g, clip);
        let m = a.mix([b1, m], [c1, g]);
        let (old, share) = (a.mul(b2, v), a.mul(c2, g));
        let square = a.mul(share, g);
        let v = a.add(old, square);
        let deep = a.unary(Unary::Sqrt, v);
        let deep = a.mul(deep, root);
        let deep = a.add(deep, eps);
        let far = a.mul(rate, m);
        let update = a.div(far, deep);
        [step(a, [x, keep], update), m, v]
    }
}
