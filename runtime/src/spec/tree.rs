//! YAML as a tree in which every value knows its place, so that every mistake of a file is reported
//! at once and where it stands.

use lrc_dsl::{Diag, FileId, Span};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::schedule::Amount;

/// A value and where it stands; `None` for one that came from the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// What it is.
    pub value: Value,
    /// Where it stands.
    pub span: Option<Span>,
}

/// Kinds of value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// `true`, `false`.
    Truth(bool),
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// A mapping in the order of the file.
    Map(Vec<(Key, Tree)>),
}

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its characters.
    pub text: String,
    /// Where it stands.
    pub span: Option<Span>,
}

/// What serde gives, places still in the library's form.
struct Raw(RawValue);

enum RawValue {
    Null,
    Truth(bool),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor).map(Raw)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, x: bool) -> Result<RawValue, E> {
        Ok(RawValue::Truth(x))
    }

    fn visit_i64<E>(self, x: i64) -> Result<RawValue, E> {
        Ok(RawValue::Number(x as f64))
    }

    fn visit_u64<E>(self, x: u64) -> Result<RawValue, E> {
        Ok(RawValue::Number(x as f64))
    }

    fn visit_f64<E>(self, x: f64) -> Result<RawValue, E> {
        Ok(RawValue::Number(x))
    }

    fn visit_str<E>(self, x: &str) -> Result<RawValue, E> {
        Ok(RawValue::Text(x.to_string()))
    }

    fn visit_unit<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_none<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(RawValue::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(RawValue::Map(entries))
    }
}

/// Parses a YAML text.
pub fn parse(file: FileId, text: &str) -> Result<Tree, Box<Diag>> {
    let place = Places { file, text };
    let raw: Spanned<Raw> = serde_saphyr::from_str(text).map_err(|error| {
        let span = error
            .location()
            .map_or(Span { file, start: 0, end: 0 }, |at| place.at(at.line(), at.column(), 1));
        Box::new(Diag::error("E0401", span, format!("not valid YAML: {}", plain(&error))))
    })?;
    Ok(place.tree(raw))
}

/// What the reader of YAML says, without the place, which is shown, and its own options.
fn plain(error: &serde_saphyr::Error) -> String {
    let message = error.to_string();
    let first = message.lines().next().unwrap_or_default();
    let words = match first.strip_prefix("error: line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, words)) => words,
        None => first,
    };
    let words = words.split(", set ").next().unwrap_or(words);
    words.replace(" by the configured policy", "")
}

struct Places<'t> {
    file: FileId,
    text: &'t str,
}

impl Places<'_> {
    fn at(&self, line: u64, column: u64, length: usize) -> Span {
        let line = line.max(1) as usize;
        let start: usize = self.text.split_inclusive('\n').take(line - 1).map(str::len).sum();
        let rest = self.text.get(start..).unwrap_or_default();
        let skip: usize = rest.chars().take((column.max(1) - 1) as usize).map(char::len_utf8).sum();
        let start = (start + skip).min(self.text.len());
        Span {
            file: self.file,
            start: start as u32,
            end: (start + length).min(self.text.len()) as u32,
        }
    }

    /// The place of a value: to the end of its word.
    fn span<T>(&self, value: &Spanned<T>) -> Span {
        let at = &value.referenced;
        let from = self.at(at.line(), at.column(), 0);
        let rest = &self.text[from.start as usize..];
        let end = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => rest[1..].find(quote).map_or(1, |end| end + 2),
            Some('[') => rest.find(']').map_or(1, |end| end + 1),
            Some('{') => rest.find('}').map_or(1, |end| end + 1),
            _ => rest.find(['\n', ',', '}', ']', '#', ':']).unwrap_or(rest.len()),
        };
        let width = rest[..end].trim_end().len();
        Span { end: from.start + width as u32, ..from }
    }

    fn tree(&self, raw: Spanned<Raw>) -> Tree {
        let span = Some(self.span(&raw));
        let value = match raw.value.0 {
            RawValue::Null => Value::Null,
            RawValue::Truth(x) => Value::Truth(x),
            RawValue::Number(x) => Value::Number(x),
            RawValue::Text(x) => Value::Text(x),
            RawValue::List(items) => {
                Value::List(items.into_iter().map(|item| self.tree(item)).collect())
            }
            RawValue::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        let span = Some(self.span(&key));
                        (Key { text: key.value, span }, self.tree(value))
                    })
                    .collect(),
            ),
        };
        Tree { value, span }
    }
}

impl Tree {
    /// Replaces the value at a dotted path; missing mappings on the way are made.
    pub fn set(&mut self, path: &str, text: &str) -> Result<(), String> {
        let value = scalar(text);
        let mut at = self;
        for part in path.split('.') {
            if part.is_empty() {
                return Err(format!("--set {path}: an empty name in the path"));
            }
            if at.value == Value::Null {
                at.value = Value::Map(Vec::new());
            }
            let Value::Map(entries) = &mut at.value else {
                return Err(format!(
                    "--set {path}: `{part}` stands below a value that is no mapping"
                ));
            };
            let known = entries.iter().position(|(key, _)| key.text == part);
            let slot = known.unwrap_or_else(|| {
                let key = Key { text: part.to_string(), span: None };
                entries.push((key, Tree { value: Value::Null, span: None }));
                entries.len() - 1
            });
            at = &mut entries[slot].1;
        }
        *at = Tree { value, span: None };
        Ok(())
    }

    /// Calls `each` with every value at a path; `*` stands for any name.
    pub fn each_at(&mut self, path: &[&str], each: &mut dyn FnMut(&mut Tree)) {
        let Some((first, rest)) = path.split_first() else { return each(self) };
        if let Value::Map(entries) = &mut self.value {
            let fit = entries.iter_mut().filter(|(key, _)| *first == "*" || key.text == *first);
            fit.for_each(|(_, tree)| tree.each_at(rest, each));
        }
    }

    /// A single value as text, as [`Tree::set`] takes it.
    pub fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Truth(x) => Some(x.to_string()),
            Value::Number(x) => Some(x.to_string()),
            Value::Text(x) => Some(x.clone()),
            _ => None,
        }
    }

    /// A list of numbers that is not empty.
    pub fn numbers(&self) -> Option<Vec<f64>> {
        let Value::List(items) = &self.value else { return None };
        let number = |item: &Tree| match item.value {
            Value::Number(x) => Some(x),
            _ => None,
        };
        items.iter().map(number).collect::<Option<Vec<f64>>>().filter(|all| !all.is_empty())
    }

    /// What it is, for messages.
    pub fn words(&self) -> String {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Truth(x) => format!("`{x}`"),
            Value::Number(x) => format!("the number {x}"),
            Value::Text(x) => format!("the text \"{x}\""),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
        }
    }

    /// The canonical text: YAML that reads back as the same tree.
    pub fn print(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        match &self.value {
            Value::Map(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    out.push_str(&"  ".repeat(depth));
                    out.push_str(&key.text);
                    out.push(':');
                    match &value.value {
                        Value::Map(inner) if !inner.is_empty() => {
                            out.push('\n');
                            value.write(out, depth + 1);
                        }
                        _ => {
                            out.push(' ');
                            out.push_str(&value.inline());
                            out.push('\n');
                        }
                    }
                }
            }
            _ => {
                out.push_str(&self.inline());
                out.push('\n');
            }
        }
    }

    fn inline(&self) -> String {
        match &self.value {
            Value::Null => "null".into(),
            Value::Truth(x) => x.to_string(),
            Value::Number(x) => format!("{x}"),
            Value::Text(x) => format!("{x:?}"),
            Value::List(items) => {
                format!("[{}]", items.iter().map(Tree::inline).collect::<Vec<_>>().join(", "))
            }
            Value::Map(entries) => {
                let inner: Vec<String> =
                    entries.iter().map(|(k, v)| format!("{}: {}", k.text, v.inline())).collect();
                format!("{{{}}}", inner.join(", "))
            }
        }
    }
}

fn scalar(text: &str) -> Value {
    match text {
        "null" => Value::Null,
        "true" => Value::Truth(true),
        "false" => Value::Truth(false),
        _ => match text.replace('_', "").parse() {
            Ok(x) => Value::Number(x),
            Err(_) => Value::Text(text.to_string()),
        },
    }
}

/// Reads the fields of one mapping and remembers every mistake.
pub struct Fields<'t, 'd> {
    entries: &'t [(Key, Tree)],
    place: Option<Span>,
    name: String,
    seen: Vec<&'static str>,
    /// Findings.
    pub diags: &'d mut Vec<Diag>,
}

/// An error at a place, or without one.
pub fn finding(span: Option<Span>, code: &'static str, message: String) -> Diag {
    match span {
        Some(span) => Diag::error(code, span, message),
        None => Diag::global(code, message),
    }
}

impl<'t, 'd> Fields<'t, 'd> {
    /// The fields of a mapping called `name`.
    pub fn of(tree: &'t Tree, name: &str, diags: &'d mut Vec<Diag>) -> Fields<'t, 'd> {
        let entries: &[(Key, Tree)] = match &tree.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => {
                let message = format!("`{name}` is a mapping, not {}", tree.words());
                diags.push(finding(tree.span, "E0401", message).help(format!(
                    "write its fields on lines of their own, or as `{name}: {{field: value}}`"
                )));
                &[]
            }
        };
        Fields { entries, place: tree.span, name: name.to_string(), seen: Vec::new(), diags }
    }

    /// A field, if it is there and not null.
    pub fn get(&mut self, name: &'static str) -> Option<&'t Tree> {
        self.seen.push(name);
        let found = self.entries.iter().find(|(key, _)| key.text == name);
        found.map(|(_, tree)| tree).filter(|tree| tree.value != Value::Null)
    }

    /// A field that must be there; `example` shows how it is written.
    pub fn need(&mut self, name: &'static str, example: &str) -> Option<&'t Tree> {
        let found = self.get(name);
        if found.is_none() {
            let diag = finding(self.place, "E0401", format!("`{}` needs `{name}`", self.name));
            self.diags.push(diag.help(format!("for example {example}")));
        }
        found
    }

    /// A number in a range, with a default.
    pub fn number(&mut self, name: &'static str, default: f64, low: f64, high: f64) -> f64 {
        let Some(tree) = self.get(name) else { return default };
        match tree.value {
            Value::Number(x) if (low..=high).contains(&x) => x,
            Value::Number(x) => {
                let message = format!("`{name}` is {x}, it must lie between {low} and {high}");
                self.diags.push(finding(tree.span, "E0402", message));
                default
            }
            _ => {
                self.wrong(name, tree, "a number");
                default
            }
        }
    }

    /// A whole number in a range, with a default.
    pub fn whole(&mut self, name: &'static str, default: u64, low: u64, high: u64) -> u64 {
        let x = self.number(name, default as f64, low as f64, high as f64);
        if x.fract() != 0.0 {
            let span = self.get(name).and_then(|tree| tree.span);
            let message = format!("`{name}` is {x}, it must be a whole number");
            self.diags.push(finding(span, "E0402", message));
        }
        x as u64
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Option<(String, Option<Span>)> {
        let tree = self.get(name)?;
        match &tree.value {
            Value::Text(x) => Some((x.clone(), tree.span)),
            _ => {
                self.wrong(name, tree, "a text");
                None
            }
        }
    }

    /// `true` or `false`, with a default.
    pub fn truth(&mut self, name: &'static str, default: bool) -> bool {
        let Some(tree) = self.get(name) else { return default };
        match tree.value {
            Value::Truth(x) => x,
            _ => {
                self.wrong(name, tree, "true or false");
                default
            }
        }
    }

    /// An amount of training, with a default.
    pub fn amount(&mut self, name: &'static str, default: Amount) -> Amount {
        let Some(tree) = self.get(name) else { return default };
        let parsed = match &tree.value {
            Value::Number(x) => Some(Amount::Tokens(*x)),
            Value::Text(text) => Amount::parse(text),
            _ => None,
        };
        match parsed {
            Some(amount) if amount.number() >= 0.0 && amount.number().is_finite() => amount,
            _ => {
                let message = format!("`{name}` is {}, which is no amount", tree.words());
                self.diags.push(
                    finding(tree.span, "E0401", message)
                        .label("expected an amount")
                        .help("amounts are written `200 steps`, `1.5M tokens`, `5%` or `30 min`"),
                );
                default
            }
        }
    }

    /// One of some words.
    pub fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let (text, span) = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let message = format!("`{name}` cannot be `{text}`");
            let known = words.iter().map(|(word, _)| *word);
            self.diags.push(finding(span, "E0401", message).help_nearest(&text, "it is", known));
        }
        found.map(|(_, what)| *what)
    }

    /// The one field of several kinds that is given.
    pub fn one_of(
        &mut self,
        kinds: &[&'static str],
        what: &str,
    ) -> Option<(&'static str, &'t Tree)> {
        let mut given = Vec::new();
        for kind in kinds {
            self.seen.push(kind);
            // A kind whose fields all have defaults may stand alone: `natural:`.
            if let Some((_, tree)) = self.entries.iter().find(|(key, _)| key.text == *kind) {
                given.push((*kind, tree));
            }
        }
        match given[..] {
            [one] => Some(one),
            _ => {
                let message = format!("`{what}` needs exactly one kind");
                let kinds: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
                let help = format!("one of {}, with its fields", kinds.join(", "));
                self.diags.push(finding(self.place, "E0401", message).help(help));
                None
            }
        }
    }

    /// Reports a value of the wrong kind.
    pub fn wrong(&mut self, name: &str, tree: &Tree, what: &str) {
        let message = format!("`{name}` must be {what}, not {}", tree.words());
        self.diags.push(finding(tree.span, "E0401", message).label(format!("expected {what}")));
    }

    /// Reports fields that nobody asked for.
    pub fn finish(self) {
        for (at, (key, _)) in self.entries.iter().enumerate() {
            if !self.seen.contains(&key.text.as_str()) {
                let message = format!("unknown field `{}` in `{}`", key.text, self.name);
                let diag = finding(key.span, "E0401", message);
                self.diags.push(diag.help_nearest(
                    &key.text,
                    "its fields",
                    self.seen.iter().copied(),
                ));
            }
            if self.entries[..at].iter().any(|(other, _)| other.text == key.text) {
                let message = format!("`{}` is given twice", key.text);
                self.diags.push(finding(key.span, "E0401", message));
            }
        }
    }
}
