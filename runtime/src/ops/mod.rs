//! Operations of the CPU on rows of numbers.

pub mod batch;
pub mod dense;
pub mod experts;
pub mod longconv;
pub mod loss;
pub mod norm;
pub mod rows;
pub mod sample;
pub mod segment;
