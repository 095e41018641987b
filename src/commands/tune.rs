//! `lrc tune`: which choices are fastest on this machine, or by a model on kinds of GPU.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::graph::{Kind, Model};
use lrc_dsl::Sources;
use lrc_dsl::ast;
use lrc_runtime::config::open::{declarations, open};
use lrc_runtime::device::Device;
use lrc_runtime::device::cache::Cache;
use lrc_runtime::device::sim::hardware::{HARDWARE, Hardware};
use lrc_runtime::device::store::Machine;
use lrc_runtime::device::tuned::{Table, fingerprint};
use lrc_runtime::ground::error::Failure;
use lrc_runtime::recurrence::draw::Sizes;
use lrc_runtime::schedule::Amount;
use lrc_runtime::tune::journal::Journal;
use lrc_runtime::tune::{Judge, Search, document, table, text, tune};

use crate::args;
use crate::args::shape;
use crate::commands::declared::{chosen, elaborated, known, own, pairs, settings};
use crate::terminal::say;

/// Arguments of `lrc tune`.
#[derive(Debug, clap::Args)]
pub struct Tune {
    /// A `.arch` file, or a spec: the recurrences of its model.
    pub file: PathBuf,
    /// A recurrence of a `.arch` file [default: each of them].
    pub name: Option<String>,
    /// Where to measure.
    #[arg(long, default_value = "cpu")]
    pub device: args::Device,
    /// Estimate kernels by the sim device's counts instead of measuring.
    #[arg(long = "static")]
    pub modelled: bool,
    /// The kind of GPU that is estimated: sm_80 as an A100, sm_90a as an H100.
    #[arg(long, value_name = "KIND", default_value = "sm_80", requires = "modelled")]
    pub arch: String,
    /// How long it may take: `30s`, `5min`.
    #[arg(long, default_value = "5min", value_parser = time)]
    pub budget: Duration,
    /// Sequences, tokens of each, and heads [default: 2,1024,4, heads as in the model of a spec].
    #[arg(long, value_name = "B,T,H", value_parser = shape)]
    pub shape: Option<Sizes>,
    /// Override a parameter or size, or a field of the spec: `--set dk=128`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Take all times from a file of trials, and measure and write nothing.
    #[arg(long, value_name = "TRIALS")]
    pub simulate: Option<PathBuf>,
    /// Write the table of choices, for `tuned:` of a spec.
    #[arg(long, value_name = "TABLE")]
    pub export: Option<PathBuf>,
    /// Let the choices of another table compete too, and take its others over.
    #[arg(long, value_name = "TABLE")]
    pub import: Option<PathBuf>,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// What a search may take at most: a day.
const LONGEST: f64 = 86_400.0;

fn time(text: &str) -> Result<Duration, String> {
    // `5min` as well as `5 min`.
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    match Amount::parse(&format!("{} {unit}", number.trim())) {
        Some(Amount::Time(seconds)) if (0.0..=LONGEST).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err("expected a time of at most a day, as in 30s or 5min".into()),
    }
}

/// Sizes of a call unless they are given.
const SIZES: Sizes = Sizes { batch: 2, length: 1024, heads: 4 };

/// `lrc tune`
pub fn run(args: &Tune, sources: &mut Sources) -> Result<(), Failure> {
    let judge = judge(args)?;
    let (recurrences, heads) = recurrences(args, sources)?;
    let sizes = args.shape.unwrap_or(Sizes { heads, ..SIZES });
    let others = args.import.as_ref().map(|path| Table::read(path)).transpose()?;
    let journal = match &args.simulate {
        Some(path) if !path.exists() => {
            return Err(Failure::World(format!("cannot read {}: it is not there", path.display())));
        }
        Some(path) => Journal::at(path.clone()),
        None => journal()?,
    };
    if let (Some(table), None, Some(path)) = (&others, &args.simulate, &args.import) {
        table.belongs(&[judge.place()?], &path.display().to_string())?;
    }
    let search = Search {
        judge: &judge,
        sizes,
        journal: &journal,
        replay: args.simulate.is_some(),
        others: others.as_ref(),
    };
    let found = tune(&recurrences, &search, args.budget, |found| {
        if !args.json {
            say!("{}", text(found));
        }
    })?;
    let table = table(&found, others.as_ref());
    if let (Some(path), Some(table)) = (&args.export, &table) {
        table.write(path)?;
    }
    if args.json {
        say!("{}", document(&found));
        return Ok(());
    }
    if !search.replay {
        say!("trials stand in {}", journal.path().display());
    }
    match &args.export {
        Some(path) => say!("for a spec: `tuned: {}`", path.display()),
        None => say!("--export FILE writes these choices as a table, for `tuned: FILE` of a spec"),
    }
    Ok(())
}

fn judge(args: &Tune) -> Result<Judge, Failure> {
    if args.modelled {
        let hardware = Hardware::of(&args.arch).ok_or_else(|| {
            let known = HARDWARE.map(|hardware| hardware.arch).join(", ");
            Failure::Usage(format!("--arch {}: choose from {known}", args.arch))
        })?;
        return Ok(Judge::Model(hardware));
    }
    match Device::from(args.device) {
        Device::Cpu => Ok(Judge::Processor),
        Device::Sim => Err(Failure::Usage(
            "how long the sim device takes says nothing about GPUs: --static estimates what they take"
                .into(),
        )),
        Device::Cuda => match Device::Cuda.machine()? {
            Some(machine @ Machine::Cuda(_)) => Ok(Judge::Gpu(machine)),
            _ => Err(Failure::World("there is no GPU".into())),
        },
    }
}

/// Where trials are kept: beside the compiled kernels.
fn journal() -> Result<Journal, Failure> {
    let folder = Cache::folder_of_user()
        .ok_or_else(|| Failure::World("there is no folder for trials: set LRC_CACHE_DIR".into()))?;
    Ok(Journal::at(folder.join("trials.jsonl")))
}

/// What is tuned, each once, and the heads it has.
fn recurrences(args: &Tune, sources: &mut Sources) -> Result<(Vec<Recurrence>, usize), Failure> {
    let yaml = args.file.extension().is_some_and(|e| e == "yaml" || e == "yml");
    if yaml {
        if let Some(name) = &args.name {
            let why = format!("`{name}`: a spec names its model itself");
            return Err(Failure::Usage(why));
        }
        let opened = open(&args.file, &pairs(&args.set)?, sources)?;
        return of_model(&opened.model);
    }
    let namespace = declarations(&args.file, sources)?;
    let given = settings(&args.set)?;
    let decls = chosen(&namespace, ast::Kind::Recurrence, args.name.as_deref())?;
    known(&given, decls.iter().copied())?;
    if decls.is_empty() {
        let file = args.file.display();
        return Err(Failure::Usage(format!("{file} declares no recurrence")));
    }
    let all = decls.iter().map(|decl| elaborated(decl, &own(&given, decl)));
    Ok((all.collect::<Result<_, _>>()?, SIZES.heads))
}

fn of_model(model: &Model) -> Result<(Vec<Recurrence>, usize), Failure> {
    let mut all: BTreeMap<String, (usize, Recurrence)> = BTreeMap::new();
    let prepared = lrc_compiler::graph::Prepared::plain(model.clone());
    for (at, node) in prepared.model.graph.nodes.node_weights().enumerate() {
        if let Kind::Recur(recur) = &node.kind {
            let r = &recur.recurrence;
            all.entry(fingerprint(r)).or_insert_with(|| (at, r.clone()));
        }
    }
    let heads = prepared.model.graph.nodes.node_weights().find_map(|node| match &node.kind {
        Kind::Recur(recur) => Some(recur.heads),
        _ => None,
    });
    let Some(heads) = heads else {
        let why = format!("the model `{}` has no recurrence", model.name);
        return Err(Failure::Usage(why));
    };
    let mut all: Vec<(usize, Recurrence)> = all.into_values().collect();
    all.sort_by_key(|(at, _)| *at);
    Ok((all.into_iter().map(|(_, r)| r).collect(), heads))
}
