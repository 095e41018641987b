//! `data`: corpora, and the choice between them and a task.

use std::path::Path;

use lrc_dsl::Diag;

use super::task;
use super::tree::{Fields, Tree, Value, finding};
use crate::data::Task;
use crate::data::corpus::{Corpora, Origin};
use crate::data::shards::Layout;
use crate::schedule::pacing::Pacing;
use crate::schedule::{Amount, Line};

/// A synthetic task, or corpora: exactly one of them. `buckets` are the lengths of a curriculum that
/// takes each sequence from one document.
pub fn subject(
    whole: &Tree,
    task: Option<&Tree>,
    data: Option<&Tree>,
    (buckets, pacing): (Option<Vec<usize>>, Option<Pacing>),
    base: &Path,
    diags: &mut Vec<Diag>,
) -> Option<Task> {
    match (task, data) {
        (Some(tree), None) => {
            if pacing.is_some() {
                let message = "`difficulty` is for documents, and a task has none";
                diags.push(
                    finding(tree.span, "E0402", message.into()).help("`levels` is for tasks"),
                );
            }
            task::read(tree, base, diags)
        }
        (None, Some(tree)) => {
            corpora(tree, buckets, base, diags).map(|all| Task::Corpora(Corpora { pacing, ..all }))
        }
        (None, None) => {
            let diag = finding(whole.span, "E0401", "`spec` needs `task` or `data`".into());
            diags.push(diag.help(
                "for example `task: {mqar: {vocab: 256, length: 64, pairs: 4}}` or `data: {path: my_data, length: 512}`",
            ));
            None
        }
        (Some(_), Some(tree)) => {
            let message = "`task` and `data` exclude each other".to_string();
            diags.push(finding(tree.span, "E0401", message).label("a second subject"));
            None
        }
    }
}

/// Makes the paths of a spec whole, so that its copy in a run's folder means the same.
pub fn anchor(tree: &mut Tree, base: &Path) {
    let mut whole = |tree: &mut Tree| {
        if let Value::Text(text) = &mut tree.value
            && let Ok(path) = std::path::absolute(base.join(&*text))
        {
            *text = path.to_string_lossy().into_owned();
        }
    };
    for name in ["path", "held_out"] {
        tree.each_at(&["task", "text", name], &mut whole);
        tree.each_at(&["data", name], &mut whole);
        tree.each_at(&["data", "sources", "*", name], &mut whole);
    }
}

fn corpora(
    tree: &Tree,
    buckets: Option<Vec<usize>>,
    base: &Path,
    diags: &mut Vec<Diag>,
) -> Option<Corpora> {
    let mut f = Fields::of(tree, "data", diags);
    let length = f.whole("length", 512, 2, 1 << 24) as usize;
    let boundaries = f.truth("boundaries", true);
    let verify = f.truth("verify", true);
    let sources = f.get("sources");
    let mut all = Vec::new();
    if let Some(tree) = sources {
        f.finish();
        match &tree.value {
            Value::Map(entries) if !entries.is_empty() => {
                for (key, tree) in entries {
                    let mut f = Fields::of(tree, &key.text, diags);
                    let origin = origin(&mut f, &key.text, base);
                    f.finish();
                    all.push(origin);
                }
            }
            _ => diags.push(
                finding(tree.span, "E0401", "`sources` is a mapping from names to sources".into())
                    .help("for example `sources: {code: {path: data/code, weight: 0.7}}`"),
            ),
        }
    } else {
        all.push(origin(&mut f, "data", base));
        f.finish();
    }
    let sources: Option<Vec<Origin>> = all.into_iter().collect();
    let sources = sources.filter(|all| !all.is_empty())?;
    let length = buckets.as_ref().and_then(|b| b.last().copied()).unwrap_or(length);
    Some(Corpora { sources, length, buckets, boundaries, verify, pacing: None })
}

fn origin(f: &mut Fields, name: &str, base: &Path) -> Option<Origin> {
    let path = f.need("path", "`path: my_data`").is_some().then(|| f.text("path")).flatten();
    let layout = match f.text("format") {
        None => Layout::Llmc,
        Some((text, span)) => match text.as_str() {
            "llm.c" => Layout::Llmc,
            "nanogpt" => Layout::Nanogpt,
            other => {
                let message = format!("there is no format `{other}` of shards");
                f.diags.push(finding(span, "E0401", message).help_nearest(
                    other,
                    "formats",
                    ["llm.c", "nanogpt"],
                ));
                Layout::Llmc
            }
        },
    };
    let end = f.get("end").is_some().then(|| f.whole("end", 0, 0, u64::from(u32::MAX - 1)) as u32);
    let held_out = f.text("held_out").map(|(path, _)| base.join(path));
    let weight = f.get("weight").map_or(Line::flat(1.0), |tree| line(f, tree));
    Some(Origin { name: name.into(), path: base.join(path?.0), layout, end, held_out, weight })
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
    match points {
        Some(points) if !points.is_empty() => Line(points),
        _ => {
            let message = format!("`weight` is {}, which is no weight", tree.words());
            f.diags.push(finding(tree.span, "E0401", message).help(
                "a weight is a number of 0 or more, or points over the run in shares, steps or tokens: `[[0%, 1], [80%, 0.2]]`",
            ));
            Line::flat(1.0)
        }
    }
}
