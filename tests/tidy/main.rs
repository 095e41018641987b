//! The house in order: which room may know which, and measures of the text that may only fall. `./test` prints them.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod arrows;
mod measures;
mod source;

use std::fmt::Write;

use source::Source;

/// The folders of production code.
const CRATES: [&str; 4] = ["dsl/src", "compiler/src", "runtime/src", "src"];

/// Lines of a function and of a file.
const FUNCTION: usize = 60;
const FILE: usize = 500;

/// The most of each that there may be; whoever brings a number down writes the new one here.
const LONG_FUNCTIONS: usize = 3;
const LONG_FILES: usize = 0;
const PANICS: usize = 30;
const REPETITIONS: usize = 0;

#[test]
fn rooms_know_only_rooms_below_them() {
    let wrong = arrows::wrong(&source::all(&CRATES), include_str!("arrows.txt"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn measures_only_fall() {
    let sources = source::all(&CRATES);
    let functions = measures::long_functions(&sources, FUNCTION);
    let files = measures::long_files(&sources, FILE);
    let panics = measures::panics(&sources);
    let repetitions = measures::repetitions(&sources);
    let found = [
        (format!("functions over {FUNCTION} lines"), functions, LONG_FUNCTIONS),
        (format!("files over {FILE} lines, without their tests"), files, LONG_FILES),
        (
            "places that can panic: `unreachable!`, `panic!`, `todo!`, `.expect(`".into(),
            panics,
            PANICS,
        ),
        (
            format!("pairs of places with {} lines in common", measures::SAME),
            repetitions,
            REPETITIONS,
        ),
    ];
    let mut text = String::from("modules in a circle: 0, or the test of arrows fails\n");
    for (what, places, most) in &found {
        writeln!(text, "{what}: {} (at most {most})", places.len()).unwrap();
        places.iter().for_each(|place| writeln!(text, "    {place}").unwrap());
    }
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(folder.join("measures.txt"), &text).unwrap();
    for (what, places, most) in &found {
        assert!(places.len() <= *most, "more than {most} {what}:\n{text}");
    }
}

/// The lines of a place, for people.
fn place(source: &Source, line: usize) -> String {
    format!("{}:{line}", source.path)
}
