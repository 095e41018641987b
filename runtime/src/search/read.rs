//! What the file of a study says.

use std::path::Path;

use lrc_dsl::Diag;
use serde_json::{Value as Json, json};

use super::halving::Halving;
use super::measure::{ALL, Measure};
use super::propose::Sampler;
use super::space::{Choice, Domain, Param, json_number};
use super::supernet::Supernet;
use super::{Constraint, Match, Objective, Study};
use crate::config::fields::{Fields, finding};
use crate::config::tree::{Tree, Value};
use crate::device::sim::hardware::{A100, H100};
use crate::eval::experiment::assignments;
use crate::fields::{Kind, Preset, Table, amount, field, number, truth, variant, whole, word};
use crate::schedule::Amount;

/// The fields of the file.
static STUDY: Table = Table::of(&[
    field("name", Kind::Text, Preset::Words("the file's name"), "the folder below `runs/`"),
    field("title", Kind::Text, Preset::Words("the name"), "above the page"),
    field("spec", Kind::Path, Preset::Needed("`spec: spec.yaml`"), "what is varied"),
    whole("seed", 1, [0, u32::MAX as u64], "of what is drawn; the spec has its own"),
    whole("trials", 50, [1, 1 << 20], "trials at most"),
    field("set", Kind::Map(&Kind::Value), Preset::Words("nothing"), "for all trials"),
    field(
        "space",
        Kind::Map(&Kind::Either(&[Kind::Values, Kind::Section(&DOMAIN)])),
        Preset::Needed(
            "`space: {model.set.width: [32, 64], optimizer.adamw.lr: {float: [1e-4, 1e-1], log: true}}`",
        ),
        "what may differ",
    ),
    field(
        "objectives",
        Kind::Map(&Kind::Word(&DIRECTIONS)),
        Preset::Needed("`objectives: {accuracy: maximise, parameters: minimise}`"),
        "what is wanted; the first one decides who is promoted",
    ),
    field("constraints", Kind::Named(&CONSTRAINT), Preset::Words("none"), "what a model may cost"),
    field("match", Kind::Named(&MATCH), Preset::Words("none"), "sizes that are solved for"),
    field("sampler", Kind::Section(&SAMPLER), Preset::Words("`tpe`"), "how points are chosen"),
    field(
        "halving",
        Kind::Section(&HALVING),
        Preset::Words("all train to the end"),
        "who trains how far",
    ),
    word("gpu", &GPUS, "the kind of GPU that `time_per_token` is modelled on"),
]);

/// Kinds of GPU with a table of costs.
const GPUS: [&str; 2] = [H100.arch, A100.arch];

/// The fields of a parameter that is no list of choices.
static DOMAIN: Table = Table::of(&[
    field(
        "int",
        Kind::Numbers,
        Preset::Words("one of `int`, `float`, `either`"),
        "whole numbers from one to another",
    ),
    field("float", Kind::Numbers, Preset::Words("likewise"), "numbers from one to another"),
    truth("log", false, "even in the logarithm"),
    whole("step", 1, [1, 1 << 40], "between neighbours of `int`"),
    field(
        "either",
        Kind::Map(&Kind::Map(&Kind::Value)),
        Preset::Words("likewise"),
        "names of several values that go together",
    ),
]);

/// The directions of an objective.
const DIRECTIONS: [&str; 4] = ["maximise", "minimise", "maximize", "minimize"];

/// The fields of a constraint.
static CONSTRAINT: Table = Table::of(&[
    field("least", Kind::Count, Preset::Words("nothing"), "not less: `100k`"),
    field("most", Kind::Count, Preset::Words("nothing"), "not more: `400k`"),
]);

/// The fields of a match.
static MATCH: Table = Table::of(&[
    field("to", Kind::Count, Preset::Needed("`to: 400k`"), "the number"),
    field(
        "by",
        Kind::Text,
        Preset::Needed("`by: model.set.width`"),
        "the whole number that is solved for",
    ),
    amount("within", Amount::Share(0.05), "how far off the nearest size may lie"),
]);

/// The samplers.
static SAMPLER: Table = Table::one_of(
    &[
        variant(
            "tpe",
            &[
                whole("first", 10, [2, 1 << 20], "random trials before it"),
                whole("candidates", 24, [1, 1 << 16], "points that are compared"),
                number("good", 0.1, [0.01, 0.9], "the share of trials that count as good"),
            ],
            "a tree of Parzen estimators",
        ),
        variant(
            "evolution",
            &[
                whole("population", 20, [2, 1 << 20], "trials that are remembered"),
                whole("tournament", 5, [1, 1 << 20], "trials that meet; the best one has a child"),
            ],
            "regularised evolution",
        ),
        variant("random", &[], "evenly"),
        variant(
            "supernet",
            &[
                whole("times", 4, [1, 1 << 16], "its run is so many times as long as a trial's"),
                whole("asked", 512, [1, 1 << 16], "layouts that are asked at its end, at most"),
            ],
            "one model of all layouts is trained first, and those that do best with its weights are tried first",
        ),
    ],
    Some("tpe"),
);

/// The fields of `halving`.
static HALVING: Table = Table::of(&[
    amount("first", Amount::Share(0.25), "the first rung, a share of the run's tokens"),
    number("factor", 3.0, [1.5, 100.0], "one of so many is promoted"),
]);

/// The JSON Schema of studies, for editors.
pub fn schema() -> String {
    crate::config::schema::of(&STUDY, "study.yaml of lrc")
}

pub(super) fn decode(path: &Path, tree: &Tree, diags: &mut Vec<Diag>) -> Option<Study> {
    let stem = path.file_stem().map_or("study".into(), |s| s.to_string_lossy().into_owned());
    let mut f = Fields::of(tree, "study", &STUDY, diags);
    let name = crate::config::name(&mut f, &stem);
    let title = f.text_or("title", &name);
    let spec = f.need_text("spec");
    let seed = f.whole("seed");
    let trials = f.size("trials");
    let set = f.get("set");
    let space = f.need("space");
    let objectives = f.need("objectives");
    let constraints = f.named(
        "constraints",
        ["a mapping from measures", "`constraints: {parameters: {most: 400k}}`"],
        constraint,
    );
    let matches = f.named(
        "match",
        ["a mapping from measures", "`match: {parameters: {to: 400k, by: model.set.width}}`"],
        matched,
    );
    let sampler = f.section("sampler", |f| f.kind_or(sampler));
    let halving = f.maybe("halving", halving).flatten();
    let gpu = f.word_or("gpu", [H100, A100]);
    f.finish();
    let set = assignments(set, "set", diags);
    let space = space.map(|tree| space_of(tree, diags))?;
    let objectives = objectives.map(|tree| objectives_of(tree, diags))?;
    let base = path.parent().unwrap_or(Path::new(""));
    Some(Study {
        name,
        title,
        spec: base.join(spec?.0),
        seed,
        trials,
        set,
        space,
        objectives,
        constraints: constraints.into_iter().flatten().collect(),
        matches: matches.into_iter().flatten().collect(),
        sampler,
        halving,
        gpu,
        place: tree.span,
    })
}

fn space_of(tree: &Tree, diags: &mut Vec<Diag>) -> Vec<Param> {
    let help = "for example `space: {model.set.layers: [1, 2, 4], optimizer.adamw.lr: {float: [1e-4, 1e-1], log: true}}`";
    let Value::Map(entries) = &tree.value else {
        let message = format!("`space` is a mapping from paths of the spec, not {}", tree.words());
        diags.push(finding(tree.span, "E0401", message).help(help));
        return vec![];
    };
    if entries.is_empty() {
        diags.push(finding(tree.span, "E0401", "the space is empty".into()).help(help));
    }
    let mut space: Vec<Param> = Vec::new();
    for (key, value) in entries {
        if space.iter().any(|param| param.name == key.text) {
            diags.push(finding(key.span, "E0401", format!("`{}` is given twice", key.text)));
        }
        let domain = match &value.value {
            Value::List(items) => choices(&key.text, value, items, diags),
            _ => numbers(&key.text, value, diags),
        };
        if let Some(domain) = domain {
            space.push(Param { name: key.text.clone(), domain, span: key.span });
        }
    }
    space
}

/// A list of values.
fn choices(name: &str, tree: &Tree, items: &[Tree], diags: &mut Vec<Diag>) -> Option<Domain> {
    let mut all: Vec<Choice> = Vec::new();
    for item in items {
        let label = match &item.value {
            Value::Number(x) => json_number(*x),
            Value::Truth(x) => json!(x),
            Value::Text(x) => json!(x),
            _ => {
                let message = format!("`{name}` is one of some values, not of {}", item.words());
                diags.push(finding(item.span, "E0401", message).help(
                    "values that go together stand below names: `{either: {small: {a: 1, b: 2}, large: {a: 3, b: 4}}}`",
                ));
                return None;
            }
        };
        let text = item.scalar().unwrap_or_default();
        all.push(Choice { label, set: vec![(name.into(), text)], span: item.span });
    }
    checked(name, all, tree, diags)
}

/// Choices that there are, each once.
fn checked(name: &str, all: Vec<Choice>, tree: &Tree, diags: &mut Vec<Diag>) -> Option<Domain> {
    if all.is_empty() {
        let message = format!("`{name}` has nothing to choose from");
        diags.push(finding(tree.span, "E0401", message).help("for example `[1, 2, 4]`"));
        return None;
    }
    let again = |at: &usize| all[..*at].iter().any(|other| other.label == all[*at].label);
    if let Some(at) = (0..all.len()).find(again) {
        let message = format!("`{name}` has {} twice", all[at].label);
        diags.push(finding(all[at].span, "E0401", message));
        return None;
    }
    Some(Domain::Choices(all))
}

fn numbers(name: &str, tree: &Tree, diags: &mut Vec<Diag>) -> Option<Domain> {
    if !matches!(tree.value, Value::Map(_)) {
        let message = format!("`{name}` needs values to choose from, not {}", tree.words());
        diags.push(finding(tree.span, "E0401", message).help(
            "a list `[1, 2, 4]`, `{int: [1, 8]}`, `{float: [1e-4, 1e-1], log: true}` or `{either: {…}}`",
        ));
        return None;
    }
    let mut f = Fields::of(tree, name, &DOMAIN, diags);
    let (int, float, either) = (f.get("int"), f.get("float"), f.get("either"));
    let (log, step) = (f.truth("log"), f.number("step"));
    let place = f.place();
    f.finish();
    let given = [int, float, either].iter().flatten().count();
    if given != 1 {
        let message = format!("`{name}` needs exactly one of `int`, `float` and `either`");
        diags.push(finding(place, "E0401", message).help("for example `{int: [1, 8]}`"));
        return None;
    }
    if let Some(either) = either {
        return together(name, either, diags);
    }
    let given = int.or(float)?;
    let span = given.span;
    let whole = int.is_some();
    let ends = given.numbers().filter(|ends| {
        let sound = |x: &f64| x.is_finite() && (!whole || x.fract() == 0.0) && (!log || *x > 0.0);
        ends.len() == 2 && ends[0] <= ends[1] && ends.iter().all(sound)
    });
    let Some(ends) = ends else {
        let (word, more) =
            (if whole { "whole numbers" } else { "numbers" }, if log { " above 0" } else { "" });
        let message = format!("`{name}` lies between two {word}{more}, the smaller one first");
        let help =
            if whole { "for example `{int: [1, 8]}`" } else { "for example `{float: [0.1, 0.9]}`" };
        diags.push(finding(span, "E0402", message).help(help));
        return None;
    };
    let (low, high) = (ends[0], ends[1]);
    if whole && log && step != 1.0 {
        let message = format!("`{name}` is even in its logarithm, and so has no `step`");
        diags.push(finding(span, "E0401", message).help("list its values instead: `[8, 16, 32]`"));
        return None;
    }
    Some(if whole {
        Domain::Int { low, high, step, log }
    } else {
        Domain::Float { low, high, log }
    })
}

/// Values that go together, below names.
fn together(name: &str, tree: &Tree, diags: &mut Vec<Diag>) -> Option<Domain> {
    let Value::Map(entries) = &tree.value else {
        let message =
            format!("`either` of `{name}` is a mapping from names to values that go together");
        diags.push(finding(tree.span, "E0401", message).help(
            "for example `{either: {small: {model.set.width: 32}, large: {model.set.width: 64}}}`",
        ));
        return None;
    };
    let choice = |(key, value): &(crate::config::tree::Key, Tree)| Choice {
        label: Json::String(key.text.clone()),
        set: assignments(Some(value), &key.text, diags),
        span: key.span,
    };
    let all = entries.iter().map(choice).collect();
    checked(name, all, tree, diags)
}

fn objectives_of(tree: &Tree, diags: &mut Vec<Diag>) -> Vec<Objective> {
    let help = "for example `objectives: {accuracy: maximise, parameters: minimise}`";
    let Value::Map(entries) = &tree.value else {
        let message = "`objectives` is a mapping from metrics to `maximise` or `minimise`";
        diags.push(finding(tree.span, "E0401", message.into()).help(help));
        return vec![];
    };
    if entries.is_empty() {
        diags.push(finding(tree.span, "E0401", "nothing is wanted".into()).help(help));
    }
    let mut all = Vec::new();
    for (key, value) in entries {
        if !super::trial::known(&key.text) {
            let message = format!("there is no metric `{}`", key.text);
            let known = super::trial::METRICS.iter().copied();
            diags.push(
                finding(key.span, "E0401", message)
                    .help_nearest(&key.text, "there are", known)
                    .help("what another set shows is `eval.SET.METRIC`"),
            );
        }
        let word = value.scalar().unwrap_or_default();
        match DIRECTIONS.iter().position(|known| *known == word) {
            Some(at) => {
                all.push(Objective { metric: key.text.clone(), maximise: at % 2 == 0 });
            }
            None => {
                let message = format!(
                    "`{}` is to be maximised or minimised, not {}",
                    key.text,
                    value.words()
                );
                let known = DIRECTIONS[..2].iter().copied();
                diags.push(
                    finding(value.span, "E0401", message).help_nearest(&word, "it is", known),
                );
            }
        }
    }
    all
}

fn measure(name: &str, f: &mut Fields) -> Option<Measure> {
    let found = Measure::named(name);
    if found.is_none() {
        let message = format!("there is no measure `{name}` of a model");
        let known = ALL.iter().map(|(name, _)| *name);
        let diag = finding(f.place(), "E0401", message).help_nearest(name, "there are", known);
        f.diags.push(diag);
    }
    found
}

/// A number such as `400k`, or a time, whichever the measure is.
fn counted(
    f: &mut Fields,
    name: &'static str,
    measure: Option<Measure>,
    tree: Option<&Tree>,
) -> Option<f64> {
    let (measure, tree) = (measure?, tree?);
    let found = tree.scalar().and_then(|text| measure.quantity(&text));
    if found.is_none() {
        f.wrong(name, tree, measure.example());
    }
    found
}

fn constraint(name: &str, f: &mut Fields) -> Option<Constraint> {
    let (measure, span) = (measure(name, f), f.place());
    let (least, most) = (f.get("least"), f.get("most"));
    if least.is_none() && most.is_none() {
        let message = format!("`{name}` has no bound");
        f.diags.push(finding(span, "E0401", message).help("for example `{most: 400k}`"));
    }
    let least = counted(f, "least", measure, least).unwrap_or(0.0);
    let most = counted(f, "most", measure, most).unwrap_or(f64::INFINITY);
    if least > most {
        let message = format!("`{name}` is at least {least} and at most {most}: nothing is");
        f.diags.push(finding(span, "E0402", message));
    }
    Some(Constraint { measure: measure?, least, most, span })
}

fn matched(name: &str, f: &mut Fields) -> Option<Match> {
    let (measure, span) = (measure(name, f), f.place());
    let to = f.need("to");
    let to = counted(f, "to", measure, to);
    let by = f.need_text("by").map(|(by, _)| by);
    let within = match f.amount("within") {
        Amount::Share(share) => share,
        _ => {
            let message = "`within` is a share, such as `5%`";
            f.diags.push(finding(span, "E0402", message.into()));
            0.0
        }
    };
    Some(Match { measure: measure?, to: to?, by: by?, within, span })
}

fn sampler(name: &'static str, f: &mut Fields) -> Sampler {
    match name {
        "evolution" => Sampler::Evolution {
            population: f.size("population"),
            tournament: f.size("tournament"),
        },
        "random" => Sampler::Random,
        "supernet" => {
            Sampler::Supernet(Supernet { times: f.size("times"), asked: f.size("asked") })
        }
        _ => Sampler::Tpe {
            first: f.size("first"),
            candidates: f.size("candidates"),
            good: f.number("good"),
        },
    }
}

fn halving(f: &mut Fields) -> Option<Halving> {
    let factor = f.number("factor");
    match f.amount("first") {
        Amount::Share(first) if first > 0.0 => Some(Halving { first, factor }),
        _ => {
            let message = "`first` is a share of the run, such as `25%`";
            f.diags.push(finding(f.place(), "E0402", message.into()));
            None
        }
    }
}
