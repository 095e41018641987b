//! Measures of the text: long functions and files, places that can panic, repetition.

use std::collections::{BTreeSet, HashMap};

use crate::place;
use crate::source::{Source, closing, line};

/// So many lines in a row, the same in two places, are repetition.
pub const SAME: usize = 10;

/// Functions with more lines of code than so many, as clippy counts them, the longest first.
pub fn long_functions(sources: &[Source], most: usize) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let code = &source.production;
        for (at, _) in code.match_indices("fn ") {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let name: String =
                code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(open) = body(code, at).filter(|_| !name.is_empty()) else { continue };
            let inside = &code[open + 1..closing(code, open)];
            let lines = inside.lines().filter(|line| !line.trim().is_empty()).count();
            if lines > most {
                found.push((lines, format!("{} {name}: {lines}", place(source, line(code, at)))));
            }
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, text)| text).collect()
}

/// Where the body of a function begins, if it has one.
fn body(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (here, c) in code[at..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' if depth == 0 => return Some(at + here),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Files with more lines than so many, without their modules of tests, the longest first.
pub fn long_files(sources: &[Source], most: usize) -> Vec<String> {
    let lines = |source: &Source| {
        let tests = source.code.find("#[cfg(test)]\nmod ").unwrap_or(source.code.len());
        source.text[..source.text.len().min(tests)].lines().count()
    };
    let mut found: Vec<(usize, &str)> =
        sources.iter().map(|source| (lines(source), source.path.as_str())).collect();
    found.retain(|(lines, _)| *lines > most);
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(lines, path)| format!("{path}: {lines}")).collect()
}

/// Every place of production code that panics where its author was wrong.
pub fn panics(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let code = &source.production;
        for word in ["unreachable!", "panic!", "todo!", ".expect("] {
            let places = code.match_indices(word);
            found.extend(places.map(|(at, _)| format!("{} {word}", place(source, line(code, at)))));
        }
    }
    found
}

/// Pairs of places with lines in common, each with how many.
pub fn repetitions(sources: &[Source]) -> Vec<String> {
    // Lines of code that say something, with their numbers.
    let files: Vec<Vec<(usize, &str)>> = sources.iter().map(lines).collect();
    let mut windows: HashMap<Vec<&str>, Vec<(usize, usize)>> = HashMap::new();
    for (file, lines) in files.iter().enumerate() {
        for (at, window) in lines.windows(SAME).enumerate() {
            let key = window.iter().map(|(_, text)| *text).collect();
            windows.entry(key).or_default().push((file, at));
        }
    }
    let mut pairs = BTreeSet::new();
    for places in windows.values() {
        for (i, a) in places.iter().enumerate() {
            for b in &places[i + 1..] {
                if a.0 != b.0 || a.1 + SAME <= b.1 {
                    pairs.insert((*a.min(b), *a.max(b)));
                }
            }
        }
    }
    let begins = |((f, a), (g, b)): &&((usize, usize), (usize, usize))| {
        *a == 0 || *b == 0 || !pairs.contains(&((*f, a - 1), (*g, b - 1)))
    };
    let told = |((f, a), (g, b)): &((usize, usize), (usize, usize))| {
        let more = (0..).take_while(|n| pairs.contains(&((*f, a + n), (*g, b + n)))).count();
        let at = |file: usize, at: usize| place(&sources[file], files[file][at].0);
        format!("{} and {}: {} lines", at(*f, *a), at(*g, *b), more + SAME - 1)
    };
    pairs.iter().filter(begins).map(told).collect()
}

/// Lines of production code with their numbers, without imports.
fn lines(source: &Source) -> Vec<(usize, &str)> {
    let lines = source.production.lines().zip(source.text.lines()).enumerate();
    let says = lines.filter(|(_, (code, _))| {
        let code = code.trim();
        !code.is_empty() && !code.starts_with("use ") && !code.starts_with("pub use ")
    });
    says.map(|(at, (_, text))| (at + 1, text.trim())).collect()
}
