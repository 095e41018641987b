//! `spec.yaml`: what to train, on what, how long and how.

mod data;
mod monitor;
pub mod open;
mod optimizer;
mod shaping;
mod task;
mod treatment;
pub mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lrc_compiler::elaborate::Setting;
use lrc_dsl::{Diag, FileId};

use crate::data::{Asked, Task};
use crate::monitor::Monitor;
use crate::optim::Optimizer;
use crate::schedule::Amount;
use crate::schedule::course::Shaping;
use crate::schedule::lengths::{Buckets, Lengths};
use crate::schedule::levels::Levels;
use crate::train::treatment::Treatment;
use tree::{Fields, Tree, Value, finding};

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
    /// What is learned.
    pub task: Task,
    /// How many sequences of which length each step has, and at which rate it learns.
    pub shaping: Shaping,
    /// Tokens that run through the model at a time; larger steps add up gradients.
    pub micro: Option<f64>,
    /// Threads that prepare batches ahead; they change nothing but the time.
    pub workers: usize,
    /// The seed of everything random.
    pub seed: u64,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// What training does to the model besides.
    pub treatment: Treatment,
    /// Whether the model chooses the warmup: see [`crate::schedule::warmup`].
    pub auto_warmup: bool,
    /// Easier and harder tasks over the run.
    pub levels: Option<Levels>,
    /// Evaluation.
    pub eval: Eval,
    /// What is watched, and what is done about it.
    pub monitor: Monitor,
    /// Checkpoints.
    pub checkpoint: Checkpoint,
    /// Stop as soon as this accuracy is reached in an evaluation.
    pub stop_at: Option<f64>,
    /// The whole text with overrides, as it is kept in the run's folder.
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
    let spec = decode(path, &tree, &mut diags);
    match spec {
        Some(spec) if diags.is_empty() => Ok(spec),
        _ => Err(diags),
    }
}

/// What stands for a section that is not there.
const NOTHING: Tree = Tree { value: Value::Null, span: None };

fn decode(path: &Path, tree: &Tree, diags: &mut Vec<Diag>) -> Option<Spec> {
    let stem = path.file_stem().map_or("run".into(), |s| s.to_string_lossy().into_owned());
    let mut f = Fields::of(tree, "spec", diags);
    let name = f.text("name").map_or(stem, |(name, _)| name);
    let seed = f.whole("seed", 1, 0, u64::from(u32::MAX));
    let stop_at = f.get("stop_at").is_some().then(|| f.number("stop_at", 1.0, 0.0, 1.0));
    let workers = f.whole("workers", 1, 0, 64) as usize;
    let length = f.amount("length", Amount::Steps(1000.0));
    let micro =
        f.get("micro_batch").is_some().then(|| f.amount("micro_batch", Amount::Tokens(1.0)));
    let model = f.need("model", "`model: {file: my.arch, name: my_model}`");
    let (task, data) = (f.get("task"), f.get("data"));
    let batch = f.get("batch");
    let (optimizer, schedule) = (f.get("optimizer"), f.get("schedule"));
    let (curriculum, phases) = (f.get("curriculum"), f.get("phases"));
    let (eval, checkpoint) = (f.get("eval"), f.get("checkpoint"));
    let (watched, policies) = (f.get("monitor"), f.get("policies"));
    let treatment = treatment::read(&mut f);
    f.finish();
    if matches!(length, Amount::Share(_)) || length.number() <= 0.0 {
        let message = "`length` is a number of steps or tokens, or a time";
        diags.push(finding(tree.span, "E0402", message.into()));
    }
    let micro = match micro {
        None => None,
        Some(Amount::Tokens(tokens)) if tokens >= 1.0 => Some(tokens),
        Some(_) => {
            let message = "`micro_batch` is a number of tokens, such as `16k tokens`";
            diags.push(finding(tree.span, "E0402", message.into()));
            None
        }
    };
    let model = model.and_then(|tree| model_fields(tree, diags));
    let base = path.parent().unwrap_or(Path::new(""));
    let lengths = shaping::curriculum(curriculum.unwrap_or(&NOTHING), diags);
    let buckets = match &lengths {
        Lengths::Buckets(Buckets { lengths, .. }) => Some(lengths.clone()),
        _ => None,
    };
    let pacing = shaping::difficulty(curriculum.unwrap_or(&NOTHING), diags);
    let task = data::subject(tree, task, data, (buckets, pacing), base, diags);
    let batch = shaping::batch(batch, diags);
    let optimizer = optimizer::read(optimizer.unwrap_or(&NOTHING), diags);
    let (schedule, auto_warmup) = shaping::schedule(schedule.unwrap_or(&NOTHING), diags);
    let phases = shaping::phases(phases, diags);
    let eval = eval_fields(eval.unwrap_or(&NOTHING), diags);
    let monitor = monitor::read(watched.unwrap_or(&NOTHING), policies, diags);
    let checkpoint = checkpoint_fields(checkpoint.unwrap_or(&NOTHING), diags);
    let (file, model, settings) = model?;
    let task = task?;
    let levels = shaping::levels(curriculum.unwrap_or(&NOTHING), &task, diags);
    for length in &eval.lengths {
        if let Some((message, help)) = task.wrong_at(*length, None) {
            let message = format!("`eval.lengths`: {message}");
            diags.push(finding(tree.span, "E0402", message).help(help));
        }
    }
    let full = task.length();
    let shaping = Shaping { length, batch, lengths, phases, schedule, full, seed };
    shaping::agree(&shaping, (&task, levels.as_ref()), tree, curriculum, diags);
    let mut whole = tree.clone();
    data::anchor(&mut whole, base);
    let resolved = whole.print();
    let file = base.join(file);
    Some(Spec {
        name,
        file,
        model,
        settings,
        task,
        shaping,
        micro,
        workers,
        seed,
        optimizer,
        treatment,
        auto_warmup,
        levels,
        eval,
        monitor,
        checkpoint,
        stop_at,
        resolved,
    })
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
    pub fn asked(&self) -> Asked {
        Asked { lengths: self.eval.lengths.clone(), levels: self.levels.clone() }
    }
}

type ModelFields = (String, Option<String>, BTreeMap<String, Setting>);

fn model_fields(tree: &Tree, diags: &mut Vec<Diag>) -> Option<ModelFields> {
    let mut f = Fields::of(tree, "model", diags);
    let file = f.need("file", "`file: my.arch`").is_some().then(|| f.text("file")).flatten();
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
    f.finish();
    Some((file?.0, name, settings))
}

fn eval_fields(tree: &Tree, diags: &mut Vec<Diag>) -> Eval {
    let mut f = Fields::of(tree, "eval", diags);
    let eval = Eval {
        every: f.amount("every", Amount::Share(0.1)),
        sequences: f.whole("sequences", 256, 1, 1 << 20) as usize,
        lengths: f.get("lengths").map_or(vec![], |tree| {
            let whole = |x: &f64| x.fract() == 0.0 && (0.0..=1e15).contains(x);
            let found = tree.numbers().filter(|all| all.iter().all(whole));
            if found.is_none() {
                f.wrong("lengths", tree, "a list of whole numbers, such as `[512, 2048]`");
            }
            found.unwrap_or_default().into_iter().map(|x| x as usize).collect()
        }),
    };
    f.finish();
    eval
}

fn checkpoint_fields(tree: &Tree, diags: &mut Vec<Diag>) -> Checkpoint {
    let mut f = Fields::of(tree, "checkpoint", diags);
    let checkpoint = Checkpoint {
        every: f.amount("every", Amount::Share(0.25)),
        keep: f.whole("keep", 2, 1, 1 << 20) as usize,
    };
    f.finish();
    checkpoint
}
