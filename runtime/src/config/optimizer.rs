//! `optimizer`: the rule that updates parameters, and groups of them.

use super::fields::Fields;
use crate::optim::{Group, Method, Optimizer, Which};

const METHODS: [&str; 4] = ["adamw", "lion", "muon", "sgd"];

/// Reads the section.
pub fn read(f: &mut Fields) -> Optimizer {
    let optimizer = f.kind_or(&METHODS, "adamw", method);
    let words = [
        "a mapping from names to groups",
        "`groups: {gates: {match: \"*.decay*\", lr_scale: 0.5}}`",
    ];
    let groups = f.named("groups", words, group);
    Optimizer { groups: groups.into_iter().flatten().collect(), ..optimizer }
}

fn method(name: &str, f: &mut Fields) -> Optimizer {
    let beta = |f: &mut Fields, name, default| f.number(name, default, 0.0, 0.999_999_9);
    let (lr, decay) = match name {
        "lion" => (1e-4, 1.0),
        "sgd" => (0.1, 0.0),
        _ => (1e-3, 0.1),
    };
    let lr = f.number("lr", lr, 0.0, 100.0);
    let method = match name {
        "lion" => Method::Lion { beta1: beta(f, "beta1", 0.9), beta2: beta(f, "beta2", 0.99) },
        "sgd" => {
            Method::Sgd { momentum: beta(f, "momentum", 0.9), nesterov: f.truth("nesterov", false) }
        }
        _ => {
            let betas = [beta(f, "beta1", 0.9), beta(f, "beta2", 0.95)];
            let eps = f.number("eps", 1e-8, 0.0, 1.0);
            match name {
                "muon" => Method::Muon { momentum: beta(f, "momentum", 0.95), betas, eps },
                _ => Method::AdamW { betas, eps },
            }
        }
    };
    Optimizer {
        method,
        lr,
        weight_decay: f.number("weight_decay", decay, 0.0, 100.0),
        clip: f.number("clip", 1.0, 0.0, 1e9),
        groups: vec![],
    }
}

fn group(name: &str, f: &mut Fields) -> Option<Group> {
    let pattern = f.need_text("match", "`match: \"*.decay*\"`, or a class: `match: vectors`");
    f.also("lr_scale", "lr");
    let lr = f.number("lr_scale", 1.0, 0.0, 1e6);
    let decay = f.get("weight_decay").is_some();
    let decay = decay.then(|| f.number("weight_decay", 0.0, 0.0, 100.0));
    let (pattern, _) = pattern?;
    Some(Group { name: name.into(), which: Which::parse(&pattern), lr, weight_decay: decay })
}
