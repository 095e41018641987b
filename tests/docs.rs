//! docs/recurrences.md is made from the library itself, docs/spec.md and its schema from the tables of fields; they must stay as they are:
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
use lrc_runtime::fields::{Kind, Table};
use lrc_runtime::ground::library;
use lrc_runtime::ground::library::LIBRARY;

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
    made("spec.schema.json", &config::schema::schema());
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
