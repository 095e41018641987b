//! `lrc diagnose`: measures a model before or behind its training.

mod lsc;
mod precision;
mod spike;

use clap::Subcommand;
use lrc_dsl::Sources;
use lrc_runtime::ground::error::Failure;

use crate::terminal::say;
use lsc::Lsc;
use precision::Precision;
use spike::Spike;

/// Diagnoses.
#[derive(Debug, Subcommand)]
pub enum Diagnose {
    /// How much larger the first gradients are than later ones without warmup, and what warmup that suggests (a rule
    /// of thumb).
    Spike(Spike),
    /// How far a disturbance goes in time and in depth, layer by layer (Local Stability Condition).
    Lsc(Lsc),
    /// Which classes of a trained run's parameters mind being rounded to bf16.
    Precision(Precision),
}

/// Runs one of the diagnoses.
pub fn diagnose(args: &Diagnose, sources: &mut Sources) -> Result<(), Failure> {
    match args {
        Diagnose::Spike(args) => spike::first_gradients(args, sources),
        Diagnose::Lsc(args) => lsc::local_stability(args, sources),
        Diagnose::Precision(args) => precision::rounding(args, sources),
    }
}

fn json(value: serde_json::Result<serde_json::Value>) -> Result<(), Failure> {
    say!("{}", value.map_err(|e| Failure::World(e.to_string()))?);
    Ok(())
}
