//! A recurrence alone: run on given tensors, on drawn ones, and what given ones break of its promises.

mod bind;
pub mod draw;
mod io;
pub mod promises;
pub mod run;
