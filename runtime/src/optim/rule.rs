//! What an update rule is: what it remembers of a parameter, and a formula over single numbers that the
//! processor runs as a loop and a device as a kernel.

use lrc_compiler::form::elementwise::{Arithmetic, InPlace};

/// An update rule that treats every number alone.
pub trait Rule {
    /// Numbers that it remembers of each number of a parameter.
    fn slots(&self) -> usize;

    /// The update: of the parameter and of what the rule remembers, from the gradient.
    fn update(&self) -> InPlace;

    /// The single numbers of the update in a step.
    fn numbers(&self, step: &Step) -> Vec<f32>;
}

/// A step for the parameters of one group.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Their learning rate.
    pub lr: f64,
    /// What is left of a number after weight decay.
    pub keep: f32,
    /// Factor on the gradient.
    pub clip: f32,
    /// The number of the step, from 1.
    pub number: u64,
}

/// `x keep - update`: a step with decoupled weight decay.
#[inline(always)]
pub fn step<A: Arithmetic>(a: &mut A, [x, keep]: [A::Number; 2], update: A::Number) -> A::Number {
    let held = a.mul(x, keep);
    a.sub(held, update)
}
