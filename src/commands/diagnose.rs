//! `lrc diagnose`

use lrc_dsl::Sources;
use lrc_runtime::config::open::open;
use lrc_runtime::data::{Asked, Source};
use lrc_runtime::eval::diagnose::precision::precision;
use lrc_runtime::eval::diagnose::spike::{Probe, spike};
use lrc_runtime::ground::error::Failure;
use lrc_runtime::model::fresh;
use lrc_runtime::model::stability::stability;
use lrc_runtime::tell;
use lrc_runtime::train::checkpoint;

use super::model::pairs;
use super::run;
use crate::args::{Diagnose, Lsc, Precision, Spike};
use crate::terminal::say;

/// Runs one of the diagnoses.
pub fn diagnose(args: &Diagnose, sources: &mut Sources) -> Result<(), Failure> {
    match args {
        Diagnose::Spike(args) => first_gradients(args, sources),
        Diagnose::Lsc(args) => local_stability(args, sources),
        Diagnose::Precision(args) => rounding(args, sources),
    }
}

fn json(value: serde_json::Result<serde_json::Value>) -> Result<(), Failure> {
    say!("{}", value.map_err(|e| Failure::World(e.to_string()))?);
    Ok(())
}

fn first_gradients(args: &Spike, sources: &mut Sources) -> Result<(), Failure> {
    let opened = open(&args.spec, &pairs(&args.set)?, sources)?;
    let from = args.from.unwrap_or(args.steps / 3);
    if from >= args.steps {
        let why = format!("--from {from}: expected a step before the last of {}", args.steps);
        return Err(Failure::Usage(why));
    }
    let probe = Probe { steps: args.steps, from, seeds: args.seeds };
    let found = spike(&opened.spec, &opened.model, &probe, &mut |line| tell!("{line}"))?;
    if args.json {
        return json(serde_json::to_value(&found));
    }
    let [low, high] = found.interval;
    say!(
        "largest gradient of {} steps without warmup over the mean of steps {} to {}: {:.2} [{low:.2}, {high:.2}] over {} seeds",
        args.steps,
        from + 1,
        args.steps,
        found.mean,
        args.seeds
    );
    say!(
        "a rule of thumb, from two published points (ratio 2.1: 0.5 %, ratio 47.3: 6.5 %): warmup of {:.1} % of the run",
        100.0 * found.warmup
    );
    Ok(())
}

/// Tokens of the batch on which stability is measured, about.
const TOKENS: usize = 512;

fn local_stability(args: &Lsc, sources: &mut Sources) -> Result<(), Failure> {
    let (spec, model, params) = if args.spec.is_dir() {
        let (spec, model) = run::open(&args.spec, sources)?;
        let params = checkpoint::parameters(&args.spec, args.from_step, &model.graph.params)?;
        (spec, model, params)
    } else {
        let opened = open(&args.spec, &pairs(&args.set)?, sources)?;
        let params = fresh(&opened.model.graph.params, opened.spec.seed);
        (opened.spec, opened.model, params)
    };
    let source = Source::open_for(&spec.task, spec.seed, &Asked::default(), model.vocab)?;
    let sets = source.unseen(None);
    let Some(set) = sets.first() else {
        return Err(Failure::Usage("the data of this spec keeps nothing for evaluation".into()));
    };
    let count = (TOKENS / set.length).clamp(1, set.sequences);
    let batch = source.unseen_batch(set, 0, count)?;
    let layers = stability(&model, &params, &batch);
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

fn rounding(args: &Precision, sources: &mut Sources) -> Result<(), Failure> {
    let (spec, model) = run::open(&args.run, sources)?;
    let params = checkpoint::parameters(&args.run, args.from_step, &model.graph.params)?;
    let source = Source::open_for(&spec.task, spec.seed, &Asked::default(), model.vocab)?;
    let sets = source.unseen(Some(args.sequences));
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
