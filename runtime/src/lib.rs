//! The runtime of lrc: runs compiled recurrences and models on a device.

pub mod atomic;
pub mod bench;
pub mod data;
pub mod dense;
pub mod device;
pub mod draw;
pub mod error;
pub mod exec;
pub mod execute;
pub mod experiment;
pub mod experts;
pub mod library;
pub mod longconv;
pub mod loss;
pub mod monitor;
pub mod optim;
pub mod plot;
pub mod questions;
pub mod random;
pub mod sample;
pub mod schedule;
pub mod spec;
pub mod tensors;
pub mod tongue;
pub mod train;
pub mod verify;
