//! Lion (Chen et al. 2023): the sign of a mean of the gradient.

use lrc_compiler::form::elementwise::{Arithmetic, Formula, InPlace};
use lrc_compiler::tile::Unary;

use super::rule::{Rule, Step, step};
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

    fn update(&self) -> InPlace {
        InPlace::new(*self)
    }

    fn numbers(&self, step: &Step) -> Vec<f32> {
        let (b1, b2) = (self.beta1 as f32, self.beta2 as f32);
        vec![step.keep, step.clip, b1, 1.0 - b1, b2, 1.0 - b2, step.lr as f32]
    }
}

impl Formula<2, 1, 7> for Lion {
    #[inline(always)]
    fn write<A: Arithmetic>(
        &self,
        a: &mut A,
        [x, m]: [A::Number; 2],
        [g]: [A::Number; 1],
        [keep, clip, b1, c1, b2, c2, rate]: [A::Number; 7],
    ) -> [A::Number; 2] {
        let g = a.mul(g, clip);
        let update = a.mix([b1, m], [c1, g]);
        let sign = a.unary(Unary::Sign, update);
        let update = a.mul(rate, sign);
        [step(a, [x, keep], update), a.mix([b2, m], [c2, g])]
    }
}
