//! YAML as a tree in which every value knows its place, so that every mistake of a file is reported
//! at once and where it stands.

use lrc_dsl::{Diag, FileId, Span};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

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
    /// Replaces the value at a dotted path; missing mappings on the way are made. `null` takes away what is there.
    pub fn set(&mut self, path: &str, text: &str) -> Result<(), String> {
        let value = scalar(text);
        let mut at = self;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
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
            if let (Some(known), None, Value::Null) = (known, parts.peek(), &value) {
                entries.remove(known);
                return Ok(());
            }
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
                    out.push_str(&word(&key.text));
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

    /// On one line.
    pub fn inline(&self) -> String {
        match &self.value {
            Value::Null => "null".into(),
            Value::Truth(x) => x.to_string(),
            Value::Number(x) => format!("{x}"),
            Value::Text(x) => quoted(x),
            Value::List(items) => {
                format!("[{}]", items.iter().map(Tree::inline).collect::<Vec<_>>().join(", "))
            }
            Value::Map(entries) => {
                let inner: Vec<String> = entries
                    .iter()
                    .map(|(k, v)| format!("{}: {}", word(&k.text), v.inline()))
                    .collect();
                format!("{{{}}}", inner.join(", "))
            }
        }
    }
}

/// Words that readers of YAML take for something else than a text.
const TAKEN: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// A key as it is written: plain where it is a name or a number.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let taken = TAKEN.contains(&text.to_ascii_lowercase().as_str());
    let plain = !text.is_empty() && text.chars().all(plain) && !taken;
    if plain { text.to_string() } else { quoted(text) }
}

/// A text in double quotes, as YAML escapes it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // What YAML calls not printable.
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                out.push_str(&format!("\\U{:08X}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A value as it is typed behind `--set`. What stands for no finite number is a text.
fn scalar(text: &str) -> Value {
    match text {
        "null" => Value::Null,
        "true" => Value::Truth(true),
        "false" => Value::Truth(false),
        _ => match text.replace('_', "").parse() {
            Ok(x) if f64::is_finite(x) => Value::Number(x),
            _ => Value::Text(text.to_string()),
        },
    }
}
