//! Every shipped model, made small, learns from a few steps on the processor.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use lrc_compiler::elaborate::Setting;
use lrc_compiler::graph::{Model, build};
use lrc_dsl::Sources;
use lrc_dsl::ast::Kind;
use lrc_runtime::data::tasks::{self, Synthetic};
use lrc_runtime::data::{Dataset, Draw, EvalSets, Task};
use lrc_runtime::device::Device;
use lrc_runtime::ground::library::{self, LIBRARY};
use lrc_runtime::model::fresh;
use lrc_runtime::optim::{Optimizer, Rates};
use lrc_runtime::train::engine::{Engine, Training};

/// Sizes that make any of the models small; each takes those that it knows.
const SMALL: &[(&str, f64)] = &[
    ("width", 32.0),
    ("layers", 6.0),
    ("groups", 2.0),
    ("sublayers", 14.0),
    ("vocab", 64.0),
    ("heads", 4.0),
    ("kv_heads", 2.0),
    ("delta_heads", 2.0),
    ("mamba_heads", 4.0),
    ("hidden", 48.0),
    ("window", 7.0),
    ("dim", 16.0),
    ("d", 8.0),
    ("dk", 8.0),
    ("dv", 8.0),
    ("n", 4.0),
    ("e", 2.0),
    ("blocks", 4.0),
    ("feature", 4.0),
    ("experts", 4.0),
    ("top", 2.0),
    ("expand", 2.0),
    ("attending", 1.0),
    ("rank", 8.0),
];

/// Models whose names for sizes mean something else, or whose sizes must fit each other.
fn adjusted(model: &str, size: &str) -> Option<f64> {
    match (model, size) {
        ("griffin_model", "e") => Some(48.0),
        // Its heads have a fixed size.
        ("gla_e8", "layers") => Some(1.0),
        ("mamba2_hybrid" | "gdn_h2" | "nemotron_h", "groups") => Some(2.0),
        ("mamba2_hybrid" | "gdn_h2" | "nemotron_h", "dim") => Some(16.0),
        _ => None,
    }
}

/// Parameters that choose among layers: every choice is trained.
const CHOICES: &[(&str, &str, &[f64])] = &[
    ("expansion_ablations", "way", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]),
    ("expansion_ablations", "activation", &[1.0, 2.0, 3.0]),
    ("jamba", "every", &[4.0]),
];

fn small(file: &str, name: &str, choice: Option<(&str, f64)>) -> Model {
    let (names, diags) = library::load(file, &mut Sources::default()).unwrap();
    assert!(diags.iter().all(|d| !d.is_error()), "{file}: {diags:?}");
    let decl = names.get(name).unwrap();
    let declared: Vec<&str> = decl.settings.iter().map(|(name, _)| name.text.as_str()).collect();
    let given: BTreeMap<String, Setting> = SMALL
        .iter()
        .filter(|(size, _)| declared.contains(size))
        .map(|(size, x)| {
            let x = adjusted(name, size).unwrap_or(*x);
            ((*size).to_string(), Setting::Number(x))
        })
        .chain(choice.map(|(name, x)| (name.to_string(), Setting::Number(x))))
        .collect();
    let mut diags = Vec::new();
    let model = build(&names, decl, &given, &mut diags);
    model.unwrap_or_else(|| panic!("{name}: {diags:?}"))
}

/// The same batch again and again is learned by heart.
fn learns(model: Model, name: &str) {
    let optimizer = Optimizer { weight_decay: 0.0, ..Optimizer::adamw(1e-3) };
    let vocab = model.vocab.min(64);
    let kind = tasks::Kind::Mqar { vocab, pairs: 2, fewest: 2, updates: 0, power: 0.1 };
    let task = Task::Synthetic(Synthetic { kind, length: 24 });
    let draw = Draw::Made { first: 0, sequences: 4, length: 24, levels: vec![] };
    let batch = Dataset::open(&task, 1, &EvalSets::default()).unwrap().batch(&draw).unwrap();
    let params = fresh(&model.graph.params, 1);
    let mut engine = Engine::new(model, params, Device::Cpu, &Training::plain(&optimizer)).unwrap();
    let losses: Vec<f64> = (1..=6)
        .map(|step| {
            let rates = Rates { lr: 3e-3, clip: 1.0, step };
            engine.step(&batch, &rates).unwrap().score.loss
        })
        .collect();
    let fell = losses[5] < losses[0] - 0.05;
    assert!(losses.iter().all(|x| x.is_finite()) && fell, "{name}: {losses:?}");
}

#[test]
fn every_model_learns() {
    let mut count = 0;
    for (file, text) in LIBRARY.iter().filter(|(file, _)| file.starts_with("models/")) {
        let id = Sources::default().add((*file).to_string(), *text);
        let (parsed, _) = lrc_dsl::parse(id, text);
        for decl in parsed.decls.iter().filter(|decl| decl.kind == Kind::Model) {
            let name = decl.name.text.as_str();
            let chosen = CHOICES.iter().filter(|(model, ..)| *model == name);
            let choices = chosen.flat_map(|(_, size, all)| all.iter().map(|x| Some((*size, *x))));
            for choice in std::iter::once(None).chain(choices) {
                learns(small(file, name, choice), &format!("{name} {choice:?}"));
                count += 1;
            }
        }
    }
    assert!(count >= 30, "{count} models");
}
