//! A recurrence alone: run on given tensors, on drawn ones, and what given ones break of its promises.

pub mod draw;
pub mod promises;
pub mod run;
