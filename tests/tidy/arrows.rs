//! Which room of a crate knows which other one: `crate::` and `super::` paths against a written list.

use std::collections::BTreeMap;

use crate::source::{Source, line};
use crate::{CRATES, place};

/// One room knows another: `(crate, from, to)`.
type Arrow = (String, String, String);

/// What is wrong with the arrows of the sources: one that is not in the list, or is listed and not used, or is listed
/// before the room that it points to. In the list a room stands below those it knows, so there is no circle.
pub fn wrong(sources: &[Source], list: &str) -> Vec<String> {
    let (allowed, mut wrong) = read(list);
    let found = found(sources);
    for (arrow, places) in &found {
        if !allowed.contains_key(arrow) {
            let (root, from, to) = arrow;
            wrong.push(format!(
                "{}: `{from}` uses `{to}`, which tests/tidy/arrows.txt does not allow in {root}",
                places[0]
            ));
        }
    }
    for (arrow @ (root, from, to), at) in &allowed {
        if !found.contains_key(arrow) {
            wrong.push(format!(
                "tests/tidy/arrows.txt:{at}: `{from}` of {root} no longer uses `{to}`: take it out of the list"
            ));
        }
    }
    wrong
}

/// Reads the list: arrows with their lines, and what is wrong with it.
fn read(list: &str) -> (BTreeMap<Arrow, usize>, Vec<String>) {
    let (mut arrows, mut wrong) = (BTreeMap::new(), Vec::new());
    let (mut root, mut above) = (String::new(), Vec::new());
    for (at, text) in list.lines().enumerate().filter(|(_, text)| !text.starts_with('#')) {
        let Some((from, to)) = text.split_once("->") else {
            if CRATES.contains(&text.trim()) {
                (root, above) = (text.trim().to_string(), Vec::new());
            }
            continue;
        };
        let from = from.trim().to_string();
        for to in to.split_whitespace() {
            if !above.contains(&to.to_string()) {
                wrong.push(format!(
                    "tests/tidy/arrows.txt:{}: `{from}` knows `{to}`, which does not stand above it",
                    at + 1
                ));
            }
            arrows.insert((root.clone(), from.clone(), to.to_string()), at + 1);
        }
        above.push(from);
    }
    (arrows, wrong)
}

/// The arrows of the sources, each with its places.
fn found(sources: &[Source]) -> BTreeMap<Arrow, Vec<String>> {
    let mut found: BTreeMap<Arrow, Vec<String>> = BTreeMap::new();
    for source in sources {
        let module = source.module();
        // The root of a crate names its rooms.
        let Some(room) = module.first() else { continue };
        for (at, to) in paths(source) {
            if to != *room {
                let arrow = (source.root.to_string(), room.to_string(), to);
                found.entry(arrow).or_default().push(place(source, at));
            }
        }
    }
    found
}

/// All `crate::` paths of a file and the `super::` paths that leave its room, from the root of the crate, with their lines.
fn paths(source: &Source) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    // What tests name by `super::` is their own file.
    for (word, code) in [("crate::", &source.code), ("super::", &source.production)] {
        for (at, _) in code.match_indices(word) {
            let before = &code[..at];
            let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == ':';
            if before.ends_with(inside) {
                continue;
            }
            let rest = code[at..].trim_start_matches(word);
            let up = (code[at..].len() - rest.len()) / word.len();
            if word == "super::" && up < source.module().len() {
                continue;
            }
            let mut names = Vec::new();
            tree(rest, &mut names);
            all.extend(names.into_iter().map(|name| (line(code, at), name)));
        }
    }
    all
}

/// The first names of a tree of uses: `a` of `a::b`, `a` and `b` of `{a::{x, y}, b}`.
fn tree(text: &str, names: &mut Vec<String>) {
    let Some(inside) = text.strip_prefix('{') else {
        let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        names.push(name);
        return;
    };
    let (mut depth, mut start) = (0_usize, 0);
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                push(&inside[start..at], names);
                return;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                push(&inside[start..at], names);
                start = at + 1;
            }
            _ => {}
        }
    }
}

fn push(part: &str, names: &mut Vec<String>) {
    if !part.trim().is_empty() {
        tree(part.trim(), names);
    }
}

#[test]
fn paths_lead_to_rooms() {
    let code = "use crate::{a::{x, y}, b}; use super::super::c::d; fn f() { super::near(); crate::e::g() }";
    let code = code.to_string();
    let (path, text, production) = ("src/room/file.rs".into(), code.clone(), code.clone());
    let source = Source { root: "src", path, text, code, production };
    let mut names: Vec<String> = paths(&source).into_iter().map(|(_, name)| name).collect();
    names.sort();
    assert_eq!(names, ["a", "b", "c", "e"]);
}

#[test]
fn lists_have_no_circle() {
    let (arrows, wrong) = read("src\n  a ->\n  b -> a\n  c -> d a\n  d -> c\n");
    assert_eq!(arrows.len(), 4);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
}
