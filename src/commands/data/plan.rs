//! `lrc data plan`: a run over time, before it is run.

use std::path::PathBuf;

use lrc_dsl::Sources;
use lrc_runtime::config::Spec;
use lrc_runtime::config::open::{Opened, open};
use lrc_runtime::data::{Dataset, Task};
use lrc_runtime::device::Device;
use lrc_runtime::ground::atomic;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::report::schedule::preview;
use lrc_runtime::schedule::Amount;
use lrc_runtime::schedule::lengths::{Buckets, Lengths};
use lrc_runtime::schedule::run::{RunSchedule, StepPlan};
use lrc_runtime::tell;
use lrc_runtime::train::ready;

use crate::args::count;
use crate::commands::check::note_missing;
use crate::commands::declared::pairs;
use crate::terminal::say;

/// Arguments of `lrc data plan`.
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// The spec.
    pub spec: PathBuf,
    /// Override a value of the spec.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Parts that are summed up in a line each.
    #[arg(long, default_value_t = 8, value_parser = count(10_000))]
    pub parts: usize,
    /// Only the first cycle of a curriculum.
    #[arg(long)]
    pub cycle: bool,
    /// Tokens of each bucket, instead of the data's: `386M,654M,814M`.
    #[arg(long)]
    pub tokens: Option<String>,
    /// A page with the curves.
    #[arg(long, value_name = "FILE.html")]
    pub out: Option<PathBuf>,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// The run schedule of a spec's run over buckets of these sizes, in tokens.
fn over(spec: &Spec, buckets: &[f64]) -> Result<RunSchedule, Failure> {
    let lengths = match &spec.shaping.lengths {
        Lengths::Buckets(Buckets { lengths, .. }) => lengths.len(),
        _ => 0,
    };
    if buckets.len() != lengths {
        return Err(Failure::Usage(format!(
            "--tokens gives {} numbers, the curriculum has {lengths} buckets",
            buckets.len()
        )));
    }
    RunSchedule::new(&spec.shaping, buckets)
}

pub fn plan(args: &Plan, sources: &mut Sources) -> Result<(), Failure> {
    let Opened { spec, model, .. } = open(&args.spec, &pairs(&args.set)?, sources)?;
    let buckets = args.tokens.as_deref().map(amounts).transpose()?;
    let (run_schedule, source) = match buckets {
        Some(buckets) => (over(&spec, &buckets)?, None),
        None => {
            note_missing(&spec);
            let found = ready::ready(&spec, &model, Device::Cpu, ready::Data::Elsewhere)?;
            (found.run_schedule, found.source)
        }
    };
    if !run_schedule.whole().steps.is_finite() {
        return Err(Failure::Usage(
            "a run of given time has no plan: its number of steps is not known".into(),
        ));
    }
    let corpora = source.as_ref().and_then(Dataset::corpora);
    let names: Vec<String> = match (&spec.task, corpora) {
        (Task::Corpora(all), Some(_)) => {
            let names = all.sources.iter().map(|s| s.name.clone());
            names.chain(all.pacing.iter().map(|_| "easiest".to_string())).collect()
        }
        _ => vec![],
    };
    // Behind the mixture stands the share of the documents that may be drawn.
    let weights = |next: &StepPlan| {
        corpora.map_or(vec![], |open| {
            let mut weights = open.weights(&next.before);
            weights.push(open.share(&next.before));
            weights
        })
    };
    let cycles = match &spec.shaping.lengths {
        Lengths::Buckets(buckets) if args.cycle => buckets.cycles,
        _ => 1,
    };
    let lr = spec.optimizer.lr;
    let within = 1.0 / cycles as f64;
    let table = preview(run_schedule.clone(), lr, (within, args.parts), names.clone(), &weights);
    if args.json {
        let json = serde_json::to_string(&table).map_err(|e| Failure::World(e.to_string()))?;
        say!("{json}");
    } else {
        say!("{}", table.table().trim_end());
    }
    if let Some(out) = &args.out {
        let fine = preview(run_schedule, lr, (within, 160), names, &weights);
        atomic::write(out, fine.page(&spec.name).as_bytes())?;
        tell!("picture: {}", out.display());
    }
    Ok(())
}

/// `386M,654M`
fn amounts(text: &str) -> Result<Vec<f64>, Failure> {
    text.split(',')
        .map(|part| match Amount::parse(part) {
            Some(Amount::Tokens(tokens)) if tokens >= 0.0 => Ok(tokens),
            _ => Err(Failure::Usage(format!("--tokens {text}: `{part}` is no number of tokens"))),
        })
        .collect()
}
