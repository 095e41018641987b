//! One trial: what a point makes of the spec and its model, and what its run showed.

use std::collections::BTreeMap;

use lrc_compiler::elaborate::Setting;
use lrc_dsl::{FileId, Sources};

use super::measure::{ALL, Costs, Measure};
use super::solve::{Solved, solve};
use super::space::{sets, short};
use super::time::per_token;
use super::{Constraint, Match, Study};
use crate::config::open::{Opened, open};
use crate::config::tree::{self, Value};
use crate::eval::experiment::Overrides;
use crate::ground::error::Failure;
use crate::report::record::{Evals, Summary};

/// Metrics by their short names: of the run's own held-out set, of the run, of its model.
pub const METRICS: [&str; 13] = [
    "loss",
    "accuracy",
    "exact",
    "bits_per_byte",
    "final_loss",
    "best_val_loss",
    "seconds",
    "tokens_per_second",
    "parameters",
    "state",
    "state_bytes",
    "flops",
    "time_per_token",
];

/// Whether a metric may be one of a run.
pub fn known(metric: &str) -> bool {
    METRICS.contains(&metric) || metric.strip_prefix("eval.").is_some_and(|rest| rest.contains('.'))
}

/// A trial that can be run.
#[derive(Clone, Debug)]
pub struct Elaborated {
    /// Its spec and its model.
    pub opened: Opened,
    /// What the model costs.
    pub costs: Costs,
    /// Sizes that were solved for.
    pub solved: Overrides,
    /// Of the elaborated model and of all of the spec besides: equal trials have equal ones.
    pub hash: String,
}

/// What took long to find out of a trial, and stands in the journal.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Sizes that were solved for, where they were.
    pub solved: Option<Overrides>,
    /// Seconds of a training step per token, modelled.
    pub time: Option<f64>,
}

/// What a point makes of the spec; an error is the point's. What is known of it already is not found out again.
pub fn elaborate(
    study: &Study,
    point: &[f64],
    name: &str,
    known: &Known,
    sources: &mut Sources,
) -> Result<Elaborated, Failure> {
    let mut set = study.set.clone();
    set.extend(sets(&study.space, point));
    let solved = match &known.solved {
        Some(solved) => solved.clone(),
        None => solved(study, &set, sources)?,
    };
    set.extend(solved.iter().cloned());
    set.push(("name".into(), name.to_string()));
    let opened = open(&study.spec, &set, sources)?;
    let mut costs = Costs::of(&opened.model, opened.spec.task.length());
    let timed = |bound: &&Constraint| bound.measure == Measure::TimePerToken;
    // What costs nothing to know first.
    study.constraints.iter().filter(|bound| !timed(bound)).try_for_each(|b| keeps(&costs, b))?;
    if study.timed() {
        let time = known.time.map_or_else(|| per_token(&opened, study.gpu), Ok)?;
        costs.time = Some(time);
        study.constraints.iter().filter(timed).try_for_each(|bound| keeps(&costs, bound))?;
    }
    let hash = hash(&opened);
    Ok(Elaborated { opened, costs, solved, hash })
}

/// Refuses what breaks a constraint.
fn keeps(costs: &Costs, bound: &Constraint) -> Result<(), Failure> {
    let value = costs.get(bound.measure);
    let (name, is) = (bound.measure.name(), short(value));
    if value > bound.most {
        let most = short(bound.most);
        return Err(Failure::Usage(format!("`{name}` is {is}, at most {most} are allowed")));
    }
    if value < bound.least {
        let least = short(bound.least);
        return Err(Failure::Usage(format!("`{name}` is {is}, at least {least} are wanted")));
    }
    Ok(())
}

/// The sizes that are solved for, one after the other.
fn solved(study: &Study, set: &Overrides, sources: &mut Sources) -> Result<Overrides, Failure> {
    let mut set = set.clone();
    let begun = set.len();
    for of in &study.matches {
        let size = matched(study, of, &set, sources)?;
        set.push((of.by.clone(), size.to_string()));
    }
    Ok(set.split_off(begun))
}

/// The size that brings a measure near its number.
fn matched(
    study: &Study,
    of: &Match,
    set: &Overrides,
    sources: &mut Sources,
) -> Result<u64, Failure> {
    let begun = open(&study.spec, set, sources)?;
    let name = of.by.strip_prefix("model.set.").unwrap_or(&of.by);
    let start = match begun.spec.settings.get(name) {
        Some(Setting::Number(x)) if *x >= 1.0 => *x as u64,
        _ => START,
    };
    let mut measure = |size: u64| {
        let mut set = set.clone();
        set.push((of.by.clone(), size.to_string()));
        let opened = open(&study.spec, &set, &mut Sources::default())?;
        match of.measure {
            Measure::TimePerToken => per_token(&opened, study.gpu),
            other => Ok(Costs::of(&opened.model, opened.spec.task.length()).get(other)),
        }
    };
    let said = |failure: Failure| failure.of(&format!("`{}` by `{}`", of.measure.name(), of.by));
    let Solved { size, value } = solve(of.to, start, &mut measure).map_err(said)?;
    if (value - of.to).abs() > of.within * of.to {
        return Err(Failure::Usage(format!(
            "`{}` comes no nearer to {} than {} (`{}` = {size}), and `within` is {}%",
            of.measure.name(),
            short(of.to),
            short(value),
            of.by,
            100.0 * of.within
        )));
    }
    Ok(size)
}

/// Where a search for a size begins that the spec does not say.
const START: u64 = 16;

/// A fingerprint of the elaborated model and of what the spec says besides.
fn hash(opened: &Opened) -> String {
    let Opened { spec, model, .. } = opened;
    let mut rest = String::new();
    if let Ok(tree) = tree::parse(FileId(0), &spec.resolved)
        && let Value::Map(entries) = &tree.value
    {
        for (key, value) in
            entries.iter().filter(|(key, _)| !["name", "model"].contains(&key.text.as_str()))
        {
            rest += &format!("{}: {}\n", key.text, value.inline());
        }
    }
    let model = format!("{:?} {:?} {:?} {:?}", model.graph, model.hidden, model.head, model.losses);
    blake3::hash(format!("{rest}{}", unplaced(&model)).as_bytes()).to_hex()[..32].to_string()
}

/// A text without the places of files that it names: comments and order of files change no model.
fn unplaced(text: &str) -> String {
    let mut pieces = text.split("Span {");
    let mut out = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        out.push_str(piece.split_once('}').map_or("", |(_, rest)| rest));
    }
    out
}

/// What an evaluation and the model show, by name. `task` names the run's own set; a mixture of corpora has none, and its first
/// one counts.
pub fn shown(eval: &Evals, costs: &Costs, task: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    let own = match eval.contains_key(task) {
        true => task,
        false => eval.keys().find(|set| !set.contains(", ")).map_or(task, String::as_str),
    };
    for (set, metrics) in eval {
        for (metric, value) in metrics {
            all.insert(format!("eval.{set}.{metric}"), *value);
        }
    }
    all.extend(eval.get(own).into_iter().flatten().map(|(name, x)| (name.clone(), *x)));
    for (name, measure) in ALL {
        let value = costs.get(measure);
        // No number is one that nobody asked for.
        all.extend((!value.is_nan()).then(|| (name.to_string(), value)));
    }
    all
}

/// The same of a run, with what it shows as a whole.
pub fn metrics(summary: &Summary, costs: &Costs, task: &str) -> BTreeMap<String, f64> {
    let mut all = shown(&summary.eval, costs, task);
    let more = [("final_loss", summary.final_loss), ("best_val_loss", summary.best_val_loss)];
    all.extend(more.into_iter().filter_map(|(name, x)| Some((name.to_string(), x?))));
    all.insert("seconds".into(), summary.seconds);
    all.insert("tokens_per_second".into(), summary.tokens_per_second);
    all
}

/// The objectives' values; a metric that the run does not have is a mistake of the study.
pub fn values(study: &Study, all: &BTreeMap<String, f64>) -> Result<Vec<f64>, Failure> {
    let value = |metric: &str| {
        all.get(metric).copied().ok_or_else(|| {
            let known: Vec<&str> = all.keys().map(String::as_str).collect();
            Failure::Usage(format!(
                "the runs of this study have no metric `{metric}`; they have {}",
                known.join(", ")
            ))
        })
    };
    study.objectives.iter().map(|objective| value(&objective.metric)).collect()
}
