//! `spec.yaml`: what to train, on what, how long and how.

pub mod base;
mod curriculum;
mod data;
pub mod fields;
mod given;
mod monitor;
pub mod notes;
pub mod open;
pub mod optimizer;
pub mod page;
pub mod schema;
mod shaping;
pub mod tables;
mod task;
mod transforms;
pub mod tree;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use lrc_compiler::elaborate::Setting;
use lrc_dsl::{Diag, FileId};

use crate::data::{EvalSets, Task};
use crate::model::transforms::Transforms;
use crate::monitor::Monitor;
use crate::optim::Optimizer;
use crate::schedule::Amount;
use crate::schedule::levels::Levels;
use crate::schedule::run::{MOST_STEPS, Shaping};
use base::Start;
use fields::{Fields, finding};
use optimizer::Lora;
use tree::{Tree, Value};

/// A checked spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The name of the run's folder.
    pub name: String,
    /// The `.arch` file, as a path from the spec's folder.
    pub file: PathBuf,
    /// The model in it.
    pub model: Option<String>,
    /// Overridden parameters of the model.
    pub settings: BTreeMap<String, Setting>,
    /// Calls of mixers that stand in place of those laid out, by their number.
    pub layers: BTreeMap<usize, String>,
    /// What it begins with that is there.
    pub from: Option<Start>,
    /// Low-rank products beside others.
    pub lora: Option<Lora>,
    /// What is learned.
    pub task: Task,
    /// How many sequences of which length each step has, and at which rate it learns.
    pub shaping: Shaping,
    /// Tokens that run through the model at a time; larger steps add up gradients.
    pub micro: Option<f64>,
    /// Processes that hold a segment each of every sequence, where several train.
    pub segments: usize,
    /// Threads that prepare batches ahead; they change nothing but the time.
    pub workers: usize,
    /// The seed of everything random.
    pub seed: u64,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// What training does to the model besides.
    pub transforms: Transforms,
    /// Whether the model chooses the warmup: see [`crate::schedule::warmup`].
    pub auto_warmup: bool,
    /// Easier and harder tasks over the run.
    pub levels: Option<Levels>,
    /// A table of what was found to be fast, of which a run keeps a copy.
    pub tuned: Option<PathBuf>,
    /// Evaluation.
    pub eval: Eval,
    /// What is watched, and what is done about it.
    pub monitor: Monitor,
    /// Checkpoints.
    pub checkpoint: Checkpoint,
    /// Stop as soon as this accuracy is reached in an evaluation.
    pub stop_at: Option<f64>,
    /// The whole text with overrides and with every default written out, as it is kept in the run's folder: read again,
    /// it gives this spec.
    pub resolved: String,
}

/// Evaluation in the loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Eval {
    /// How often.
    pub every: Amount,
    /// On how many unseen sequences.
    pub sequences: usize,
    /// Also on sequences of so many tokens.
    pub lengths: Vec<usize>,
}

/// Checkpoints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checkpoint {
    /// How often.
    pub every: Amount,
    /// How many of the newest are kept.
    pub keep: usize,
}

/// Reads a spec. Overrides are `path=value` pairs.
pub fn read(
    path: &Path,
    file: FileId,
    text: &str,
    overrides: &[(String, String)],
) -> Result<Spec, Vec<Diag>> {
    let mut tree = tree::parse(file, text).map_err(|diag| vec![*diag])?;
    let mut diags = Vec::new();
    for (path, value) in overrides {
        if let Err(why) = tree.set(path, value) {
            diags.push(Diag::global("E0401", why));
        }
    }
    base::complete(&mut tree, path.parent().unwrap_or(Path::new("")), file, &mut diags);
    let spec = decode(path, &tree, &mut diags);
    match spec {
        Some(spec) if diags.is_empty() => Ok(spec),
        _ => Err(diags),
    }
}

/// What a kept spec says with every default written out: a run's folder of an earlier version has fewer of them. `path` is
/// that of the spec it was made from. Nothing where it cannot be read.
pub fn renewed(path: &Path, file: FileId, text: &str) -> Option<String> {
    read(path, file, text, &[]).ok().map(|spec| spec.resolved)
}

fn decode(path: &Path, tree: &Tree, diags: &mut Vec<Diag>) -> Option<Spec> {
    let stem = path.file_stem().map_or("run".into(), |s| s.to_string_lossy().into_owned());
    let mut f = Fields::of(tree, "spec", &tables::SPEC, diags);
    let spec = fields(&mut f, &stem, path.parent().unwrap_or(Path::new("")));
    let resolved = f.finish().print();
    spec.map(|spec| Spec { resolved, ..spec })
}

fn fields(f: &mut Fields, stem: &str, base: &Path) -> Option<Spec> {
    let name = name(f, stem);
    let model = f.need("model");
    let model = model.and_then(|tree| f.within("model", tree, |f| model_fields(f, base)));
    let curriculum = curriculum::read(f);
    let task = data::subject(f, &curriculum, base);
    let seed = f.whole("seed");
    let length = length(f);
    let stop_at = f.get("stop_at").is_some().then(|| f.number("stop_at"));
    let batch = shaping::batch(f);
    let micro = micro(f);
    let segments = f.size("segments");
    let workers = f.size("workers");
    let lora = optimizer::lora(f);
    let frozen = optimizer::frozen(f, lora.is_some());
    let optimizer = Optimizer { frozen, ..f.section("optimizer", optimizer::read) };
    let (schedule, auto_warmup) = f.section("schedule", shaping::schedule);
    let phases = shaping::phases(f);
    let transforms = transforms::read(f);
    let tuned = f.get("tuned").is_some().then(|| data::anchored(f, "tuned", base)).flatten();
    let eval = f.section("eval", |f| eval_fields(f, task.as_ref()));
    let checkpoint = f.section("checkpoint", checkpoint_fields);
    let monitor = monitor::read(f);
    let (ModelFields { file, name: model, settings, layers, from }, task) = (model?, task?);
    let levels = curriculum::levels(f, &curriculum, &task);
    let place = curriculum.place.or(f.place());
    let (lengths, full) = (curriculum.lengths, task.length());
    let shaping = Shaping { length, batch, lengths, phases, schedule, full, seed };
    shaping::agree(f, &shaping, (&task, levels.as_ref()), place);
    Some(Spec {
        name,
        file: base.join(file),
        model,
        settings,
        layers,
        from,
        lora,
        task,
        shaping,
        micro,
        segments,
        workers,
        seed,
        optimizer,
        transforms,
        auto_warmup,
        levels,
        tuned,
        eval,
        monitor,
        checkpoint,
        stop_at,
        resolved: String::new(),
    })
}

/// The name of the run's folder: one folder, below `runs/`.
pub(crate) fn name(f: &mut Fields, stem: &str) -> String {
    let name = f.text_or("name", stem);
    let mut parts = Path::new(&name).components();
    let one = matches!(parts.next(), Some(Component::Normal(part)) if part == name.as_str());
    if !one || parts.next().is_some() || name.chars().any(char::is_control) {
        let place = f.get("name").and_then(|tree| tree.span).or(f.place());
        let message = format!("`name` is the name of one folder, which {name:?} is not");
        let diag = finding(place, "E0402", message);
        f.diags.push(diag.help("a folder elsewhere is given with `--out FOLDER`"));
    }
    name
}

/// How long the run is.
fn length(f: &mut Fields) -> Amount {
    let length = f.amount("length");
    let place = f.get("length").and_then(|tree| tree.span).or(f.place());
    if matches!(length, Amount::Share(_)) || length.number() <= 0.0 {
        let message = "`length` is a number of steps or tokens, or a time";
        f.diags.push(finding(place, "E0402", message.into()));
    }
    if matches!(length, Amount::Steps(steps) if steps > MOST_STEPS as f64) {
        let message = format!("`length` is {length}, and a run has at most {MOST_STEPS} steps");
        f.diags.push(finding(place, "E0402", message));
    }
    length
}

/// Tokens that run through the model at a time.
fn micro(f: &mut Fields) -> Option<f64> {
    let place = f.get("micro_batch")?.span.or(f.place());
    match f.amount("micro_batch") {
        Amount::Tokens(tokens) if tokens >= 1.0 => Some(tokens),
        _ => {
            let message = "`micro_batch` is a number of tokens, such as `16k tokens`";
            f.diags.push(finding(place, "E0402", message.into()));
            None
        }
    }
}

impl Spec {
    /// Sequences of a length in a batch for evaluation: as many as hold the tokens of a step, or of
    /// a part of one.
    pub fn batch(&self, length: usize) -> usize {
        let full = self.task.length();
        let step = (self.shaping.batch.size.sequences(full) * full) as f64;
        let tokens = self.micro.map_or(step, |micro| step.min(micro));
        ((tokens / length as f64) as usize).max(1)
    }

    /// What its models are asked that training never sees.
    pub fn asked(&self) -> EvalSets {
        EvalSets { lengths: self.eval.lengths.clone(), levels: self.levels.clone() }
    }
}

struct ModelFields {
    file: String,
    name: Option<String>,
    settings: BTreeMap<String, Setting>,
    layers: BTreeMap<usize, String>,
    from: Option<Start>,
}

fn model_fields(f: &mut Fields, base: &Path) -> Option<ModelFields> {
    let from = base::start(f, base);
    let file = f.text("file");
    if f.get("file").is_none() && from.is_none() {
        let diag = finding(f.place(), "E0401", "`model` needs `file`, or `from`".into());
        f.diags.push(diag.help(
            "for example `file: my.arch`; with `from: runs/base` the model of that run goes on",
        ));
    }
    let name = f.text("name").map(|(name, _)| name);
    let mut settings = BTreeMap::new();
    if let Some(set) = f.get("set") {
        match &set.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    match value.value {
                        Value::Number(x) => {
                            settings.insert(key.text.clone(), Setting::Number(x));
                        }
                        Value::Truth(x) => {
                            settings.insert(key.text.clone(), Setting::Truth(x));
                        }
                        _ => f.wrong(&key.text, value, "a number, true or false"),
                    }
                }
            }
            _ => f.wrong("set", set, "a mapping from parameters to values"),
        }
    }
    let layers = replaced(f);
    Some(ModelFields { file: file?.0, name, settings, layers, from })
}

/// Sub-layers that are others than laid out.
fn replaced(f: &mut Fields) -> BTreeMap<usize, String> {
    let Some(tree) = f.get("layers") else { return BTreeMap::new() };
    let Value::Map(entries) = &tree.value else {
        f.wrong("layers", tree, "a mapping from numbers of sub-layers to calls of mixers");
        return BTreeMap::new();
    };
    let mut layers = BTreeMap::new();
    for (key, value) in entries {
        match (key.text.parse(), &value.value) {
            (Ok(at), Value::Text(call)) => {
                layers.insert(at, call.clone());
            }
            (Err(_), _) => {
                let message = format!("`{}` is no number of a sub-layer", key.text);
                f.diags.push(
                    finding(key.span, "E0401", message)
                        .help("they are counted from 0: `layers: {3: \"attention(heads = 2)\"}`"),
                );
            }
            _ => f.wrong(&key.text, value, "a call such as `attention(heads = 2)`"),
        }
    }
    layers
}

fn eval_fields(f: &mut Fields, task: Option<&Task>) -> Eval {
    let every = f.amount("every");
    let sequences = f.size("sequences");
    let mut lengths = vec![];
    if let Some(tree) = f.get("lengths") {
        let whole = |x: &f64| x.fract() == 0.0 && (0.0..=1e15).contains(x);
        match tree.numbers().filter(|all| all.iter().all(whole)) {
            None => f.wrong("lengths", tree, "a list of whole numbers, such as `[512, 2048]`"),
            Some(found) => lengths = found.into_iter().map(|x| x as usize).collect(),
        }
        for length in &lengths {
            if let Some((message, help)) = task.and_then(|task| task.wrong_at(*length, None)) {
                let message = format!("`eval.lengths`: {message}");
                f.diags.push(finding(tree.span, "E0402", message).help(help));
            }
        }
    }
    Eval { every, sequences, lengths }
}

fn checkpoint_fields(f: &mut Fields) -> Checkpoint {
    Checkpoint { every: f.amount("every"), keep: f.size("keep") }
}
