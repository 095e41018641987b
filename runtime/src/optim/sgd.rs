//! Gradient descent with momentum.

use lrc_compiler::form::elementwise::{Arithmetic, Formula, InPlace};

use super::rule::{Rule, Step, step};
use super::{CLIP, MOMENTUM, Settings, decay, lr};
use crate::fields::{Given, Variant, truth, variant};

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Decay of the running sum.
    pub momentum: f64,
    /// Look ahead.
    pub nesterov: bool,
}

impl Settings for Sgd {
    const FIELDS: Variant = variant(
        "sgd",
        &[lr(0.1), MOMENTUM, truth("nesterov", false, "Nesterov's momentum"), decay(0.0), CLIP],
        "gradient descent with momentum",
    );

    fn read(given: &mut dyn Given) -> Sgd {
        Sgd { momentum: given.number("momentum"), nesterov: given.truth("nesterov") }
    }

    fn rule(&self) -> Box<dyn Rule> {
        Box::new(*self)
    }
}

impl Rule for Sgd {
    fn slots(&self) -> usize {
        1
    }

    fn update(&self) -> InPlace {
        InPlace::new(*self)
    }

    fn numbers(&self, step: &Step) -> Vec<f32> {
        vec![step.keep, step.clip, self.momentum as f32, step.lr as f32]
    }
}

impl Formula<2, 1, 4> for Sgd {
    #[inline(always)]
    fn write<A: Arithmetic>(
        &self,
        a: &mut A,
        [x, m]: [A::Number; 2],
        [g]: [A::Number; 1],
        [keep, clip, momentum, rate]: [A::Number; 4],
    ) -> [A::Number; 2] {
        let g = a.mul(g, clip);
        let old = a.mul(momentum, m);
        let m = a.add(old, g);
        let update = if self.nesterov {
            let ahead = a.mul(momentum, m);
            a.add(g, ahead)
        } else {
            m
        };
        let update = a.mul(rate, update);
        [step(a, [x, keep], update), m]
    }
}
