//! Faults that were found once, each with the input that showed it: what went wrong then is right now. Inputs too large for
//! a line stand in `inputs/`, as they were found.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "../common/mod.rs"]
mod common;

mod data;
mod kernels;
mod models;
mod numbers;
mod recurrences;
mod runs;
mod specs;
mod terminal;

/// The path of an input, from the project's folder.
fn input(name: &str) -> String {
    format!("tests/faults/inputs/{name}")
}
