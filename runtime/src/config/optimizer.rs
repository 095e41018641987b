//! `optimizer`, `freeze`, `only`, `lora`: the rule that updates parameters, groups of them, and which are trained at all.

use super::fields::Fields;
use crate::optim::{Class, Frozen, Group, Method, Optimizer, Which};

/// Low-rank products beside others: `W x + (alpha / rank) B (A x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// Numbers between A and B.
    pub rank: usize,
    /// What the update is multiplied with, before it is divided by the rank.
    pub alpha: f64,
    /// Which products, by their matrices.
    pub targets: Vec<Which>,
}

fn which(f: &mut Fields, name: &'static str) -> Option<Vec<Which>> {
    Some(f.patterns(name)?.iter().map(|one| Which::parse(one)).collect())
}

/// `lora`
pub fn lora(f: &mut Fields) -> Option<Lora> {
    f.maybe("lora", |f| {
        let (rank, alpha) = (f.size("rank"), f.number("alpha"));
        f.text_unless("targets", "matrices");
        let targets = which(f, "targets").unwrap_or(vec![Which::Class(Class::Matrices)]);
        Lora { rank, alpha, targets }
    })
}

/// What `freeze` and `only` leave as it is; beside low-rank products that is all else, where nothing is said.
pub fn frozen(f: &mut Fields, lora: bool) -> Frozen {
    let freeze = which(f, "freeze").unwrap_or_default();
    if lora {
        f.text_unless("only", "lora");
    }
    let usual = lora.then(|| vec![Which::Class(Class::Lora)]);
    Frozen { freeze, only: which(f, "only").or(usual) }
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
    Optimizer { method, lr, weight_decay, clip, groups: vec![], frozen: Frozen::default() }
}

fn group(name: &str, f: &mut Fields) -> Option<Group> {
    let pattern = f.need_text("match");
    let lr_scale = f.number("lr_scale");
    let decay = f.get("weight_decay").is_some();
    let decay = decay.then(|| f.number("weight_decay"));
    let (pattern, _) = pattern?;
    Some(Group { name: name.into(), which: Which::parse(&pattern), lr_scale, weight_decay: decay })
}
