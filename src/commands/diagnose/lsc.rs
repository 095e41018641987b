//! `lrc diagnose lsc`: how far a disturbance goes.

use std::path::PathBuf;

use lrc_dsl::Sources;
use lrc_runtime::config::open::open;
use lrc_runtime::data::{Dataset, EvalSets};
use lrc_runtime::ground::error::Failure;
use lrc_runtime::model::stability::stability;
use lrc_runtime::train::{checkpoint, start};

use super::json;
use crate::commands::declared::pairs;
use crate::commands::trained;
use crate::terminal::say;

/// Arguments of `lrc diagnose lsc`.
#[derive(Debug, clap::Args)]
pub struct Lsc {
    /// A spec, for its model as it begins, or a run's folder.
    pub spec: PathBuf,
    /// Override a value of the spec.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Take the checkpoint after so many steps instead of the newest one.
    #[arg(long, value_name = "STEP")]
    pub from_step: Option<u64>,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Tokens of the batch on which stability is measured, about.
const TOKENS: usize = 512;

pub fn local_stability(args: &Lsc, sources: &mut Sources) -> Result<(), Failure> {
    let (spec, model, params) = if args.spec.is_dir() {
        let (spec, model) = trained::open(&args.spec, sources)?;
        let params = checkpoint::parameters(&args.spec, args.from_step, &model.graph.params)?;
        (spec, model, params)
    } else {
        let opened = open(&args.spec, &pairs(&args.set)?, sources)?;
        let params = start::parameters(&opened.spec, &opened.model)?;
        (opened.spec, opened.model, params)
    };
    let source = Dataset::open_for(&spec.task, spec.seed, &EvalSets::default(), model.vocab)?;
    let sets = source.held_out(None);
    let Some(set) = sets.first() else {
        return Err(Failure::Usage("the data of this spec keeps nothing for evaluation".into()));
    };
    let count = (TOKENS / set.length).clamp(1, set.sequences);
    let batch = source.held_out_batch(set, 0, count)?;
    let layers = stability(&model, &params, &batch)?;
    if args.json {
        return json(serde_json::to_value(&layers));
    }
    if layers.is_empty() {
        say!("the model has no layers that add to a residual stream");
        return Ok(());
    }
    say!("{:<32} {:>14} {:>12}", "layer", "time, a token", "depth");
    for layer in &layers {
        let time = layer.time.map_or("-".into(), |x| format!("{x:.4}"));
        say!("{:<32} {time:>14} {:>12.4}", layer.name, layer.depth);
    }
    say!(
        "the Local Stability Condition wants one half each; with a residual stream that is `residual 0.5 .* x + 0.5 .* f(rmsnorm(x))`"
    );
    Ok(())
}
