//! Experiments: variations of one spec, several seeds each, measured the same way, as one table and
//! one figure.
//!
//! Every run has a folder of its own and is found again: an interrupted experiment goes on where it
//! stopped, and a finished run is not trained twice.

mod read;
pub mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lrc_compiler::graph::Prepared;
use lrc_compiler::graph::account::account;
use lrc_dsl::{Diag, FileId, Sources};
use serde::{Deserialize, Serialize};

pub use read::{assignments, schema};

use crate::config::open::{Opened, open};
use crate::config::{renewed, tree};
use crate::data::{Dataset, EvalSets, fits};
use crate::device::Device;
use crate::ground::error::{Failure, at_path};
use crate::ground::lock::Lock;
use crate::ops::loss::Score;
use crate::report::record::Summary;
use crate::train::engine::Engine;
use crate::train::evaluate::held_out;
use crate::train::ready::{Data, ready};
use crate::train::{Options, checkpoint, train};

/// Overrides of a spec: a dotted path and a value each.
pub type Overrides = Vec<(String, String)>;

/// A checked experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// The name of its folder.
    pub name: String,
    /// Above its tables.
    pub title: String,
    /// The spec that is varied.
    pub spec: PathBuf,
    /// A run per case and seed.
    pub seeds: Vec<u64>,
    /// What is compared.
    pub cases: Vec<Case>,
    /// On what each series is trained, by name: a column each. Without it each case is a row by itself.
    pub across: Vec<String>,
    /// What trained models are asked; without it, the task as they were trained on it.
    pub ask: Option<Ask>,
    /// Unseen sequences of a measurement.
    pub sequences: usize,
}

/// One variation.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Cases of one series make one curve of what is reached.
    pub series: String,
    /// Its name.
    pub name: String,
    /// Its row of the table.
    pub row: String,
    /// Its column, where the experiment has several.
    pub column: usize,
    /// How it differs from the spec.
    pub set: Overrides,
}

/// A value of the spec that differs between measurements of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// What it is called.
    pub name: String,
    /// The paths that take each value.
    pub set: Vec<String>,
    /// The values, rising.
    pub to: Vec<f64>,
    /// What counts as reached: the largest value with this accuracy, for each of these.
    pub thresholds: Vec<f64>,
}

/// What one trained model answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The case's series.
    pub series: String,
    /// The case.
    pub case: String,
    /// The seed.
    pub seed: u64,
    /// Numbers of the model's states, without caches.
    pub state: usize,
    /// Learned numbers.
    pub parameters: usize,
    /// Accuracy at each asked value; a single one where nothing is varied.
    pub accuracy: Vec<f64>,
    /// Loss likewise.
    pub loss: Vec<f64>,
    /// Seconds of training.
    pub seconds: f64,
}

/// Reads an experiment.
pub fn read(path: &Path, file: FileId, text: &str) -> Result<Experiment, Vec<Diag>> {
    let tree = tree::parse(file, text).map_err(|diag| vec![*diag])?;
    let mut diags = Vec::new();
    match read::decode(path, &tree, &mut diags) {
        Some(experiment) if diags.is_empty() => Ok(experiment),
        _ => Err(diags),
    }
}

/// How an experiment is run.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its folder.
    pub folder: PathBuf,
    /// Where to run.
    pub device: Device,
    /// Show a progress bar per run.
    pub progress: bool,
}

/// Trains what is not trained yet, asks every model, and writes `results.json`, `report.html` and
/// `figure.svg`. `say` hears of each run.
pub fn run(
    experiment: &Experiment,
    running: &Running,
    sources: &mut Sources,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Outcome>, Failure> {
    // Everything is checked before the first run begins.
    check(experiment, running.device, sources)?;
    std::fs::create_dir_all(&running.folder).map_err(at_path("make", &running.folder))?;
    let _lock = Lock::take(&running.folder, "running an experiment")?;
    let mut outcomes = Vec::new();
    let whole = experiment.cases.len() * experiment.seeds.len();
    for seed in &experiment.seeds {
        for case in &experiment.cases {
            let outcome = one(experiment, case, *seed, running, sources)?;
            outcomes.push(outcome);
            report::write(experiment, &outcomes, &running.folder)?;
            let Some(Outcome { accuracy, seconds, .. }) = outcomes.last() else { continue };
            let said: Vec<String> = accuracy.iter().map(|x| format!("{x:.3}")).collect();
            say(&format!(
                "{:>3} of {whole}  {}, seed {seed}: accuracy {} ({seconds:.0} s)",
                outcomes.len(),
                case.name,
                said.join(" ")
            ));
        }
    }
    Ok(outcomes)
}

/// A case that can be run.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// Its name.
    pub case: String,
    /// Learned numbers.
    pub parameters: usize,
    /// Numbers of the model's states, without caches.
    pub state: usize,
    /// How long a run is.
    pub length: String,
}

/// Opens every case as training would, and compares what its models are asked with their vocabularies.
pub fn check(
    experiment: &Experiment,
    device: Device,
    sources: &mut Sources,
) -> Result<Vec<Checked>, Failure> {
    let mut checked = Vec::new();
    for case in &experiment.cases {
        let one = checked_case(experiment, case, device, sources);
        checked.push(one.map_err(|failure| failure.of(&case.name))?);
    }
    Ok(checked)
}

fn checked_case(
    experiment: &Experiment,
    case: &Case,
    device: Device,
    sources: &mut Sources,
) -> Result<Checked, Failure> {
    let Opened { spec, model, .. } = open(&experiment.spec, &case.set, sources)?;
    ready(&spec, &model, device, Data::Elsewhere)?;
    for value in experiment.ask.iter().flat_map(|ask| &ask.to) {
        let task = asked(experiment, case, *value, spec.seed, sources)?.spec.task;
        fits(&task, task.vocab(), model.vocab)?;
    }
    let counts = account(&model);
    Ok(Checked {
        case: case.name.clone(),
        parameters: counts.parameters,
        state: counts.recurrences.iter().map(|(_, cost)| cost.state).sum(),
        length: spec.shaping.length.to_string(),
    })
}

/// The folder of one run: what of the name can be a file's name, and the seed.
fn folder(case: &Case, seed: u64) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let mut name: String = case.name.chars().map(plain).collect();
    while name.contains("--") {
        name = name.replace("--", "-");
    }
    Path::new(name.trim_matches(['-', '.'])).join(format!("seed-{seed}"))
}

/// The spec of a case with a seed.
fn seeded(case: &Case, seed: u64) -> Overrides {
    let mut set = case.set.clone();
    set.push(("seed".into(), seed.to_string()));
    set
}

fn asked(
    experiment: &Experiment,
    case: &Case,
    value: f64,
    seed: u64,
    sources: &mut Sources,
) -> Result<Opened, Failure> {
    let mut set = seeded(case, seed);
    for path in experiment.ask.iter().flat_map(|ask| &ask.set) {
        set.push((path.clone(), value.to_string()));
    }
    open(&experiment.spec, &set, sources)
}

/// Trains one model if need be, and asks it.
fn one(
    experiment: &Experiment,
    case: &Case,
    seed: u64,
    running: &Running,
    sources: &mut Sources,
) -> Result<Outcome, Failure> {
    let at = running.folder.join(folder(case, seed));
    let Opened { spec, model, arch, .. } = open(&experiment.spec, &seeded(case, seed), sources)?;
    let counts = account(&model);
    let summary = match known(&at, experiment, [&spec.resolved, &arch], sources)? {
        Some(summary) if summary.finished => summary,
        begun => {
            let options = Options {
                resume: begun.is_some() || at.join("metrics.jsonl").exists(),
                ..Options::of_many(
                    at.clone(),
                    running.device,
                    running.progress,
                    "the same command goes",
                )
            };
            train(&spec, model.clone(), &arch, &options)?
        }
    };
    let params = checkpoint::parameters(&at, None, &model.graph.params)?;
    let mut engine = Engine::asked(Prepared::plain(model), &params, running.device)?;
    let mut outcome = Outcome {
        series: case.series.clone(),
        case: case.name.clone(),
        seed,
        state: counts.recurrences.iter().map(|(_, cost)| cost.state).sum(),
        parameters: counts.parameters,
        accuracy: vec![],
        loss: vec![],
        seconds: summary.seconds,
    };
    let tasks = match &experiment.ask {
        None => vec![spec.task.clone()],
        Some(ask) => ask
            .to
            .iter()
            .map(|value| Ok(asked(experiment, case, *value, seed, sources)?.spec.task))
            .collect::<Result<_, Failure>>()?,
    };
    for task in tasks {
        let source = Dataset::open_for(&task, seed, &EvalSets::default(), engine.model().vocab)?;
        let mut score = Score::default();
        for set in source.held_out(Some(experiment.sequences)) {
            let batch = spec.batch(set.length);
            score.add(&held_out(&mut engine, &source, &set, batch)?.score);
        }
        outcome.accuracy.push(score.accuracy());
        outcome.loss.push(score.loss);
    }
    Ok(outcome)
}

/// What a run's folder holds of the same spec and model; a run of others there is an error.
fn known(
    folder: &Path,
    experiment: &Experiment,
    [spec, arch]: [&str; 2],
    sources: &mut Sources,
) -> Result<Option<Summary>, Failure> {
    for (file, now) in [("spec.resolved.yaml", spec), ("model.arch", arch)] {
        let Ok(before) = std::fs::read_to_string(folder.join(file)) else { return Ok(None) };
        // A spec that an earlier version kept says less, and may mean the same.
        let mut means_the_same = || {
            let id = sources.add(folder.join(file).display().to_string(), before.as_str());
            renewed(&experiment.spec, id, &before).as_deref() == Some(now)
        };
        if before != now && (file == "model.arch" || !means_the_same()) {
            return Err(Failure::Usage(format!(
                "{} holds a run whose {file} was another: move it away, or give another folder with --out",
                folder.display()
            )));
        }
    }
    let text = std::fs::read_to_string(folder.join("summary.json")).unwrap_or_default();
    Ok(serde_json::from_str(&text).ok())
}

/// Outcomes by case in the order of the experiment.
pub fn by_case<'o>(
    experiment: &'o Experiment,
    outcomes: &'o [Outcome],
) -> Vec<(&'o Case, Vec<&'o Outcome>)> {
    let mut found: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        found.entry(outcome.case.as_str()).or_default().push(outcome);
    }
    let cases = experiment.cases.iter();
    cases.filter_map(|case| Some((case, found.remove(case.name.as_str())?))).collect()
}
