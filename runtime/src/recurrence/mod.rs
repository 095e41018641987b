//! A recurrence alone: fitted to given shapes, run on given tensors, on drawn ones, what given ones break of its promises, and what its calls start.

mod bind;
pub mod draw;
pub mod fitted;
mod io;
pub mod launches;
pub mod promises;
pub mod run;
