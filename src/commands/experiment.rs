//! `lrc experiment`

use std::io::IsTerminal;
use std::path::Path;

use lrc_dsl::Sources;
use lrc_runtime::error::{Failure, at_path};
use lrc_runtime::experiment::{Running, read, report, run};

use crate::args::Experiment;
use crate::terminal::say;

/// Runs an experiment, or goes on with it.
pub fn experiment(args: &Experiment, sources: &mut Sources) -> Result<(), Failure> {
    let text = std::fs::read_to_string(&args.file).map_err(at_path("read", &args.file))?;
    let file = sources.add(args.file.display().to_string(), text.as_str());
    let experiment = read(&args.file, file, &text).map_err(Failure::Invalid)?;
    let folder = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&experiment.name));
    let running = Running {
        folder: folder.clone(),
        device: args.device.into(),
        progress: std::io::stderr().is_terminal(),
    };
    let outcomes = run(&experiment, &running, sources, &mut |line| eprintln!("{line}"))?;
    if args.json {
        let json = serde_json::to_string(&outcomes).map_err(|e| Failure::World(e.to_string()))?;
        say!("{json}");
    } else {
        say!("{}", report::text(&experiment, &outcomes).trim_end());
    }
    eprintln!("report: {}", folder.join("report.html").display());
    Ok(())
}
