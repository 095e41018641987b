//! `task`: synthetic tasks.

use std::path::Path;

use super::data::anchored;
use super::fields::{Fields, finding};
use crate::data::tasks::{Haystack, Kind, Needles, Synthetic};
use crate::data::{LONGEST, Task};

const TASKS: [&str; 12] = [
    "mqar",
    "niah",
    "phonebook",
    "copy",
    "selective_copy",
    "induction",
    "classification",
    "parity",
    "modular",
    "permutations",
    "cycle",
    "text",
];

/// Reads the section.
pub fn read(f: &mut Fields, base: &Path) -> Option<Task> {
    f.kind(&TASKS, |name, f| {
        let length = f.whole("length", 64, 2, LONGEST as u64) as usize;
        if name == "text" {
            f.need_text("path", "`path: my.txt`")?;
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
    let whole = |f: &mut Fields, name, default, low, high| -> usize {
        f.whole(name, default, low, high) as usize
    };
    match name {
        "mqar" => {
            let pairs = f.whole("pairs", 4, 1, 1 << 20);
            Kind::Mqar {
                vocab: whole(f, "vocab", 8192, 8, 1 << 24),
                pairs: pairs as usize,
                fewest: whole(f, "fewest", pairs, 1, pairs),
                updates: whole(f, "updates", 0, 0, 1 << 20),
                power: f.number("power", 0.01, 1e-4, 10.0),
            }
        }
        "niah" => Kind::Needles(niah(f)),
        "phonebook" => Kind::Needles(Needles {
            needles: None,
            haystack: Haystack::Needles,
            queries: whole(f, "queries", 1, 1, 1 << 16),
            key_tokens: 2,
            keys: whole(f, "names", 64, 2, 1 << 16),
            symbols: 10,
            value_tokens: whole(f, "digits", 4, 1, 64),
            words: 0,
        }),
        "copy" => Kind::Copy { vocab: whole(f, "vocab", 64, 3, 1 << 24) },
        "selective_copy" => Kind::SelectiveCopy {
            vocab: whole(f, "vocab", 16, 4, 1 << 24),
            marked: whole(f, "marked", 16, 1, 1 << 20),
        },
        "induction" => Kind::Induction { vocab: whole(f, "vocab", 16, 3, 1 << 24) },
        "classification" => Kind::Classification {
            features: whole(f, "features", 4, 1, 64),
            values: whole(f, "values", 6, 2, 1 << 12),
            labels: whole(f, "labels", 2, 2, 64),
        },
        "parity" => Kind::Parity,
        "modular" => Kind::Modular {
            modulus: whole(f, "modulus", 5, 2, 64),
            brackets: f.truth("brackets", false),
        },
        "permutations" => Kind::Permutations { of: whole(f, "of", 5, 2, 5) },
        _ => Kind::Cycle { places: whole(f, "places", 5, 2, 1 << 12) },
    }
}

/// Needles in a haystack: RULER's single needle by default, several keys with `needles`, nothing but
/// needles with `haystack: needles`.
fn niah(f: &mut Fields) -> Needles {
    let words =
        [("noise", Haystack::Noise), ("repeat", Haystack::Repeat), ("needles", Haystack::Needles)];
    let haystack = f.word_or("haystack", words);
    // RULER's numbers have seven digits; a UUID has 32 of sixteen.
    let kinds = [("numbers", (7, 10)), ("uuid", (32, 16)), ("words", (1, 0))];
    let (digits, symbols) = f.word_or("values", kinds);
    let answers = f.whole("answers", 64, 2, 1 << 20) as usize;
    let needles = f.get("needles").is_some() || haystack != Haystack::Needles;
    let needles = needles.then(|| f.whole("needles", 1, 1, 1 << 20) as usize);
    let digits = f.whole("digits", digits, 1, 64) as usize;
    Needles {
        needles,
        haystack,
        queries: f.whole("queries", 1, 1, 1 << 16) as usize,
        key_tokens: 1,
        keys: f.whole("keys", 64, 2, 1 << 20) as usize,
        symbols: if symbols == 0 { answers } else { symbols },
        value_tokens: digits,
        words: f.whole("words", 64, 1, 1 << 20) as usize,
    }
}
