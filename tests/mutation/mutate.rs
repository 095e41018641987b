//! Texts with a few words or lines changed, as a person in a hurry or a careless program changes them.

use lrc_runtime::ground::random::{Purpose, Stream};

/// Numbers that stand where other numbers stood.
const NUMBERS: [&str; 20] = [
    "0",
    "1",
    "2",
    "3",
    "4",
    "8",
    "16",
    "0.5",
    "1.5",
    "7",
    "1e-6",
    "-1",
    "1e4",
    "1e9",
    "1e18",
    "1e300",
    "inf",
    "18446744073709551615",
    "0.0",
    "1e-300",
];

/// Those of them that keep most texts sound.
const SMALL: [&str; 10] = ["1", "2", "3", "4", "8", "0.5", "1.5", "0.25", "5", "6"];

/// Functions of a number.
const FUNCTIONS: [&str; 12] = [
    "exp",
    "log",
    "sqrt",
    "sigmoid",
    "logsigmoid",
    "softplus",
    "silu",
    "relu",
    "tanh",
    "abs",
    "sin",
    "cos",
];

/// Operators of the language.
const OPERATORS: [&str; 8] = ["+", "-", "*", ".*", "/", "^", "<", "<="];

/// A text as words: names, numbers, strings, operators, and the space between them.
pub fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let named = |c: char| c.is_alphanumeric() || c == '_';
        let end = if named(first) {
            let number = first.is_ascii_digit();
            rest.find(|c: char| !(named(c) || number && c == '.')).unwrap_or(rest.len())
        } else if first == ' ' {
            rest.find(|c| c != ' ').unwrap_or(rest.len())
        } else if first == '"' {
            rest[1..].find(['"', '\n']).map_or(rest.len(), |at| (at + 2).min(rest.len()))
        } else if [".*", "<=", ">=", "==", "//", "**"].iter().any(|op| rest.starts_with(op)) {
            2
        } else {
            first.len_utf8()
        };
        let (word, after) = rest.split_at(end);
        words.push(word);
        rest = after;
    }
    words
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic())
}

fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
}

/// One of several.
pub fn pick<'a>(random: &mut Stream, all: &[&'a str]) -> &'a str {
    all[random.below(all.len())]
}

/// A place among those that `wanted` takes.
fn place(words: &[&str], random: &mut Stream, wanted: impl Fn(&str) -> bool) -> Option<usize> {
    let places: Vec<usize> = (0..words.len()).filter(|at| wanted(words[*at])).collect();
    (!places.is_empty()).then(|| places[random.below(places.len())])
}

/// A change that leaves most texts sound: another number, another function, a sum for a difference.
fn gentle(text: &str, random: &mut Stream) -> String {
    let mut all = words(text);
    let (at, word) = match random.below(5) {
        0 | 1 => (place(&all, random, is_number), pick(random, &SMALL)),
        2 => (place(&all, random, |w| FUNCTIONS.contains(&w)), pick(random, &FUNCTIONS)),
        3 => (place(&all, random, |w| w == "+" || w == "-"), pick(random, &["+", "-"])),
        _ => (place(&all, random, |w| w == " "), "  "),
    };
    if let Some(at) = at {
        all[at] = word;
    }
    all.concat()
}

/// A word replaced, removed, doubled or exchanged with its neighbour.
fn word(text: &str, random: &mut Stream) -> String {
    let mut all = words(text);
    let Some(at) = place(&all, random, |w| !w.starts_with(' ')) else { return String::new() };
    match random.below(7) {
        0 | 1 => {
            let names: Vec<&str> = all.iter().copied().filter(|w| is_name(w)).collect();
            if let (Some(at), false) = (place(&all, random, is_name), names.is_empty()) {
                all[at] = pick(random, &names);
            }
        }
        2 => {
            if let Some(at) = place(&all, random, is_number) {
                all[at] = pick(random, &NUMBERS);
            }
        }
        3 => {
            if let Some(at) = place(&all, random, |w| OPERATORS.contains(&w)) {
                all[at] = pick(random, &OPERATORS);
            }
        }
        4 => drop(all.remove(at)),
        5 => all.insert(at, all[at]),
        _ => {
            let other = random.below(all.len());
            all.swap(at, other);
        }
    }
    all.concat()
}

/// A line removed, doubled, moved, or taken from another text.
fn line(text: &str, other: &str, random: &mut Stream) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        return other.to_string();
    }
    let at = random.below(lines.len());
    match random.below(4) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[at]),
        2 => {
            let to = random.below(lines.len());
            lines.swap(at, to);
        }
        _ => {
            let others: Vec<&str> = other.lines().collect();
            if !others.is_empty() {
                lines.insert(at, others[random.below(others.len())]);
            }
        }
    }
    lines.join("\n") + "\n"
}

/// Mutant `item` of the texts: the number of the text that was changed, and what became of it.
pub fn mutant(texts: &[String], seed: u64, item: u64) -> (usize, String) {
    let mut random = Stream::new(seed, Purpose::Verify, item);
    let at = random.below(texts.len());
    let other = random.below(texts.len());
    let mut text = texts[at].clone();
    // Most are changed in one place: what is far from sound is refused by its first word.
    let changes = if random.below(4) > 0 { 1 } else { 1 + random.below(4) };
    for _ in 0..changes {
        text = match random.below(10) {
            0..=5 => gentle(&text, &mut random),
            6..=8 => word(&text, &mut random),
            _ => line(&text, &texts[other], &mut random),
        };
    }
    (at, text)
}
