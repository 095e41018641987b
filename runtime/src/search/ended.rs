//! One trial trained to its rung, and what it showed.

use std::path::Path;

use serde_json::json;

use super::Study;
use super::journal::{Operation, State};
use super::next::{self, Chooser, Job};
use super::run::Searching;
use super::space::short;
use super::trial::{Elaborated, metrics, values};
use crate::ground::error::Failure;
use crate::report::record::{self, Evals, Summary};
use crate::train::ready::{Data, ready};
use crate::train::{Options, train};

/// What training gave.
pub(super) enum Ended {
    /// Tokens at a rung, the first objective there, and the tokens of the whole run.
    Rung { tokens: u64, value: f64, whole: Option<f64> },
    /// The whole run: its tokens, the objectives, seconds, and the first objective at its evaluations.
    Whole { tokens: u64, values: Vec<f64>, seconds: f64, shown: Vec<(u64, f64)> },
    /// Nothing to compare.
    Failed(String),
}

impl Ended {
    /// What the journal hears.
    pub(super) fn operations(&self, job: &Job) -> Vec<Operation> {
        match self {
            Ended::Rung { tokens, value, whole } => {
                let whole = whole.filter(|_| job.whole.is_none());
                let noted = whole.map(|whole| Operation::Note(job.id, next::WHOLE, json!(whole)));
                let shown = Operation::Intermediate(job.id, *tokens as i64, *value);
                noted.into_iter().chain([shown]).collect()
            }
            Ended::Whole { tokens, values, seconds, shown } => {
                let mut all = vec![
                    Operation::Note(job.id, "lrc:tokens", json!(tokens)),
                    Operation::Note(job.id, "lrc:seconds", json!(seconds)),
                ];
                let at = shown.iter();
                all.extend(at.map(|(t, x)| Operation::Intermediate(job.id, *t as i64, *x)));
                all.push(Operation::State(job.id, State::Complete, Some(values.clone())));
                all
            }
            Ended::Failed(why) => vec![
                Operation::Note(job.id, next::WHY, json!(why)),
                Operation::State(job.id, State::Fail, None),
            ],
        }
    }

    /// For people.
    pub(super) fn said(&self, study: &Study, job: &Job) -> String {
        let named = |values: &[f64]| {
            let each = study.objectives.iter().zip(values);
            each.map(|(o, x)| format!("{} {}", o.metric, short(*x))).collect::<Vec<_>>().join(", ")
        };
        match self {
            Ended::Rung { tokens, value, .. } => {
                format!("{} at {tokens} tokens, rung {}", named(&[*value]), job.rung)
            }
            Ended::Whole { values, seconds, .. } => format!("{} ({seconds:.0} s)", named(values)),
            Ended::Failed(why) => format!("failed: {why}"),
        }
    }
}

/// Trains a trial to its rung.
pub(super) fn train_one(
    study: &Study,
    chooser: &Chooser,
    job: &Job,
    searching: &Searching,
) -> Result<Ended, Failure> {
    let Elaborated { opened, costs, .. } = &job.trial;
    let folder = next::folder(&chooser.trials, job.number);
    let mut options =
        Options::of_many(folder.clone(), searching.device, searching.progress, "`--resume` goes");
    let share = study.halving.and_then(|of| of.rungs().get(job.rung).copied()).unwrap_or(1.0);
    let mut whole = job.whole;
    if share < 1.0 {
        if whole.is_none() {
            let made = ready(&opened.spec, &opened.model, searching.device, Data::Elsewhere)?;
            whole = made.needs.tokens;
        }
        // Rungs of a short run may lie in one step: each is one step behind the other at least.
        let least = job.reached + 1;
        let pause = whole.map(|whole| (share * whole).ceil() as u64);
        options.pause = pause.map(|tokens| tokens.max(least));
    }
    let summary = match train(&opened.spec, opened.model.clone(), &opened.arch, &options) {
        Ok(summary) => summary,
        Err(Failure::Diverged(why) | Failure::Memory(why) | Failure::Compile(why)) => {
            return Ok(Ended::Failed(why));
        }
        Err(other) => return Err(other),
    };
    let metrics = metrics(&summary, costs, opened.spec.task.name());
    let values = values(study, &metrics)?;
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        return Ok(Ended::Failed(format!("`{}` is no number", study.objectives[at].metric)));
    }
    if !summary.finished {
        let value = values.first().copied().unwrap_or_default();
        return Ok(Ended::Rung { tokens: summary.tokens, value, whole });
    }
    let shown = shown(study, job, &folder, &summary)?;
    Ok(Ended::Whole { tokens: summary.tokens, values, seconds: summary.seconds, shown })
}

/// What Optuna calls intermediate values: of rungs the last one, which is the end of the run; else what each evaluation of the
/// run showed of the first objective. Optuna has none where there are several objectives, nor are there any of what no
/// evaluation measures.
fn shown(
    study: &Study,
    job: &Job,
    folder: &Path,
    summary: &Summary,
) -> Result<Vec<(u64, f64)>, Failure> {
    let [objective] = &study.objectives[..] else { return Ok(vec![]) };
    let Elaborated { opened, costs, .. } = &job.trial;
    let of = |eval: &Evals| {
        let summary = Summary { eval: eval.clone(), ..summary.clone() };
        metrics(&summary, costs, opened.spec.task.name()).get(&objective.metric).copied()
    };
    if study.halving.is_some() {
        return Ok(of(&summary.eval).map(|x| (summary.tokens, x)).into_iter().collect());
    }
    if of(&Evals::new()).is_some() {
        return Ok(vec![]);
    }
    let evals = record::read(folder)?.evals;
    let each = evals.iter().filter_map(|eval| Some((eval.tokens, of(&eval.eval)?)));
    Ok(each.filter(|(_, x)| x.is_finite()).collect())
}
