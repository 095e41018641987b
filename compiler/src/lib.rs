//! From a recurrence written as mathematics to programs that run: the compiler of lrc.
//!
//! [`elaborate`] turns a declaration at its sizes into the program of one token; [`compile::compile`] is the
//! pipeline from there: [`strategy`] decides how the recurrence is computed, by its [`normal`] form or by
//! what it reads; [`mod@block`] makes the program of a block of tokens with what [`chunk`] derives, and its
//! gradient with [`grad`]; [`plan`] says what the blocks of a GPU's threads do, and [`emit`] prints that.
//! On the processor [`form`] puts loops around the programs, which [`interpret`] runs. [`graph`] builds the
//! training graph of a model. The truth that all are compared with is the recurrent form, which runs the
//! declared equations in f64.

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
