//! What an update rule is: what it remembers of a parameter, and a program of single numbers that the
//! processor runs as a loop and a device as a kernel.

use lrc_compiler::tile::{Builder, Int, Leaf, Program, Stream, Value};

/// An update rule that treats every number alone.
///
/// Input 0 of its program is the parameter, then what the rule remembers, the gradient last. Output `i`
/// takes the place of input `i`: outputs that are needed to compute later ones come later, since on a
/// device each is written before the next is computed.
pub trait Rule {
    /// Numbers that it remembers of each number of a parameter.
    fn slots(&self) -> usize;

    /// The update of numbers of a shape.
    fn program(&self, shape: &[usize]) -> Program;

    /// The parameters of the program in a step.
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

/// Builds the program of a rule.
pub struct Formula {
    /// The program so far.
    pub b: Builder,
    shape: Vec<usize>,
}

impl Formula {
    /// Over numbers of a shape.
    pub fn new(shape: &[usize]) -> Formula {
        Formula { b: Builder::new(), shape: shape.to_vec() }
    }

    /// An input: the parameter, what is remembered, or the gradient.
    pub fn input(&mut self, at: usize) -> Value {
        self.b.leaf(Leaf::Read(Stream::Input(at), Int::T), &self.shape.clone())
    }

    /// A number of the step.
    pub fn number(&mut self, at: usize) -> Value {
        let shape = vec![1; self.shape.len()];
        self.b.leaf(Leaf::Param(at), &shape)
    }

    /// `a x + b y`.
    pub fn mix(&mut self, [a, x]: [Value; 2], [b, y]: [Value; 2]) -> Value {
        let (x, y) = (self.b.mul(a, x), self.b.mul(b, y));
        self.b.add(x, y)
    }

    /// `x keep - update`: a step with decoupled weight decay.
    pub fn step(&mut self, [x, keep]: [Value; 2], update: Value) -> Value {
        let held = self.b.mul(x, keep);
        self.b.sub(held, update)
    }
}
