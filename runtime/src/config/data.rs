//! `data`: corpora, and the choice between them and a task.

use std::path::{Path, PathBuf};

use super::curriculum::Curriculum;
use super::fields::{Fields, finding};
use super::task;
use super::tree::{Tree, Value};
use crate::data::corpus::{Corpora, Source};
use crate::data::shards::Layout;
use crate::data::{LONGEST, Task};
use crate::schedule::lengths::{Buckets, Lengths};
use crate::schedule::{Amount, Clock, Line, Progress};

/// A synthetic task, or corpora: exactly one of them. A curriculum of buckets takes each sequence from one document.
pub fn subject(f: &mut Fields, curriculum: &Curriculum, base: &Path) -> Option<Task> {
    let pacing = curriculum.pacing.clone();
    match (f.get("task"), f.get("data")) {
        (Some(tree), None) => {
            if pacing.is_some() {
                let message = "`difficulty` is for documents, and a task has none";
                f.diags.push(
                    finding(tree.span, "E0402", message.into()).help("`levels` is for tasks"),
                );
            }
            f.within("task", tree, |f| task::read(f, base))
        }
        (None, Some(tree)) => {
            let buckets = match &curriculum.lengths {
                Lengths::Buckets(Buckets { lengths, .. }) => Some(lengths.clone()),
                _ => None,
            };
            let all = f.within("data", tree, |f| corpora(f, buckets, base));
            all.map(|all| Task::Corpora(Corpora { pacing, ..all }))
        }
        (None, None) => {
            let diag = finding(f.place(), "E0401", "`spec` needs `task` or `data`".into());
            f.diags.push(diag.help(
                "for example `task: {mqar: {vocab: 256, length: 64, pairs: 4}}` or `data: {path: my_data, length: 512}`",
            ));
            None
        }
        (Some(_), Some(tree)) => {
            let message = "`task` and `data` exclude each other".to_string();
            f.diags.push(finding(tree.span, "E0401", message).label("a second subject"));
            None
        }
    }
}

/// A path from the spec's folder. It is written whole, so that the copy of a spec in a run's folder means the same.
pub fn anchored(f: &mut Fields, name: &'static str, base: &Path) -> Option<PathBuf> {
    let (text, _) = f.text(name)?;
    let path = base.join(text);
    if let Ok(whole) = std::path::absolute(&path) {
        f.put_value(name, Value::Text(whole.to_string_lossy().into_owned()));
    }
    Some(path)
}

fn corpora(f: &mut Fields, buckets: Option<Vec<usize>>, base: &Path) -> Option<Corpora> {
    let longest = buckets.as_ref().and_then(|lengths| lengths.last().copied());
    let packed = f.size_up_to("length", longest.unwrap_or(512), LONGEST);
    let length = longest.unwrap_or(packed);
    f.put_value("length", Value::Number(length as f64));
    let boundaries = f.truth("boundaries");
    let verify = f.truth("verify");
    let all = match f.get("sources") {
        None => vec![source(f, "data", base)],
        Some(tree) => {
            let words = [
                "a mapping from names to sources",
                "`sources: {code: {path: data/code, weight: 0.7}}`",
            ];
            let all = f.named("sources", words, |name, f| source(f, name, base));
            if all.is_empty() && matches!(tree.value, Value::Map(_)) {
                let message = "`sources` names no source".to_string();
                f.diags.push(finding(tree.span, "E0401", message).help(words[1]));
            }
            all
        }
    };
    let sources: Option<Vec<Source>> = all.into_iter().collect();
    let sources = sources.filter(|all| !all.is_empty())?;
    if let Some(when) = weightless(&sources) {
        let message = format!("no source has a weight {when}");
        let diag = finding(f.place(), "E0402", message);
        f.diags.push(diag.help("at every moment of the run one of them needs a weight above 0"));
    }
    Some(Corpora { sources, length, buckets, boundaries, verify, pacing: None })
}

/// When all weights are 0. They are lines between points, so that this shows at a point.
fn weightless(sources: &[Source]) -> Option<String> {
    let all = || sources.iter().map(|source| &source.weight.0);
    if all().flatten().all(|(_, weight)| *weight == 0.0) {
        return Some("at all".into());
    }
    let points = || all().filter(|line| line.len() > 1).flatten();
    let unit = std::mem::discriminant(&points().next()?.0);
    if points().any(|(at, _)| std::mem::discriminant(at) != unit) {
        return None;
    }
    let empty = |at: &Amount| {
        let x = at.number();
        let done = Clock { steps: x, tokens: x, seconds: x };
        let progress = Progress { done, whole: done, length: Amount::Steps(1.0) };
        sources.iter().all(|source| source.weight.at(&progress) == 0.0)
    };
    points().map(|(at, _)| *at).find(empty).map(|at| format!("at {at}"))
}

fn source(f: &mut Fields, name: &str, base: &Path) -> Option<Source> {
    let path = f.need_text("path").and_then(|_| anchored(f, "path", base));
    let layout = f.word_or("format", [Layout::Llmc, Layout::Nanogpt]);
    let end = f.get("end").is_some().then(|| f.whole("end") as u32);
    let held_out = anchored(f, "held_out", base);
    let weight = match f.get("weight") {
        Some(tree) => line(f, tree),
        None => {
            f.put_value("weight", Value::Number(1.0));
            Line::flat(1.0)
        }
    };
    Some(Source { name: name.into(), path: path?, layout, end, held_out, weight })
}

/// A number, or points of a line over the run: `[[0%, 1], [80%, 0.2]]`.
fn line(f: &mut Fields, tree: &Tree) -> Line {
    let point = |tree: &Tree| -> Option<(Amount, f64)> {
        let Value::List(items) = &tree.value else { return None };
        let [at, x] = &items[..] else { return None };
        let at = match &at.value {
            Value::Number(x) => Amount::Tokens(*x),
            Value::Text(text) => Amount::parse(text)?,
            _ => return None,
        };
        // What a run learns from cannot depend on the clock.
        let timed = matches!(at, Amount::Time(_));
        match x.value {
            Value::Number(x) if x >= 0.0 && at.number() >= 0.0 && !timed => Some((at, x)),
            _ => None,
        }
    };
    let points = match &tree.value {
        Value::Number(x) if *x >= 0.0 => Some(vec![(Amount::Share(0.0), *x)]),
        Value::List(items) => items.iter().map(point).collect::<Option<Vec<_>>>(),
        _ => None,
    };
    let Some(points) = points.filter(|points| !points.is_empty()) else {
        let message = format!("`weight` is {}, which is no weight", tree.words());
        f.diags.push(finding(tree.span, "E0401", message).help(
            "a weight is a number of 0 or more, or points over the run in shares, steps or tokens: `[[0%, 1], [80%, 0.2]]`",
        ));
        return Line::flat(1.0);
    };
    let unit = |at: &Amount| std::mem::discriminant(at);
    let rises = |pair: &[(Amount, f64)]| {
        unit(&pair[0].0) == unit(&pair[1].0) && pair[0].0.number() <= pair[1].0.number()
    };
    if !points.windows(2).all(rises) {
        let message = "the points of a weight come one after the other, all in one unit";
        f.diags.push(
            finding(tree.span, "E0402", message.into())
                .help("for example `weight: [[0%, 1], [80%, 0.2]]`"),
        );
    }
    Line(points)
}
