//! What a model has learned, and how well: benchmarks, diagnoses, comparisons, experiments, verification, speed, acceptance.

pub mod acceptance;
pub mod bench;
pub mod benchmark;
pub mod compare;
pub mod diagnose;
pub mod experiment;
pub mod teacher;
pub mod verify;
