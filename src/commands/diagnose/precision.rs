//! `lrc diagnose precision`: which parameters mind being rounded.

use std::path::PathBuf;

use lrc_dsl::Sources;
use lrc_runtime::data::{Dataset, EvalSets};
use lrc_runtime::eval::diagnose::precision::precision;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::train::checkpoint;

use super::json;
use crate::args::{SEQUENCES, count};
use crate::commands::trained;
use crate::terminal::say;

/// Arguments of `lrc diagnose precision`.
#[derive(Debug, clap::Args)]
pub struct Precision {
    /// A run's folder.
    pub run: PathBuf,
    /// Unseen sequences.
    #[arg(long, default_value_t = 256, value_parser = count(SEQUENCES))]
    pub sequences: usize,
    /// Take the checkpoint after so many steps instead of the newest one.
    #[arg(long, value_name = "STEP")]
    pub from_step: Option<u64>,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

pub fn rounding(args: &Precision, sources: &mut Sources) -> Result<(), Failure> {
    let (spec, model) = trained::open(&args.run, sources)?;
    let params = checkpoint::parameters(&args.run, args.from_step, &model.graph.params)?;
    let source = Dataset::open_for(&spec.task, spec.seed, &EvalSets::default(), model.vocab)?;
    let sets = source.held_out(Some(args.sequences));
    let Some(set) = sets.first() else {
        return Err(Failure::Usage("the data of this run keeps nothing for evaluation".into()));
    };
    let (exact, found) = precision(&model, &params, &source, set, spec.batch(set.length))?;
    if args.json {
        return json(Ok(serde_json::json!({ "f32": exact, "bf16": found })));
    }
    say!("loss with everything in f32: {exact:.5}");
    say!("{:<14} {:>12} {:>10} {:>11}", "in bf16", "numbers", "loss", "more");
    for one in &found {
        say!("{:<14} {:>12} {:>10.5} {:>+11.5}", one.class, one.numbers, one.loss, one.more);
    }
    Ok(())
}
