//! `lrc report`: runs on one page.

use std::path::{Path, PathBuf};

use lrc_runtime::eval::compare::{Options, compare};
use lrc_runtime::ground::atomic;
use lrc_runtime::ground::error::{Failure, at_path};
use lrc_runtime::report::{plot, run as own};
use lrc_runtime::tell;

use crate::args::smoothing;
use crate::terminal::say;

/// Arguments of `lrc report`.
#[derive(Debug, clap::Args)]
pub struct Report {
    /// Folders of runs, or folders that hold such folders.
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
    /// The page [default: comparison.html].
    #[arg(long, default_value = "comparison.html")]
    pub out: PathBuf,
    /// Steps that a smoothed curve averages over.
    #[arg(long, default_value_t = 50.0, value_parser = smoothing)]
    pub smooth: f64,
    /// How sure intervals are.
    #[arg(long, default_value_t = 0.95)]
    pub confidence: f64,
    /// Make all intervals together as sure as that (Bonferroni).
    #[arg(long)]
    pub together: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

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
