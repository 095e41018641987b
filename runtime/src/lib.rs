//! The runtime of lrc: runs compiled recurrences and models on a device. One module is one room, each built on those below it:
//!
//! * [`exchange`]: other programs' files: folders of transformers, both ways; ONNX.
//! * [`search`]: which models and settings are best: many runs, chosen by what those before them showed.
//! * [`tune`]: which choices are fastest: tried, written down, told.
//! * [`eval`]: what a model has learned, and how well: benchmarks, comparisons, experiments, verification.
//! * [`train`]: the loop of training: engine, data loader, checkpoints.
//! * [`report`]: what a run writes for people: its record, pages, event files.
//! * [`config`]: the spec of a run: what `spec.yaml` says.
//! * [`monitor`]: what is watched in a run, and what is done about it.
//! * [`model`]: a model on its way: the graph run forward and backward, generation, measures of layers.
//! * [`recurrence`]: a recurrence alone, on given or drawn tensors.
//! * [`optim`]: update rules.
//! * [`device`]: devices: kernels, their cache, tensors in device memory.
//! * [`data`]: documents, tokenizers, shards, tasks: sequences by number.
//! * [`fields`]: what a row of the tables of a spec's fields says.
//! * [`schedule`]: amounts, rates, lengths: what each step of a run has.
//! * [`ops`]: operations of the CPU: dense products, experts, long convolutions, losses.
//! * [`ground`]: what every room stands on: errors, files, random numbers, tensors, statistics.

pub mod config;
pub mod data;
pub mod device;
pub mod eval;
pub mod exchange;
pub mod fields;
pub mod ground;
pub mod model;
pub mod monitor;
pub mod ops;
pub mod optim;
pub mod parallel;
pub mod profile;
pub mod recurrence;
pub mod report;
pub mod scale;
pub mod schedule;
pub mod search;
pub mod train;
pub mod tune;
