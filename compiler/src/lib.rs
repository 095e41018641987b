//! From a recurrence written as mathematics to programs that run: the compiler of lrc.
//!
//! The stages in order: [`elaborate`] turns a checked declaration into the program of one token;
//! [`normal`] reads the recurrence's algebra off it; [`chunk`] derives the program of many tokens
//! at once; [`grad`] differentiates any program; [`interpret`] runs it; [`graph`] builds a model's
//! training graph; [`plan`] says what a GPU does for each piece, and [`emit`] prints that. The truth that
//! all are compared with is the recurrent form ([`form`]), which runs the declared equations in f64.

pub mod apportion;
pub mod block;
pub mod check;
pub mod chunk;
pub mod compile;
pub mod elaborate;
pub mod emit;
pub mod form;
pub mod grad;
pub mod graph;
pub mod interpret;
pub mod memory;
pub mod normal;
pub mod num;
pub mod plan;
pub mod strategy;
pub mod tile;
