//! AdamW (Loshchilov and Hutter 2019): running means of the gradient and of its square.

use lrc_compiler::tile::{Program, Unary};

use super::rule::{Formula, Rule, Step};
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

    fn program(&self, shape: &[usize]) -> Program {
        let mut f = Formula::new(shape);
        let [x, m, v, g] = [0, 1, 2, 3].map(|at| f.input(at));
        let [keep, clip, b1, c1, b2, c2, rate, root, eps] =
            [0, 1, 2, 3, 4, 5, 6, 7, 8].map(|at| f.number(at));
        let g = f.b.mul(g, clip);
        let m = f.mix([b1, m], [c1, g]);
        let (old, share) = (f.b.mul(b2, v), f.b.mul(c2, g));
        let square = f.b.mul(share, g);
        let v = f.b.add(old, square);
        let deep = f.b.unary(Unary::Sqrt, v);
        let deep = f.b.mul(deep, root);
        let deep = f.b.add(deep, eps);
        let far = f.b.mul(rate, m);
        let update = f.b.div(far, deep);
        let x = f.step([x, keep], update);
        f.b.finish(&[x, m, v])
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
