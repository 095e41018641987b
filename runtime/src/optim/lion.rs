//! Lion (Chen et al. 2023): the sign of a mean of the gradient.

use lrc_compiler::tile::{Program, Unary};

use super::rule::{Formula, Rule, Step};
use super::{CLIP, Settings, beta1, beta2, decay, lr};
use crate::fields::{Given, Variant, variant};

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    /// Weight of the running mean in the update.
    pub beta1: f64,
    /// Decay of the running mean.
    pub beta2: f64,
}

impl Settings for Lion {
    const FIELDS: Variant =
        variant("lion", &[lr(1e-4), beta1(0.9), beta2(0.99), decay(1.0), CLIP], "Lion");

    fn read(given: &mut dyn Given) -> Lion {
        Lion { beta1: given.number("beta1"), beta2: given.number("beta2") }
    }

    fn rule(&self) -> Box<dyn Rule> {
        Box::new(*self)
    }
}

impl Rule for Lion {
    fn slots(&self) -> usize {
        1
    }

    fn program(&self, shape: &[usize]) -> Program {
        let mut f = Formula::new(shape);
        let [x, m, g] = [0, 1, 2].map(|at| f.input(at));
        let [keep, clip, b1, c1, b2, c2, rate] = [0, 1, 2, 3, 4, 5, 6].map(|at| f.number(at));
        let g = f.b.mul(g, clip);
        let update = f.mix([b1, m], [c1, g]);
        let sign = f.b.unary(Unary::Sign, update);
        let update = f.b.mul(rate, sign);
        let x = f.step([x, keep], update);
        let m = f.mix([b2, m], [c2, g]);
        f.b.finish(&[x, m])
    }

    fn numbers(&self, step: &Step) -> Vec<f32> {
        let (b1, b2) = (self.beta1 as f32, self.beta2 as f32);
        vec![step.keep, step.clip, b1, 1.0 - b1, b2, 1.0 - b2, step.lr as f32]
    }
}
