//! `lrc search`: many trials of one spec, chosen by what those before them showed.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use lrc_dsl::Sources;
use lrc_runtime::ground::bounded;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::report::plot;
use lrc_runtime::search::journal::{GRACE, State, StoredTrial};
use lrc_runtime::search::next::{Chooser, WHY};
use lrc_runtime::search::replay::{Table, compare, document, words};
use lrc_runtime::search::run::{Searching, check, run};
use lrc_runtime::search::{Study, read, report};
use lrc_runtime::tell;

use crate::args::Device;
use crate::terminal::say;

/// Arguments of `lrc search`.
#[derive(Debug, clap::Args)]
pub struct Search {
    /// What is searched, and how (YAML).
    pub study: PathBuf,
    /// The study's folder [default: runs/NAME].
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Go on with the trials of the folder, or help other processes with them; begin where there are none.
    #[arg(long)]
    pub resume: bool,
    /// Optuna's journal, `journal:FILE` [default: journal.log in the folder].
    #[arg(long, value_name = "journal:FILE", value_parser = storage)]
    pub storage: Option<PathBuf>,
    /// Check everything, and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Train nothing: compare the samplers over the finished trials of a `results.json`.
    #[arg(long, value_name = "RESULTS.json", conflicts_with_all = ["resume", "storage", "out", "dry_run"])]
    pub replay: Option<PathBuf>,
    /// Seeds of each comparison.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "replay", value_parser = clap::value_parser!(u64).range(2..=10_000))]
    pub repeats: u64,
    /// Where to run.
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

fn storage(text: &str) -> Result<PathBuf, String> {
    match text.split_once(':') {
        Some(("journal", file)) if !file.is_empty() => Ok(file.into()),
        _ => Err("expected journal:FILE".into()),
    }
}

/// Samplers against random search, over trials that are finished.
fn replay(study: &Study, record: &Path, args: &Search) -> Result<(), Failure> {
    let text = bounded::text(record, bounded::WRITTEN)?;
    let table =
        Table::read(study, &text).map_err(|failure| failure.of(&record.display().to_string()))?;
    let compared = compare(study, &table, args.repeats)?;
    if args.json {
        say!("{}", document(study, &table, &compared, args.repeats));
    } else {
        say!("{}", words(study, &table, &compared, args.repeats).trim_end());
    }
    Ok(())
}

/// Trials that a table in the terminal lists.
const LISTED: usize = 10;

/// The best trials as a table.
fn table(study: &Study, trials: &[StoredTrial], out: &Path) -> String {
    let chooser = Chooser::new(study, 0, out.join("trials"));
    plot::aligned(&report::rows(study, &chooser, trials, LISTED))
}

/// The table of a search in a terminal, drawn over itself.
#[derive(Default)]
struct Live {
    lines: usize,
}

impl Live {
    fn show(&mut self, table: &str) {
        // Up to where it began, and nothing below.
        let up =
            if self.lines > 0 { format!("\u{1b}[{}A\u{1b}[J", self.lines) } else { String::new() };
        self.lines = table.lines().count();
        let _ =
            std::io::Write::write_all(&mut std::io::stderr(), format!("{up}{table}").as_bytes());
    }
}

/// `lrc search`
pub fn search(args: &Search, sources: &mut Sources) -> Result<(), Failure> {
    let text = bounded::text(&args.study, bounded::WRITTEN)?;
    let file = sources.add(args.study.display().to_string(), text.as_str());
    let study = read(&args.study, file, &text).map_err(Failure::Invalid)?;
    if let Some(record) = &args.replay {
        return replay(&study, record, args);
    }
    if args.dry_run {
        check(&study, args.device.into(), sources)?;
        tell!(
            "{}: {} parameters to search, {} trials",
            study.name,
            study.space.len(),
            study.trials
        );
        return Ok(());
    }
    let folder = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&study.name));
    let terminal = std::io::stderr().is_terminal();
    let searching = Searching {
        folder: folder.clone(),
        journal: args.storage.clone(),
        resume: args.resume,
        device: args.device.into(),
        // Its bar would stand in the table.
        progress: false,
        grace: GRACE,
    };
    let mut live = Live::default();
    let mut hear = |trials: &[StoredTrial], line: &str| {
        if terminal {
            live.show(&format!("{}{line}\n", table(&study, trials, &folder)));
        } else {
            tell!("{line}");
        }
    };
    let trials = run(&study, &searching, sources, &mut hear)?;
    if args.json {
        say!("{}", report::document(&study, &trials, &folder));
    } else {
        say!("{}", table(&study, &trials, &folder).trim_end());
    }
    tell!("report: {}", folder.join("report.html").display());
    all_failed(&trials)
}

/// A study that has found nothing has failed.
fn all_failed(trials: &[StoredTrial]) -> Result<(), Failure> {
    let Some(last) = trials.last().filter(|_| trials.iter().all(|t| t.state == State::Fail)) else {
        return Ok(());
    };
    let why = last.notes.get(WHY).and_then(|why| why.as_str()).unwrap_or("nobody says why");
    let (count, number) = (trials.len(), last.number);
    Err(Failure::Diverged(format!("all {count} trials failed; trial {number}: {why}")))
}
