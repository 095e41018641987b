//! Short measurements of a model before or behind its training: how large its first gradients are, how
//! far a disturbance goes, which parameters mind being rounded.

pub mod precision;
pub mod promises;
pub mod spike;
pub mod stability;
