//! Source files with what is no code blanked out, line by line in place.

use std::path::Path;

/// A file of production code.
pub struct Source {
    /// Its folder among those asked for.
    pub root: &'static str,
    /// Its path from the top of the project.
    pub path: String,
    /// Its text.
    pub text: String,
    /// The text without comments and without what stands in strings; every line stays where it is.
    pub code: String,
    /// The code without modules of tests.
    pub production: String,
}

impl Source {
    /// The path of modules that leads to the file: `a::b` for `a/b.rs`, nothing for the root of a crate.
    pub fn module(&self) -> Vec<&str> {
        let inside = &self.path[self.root.len() + 1..self.path.len() - ".rs".len()];
        let root = |part: &&str| !["lib", "main", "mod"].contains(part);
        inside.split('/').filter(root).collect()
    }
}

/// All files below some folders of the project.
pub fn all(roots: &[&'static str]) -> Vec<Source> {
    let mut found = Vec::new();
    for root in roots {
        collect(root, Path::new(root), &mut found);
    }
    found
}

fn collect(root: &'static str, folder: &Path, found: &mut Vec<Source>) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> =
        std::fs::read_dir(top.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let here = path.strip_prefix(top).unwrap();
        if path.is_dir() {
            collect(root, here, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = blanked(&text);
            let path = here.to_str().unwrap().replace('\\', "/");
            // A module of tests may be a file.
            let production =
                if path.ends_with("/tests.rs") { String::new() } else { without_tests(&code) };
            found.push(Source { root, path, text, code, production });
        }
    }
}

/// A text without comments, and with `_` for what stands in strings and characters.
fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let (end, fill) = token(&chars, at);
        for c in &chars[at..end] {
            out.push(if *c == '\n' { '\n' } else { fill.unwrap_or(*c) });
        }
        at = end;
    }
    out
}

/// Where what begins here ends, and what it is filled with where it is no code.
fn token(chars: &[char], at: usize) -> (usize, Option<char>) {
    let starts = |text: &str| text.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    let find = |from: usize, end: &dyn Fn(usize) -> bool| {
        (from..chars.len()).find(|here| end(*here)).unwrap_or(chars.len())
    };
    let named = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    if starts("//") {
        return (find(at, &|here| chars[here] == '\n'), Some(' '));
    }
    if starts("r\"") || starts("r#") && !named {
        let marks = chars[at + 1..].iter().take_while(|c| **c == '#').count();
        if chars.get(at + 1 + marks) == Some(&'"') {
            let closes = |here: usize| {
                chars[here] == '"' && (1..=marks).all(|i| chars.get(here + i) == Some(&'#'))
            };
            return (find(at + 2 + marks, &closes) + 1 + marks, Some('_'));
        }
    }
    if starts("\"") {
        let mut end = at + 1;
        while end < chars.len() && chars[end] != '"' {
            end += if chars[end] == '\\' { 2 } else { 1 };
        }
        return ((end + 1).min(chars.len()), Some('_'));
    }
    // A character, not a lifetime.
    if starts("'") && chars.get(at + 1) == Some(&'\\') {
        return (find(at + 3, &|here| chars[here] == '\'') + 1, Some('_'));
    }
    if starts("'") && chars.get(at + 2) == Some(&'\'') {
        return (at + 3, Some('_'));
    }
    (at + 1, None)
}

/// Code without its modules of tests.
fn without_tests(code: &str) -> String {
    let mut out = code.to_string();
    while let Some(start) = out.find("#[cfg(test)]") {
        let rest = &out[start..];
        let item = rest.find(['{', ';']).map_or(rest.len(), |at| match rest.as_bytes()[at] {
            b'{' => closing(rest, at) + 1,
            _ => at + 1,
        });
        let lines = rest[..item].matches('\n').count();
        out.replace_range(start..start + item, &"\n".repeat(lines));
    }
    out
}

/// Where the brace that opens at a place is closed.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return open + at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len() - 1
}

/// The line of a place in a text, counted from 1.
pub fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[test]
fn what_is_no_code_is_blanked() {
    let text = "a // b \"c\n'x' 'l r#\"\"y\"# \"z\\\"\" '\\''";
    assert_eq!(blanked(text), "a        \n___ 'l _______ _____ ____");
    assert_eq!(without_tests("a\n#[cfg(test)]\nmod t { { } }\nb"), "a\n\n\nb");
}
