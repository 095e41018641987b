//! Short measurements of a model before or behind its training: how large its first gradients are,
//! which parameters mind being rounded.

pub mod precision;
pub mod spike;
