//! `spec.yaml`: what to train, on what, how long and how.

pub mod open;
pub mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lrc_compiler::elaborate::Setting;
use lrc_dsl::{Diag, FileId};

use crate::data::Task;
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
    /// Sequences of a batch.
    pub batch: usize,
    /// How long.
    pub length: Amount,
    /// The seed of everything random.
    pub seed: u64,
    /// The optimiser.
    pub adamw: AdamW,
    /// The learning rate over the run.
    pub schedule: Schedule,
    /// Evaluation.
    pub eval: Eval,
    /// Checkpoints.
    pub checkpoint: Checkpoint,
    /// Stop as soon as this accuracy is reached in an evaluation.
    pub stop_at: Option<f64>,
    /// The whole text with overrides, as it is kept in the run's folder.
    pub resolved: String,
}

/// An amount of training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Optimiser steps.
    Steps(f64),
    /// Tokens.
    Tokens(f64),
    /// A share of the whole run.
    Share(f64),
}

impl Amount {
    /// In tokens, given those of a step and of the run.
    pub fn tokens(self, per_step: f64, whole: f64) -> f64 {
        match self {
            Amount::Steps(steps) => steps * per_step,
            Amount::Tokens(tokens) => tokens,
            Amount::Share(share) => share * whole,
        }
    }

    /// Reads `5%`, `200 steps`, `1.5M tokens`, or a plain number of tokens.
    pub fn parse(text: &str) -> Option<Amount> {
        let text = text.trim();
        if let Some(share) = text.strip_suffix('%') {
            return share.trim().parse().ok().map(|x: f64| Amount::Share(x / 100.0));
        }
        let (number, unit) = match text.split_once(' ') {
            Some((number, unit)) => (number, unit.trim()),
            None => (text, "tokens"),
        };
        let (number, factor) = match number.chars().last()? {
            'k' | 'K' => (&number[..number.len() - 1], 1e3),
            'M' => (&number[..number.len() - 1], 1e6),
            'B' => (&number[..number.len() - 1], 1e9),
            _ => (number, 1.0),
        };
        let x = number.replace('_', "").parse::<f64>().ok()? * factor;
        match unit {
            "step" | "steps" => Some(Amount::Steps(x)),
            "token" | "tokens" | "tok" => Some(Amount::Tokens(x)),
            _ => None,
        }
    }
}

/// AdamW (Loshchilov and Hutter 2019).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Peak learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay, for parameters that are not declared `no decay`.
    pub weight_decay: f64,
    /// Largest norm of the whole gradient.
    pub clip: f64,
}

/// The learning rate over the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The shape after warmup.
    pub shape: Shape,
    /// Linear rise from 0.
    pub warmup: Amount,
    /// Share of the peak at the end.
    pub floor: f64,
}

/// Shapes of a schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Flat.
    Constant,
    /// Half a cosine wave to the floor.
    Cosine,
    /// Flat, then a line to the floor over the last part (warmup, stable, decay).
    Wsd {
        /// How long the last part is.
        decay: Amount,
    },
}

impl Schedule {
    /// The factor on the peak rate after `tokens` of `whole`, with `per_step` tokens in a step. It
    /// depends on nothing else, so that resuming is exact.
    pub fn factor(&self, tokens: f64, per_step: f64, whole: f64) -> f64 {
        let warmup = self.warmup.tokens(per_step, whole);
        if tokens < warmup {
            return (tokens + per_step).min(warmup) / warmup;
        }
        let slope = |done: f64| self.floor + (1.0 - self.floor) * (1.0 - done.clamp(0.0, 1.0));
        match self.shape {
            Shape::Constant => 1.0,
            Shape::Cosine => {
                let done = ((tokens - warmup) / (whole - warmup).max(1.0)).clamp(0.0, 1.0);
                let wave = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
                self.floor + (1.0 - self.floor) * wave
            }
            Shape::Wsd { decay } => {
                let decay = decay.tokens(per_step, whole).max(1.0);
                slope((tokens - (whole - decay)) / decay)
            }
        }
    }
}

/// Evaluation in the loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Eval {
    /// How often.
    pub every: Amount,
    /// On how many unseen sequences.
    pub sequences: usize,
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

fn decode(path: &Path, tree: &Tree, diags: &mut Vec<Diag>) -> Option<Spec> {
    let stem = path.file_stem().map_or("run".into(), |s| s.to_string_lossy().into_owned());
    let mut f = Fields::of(tree, "spec", diags);
    let name = f.text("name").map_or(stem, |(name, _)| name);
    let batch = f.whole("batch", 32, 1, 1 << 20) as usize;
    let seed = f.whole("seed", 1, 0, u64::from(u32::MAX));
    let stop_at = f.get("stop_at").is_some().then(|| f.number("stop_at", 1.0, 0.0, 1.0));
    let length = amount(&mut f, "length", Amount::Steps(1000.0));
    let (model, task) = (
        f.need("model", "`model: {file: my.arch, name: my_model}`"),
        f.need("task", "`task: {mqar: {vocab: 256, length: 64, pairs: 4}}`"),
    );
    let (optimizer, schedule) = (f.get("optimizer"), f.get("schedule"));
    let (eval, checkpoint) = (f.get("eval"), f.get("checkpoint"));
    f.finish();
    if matches!(length, Amount::Share(_)) {
        diags.push(finding(tree.span, "E0402", "`length` is a number of steps or tokens".into()));
    }
    let model = model.and_then(|tree| model_fields(tree, diags));
    let base = path.parent().unwrap_or(Path::new(""));
    let task = task.and_then(|tree| task_fields(tree, base, diags));
    let empty = Tree { value: Value::Null, span: None };
    let adamw = adamw_fields(optimizer.unwrap_or(&empty), diags);
    let schedule = schedule_fields(schedule.unwrap_or(&empty), diags);
    let eval = eval_fields(eval.unwrap_or(&empty), diags);
    let checkpoint = checkpoint_fields(checkpoint.unwrap_or(&empty), diags);
    let (file, model, settings) = model?;
    Some(Spec {
        name,
        file: base.join(file),
        model,
        settings,
        task: task?,
        batch,
        length,
        seed,
        adamw,
        schedule,
        eval,
        checkpoint,
        stop_at,
        resolved: tree.print(),
    })
}

fn amount(f: &mut Fields, name: &'static str, default: Amount) -> Amount {
    let Some(tree) = f.get(name) else { return default };
    let parsed = match &tree.value {
        Value::Number(x) => Some(Amount::Tokens(*x)),
        Value::Text(text) => Amount::parse(text),
        _ => None,
    };
    match parsed {
        Some(amount @ (Amount::Steps(x) | Amount::Tokens(x) | Amount::Share(x)))
            if x >= 0.0 && x.is_finite() =>
        {
            amount
        }
        _ => {
            let message = format!("`{name}` is {}, which is no amount", tree.words());
            f.diags.push(
                finding(tree.span, "E0401", message)
                    .label("expected an amount")
                    .help("amounts are written `200 steps`, `1.5M tokens` or `5%`"),
            );
            default
        }
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

fn task_fields(tree: &Tree, base: &Path, diags: &mut Vec<Diag>) -> Option<Task> {
    let mut f = Fields::of(tree, "task", diags);
    let kinds = [f.get("mqar"), f.get("parity"), f.get("modular"), f.get("text")];
    let given: Vec<(usize, &Tree)> =
        kinds.iter().enumerate().filter_map(|(at, tree)| tree.map(|tree| (at, tree))).collect();
    f.finish();
    let [(kind, inner)] = given[..] else {
        diags.push(
            finding(tree.span, "E0401", "`task` needs exactly one kind".into())
                .help("`mqar`, `parity`, `modular` or `text`, each with its fields: `task: {parity: {length: 40}}`"),
        );
        return None;
    };
    let name = ["mqar", "parity", "modular", "text"][kind];
    let mut f = Fields::of(inner, name, diags);
    let length = f.whole("length", 64, 2, 1 << 20) as usize;
    let task = match kind {
        0 => {
            let pairs = f.whole("pairs", 4, 1, 1 << 20);
            Some(Task::Mqar {
                vocab: f.whole("vocab", 8192, 8, 1 << 24) as usize,
                length,
                pairs: pairs as usize,
                fewest: f.whole("fewest", pairs, 1, pairs) as usize,
                power: f.number("power", 0.01, 1e-4, 10.0),
            })
        }
        1 => Some(Task::Parity { length }),
        2 => Some(Task::Modular { length, modulus: f.whole("modulus", 5, 2, 64) as usize }),
        _ => {
            let path = f.need("path", "`path: my.txt`").is_some().then(|| f.text("path")).flatten();
            path.map(|(path, _)| Task::Text { path: base.join(path), length })
        }
    };
    f.finish();
    if let Some(Task::Mqar { vocab, length, pairs, .. }) = &task {
        let (vocab, length, pairs) = (*vocab, *length, *pairs);
        let room = length >= 4 * pairs && vocab / 2 > pairs + 1;
        if !room {
            let message =
                format!("{pairs} pairs do not fit {length} tokens and a vocabulary of {vocab}");
            diags.push(finding(inner.span, "E0402", message).help(
                "a sequence needs 4 tokens per pair, and half the vocabulary more keys than pairs",
            ));
            return None;
        }
    }
    task
}

fn adamw_fields(tree: &Tree, diags: &mut Vec<Diag>) -> AdamW {
    let mut f = Fields::of(tree, "optimizer", diags);
    let inner = f.get("adamw").cloned().unwrap_or(Tree { value: Value::Null, span: None });
    f.finish();
    let mut f = Fields::of(&inner, "adamw", diags);
    let adamw = AdamW {
        lr: f.number("lr", 1e-3, 0.0, 100.0),
        beta1: f.number("beta1", 0.9, 0.0, 0.999_999),
        beta2: f.number("beta2", 0.95, 0.0, 0.999_999_9),
        eps: f.number("eps", 1e-8, 0.0, 1.0),
        weight_decay: f.number("weight_decay", 0.1, 0.0, 100.0),
        clip: f.number("clip", 1.0, 0.0, 1e9),
    };
    f.finish();
    adamw
}

fn schedule_fields(tree: &Tree, diags: &mut Vec<Diag>) -> Schedule {
    let mut f = Fields::of(tree, "schedule", diags);
    let kinds =
        [("wsd", f.get("wsd")), ("cosine", f.get("cosine")), ("constant", f.get("constant"))];
    let given: Vec<(&str, Tree)> =
        kinds.iter().filter_map(|(name, tree)| tree.map(|tree| (*name, tree.clone()))).collect();
    f.finish();
    let (name, inner) = match &given[..] {
        [] => ("wsd", Tree { value: Value::Null, span: None }),
        [(name, inner)] => (*name, inner.clone()),
        _ => {
            diags.push(finding(tree.span, "E0401", "`schedule` needs exactly one shape".into()));
            ("constant", Tree { value: Value::Null, span: None })
        }
    };
    let mut f = Fields::of(&inner, name, diags);
    let warmup = amount(&mut f, "warmup", Amount::Share(0.05));
    let schedule = match name {
        "wsd" => Schedule {
            shape: Shape::Wsd { decay: amount(&mut f, "decay", Amount::Share(0.2)) },
            warmup,
            floor: f.number("floor", 0.0, 0.0, 1.0),
        },
        "cosine" => {
            Schedule { shape: Shape::Cosine, warmup, floor: f.number("floor", 0.1, 0.0, 1.0) }
        }
        _ => Schedule { shape: Shape::Constant, warmup, floor: 1.0 },
    };
    f.finish();
    if let (Amount::Share(up), Shape::Wsd { decay: Amount::Share(down) }) =
        (schedule.warmup, &schedule.shape)
        && up + down > 1.0
    {
        let message = format!("warmup and decay take {:.0}% of the run", (up + down) * 100.0);
        let diag = finding(inner.span.or(tree.span), "E0401", message);
        diags.push(diag.help("together they take 100% at most"));
    }
    schedule
}

fn eval_fields(tree: &Tree, diags: &mut Vec<Diag>) -> Eval {
    let mut f = Fields::of(tree, "eval", diags);
    let eval = Eval {
        every: amount(&mut f, "every", Amount::Share(0.1)),
        sequences: f.whole("sequences", 256, 1, 1 << 20) as usize,
    };
    f.finish();
    eval
}

fn checkpoint_fields(tree: &Tree, diags: &mut Vec<Diag>) -> Checkpoint {
    let mut f = Fields::of(tree, "checkpoint", diags);
    let checkpoint = Checkpoint {
        every: amount(&mut f, "every", Amount::Share(0.25)),
        keep: f.whole("keep", 2, 1, 1 << 20) as usize,
    };
    f.finish();
    checkpoint
}
