//! The stages of compilation as texts: what a change of the compiler does is the difference of these files.
//! `LRC_RENEW=1 cargo test --test stages` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::path::Path;

use lrc_compiler::compile::{Artifact, Choice, Chosen, Target, compile};
use lrc_compiler::elaborate::{Recurrence, Setting, elaborate};
use lrc_compiler::emit;
use lrc_compiler::plan::Purpose;
use lrc_compiler::plan::target::Gpu;
use lrc_dsl::Sources;
use lrc_runtime::ground::library;

/// Sizes by name.
type Sizes = &'static [(&'static str, f64)];

/// Recurrences of the library, with their sizes and the tokens of a block: one for each way that
/// something is computed.
const CASES: &[(&str, Sizes, usize)] = &[
    // One decay per head, writes that read the state.
    ("gated_delta_rule", &[("dk", 8.0), ("dv", 8.0)], 8),
    // One decay per head, no reads.
    ("mamba2_ssd", &[("dk", 8.0), ("dv", 8.0)], 8),
    // One decay per channel.
    ("gla", &[("dk", 8.0), ("dv", 8.0)], 4),
    // A decay per channel and a write of two keys.
    ("rwkv7", &[("dk", 8.0), ("dv", 8.0)], 4),
    // A scan.
    ("hgrn", &[], 8),
    // Attention.
    ("sliding_window_attn", &[("d", 8.0), ("window", 4.0)], 16),
    // Token by token.
    ("slstm", &[("d", 4.0)], 1),
];

fn recurrence(name: &str, sizes: Sizes) -> Recurrence {
    let path = format!("recurrences/{name}.arch");
    let (names, _) = library::load(&path, &mut Sources::default()).unwrap();
    let given: BTreeMap<String, Setting> =
        sizes.iter().map(|(name, x)| ((*name).to_string(), Setting::Number(*x))).collect();
    let mut diags = Vec::new();
    let made = elaborate(names.get(name).unwrap(), &given, &mut diags);
    made.unwrap_or_else(|| panic!("{name}: {diags:?}"))
}

/// Each stage with the ending of its file.
fn texts(made: &Artifact) -> [(&'static str, String); 5] {
    let functions = made.schedules.iter().flat_map(|schedule| {
        schedule.kernels.iter().map(|kernel| emit::function(schedule, kernel))
    });
    [
        ("normal", made.normal_text()),
        ("chunk", made.chunk_text()),
        ("grad", made.grad_text()),
        ("plan", made.plan_text()),
        ("cu", functions.collect::<Vec<String>>().join("\n")),
    ]
}

#[test]
fn stages_are_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stages");
    let renew = std::env::var_os("LRC_RENEW").is_some();
    let mut changed = Vec::new();
    for (name, sizes, tokens) in CASES {
        let r = recurrence(name, sizes);
        let target = Target::Gpu(Gpu::named("sm_80").unwrap());
        let choice = Choice { purpose: Purpose::Training, chosen: Chosen::of(Some(*tokens)) };
        let made = compile(&r, target, choice).unwrap_or_else(|why| panic!("{name}: {}", why.why));
        for (stage, new) in texts(&made) {
            let path = folder.join(format!("{name}.{stage}"));
            if renew {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &new).unwrap();
            }
            let old = std::fs::read_to_string(&path).unwrap_or_default();
            if old != new {
                changed.push(format!("tests/stages/{name}.{stage}\n{}", difference(&old, &new)));
            }
        }
    }
    let renewal = "LRC_RENEW=1 cargo test --test stages writes them anew; git diff shows the rest";
    assert!(changed.is_empty(), "{}\n{renewal}", changed.join("\n"));
}

/// Lines of a difference that are shown.
const SHOWN: usize = 12;

/// The first place where two texts differ: some lines of the old one, and of the new one.
fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[same..].iter().rev().zip(new[same..].iter().rev());
    let after = tail.take_while(|(a, b)| a == b).count();
    let lines = |sign: char, text: &[&str]| -> String {
        let more = text.len().saturating_sub(SHOWN);
        let end = if more > 0 { format!("{sign} ... {more} more lines\n") } else { String::new() };
        let shown = text.iter().take(SHOWN).map(|line| format!("{sign} {line}\n"));
        shown.collect::<String>() + &end
    };
    let head = format!("@ line {}\n", same + 1);
    head + &lines('-', &old[same..old.len() - after]) + &lines('+', &new[same..new.len() - after])
}

#[test]
fn a_difference_shows_what_changed() {
    let said = difference("a\nb\nc\n", "a\nx\ny\nc\n");
    assert_eq!(said, "@ line 2\n- b\n+ x\n+ y\n");
}
