//! No text can panic the parser or the renderer: mutations of real files, and nests too deep.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use lrc_dsl::{Sources, parse, print, render};

/// A small repeatable generator.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

fn survive(text: &str) {
    let mut sources = Sources::default();
    let file = sources.add("hostile", text);
    let (tree, diags) = parse(file, text);
    let shown = render(&sources, &diags, false);
    assert!(diags.is_empty() || !shown.is_empty());
    let printed = print::print(&tree);
    let again = sources.add("printed", printed.as_str());
    let (_, diags) = parse(again, &printed);
    assert!(diags.is_empty(), "{}\n{printed}", render(&sources, &diags, false));
}

#[test]
fn mutated_files_are_survived() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/recurrences");
    let mut random = Random(5);
    let extra = [
        "(", ")", "[", "]", "{", "}", "^T", "=", "|", "é", "for", "if", "in", ".*", "-", "1e9",
        "\n", "\0",
    ];
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for _ in 0..40 {
            let mut chars: Vec<char> = text.chars().collect();
            for _ in 0..1 + random.below(4) {
                let at = random.below(chars.len());
                match random.below(3) {
                    0 => drop(chars.remove(at)),
                    1 => {
                        let piece = extra[random.below(extra.len())];
                        chars.splice(at..at, piece.chars());
                    }
                    _ => {
                        let other = random.below(chars.len());
                        chars.swap(at, other);
                    }
                }
            }
            survive(&chars.into_iter().collect::<String>());
        }
    }
}

#[test]
fn deep_and_long_texts_are_refused_in_words() {
    for text in [
        format!("recurrence a {{ x = {}1{} }}", "(".repeat(5000), ")".repeat(5000)),
        format!("recurrence a {{ x = 1{} }}", " + 1".repeat(5000)),
        format!("recurrence a {{ x = {}1 }}", "-".repeat(5000)),
        format!("recurrence a {{ x = {}1 }}", "if 1 then 2 else ".repeat(5000)),
        "x".repeat(2 << 20),
        "|".repeat(4000),
    ] {
        let mut sources = Sources::default();
        let file = sources.add("deep", text.as_str());
        let (_, diags) = parse(file, &text);
        assert!(!diags.is_empty());
    }
}
