//! Gradient descent with momentum.

use lrc_compiler::tile::Program;

use super::rule::{Formula, Rule, Step};
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

    fn program(&self, shape: &[usize]) -> Program {
        let mut f = Formula::new(shape);
        let [x, m, g] = [0, 1, 2].map(|at| f.input(at));
        let [keep, clip, momentum, rate] = [0, 1, 2, 3].map(|at| f.number(at));
        let g = f.b.mul(g, clip);
        let old = f.b.mul(momentum, m);
        let m = f.b.add(old, g);
        let update = if self.nesterov {
            let ahead = f.b.mul(momentum, m);
            f.b.add(g, ahead)
        } else {
            m
        };
        let update = f.b.mul(rate, update);
        let x = f.step([x, keep], update);
        f.b.finish(&[x, m])
    }

    fn numbers(&self, step: &Step) -> Vec<f32> {
        vec![step.keep, step.clip, self.momentum as f32, step.lr as f32]
    }
}
