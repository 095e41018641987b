//! docs/recurrences.md is made from the library itself, docs/spec.md and the schemas from the tables of fields; they must stay as they are:
//! `LRC_WRITE_DOCS=1 cargo test --test docs` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lrc_compiler::compile::Chosen;
use lrc_compiler::elaborate::{Recurrence, Setting, elaborate, entrywise};
use lrc_compiler::graph::{Recur, account};
use lrc_compiler::plan::target::Gpu;
use lrc_compiler::strategy;
use lrc_dsl::Sources;
use lrc_runtime::config;
use lrc_runtime::config::tree::{self, Tree, Value};
use lrc_runtime::device::kernels::lacks;
use lrc_runtime::eval::experiment;
use lrc_runtime::fields::{Kind, Table};
use lrc_runtime::ground::library;
use lrc_runtime::ground::library::LIBRARY;
use lrc_runtime::search;
use serde_json::Value as Json;

/// What belongs together, and what to know about it.
const FAMILIES: &[(&str, &str, &[&str])] = &[
    (
        "Linear attention and decay",
        "A write into the state, behind a decay that is constant, a gate per head, or a gate per channel.",
        &[
            "linear_attn",
            "linear_attn_norm",
            "retention",
            "lightning",
            "simple_gla",
            "mamba2_ssd",
            "gla",
            "hgrn2",
            "signed_gla",
            "rwkv5",
            "rwkv6",
            "residual_linear_attn",
        ],
    ),
    (
        "Delta rules",
        "What stood under a key is erased before it is written: the writes of a chunk solve a triangular system.",
        &[
            "delta_rule",
            "delta_objective",
            "delta_rule_neg",
            "gated_delta_rule",
            "kda",
            "delta_product",
            "gated_delta_product",
            "dplr",
            "iplr",
            "rwkv7",
            "comba",
            "erase_write",
            "oja",
            "longhorn",
        ],
    ),
    (
        "Element by element",
        "States whose entries never meet: gated and state space models.",
        &["hgrn", "rglru", "mamba1", "s4d", "rwkv4"],
    ),
    (
        "Feature maps and slots",
        "Softmax approached by features, or a fixed number of slots.",
        &["based", "rebased", "gsa", "abc"],
    ),
    (
        "Attention",
        "Sums and softmax over tokens of the past.",
        &["softmax_attn", "sliding_window_attn", "forgetting_attn", "log_linear_attn"],
    ),
    (
        "Learners and nonlinear states",
        "States that take steps of gradient descent, solve a system, or enter functions as a whole.",
        &["titans_linear", "titans_fla", "ttt_linear", "ttt_mlp", "mesa_net", "mlstm", "slstm"],
    ),
];

fn recurrence(name: &str) -> (Recurrence, String) {
    let path = format!("recurrences/{name}.arch");
    let text = LIBRARY.iter().find(|(known, _)| *known == path).unwrap().1;
    let (names, _) = library::load(&path, &mut Sources::default()).unwrap();
    let sizes = ["d", "dk", "dv"].map(|size| (size.to_string(), Setting::Number(64.0)));
    // Sizes that some declare besides; elsewhere these are names of values.
    let more: &[(&str, f64)] = match name {
        "gsa" | "abc" => &[("m", 64.0)],
        "s4d" | "mamba1" | "longhorn" => &[("n", 16.0)],
        _ => &[],
    };
    let more = more.iter().map(|(size, x)| ((*size).to_string(), Setting::Number(*x)));
    let given: BTreeMap<String, Setting> = sizes.into_iter().chain(more).collect();
    let mut diags = Vec::new();
    let r = elaborate(names.get(name).unwrap(), &given, &mut diags);
    (r.unwrap_or_else(|| panic!("{name}: {diags:?}")), text.to_string())
}

fn entry(name: &str) -> String {
    let (r, text) = recurrence(name);
    let (docs, code): (Vec<&str>, Vec<&str>) = text.lines().partition(|l| l.starts_with("///"));
    let about: Vec<&str> = docs.iter().map(|line| line[3..].trim()).collect();
    let strategy = strategy::of(&r).name();
    let gpu = Gpu::named("sm_80").unwrap();
    let kernels = match lacks(&r, gpu).map(|diag| diag.message + &diag.label) {
        None => "",
        Some(why) if why.contains("no plan fits") => "; kernels at smaller sizes",
        Some(_) => "; no kernels yet",
    };
    let (inputs, params) = (vec![1; r.inputs.len()], vec![1; r.params.len()]);
    let state = r.state_size();
    let cost = account::cost(&Recur {
        recurrence: r,
        heads: 1,
        sum: 1,
        input_heads: inputs,
        param_heads: params,
        chosen: Chosen::default(),
    });
    let flops = if cost.flops_per_past > 0 {
        format!("{} for each token read", cost.flops_per_past)
    } else {
        format!("{} nominal, {} executed", cost.flops, cost.executed)
    };
    format!(
        "### {name}\n\n{}\n\n```\n{}\n```\n\nStrategy {strategy}{kernels}; state {state} numbers; operations per token {flops}.\n\n",
        about.join(" "),
        code.join("\n").trim(),
    )
}

#[test]
fn the_page_of_recurrences_is_up_to_date() {
    let mut page = String::from(
        "# Recurrences of the library\n\n\
         Made from the files themselves by `LRC_WRITE_DOCS=1 cargo test --test docs`. Sizes are of one head with 64 keys and\n\
         values. *Strategy* is how processors and kernels compute it: `scan` and `chunk` (many tokens at once), `attention`\n\
         (blocks of queries against keys), `halves` (states, then sums over the past that read them), `recurrent` (one token at a\n\
         time). Kernels are those for sm_80. Strategies are explained in [ARCHITECTURE.md](../ARCHITECTURE.md);\n\
         `lrc explain FILE.arch` says why a recurrence takes the one it takes.\n\n",
    );
    let mut named = BTreeSet::new();
    for (family, about, names) in FAMILIES {
        page += &format!("## {family}\n\n{about}\n\n");
        for name in *names {
            page += &entry(name);
            named.insert(format!("recurrences/{name}.arch"));
        }
    }
    let shipped = LIBRARY.iter().map(|(path, _)| *path).filter(|p| p.starts_with("recurrences/"));
    let missing: Vec<&str> = shipped.filter(|path| !named.contains(*path)).collect();
    assert!(missing.is_empty(), "in no family of tests/docs.rs: {missing:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recurrences.md");
    if std::env::var_os("LRC_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(known == page, "docs/recurrences.md is old: LRC_WRITE_DOCS=1 cargo test --test docs");
}

/// Compares a file of docs/ with what it is made of, or writes it anew.
fn made(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("LRC_WRITE_DOCS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/{name} is not what the tables say: {AGAIN}");
}

/// The page of the language lists the functions of each entry as their table has them.
#[test]
fn every_function_of_the_language_is_listed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/language.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once("act on each entry (`").unwrap();
    let (_, after) = rest.split_once('`').unwrap();
    let names: Vec<&str> = entrywise().map(|(name, _)| name).collect();
    made("language.md", &format!("{before}act on each entry (`{}`{after}", names.join(" ")));
}

const AGAIN: &str = "`LRC_WRITE_DOCS=1 cargo test --test docs` writes it anew";

#[test]
fn the_page_of_specs_is_that_of_the_tables() {
    made("spec.md", &config::page::page());
}

/// Every key of a tree stands in the table of its mapping.
fn in_table(tree: &Tree, table: &Table, place: &str, missing: &mut Vec<String>) {
    let Value::Map(entries) = &tree.value else { return };
    for (key, value) in entries {
        let here = format!("{place}.{}", key.text);
        let variant = table.kinds.iter().find(|variant| variant.key == key.text);
        let fields = table.fields.iter();
        let field = fields.clone().find(|f| f.key == key.text || f.old.contains(&&*key.text));
        match (variant, field.map(|field| field.kind)) {
            (Some(variant), _) => in_table(value, &variant.table, &here, missing),
            (None, None) => missing.push(here),
            (None, Some(kind)) => match (kind, &value.value) {
                (Kind::List(table), Value::List(items)) => {
                    items.iter().for_each(|item| in_table(item, table, &here, missing));
                }
                (Kind::Named(table), Value::Map(entries)) => {
                    entries.iter().for_each(|(_, one)| in_table(one, table, &here, missing));
                }
                (kind @ (Kind::Section(_) | Kind::Either(_)), Value::Map(_)) => {
                    if let Some(table) = kind.table() {
                        in_table(value, table, &here, missing);
                    }
                }
                _ => {}
            },
        }
    }
}

#[test]
fn every_field_of_the_shipped_specs_stands_in_the_tables() {
    let mut specs = Vec::new();
    find_specs(&Path::new(env!("CARGO_MANIFEST_DIR")).join("specs"), &mut specs);
    assert!(specs.len() > 10);
    for path in specs {
        let text = std::fs::read_to_string(&path).unwrap();
        let file = Sources::default().add("spec", text.as_str());
        let Ok(spec) = config::read(&path, file, &text, &[]) else { continue };
        let mut missing = Vec::new();
        for text in [&text, &spec.resolved] {
            in_table(&tree::parse(file, text).unwrap(), &config::tables::SPEC, "", &mut missing);
        }
        assert!(missing.is_empty(), "{}: {missing:?} stand in no table", path.display());
    }
}

fn find_specs(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_specs(&path, found);
        } else if path.extension().is_some_and(|e| e == "yaml") {
            found.push(path);
        }
    }
}

/// A tree of YAML as JSON has it.
fn json(tree: &Tree) -> Json {
    match &tree.value {
        Value::Null => Json::Null,
        Value::Truth(x) => (*x).into(),
        Value::Number(x) => (*x).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => Json::Object(
            entries.iter().map(|(key, value)| (key.text.clone(), json(value))).collect(),
        ),
    }
}

/// Whether a value is of a type of JSON.
fn is(value: &Json, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|x| x.fract() == 0.0),
        other => panic!("a schema has a type {other}"),
    }
}

/// Where a value is not what a schema says, by the keywords that ours have; another one is a mistake of this test.
fn against(value: &Json, schema: &Json, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    let empty = serde_json::Map::new();
    let (entries, items) = (value.as_object().unwrap_or(&empty), value.as_array());
    let fits = |schema: &Json| against(value, schema, place).is_empty();
    for (word, of) in schema.as_object().unwrap() {
        let list = of.as_array().map_or(&[][..], Vec::as_slice);
        let sound = match word.as_str() {
            "$schema" | "title" | "description" | "default" | "deprecated" => true,
            "type" if of.is_string() => is(value, of.as_str().unwrap()),
            "type" => list.iter().any(|name| is(value, name.as_str().unwrap())),
            "enum" => list.contains(value),
            "pattern" => {
                let pattern = regex::Regex::new(of.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "minimum" => value.as_f64().is_none_or(|x| x >= of.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|x| x <= of.as_f64().unwrap()),
            "minItems" => items.is_none_or(|items| items.len() as u64 >= of.as_u64().unwrap()),
            "required" => list.iter().all(|key| entries.contains_key(key.as_str().unwrap())),
            "anyOf" => list.iter().any(fits),
            "oneOf" => list.iter().filter(|one| fits(one)).count() == 1,
            "not" => !fits(of),
            "items" => {
                let each = items.into_iter().flatten().enumerate();
                found.extend(each.flat_map(|(at, x)| against(x, of, &format!("{place}.{at}"))));
                true
            }
            "properties" | "additionalProperties" => {
                let own = |key: &String| schema["properties"].get(key).is_some();
                for (key, x) in entries.iter().filter(|(key, _)| own(key) == (word == "properties"))
                {
                    let of = if word == "properties" { &of[key] } else { of };
                    let here = format!("{place}.{key}");
                    match of.as_bool() {
                        Some(true) => {}
                        Some(false) => found.push(format!("{here} is no field")),
                        None => found.extend(against(x, of, &here)),
                    }
                }
                true
            }
            other => panic!("this test does not know `{other}` of a schema"),
        };
        if !sound {
            found.push(format!("{place}: {value} breaks {word} {of}"));
        }
    }
    found
}

/// What a schema says of a text.
fn by_schema(schema: &str, text: &str) -> Vec<String> {
    let file = Sources::default().add("file", text);
    against(&json(&tree::parse(file, text).unwrap()), &serde_json::from_str(schema).unwrap(), "")
}

/// The shipped files keep to the schemas of their kind, which are those of docs/.
#[test]
fn the_shipped_files_keep_to_the_schemas() {
    let kinds = [
        ("spec.schema.json", config::schema::schema()),
        ("study.schema.json", search::schema()),
        ("experiment.schema.json", experiment::schema()),
    ];
    kinds.iter().for_each(|(name, schema)| made(name, schema));
    let mut files = Vec::new();
    for folder in ["specs", "examples"] {
        find_specs(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut files);
    }
    let mut seen = [0; 3];
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let has = |key: &str| text.lines().any(|line| line.starts_with(&format!("{key}:")));
        let kind = if has("space") { 1 } else { 2 * usize::from(has("series")) };
        seen[kind] += 1;
        let found = by_schema(&kinds[kind].1, &text);
        assert!(found.is_empty(), "{}: {found:#?}", path.display());
    }
    assert!(seen[0] > 10 && seen[1] >= 5 && seen[2] >= 3, "{seen:?}");
}

/// A study in which everything stands, and changes to it: the reader and the schema say no to the same ones.
#[test]
fn the_schema_of_studies_refuses_what_the_reader_refuses() {
    let study = "name: all
title: Everything
spec: spec.yaml
seed: 3
trials: 6
set: {length: 400 steps, batch: 16, eval: null}
space:
  a.b: [1, two, true]
  c.d: {int: [4, 64], step: 4}
  e.f: {float: [1e-4, 1e-1], log: true}
  g: {either: {small: {a: 1}, large: {a: 2, h: text}}}
objectives: {loss: minimise, parameters: minimise}
constraints: {parameters: {most: 400k}, state: {least: 1000, most: 2k}}
match: {parameters: {to: 200k, by: i.j, within: 2%}}
sampler: {tpe: {first: 5, candidates: 12, good: 0.2}}
halving: {first: 25%, factor: 3}
";
    let schema = search::schema();
    let read = |text: &str| {
        let file = Sources::default().add("study", text);
        search::read(Path::new("study.yaml"), file, text)
    };
    assert_eq!(by_schema(&schema, study), Vec::<String>::new());
    read(study).unwrap();
    for (right, wrong) in [
        ("spec: spec.yaml\n", ""),
        ("trials: 6", "trails: 6"),
        ("trials: 6", "trials: none"),
        ("trials: 6", "trials: 0"),
        ("seed: 3", "seed: -1"),
        ("batch: 16", "batch: [16]"),
        ("[1, two, true]", "[1, [2]]"),
        ("[1, two, true]", "[]"),
        ("[1, two, true]", "7"),
        ("step: 4", "stride: 4"),
        ("log: true", "log: 3"),
        ("{a: 1}", "{a: {b: 1}}"),
        ("loss: minimise", "loss: smaller"),
        ("{most: 400k}", "{most: lots}"),
        ("{most: 400k}", "{mots: 400k}"),
        ("{to: 200k, by: i.j, within: 2%}", "{to: 200k}"),
        ("within: 2%", "within: near"),
        ("tpe: {first: 5,", "tpe: {first: 1,"),
        ("sampler: {tpe:", "sampler: {tp:"),
        ("good: 0.2}}", "good: 0.2}, random: }"),
        ("factor: 3", "factor: 1"),
    ] {
        assert!(study.contains(right), "{right}");
        let text = study.replacen(right, wrong, 1);
        assert!(read(&text).is_err(), "the reader takes {wrong}");
        assert!(!by_schema(&schema, &text).is_empty(), "the schema takes {wrong}");
    }
    for sampler in ["{random: }", "{evolution: }", "{evolution: {population: 3}}"] {
        let text = study.replace("{tpe: {first: 5, candidates: 12, good: 0.2}}", sampler);
        assert!(read(&text).is_ok() && by_schema(&schema, &text).is_empty(), "{sampler}");
    }
}
