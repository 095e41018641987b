//! `optimizer`: the rule that updates parameters, and groups of them.

use super::fields::Fields;
use crate::optim::{Group, Method, Optimizer, Which};

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
