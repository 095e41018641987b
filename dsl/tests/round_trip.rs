//! The printer's text is read back as the same tree.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::{Path, PathBuf};

use lrc_dsl::{Sources, parse, print, render};

/// Parses, prints, parses and prints again: both texts must be equal and free of errors.
fn round_trip(name: &str, text: &str) {
    let mut sources = Sources::default();
    let file = sources.add(name, text);
    let (tree, diags) = parse(file, text);
    assert!(diags.is_empty(), "{}", render(&sources, &diags, false));
    let printed = print::print(&tree);
    let again = sources.add("printed", printed.as_str());
    let (second, diags) = parse(again, &printed);
    assert!(diags.is_empty(), "{}\n{printed}", render(&sources, &diags, false));
    assert_eq!(print::print(&second), printed);
    assert_eq!(second.decls.len(), tree.decls.len());
}

fn arch_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            arch_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "arch") {
            found.push(path);
        }
    }
}

#[test]
fn every_shipped_file_round_trips() {
    let mut files = Vec::new();
    arch_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs"), &mut files);
    assert!(files.len() > 20);
    for file in files {
        round_trip(&file.display().to_string(), &std::fs::read_to_string(&file).unwrap());
    }
}

#[test]
fn operators_bind_as_documented() {
    let text = "recurrence a { x = -a^2 * b + c[t-1]^T * d - e / (f - g) mod 2 ^ -h;
        y = if a < b and c == d or e then (if f then g else h) else |i + j|^0.5
        z = a - (b - c) - (a - b) .* -(c * d) }";
    round_trip("operators", text);
    let mut sources = Sources::default();
    let (tree, _) = parse(sources.add("operators", text), text);
    let printed = print::print(&tree);
    assert!(printed.contains("x = -a^2 * b + c[t - 1]^T * d - e / (f - g) mod 2^-h"), "{printed}");
    assert!(printed.contains("z = a - (b - c) - (a - b) .* -(c * d)"), "{printed}");
}
