//! `lrc diagnose spike`: the first gradients against later ones.

use std::path::PathBuf;

use lrc_dsl::Sources;
use lrc_runtime::config::open::open;
use lrc_runtime::eval::diagnose::spike::{Probe, spike};
use lrc_runtime::ground::error::Failure;
use lrc_runtime::schedule::run::MOST_STEPS;
use lrc_runtime::tell;

use super::json;
use crate::commands::declared::pairs;
use crate::terminal::say;

/// Arguments of `lrc diagnose spike`.
#[derive(Debug, clap::Args)]
pub struct Spike {
    /// The spec.
    pub spec: PathBuf,
    /// Override a value of the spec.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Steps of the probe.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(2..=MOST_STEPS))]
    pub steps: u64,
    /// The step from which on the mean is taken that the largest is compared with [default: a third of the steps].
    #[arg(long)]
    pub from: Option<u64>,
    /// Seeds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

pub fn first_gradients(args: &Spike, sources: &mut Sources) -> Result<(), Failure> {
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
