//! `optimizer`: the rule that updates parameters, and groups of them.

use lrc_dsl::Diag;

use super::NOTHING;
use super::tree::{Fields, Tree, Value, finding};
use crate::optim::{Group, Method, Optimizer, Which};

const METHODS: [&str; 4] = ["adamw", "lion", "muon", "sgd"];

/// Reads the section.
pub fn read(tree: &Tree, diags: &mut Vec<Diag>) -> Optimizer {
    let mut f = Fields::of(tree, "optimizer", diags);
    let given = if tree.value == Value::Null { None } else { f.one_of(&METHODS, "optimizer") };
    let groups = f.get("groups");
    f.finish();
    let (name, inner) = given.unwrap_or(("adamw", &NOTHING));
    let mut f = Fields::of(inner, name, diags);
    let beta = |f: &mut Fields, name, default| f.number(name, default, 0.0, 0.999_999_9);
    let method = match name {
        "lion" => {
            Method::Lion { beta1: beta(&mut f, "beta1", 0.9), beta2: beta(&mut f, "beta2", 0.99) }
        }
        "sgd" => Method::Sgd {
            momentum: beta(&mut f, "momentum", 0.9),
            nesterov: f.truth("nesterov", false),
        },
        _ => {
            let betas = [beta(&mut f, "beta1", 0.9), beta(&mut f, "beta2", 0.95)];
            let eps = f.number("eps", 1e-8, 0.0, 1.0);
            match name {
                "muon" => Method::Muon { momentum: beta(&mut f, "momentum", 0.95), betas, eps },
                _ => Method::AdamW { betas, eps },
            }
        }
    };
    let (lr, decay) = match name {
        "lion" => (1e-4, 1.0),
        "sgd" => (0.1, 0.0),
        _ => (1e-3, 0.1),
    };
    let mut optimizer = Optimizer {
        method,
        lr: f.number("lr", lr, 0.0, 100.0),
        weight_decay: f.number("weight_decay", decay, 0.0, 100.0),
        clip: f.number("clip", 1.0, 0.0, 1e9),
        groups: vec![],
    };
    f.finish();
    match groups.map(|tree| (&tree.value, tree)) {
        None => {}
        Some((Value::Map(entries), _)) => {
            for (key, tree) in entries {
                optimizer.groups.extend(group(&key.text, tree, diags));
            }
        }
        Some((_, tree)) => diags.push(
            finding(tree.span, "E0401", "`groups` is a mapping from names to groups".into())
                .help("for example `groups: {gates: {match: \"*.decay*\", lr: 0.5}}`"),
        ),
    }
    optimizer
}

fn group(name: &str, tree: &Tree, diags: &mut Vec<Diag>) -> Option<Group> {
    let mut f = Fields::of(tree, name, diags);
    let pattern = f.need("match", "`match: \"*.decay*\"`, or a class: `match: vectors`");
    let pattern = pattern.is_some().then(|| f.text("match")).flatten();
    let lr = f.number("lr", 1.0, 0.0, 1e6);
    let decay = f.get("weight_decay").is_some();
    let decay = decay.then(|| f.number("weight_decay", 0.0, 0.0, 100.0));
    f.finish();
    let (pattern, _) = pattern?;
    let which = Which::parse(&pattern);
    Some(Group { name: name.into(), which, lr, weight_decay: decay })
}
