//! What kernels are given.

use super::store::Tensor;

/// An argument of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument {
    /// A tensor; a null pointer where there is none.
    Tensor(Option<Tensor>),
    /// A whole number.
    Number(i32),
    /// A float.
    Float(f32),
}

impl From<Tensor> for Argument {
    fn from(tensor: Tensor) -> Argument {
        Argument::Tensor(Some(tensor))
    }
}

impl From<usize> for Argument {
    fn from(x: usize) -> Argument {
        Argument::Number(x as i32)
    }
}

impl From<f32> for Argument {
    fn from(x: f32) -> Argument {
        Argument::Float(x)
    }
}
