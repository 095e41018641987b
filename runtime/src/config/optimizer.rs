//! `optimizer`: the rule that updates parameters, and groups of them.

use super::fields::Fields;
use crate::optim::{Group, Method, Optimizer, Which};

/// What `freeze` names, as groups that stay as they are: they count before those of the optimiser.
pub fn frozen(f: &mut Fields) -> Vec<Group> {
    let Some((names, _)) = f.text("freeze") else { return vec![] };
    let group = |name: &str| {
        let (name, which) = (format!("freeze: {}", name.trim()), Which::parse(name.trim()));
        Group { name, which, lr_scale: 0.0, weight_decay: Some(0.0) }
    };
    names.split(',').map(group).collect()
}

/// Reads the section.
pub fn read(f: &mut Fields) -> Optimizer {
    let optimizer = f.kind_or(method);
    let words = [
        "a mapping from names to groups",
        "`groups: {gates: {match: \"*.decay*\", lr_scale: 0.5}}`",
    ];
    let groups = f.named("groups", words, group);
    Optimizer { groups: groups.into_iter().flatten().collect(), ..optimizer }
}

fn method(name: &str, f: &mut Fields) -> Optimizer {
    let lr = f.number("lr");
    let usual = Optimizer::adamw(lr).method;
    let method = Method::read(name, f).unwrap_or(usual);
    let (weight_decay, clip) = (f.number("weight_decay"), f.number("clip"));
    Optimizer { method, lr, weight_decay, clip, groups: vec![] }
}

fn group(name: &str, f: &mut Fields) -> Option<Group> {
    let pattern = f.need_text("match");
    let lr_scale = f.number("lr_scale");
    let decay = f.get("weight_decay").is_some();
    let decay = decay.then(|| f.number("weight_decay"));
    let (pattern, _) = pattern?;
    Some(Group { name: name.into(), which: Which::parse(&pattern), lr_scale, weight_decay: decay })
}
