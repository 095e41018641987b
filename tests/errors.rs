//! What wrong `.arch` files are told: `tests/errors/arch.txt` holds a file per case, and below the
//! dashes everything that `lrc check` says about it. `UPDATE_EXPECT=1 cargo test --test errors`
//! rewrites the answers; review the difference.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use lrc_dsl::{Sources, load_text, render};
use lrc_runtime::library::LIBRARY;

/// Everything that is said about a file.
fn said(text: &str) -> String {
    let mut sources = Sources::default();
    let (namespace, mut diags) =
        load_text("case.arch", text.to_string(), None, LIBRARY, &mut sources);
    if diags.is_empty() {
        lrc_compiler::check::check(&namespace, &mut diags);
    }
    render(&sources, &diags, false).trim_end().to_string()
}

#[test]
fn every_mistake_is_told_as_recorded() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors/arch.txt");
    let all = std::fs::read_to_string(&path).unwrap();
    let (mut now, mut wrong, mut count) = (String::new(), Vec::new(), 0);
    for case in all.split("=== ").filter(|case| !case.trim().is_empty()) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (text, recorded) = rest.split_once("---\n").unwrap();
        let got = said(text);
        assert!(got.contains("error["), "{name}: nothing is said about\n{text}");
        if got.trim() != recorded.trim() {
            wrong.push(format!("{name}\n{got}\n  instead of\n{recorded}"));
        }
        now += &format!("=== {name}\n{text}---\n{got}\n\n");
        count += 1;
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, now).unwrap();
        return;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(count >= 60, "only {count} cases");
}
