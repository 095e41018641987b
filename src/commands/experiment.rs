//! Commands about several runs: experiment, report.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use lrc_dsl::Sources;
use lrc_runtime::eval::compare::{Options, compare};
use lrc_runtime::eval::experiment::{Checked, Running, check, read, report as outcome, run};
use lrc_runtime::ground::error::{Failure, at_path};
use lrc_runtime::ground::{atomic, bounded};
use lrc_runtime::report::{plot, run as own};
use lrc_runtime::tell;

use crate::args::{Experiment, Report};
use crate::terminal::say;

/// Compares runs.
pub fn report(args: &Report) -> Result<(), Failure> {
    if !(0.0..1.0).contains(&args.confidence) {
        return Err(Failure::Usage(format!(
            "--confidence {}: expected a share below 1, such as 0.95",
            args.confidence
        )));
    }
    let mut runs = Vec::new();
    for path in &args.runs {
        let before = runs.len();
        find(path, 3, &mut runs)?;
        if runs.len() == before {
            let why = format!("{} is no run, and holds none", path.display());
            return Err(Failure::Usage(why));
        }
    }
    let options =
        Options { smooth: args.smooth, confidence: args.confidence, together: args.together };
    let found = compare(&runs, options)?;
    // Reading does not write: only runs that were named get their own page anew.
    for run in args.runs.iter().filter(|path| runs.contains(path)) {
        if let Err(why) = own::write(run) {
            tell!("the page of {} stays as it is: {why}", run.display());
        }
    }
    atomic::write(&args.out, found.page().as_bytes())?;
    if args.json {
        let json =
            serde_json::to_string(&found.groups).map_err(|e| Failure::World(e.to_string()))?;
        say!("{json}");
    } else {
        say!("{}", plot::aligned(&found.rows()).trim_end());
    }
    tell!("report: {}", args.out.display());
    Ok(())
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

/// Folders of runs at or below a folder, in the order of their names.
fn find(path: &Path, depth: usize, runs: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if path.join("metrics.jsonl").exists() {
        runs.push(path.to_path_buf());
        return Ok(());
    }
    if depth == 0 || !path.is_dir() {
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(at_path("read", path))?;
    let mut below: Vec<PathBuf> =
        entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| p.is_dir()).collect();
    below.sort();
    below.iter().try_for_each(|path| find(path, depth - 1, runs))
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
