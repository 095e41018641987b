//! `docs/spec.md`: the guide with the tables of fields put into it.

use std::fmt::Write;

use super::tables;
use crate::fields::{Field, Kind, Preset, Table};

/// What stands around the tables: a line `{{NAME}}` stands for one.
const GUIDE: &str = include_str!("guide.md");

/// The tables by their names in the guide.
const TABLES: [(&str, &Table); 20] = [
    ("spec", &tables::SPEC),
    ("model", &tables::MODEL),
    ("lora", &tables::LORA),
    ("eval", &tables::EVAL),
    ("checkpoint", &tables::CHECKPOINT),
    ("task", &tables::task::TASK),
    ("data", &tables::data::DATA),
    ("ramp", &tables::shaping::RAMP),
    ("optimizer", &tables::optimizer::OPTIMIZER),
    ("groups", &tables::optimizer::GROUP),
    ("schedule", &tables::shaping::SCHEDULE),
    ("phases", &tables::shaping::PHASE),
    ("phase line", &tables::shaping::LINE),
    ("lengths", &tables::curriculum::LENGTHS),
    ("difficulty", &tables::curriculum::DIFFICULTY),
    ("levels", &tables::curriculum::TASK_LEVELS),
    ("pace", &tables::curriculum::PACE),
    ("monitor", &tables::MONITOR),
    ("policies", &tables::POLICY),
    ("change", &tables::CHANGE),
];

/// The whole page.
pub fn page() -> String {
    let mut page = String::new();
    for line in GUIDE.lines() {
        let name = line.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
        match name.and_then(|name| TABLES.iter().find(|(known, _)| *known == name)) {
            Some((_, table)) => page.push_str(&markdown(table)),
            None => page.extend([line, "\n"]),
        }
    }
    page
}

fn markdown(table: &Table) -> String {
    let mut text = String::new();
    if !table.kinds.is_empty() {
        text.push_str("| kind | field | value | default | meaning |\n|---|---|---|---|---|\n");
        for variant in table.kinds {
            let usual = if table.usual == Some(variant.key) { "usual" } else { "" };
            line(&mut text, &[&code(variant.key), "", "", usual, variant.meaning]);
            for field in variant.table.fields {
                let [value, default] = cells(field);
                line(&mut text, &["", &code(field.key), &value, &default, &meaning(field)]);
            }
        }
    }
    if !table.fields.is_empty() {
        text.push_str(if table.kinds.is_empty() { "" } else { "\n" });
        text.push_str("| field | value | default | meaning |\n|---|---|---|---|\n");
        for field in table.fields {
            let [value, default] = cells(field);
            line(&mut text, &[&code(field.key), &value, &default, &meaning(field)]);
        }
    }
    text
}

fn line(text: &mut String, cells: &[&str]) {
    // Writing to a text never fails.
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn code(word: &str) -> String {
    format!("`{word}`")
}

fn meaning(field: &Field) -> String {
    let mut text = field.meaning.to_string();
    if !field.old.is_empty() {
        let old: Vec<String> = field.old.iter().map(|name| code(name)).collect();
        let _ = write!(text, " (also read: {})", old.join(", "));
    }
    if field.since != crate::fields::FIRST {
        let _ = write!(text, " (since {})", field.since);
    }
    text
}

/// What a value may be, and the default.
fn cells(field: &Field) -> [String; 2] {
    let unit = if field.unit.is_empty() { String::new() } else { format!(" ({})", field.unit) };
    [format!("{}{unit}", words(&field.kind)), default(field)]
}

/// A kind of value in words.
pub fn words(kind: &Kind) -> String {
    match kind {
        Kind::Number(range) => format!("number{}", between(*range)),
        Kind::Whole(range) => format!("whole number{}", between(range.map(|x| x as f64))),
        Kind::Truth => "`true`, `false`".into(),
        Kind::Text => "text".into(),
        Kind::Value => "number, truth or text".into(),
        Kind::Values => "list of values".into(),
        Kind::Count => "number, such as `400k`, or time, such as `3 us`".into(),
        Kind::Path => "path".into(),
        Kind::Amount => "amount".into(),
        Kind::Word(all) => all.iter().map(|word| code(word)).collect::<Vec<_>>().join(", "),
        Kind::Size => "sequences or tokens".into(),
        Kind::Memory => "memory, such as `2 GB`".into(),
        Kind::Numbers => "list of numbers".into(),
        Kind::Points => "list of points".into(),
        Kind::Map(of) => format!("mapping from names to {}", words(of)),
        Kind::Section(_) => "mapping".into(),
        Kind::List(_) => "list of mappings".into(),
        Kind::Named(_) => "mapping from names to mappings".into(),
        Kind::Either(all) => all.iter().map(words).collect::<Vec<_>>().join(", or "),
    }
}

fn between([low, high]: [f64; 2]) -> String {
    match (low.is_finite(), high.is_finite()) {
        (true, true) => format!(", {} to {}", short(low), short(high)),
        (true, false) => format!(" from {}", short(low)),
        _ => String::new(),
    }
}

/// A number for people: powers of two and of ten where it is large or small.
fn short(x: f64) -> String {
    let exponent = x.log2();
    match x {
        _ if x >= 65536.0 && exponent.fract() == 0.0 => format!("2^{exponent}"),
        _ if x != 0.0 && (x.abs() >= 1e6 && x.log10().fract() == 0.0 || x.abs() < 1e-3) => {
            format!("{x:e}")
        }
        _ => x.to_string(),
    }
}

fn default(field: &Field) -> String {
    match field.default {
        Preset::Needed(example) => format!("needed: {example}"),
        Preset::Words(words) => words.into(),
        Preset::Number(x) => short(x),
        Preset::Truth(x) => x.to_string(),
        Preset::Amount(amount) => amount.to_string(),
        Preset::First => field.kind.words().first().map_or(String::new(), |word| code(word)),
        Preset::Section => String::new(),
    }
}
