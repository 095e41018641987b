//! Every shipped model, made small.

use std::collections::BTreeMap;

use lrc_compiler::elaborate::Setting;
use lrc_compiler::graph::{Model, build};
use lrc_dsl::ast::Kind;
use lrc_dsl::{Namespace, Sources};
use lrc_runtime::ground::library::{self, LIBRARY};

/// Sizes that make any of the models small; each takes those that it knows.
pub const SMALL: &[(&str, f64)] = &[
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

fn small(file: &str, name: &str, choice: Option<(&str, f64)>) -> (Model, Namespace) {
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
    (model.unwrap_or_else(|| panic!("{name}: {diags:?}")), names)
}

/// Calls `see` with every shipped model and every choice of layers, made small, its name, and all declarations.
pub fn every(see: &mut dyn FnMut(Model, &str, &Namespace)) {
    for (file, text) in LIBRARY.iter().filter(|(file, _)| file.starts_with("models/")) {
        let id = Sources::default().add((*file).to_string(), *text);
        let (parsed, _) = lrc_dsl::parse(id, text);
        for decl in parsed.decls.iter().filter(|decl| decl.kind == Kind::Model) {
            let name = decl.name.text.as_str();
            let chosen = CHOICES.iter().filter(|(model, ..)| *model == name);
            let choices = chosen.flat_map(|(_, size, all)| all.iter().map(|x| Some((*size, *x))));
            for choice in std::iter::once(None).chain(choices) {
                let (model, names) = small(file, name, choice);
                see(model, &format!("{name} {choice:?}"), &names);
            }
        }
    }
}
