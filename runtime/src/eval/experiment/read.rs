//! What the file of an experiment says.

use std::path::{Path, PathBuf};

use lrc_dsl::Diag;

use super::{Ask, Case, Experiment, Overrides, folder};
use crate::config::fields::{Fields, finding};
use crate::config::tree::{Tree, Value};
use crate::fields::{Kind, Preset, Table, field, whole};

/// The fields of the file.
static EXPERIMENT: Table = Table::of(&[
    field("name", Kind::Text, Preset::Words("the file's name"), "the folder below `runs/`"),
    field("title", Kind::Text, Preset::Words("the name"), "above the page"),
    field("spec", Kind::Path, Preset::Needed("`spec: spec.yaml`"), "what is varied"),
    whole("sequences", 256, [1, 1 << 20], "held-out sequences that models are asked"),
    field(
        "seeds",
        Kind::Numbers,
        Preset::Words("1, 2, 3"),
        "each case is trained with each of them",
    ),
    field(
        "series",
        Kind::Named(&SERIES),
        Preset::Needed("`series: {wide: {set: {model.set.width: 128}}}`"),
        "the cases",
    ),
    field(
        "across",
        Kind::Map(&Kind::Map(&Kind::Value)),
        Preset::Words("nothing"),
        "every series is trained on each of these: a column each, and the mean of all",
    ),
    field("ask", Kind::Section(&ASK), Preset::Words("nothing"), "other tasks for trained models"),
]);

/// The fields of a series.
static SERIES: Table = Table::of(&[
    field("set", Kind::Map(&Kind::Value), Preset::Words("nothing"), "for the whole series"),
    field("vary", Kind::Map(&Kind::Values), Preset::Words("nothing"), "each value is a case"),
]);

/// The fields of `ask`.
static ASK: Table = Table::of(&[
    field(
        "set",
        Kind::Either(&[Kind::Text, Kind::Values]),
        Preset::Needed("`set: task.mqar.pairs`"),
        "what of the task varies: a path, or several that vary together",
    ),
    field("to", Kind::Numbers, Preset::Needed("`to: [4, 8, 16]`"), "rising values"),
    field(
        "threshold",
        Kind::Either(&[Kind::Number([0.0, 1.0]), Kind::Numbers]),
        Preset::Words("0.9"),
        "the accuracy that counts as learned, or several",
    ),
    field("name", Kind::Text, Preset::Words("the last name of `set`"), "of the curve"),
]);

/// The JSON Schema of experiments, for editors.
pub fn schema() -> String {
    crate::config::schema::of(&EXPERIMENT, "experiment.yaml of lrc")
}

pub(super) fn decode(path: &Path, tree: &Tree, diags: &mut Vec<Diag>) -> Option<Experiment> {
    let stem = path.file_stem().map_or("experiment".into(), |s| s.to_string_lossy().into_owned());
    let mut f = Fields::of(tree, "experiment", &EXPERIMENT, diags);
    let name = f.text("name").map_or(stem, |(name, _)| name);
    let title = f.text("title").map_or_else(|| name.clone(), |(title, _)| title);
    let spec = f.need_text("spec");
    let sequences = f.size("sequences");
    let seeds = f.get("seeds").map(|tree| (tree.numbers(), tree.span));
    let series = f.need("series");
    let (ask, across) = (f.get("ask"), f.get("across"));
    f.finish();
    let sound = |seed: f64| (0.0..=f64::from(u32::MAX)).contains(&seed) && seed.fract() == 0.0;
    let seeds = match seeds {
        None => vec![1, 2, 3],
        Some((Some(seeds), _)) if seeds.iter().all(|s| sound(*s)) => {
            seeds.into_iter().map(|seed| seed as u64).collect()
        }
        Some((_, span)) => {
            let message = format!("`seeds` is a list of whole numbers up to {}", u32::MAX);
            diags.push(finding(span, "E0401", message).help("for example `seeds: [1, 2, 3]`"));
            return None;
        }
    };
    let ask = match ask {
        Some(tree) => Some(ask_fields(tree, diags)?),
        None => None,
    };
    let mut cases = Vec::new();
    if let Value::Map(entries) = &series?.value {
        for (key, tree) in entries {
            series_fields(&key.text, tree, &mut cases, diags);
        }
    }
    if let (Some(_), Some(tree)) = (&ask, across) {
        let message = "an experiment asks each model several things, or trains one on each";
        diags.push(finding(tree.span, "E0401", message.into()).help("leave out `ask` or `across`"));
    }
    let across = across_fields(across, &mut cases, diags);
    let mut folders: Vec<PathBuf> = cases.iter().map(|case| folder(case, 0)).collect();
    folders.sort();
    if folders.windows(2).any(|pair| pair[0] == pair[1]) {
        let message = "two cases would share a folder: their names differ in signs only";
        diags.push(
            finding(tree.span, "E0401", message.into())
                .help("give the series names that differ in letters or digits"),
        );
    }
    let mut distinct = seeds.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < seeds.len() {
        diags.push(finding(tree.span, "E0401", "a seed stands twice in `seeds`".into()));
    }
    if cases.is_empty() {
        diags.push(finding(tree.span, "E0401", "`series` names nothing to compare".into()));
    }
    let base = path.parent().unwrap_or(Path::new(""));
    Some(Experiment { name, title, spec: base.join(spec?.0), seeds, cases, across, ask, sequences })
}

fn ask_fields(tree: &Tree, diags: &mut Vec<Diag>) -> Option<Ask> {
    let mut f = Fields::of(tree, "ask", &ASK, diags);
    let set = f.need("set").map(|tree| (texts(tree), tree.span));
    let to = f.need("to").map(|tree| (tree.numbers(), tree.span));
    let thresholds = f.get("threshold").map_or(Some(vec![0.9]), |tree| {
        let one = match tree.value {
            Value::Number(x) => Some(vec![x]),
            _ => tree.numbers(),
        };
        let found =
            one.filter(|all| !all.is_empty() && all.iter().all(|x| (0.0..=1.0).contains(x)));
        if found.is_none() {
            f.wrong("threshold", tree, "a share such as `0.9`, or a list of them");
        }
        found
    });
    let name = f.text("name").map(|(name, _)| name);
    f.finish();
    let ((set, at), (to, to_at)) = (set?, to?);
    let rising = |to: &Vec<f64>| to.windows(2).all(|pair| pair[0] < pair[1]);
    let Some(to) = to.filter(rising) else {
        diags.push(finding(to_at, "E0401", "`to` is a list of rising numbers".into()));
        return None;
    };
    let Some(set) = set else {
        diags.push(finding(at, "E0401", "`set` is a path of the spec, or a list of them".into()));
        return None;
    };
    if let Some(other) = set.iter().find(|path| !path.starts_with("task.")) {
        let message =
            format!("`{other}` is no part of the task: a trained model is asked another task");
        diags.push(
            finding(at, "E0401", message).help("what trained models differ in stands in `series`"),
        );
        return None;
    }
    let name = name.unwrap_or_else(|| last(&set[0]).to_string());
    Some(Ask { name, set, to, thresholds: thresholds? })
}

fn texts(tree: &Tree) -> Option<Vec<String>> {
    match &tree.value {
        Value::Text(text) => Some(vec![text.clone()]),
        Value::List(items) => {
            let all: Vec<String> = items.iter().filter_map(|i| texts(i)?.pop()).collect();
            (all.len() == items.len() && !all.is_empty()).then_some(all)
        }
        _ => None,
    }
}

/// The last name of a path.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// `set` holds for the whole series, each value of `vary` makes a case.
fn series_fields(name: &str, tree: &Tree, cases: &mut Vec<Case>, diags: &mut Vec<Diag>) {
    let mut f = Fields::of(tree, name, &SERIES, diags);
    let (set, vary) = (f.get("set"), f.get("vary"));
    f.finish();
    let common = assignments(set, "set", diags);
    let varied = entries(vary, "vary", diags);
    match varied[..] {
        [] => {
            cases.push(Case::row(name, name.into(), common));
        }
        [(ref path, tree)] => {
            let values = match &tree.value {
                Value::List(items) => items.iter().map(Tree::scalar).collect(),
                _ => None,
            };
            let values: Option<Vec<String>> = values;
            let Some(values) = values else {
                let message = format!("`{path}` varies over a list");
                diags.push(finding(tree.span, "E0401", message));
                return;
            };
            for value in values {
                let mut set = common.clone();
                set.push((path.clone(), value.clone()));
                let case = format!("{name}, {} = {value}", last(path));
                cases.push(Case::row(name, case, set));
            }
        }
        _ => {
            let span = vary.and_then(|tree| tree.span);
            diags.push(
                finding(span, "E0401", "a series varies one value".into())
                    .help("make a series of each value of the other"),
            );
        }
    }
}

impl Case {
    /// A case that is a row by itself.
    fn row(series: &str, name: String, set: Overrides) -> Case {
        Case { series: series.into(), row: name.clone(), name, column: 0, set }
    }
}

/// Makes a case for each column of each row; the names of the columns.
fn across_fields(tree: Option<&Tree>, cases: &mut Vec<Case>, diags: &mut Vec<Diag>) -> Vec<String> {
    let columns: Vec<(String, Overrides)> = entries(tree, "across", diags)
        .into_iter()
        .map(|(name, tree)| {
            let set = assignments(Some(tree), &name, diags);
            (name, set)
        })
        .collect();
    if !columns.is_empty() {
        let rows = std::mem::take(cases);
        for row in rows {
            cases.extend(columns.iter().enumerate().map(|(column, (name, set))| Case {
                name: format!("{}, {name}", row.row),
                column,
                set: row.set.iter().chain(set).cloned().collect(),
                ..row.clone()
            }));
        }
    }
    columns.into_iter().map(|(name, _)| name).collect()
}

/// Paths with a value each; `null` takes a field of the spec out.
pub fn assignments(tree: Option<&Tree>, name: &str, diags: &mut Vec<Diag>) -> Overrides {
    let mut all = Overrides::new();
    for (path, tree) in entries(tree, name, diags) {
        match (tree.scalar(), &tree.value) {
            (Some(value), _) => all.push((path, value)),
            (None, Value::Null) => all.push((path, "null".into())),
            _ => diags.push(finding(tree.span, "E0401", format!("`{path}` needs one value"))),
        }
    }
    all
}

/// The entries of a mapping that may be missing.
fn entries<'t>(
    tree: Option<&'t Tree>,
    name: &str,
    diags: &mut Vec<Diag>,
) -> Vec<(String, &'t Tree)> {
    match tree.map(|tree| (&tree.value, tree)) {
        None | Some((Value::Null, _)) => vec![],
        Some((Value::Map(all), _)) => all.iter().map(|(k, v)| (k.text.clone(), v)).collect(),
        Some((_, tree)) => {
            let message = format!("`{name}` is a mapping from paths of the spec to values");
            diags.push(
                finding(tree.span, "E0401", message)
                    .help("for example `set: {model.set.width: 64}`"),
            );
            vec![]
        }
    }
}
