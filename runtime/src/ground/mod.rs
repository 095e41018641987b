//! What every room stands on: errors, files, random numbers, tensors, statistics.

pub mod atomic;
pub mod bounded;
pub mod error;
pub mod library;
pub mod lock;
pub mod memory;
pub mod promises;
pub mod random;
pub mod statistics;
pub mod tensors;
pub mod terminal;
pub mod timing;
