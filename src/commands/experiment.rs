//! `lrc experiment`: variations of a spec over several seeds.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use lrc_dsl::Sources;
use lrc_runtime::eval::experiment::{Checked, Running, check, read, report as outcome, run};
use lrc_runtime::ground::bounded;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::report::plot;
use lrc_runtime::tell;

use crate::args::Device;
use crate::terminal::say;

/// Arguments of `lrc experiment`.
#[derive(Debug, clap::Args)]
pub struct Experiment {
    /// What is varied and measured (YAML).
    pub file: PathBuf,
    /// The experiment's folder, `runs/NAME` by default. Runs that it holds already are used again.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Check everything, list the cases, and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Where to run.
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Says what an experiment would run.
fn list(cases: &[Checked], seeds: &[u64], json: bool) -> Result<(), Failure> {
    if json {
        let json = serde_json::to_string(cases).map_err(|e| Failure::World(e.to_string()))?;
        say!("{json}");
        return Ok(());
    }
    let mut rows = vec![["case", "parameters", "state", "length"].map(String::from).to_vec()];
    rows.extend(cases.iter().map(|one| {
        let (parameters, state) = (one.parameters.to_string(), one.state.to_string());
        vec![one.case.clone(), parameters, state, one.length.clone()]
    }));
    say!("{}", plot::aligned(&rows).trim_end());
    say!(
        "{} runs: {} cases with {} seeds each",
        cases.len() * seeds.len(),
        cases.len(),
        seeds.len()
    );
    Ok(())
}

/// Runs an experiment, or goes on with it.
pub fn experiment(args: &Experiment, sources: &mut Sources) -> Result<(), Failure> {
    let text = bounded::text(&args.file, bounded::WRITTEN)?;
    let file = sources.add(args.file.display().to_string(), text.as_str());
    let experiment = read(&args.file, file, &text).map_err(Failure::Invalid)?;
    if args.dry_run {
        return list(
            &check(&experiment, args.device.into(), sources)?,
            &experiment.seeds,
            args.json,
        );
    }
    let folder = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&experiment.name));
    let running = Running {
        folder: folder.clone(),
        device: args.device.into(),
        progress: std::io::stderr().is_terminal(),
    };
    let outcomes = run(&experiment, &running, sources, &mut |line| tell!("{line}"))?;
    if args.json {
        let json = serde_json::to_string(&outcomes).map_err(|e| Failure::World(e.to_string()))?;
        say!("{json}");
    } else {
        say!("{}", outcome::text(&experiment, &outcomes).trim_end());
    }
    tell!("report: {}", folder.join("report.html").display());
    Ok(())
}
