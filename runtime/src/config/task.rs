//! `task`: synthetic tasks.

use std::path::Path;

use super::data::anchored;
use super::fields::{Fields, finding};
use crate::data::Task;
use crate::data::tasks::{Haystack, Kind, Needles, Synthetic};

/// Reads the section.
pub fn read(f: &mut Fields, base: &Path) -> Option<Task> {
    f.kind(|name, f| {
        let length = f.size("length");
        if name == "text" {
            f.need_text("path")?;
            return Some(Task::Text { path: anchored(f, "path", base)?, length });
        }
        let task = Synthetic { kind: kind(f, name), length };
        if let Some((message, help)) = task.wrong() {
            f.diags.push(finding(f.place(), "E0402", message).help(help));
            return None;
        }
        Some(Task::Synthetic(task))
    })?
}

fn kind(f: &mut Fields, name: &str) -> Kind {
    match name {
        "mqar" => {
            let pairs = f.size("pairs");
            Kind::Mqar {
                vocab: f.size("vocab"),
                pairs,
                fewest: f.size_up_to("fewest", pairs, pairs),
                updates: f.size("updates"),
                power: f.number("power"),
            }
        }
        "niah" => Kind::Needles(niah(f)),
        "phonebook" => Kind::Needles(Needles {
            needles: None,
            haystack: Haystack::Needles,
            queries: f.size("queries"),
            key_tokens: 2,
            keys: f.size("names"),
            symbols: 10,
            value_tokens: f.size("digits"),
            words: 0,
        }),
        "copy" => Kind::Copy { vocab: f.size("vocab") },
        "selective_copy" => {
            Kind::SelectiveCopy { vocab: f.size("vocab"), marked: f.size("marked") }
        }
        "induction" => Kind::Induction { vocab: f.size("vocab") },
        "classification" => Kind::Classification {
            features: f.size("features"),
            values: f.size("values"),
            labels: f.size("labels"),
        },
        "parity" => Kind::Parity,
        "modular" => Kind::Modular { modulus: f.size("modulus"), brackets: f.truth("brackets") },
        "permutations" => Kind::Permutations { of: f.size("of") },
        _ => Kind::Cycle { places: f.size("places") },
    }
}

/// Needles in a haystack: RULER's single needle by default, several keys with `needles`, nothing but
/// needles with `haystack: needles`.
fn niah(f: &mut Fields) -> Needles {
    let haystack = f.word_or("haystack", [Haystack::Noise, Haystack::Repeat, Haystack::Needles]);
    // RULER's numbers have seven digits; a UUID has 32 of sixteen.
    let (digits, symbols) = f.word_or("values", [(7, 10), (32, 16), (1, 0)]);
    let answers = f.size("answers");
    let needles = f.get("needles").is_some() || haystack != Haystack::Needles;
    let needles = needles.then(|| f.size_up_to("needles", 1, usize::MAX));
    let digits = f.size_up_to("digits", digits, usize::MAX);
    Needles {
        needles,
        haystack,
        queries: f.size("queries"),
        key_tokens: 1,
        keys: f.size("keys"),
        symbols: if symbols == 0 { answers } else { symbols },
        value_tokens: digits,
        words: f.size("words"),
    }
}
