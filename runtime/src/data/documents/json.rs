//! Texts out of JSON, as lenient as the programs that write it: what stands in fields that nobody reads decides nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use lrc_dsl::diag::listed;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The path to a text inside a document: `text`, `meta.text`, `messages.*.content`.
#[derive(Clone, Debug)]
pub struct FieldPath(String);

/// A text, and what had to be replaced in it.
#[derive(Debug, PartialEq)]
pub struct Found {
    /// The texts at the end of the path, a line each where there are several.
    pub text: String,
    /// Halves of surrogate pairs, which no Unicode text can hold; each became U+FFFD.
    pub halves: usize,
}

impl FieldPath {
    /// A path by its names: a dot leads into an object, `*` to every entry of a list, a number to one.
    pub fn new(field: &str) -> FieldPath {
        FieldPath(field.into())
    }

    /// The path as it was written.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The text of a document, or why there is none. `document` is JSON, with NaN and infinities as Python writes them.
    pub fn text(&self, document: &str) -> Result<Found, String> {
        let sound = sound(document)?;
        let (mut texts, mut halves) = (Vec::new(), 0);
        for value in self.values(&sound)? {
            let (text, broken) = string(value).ok_or_else(|| format!("`{}` is no text", self.0))?;
            texts.push(text);
            halves += broken;
        }
        Ok(Found { text: texts.join("\n"), halves })
    }

    /// The number of a document; nothing where there is none, or several.
    pub fn number(&self, document: &str) -> Option<f64> {
        let sound = sound(document).ok()?;
        match self.values(&sound).ok()?[..] {
            [value] => serde_json::from_str(value).ok(),
            _ => None,
        }
    }

    /// The values at the end of the path, at least one.
    fn values<'v>(&self, document: &'v str) -> Result<Vec<&'v str>, String> {
        let mut found = Vec::new();
        self.walk(document.trim(), &self.0, &mut found)?;
        if found.is_empty() {
            return Err(format!("`{}` is an empty list", self.0));
        }
        Ok(found)
    }

    fn walk<'v>(&self, value: &'v str, rest: &str, found: &mut Vec<&'v str>) -> Result<(), String> {
        let broken = |error: serde_json::Error| format!("not a line of JSON ({error})");
        let name = &self.0;
        if rest.is_empty() {
            found.push(value);
            return Ok(());
        }
        let (first, after) = rest.split_once('.').unwrap_or((rest, ""));
        if value.starts_with('{') {
            let fields: BTreeMap<Cow<str>, &RawValue> =
                serde_json::from_str(value).map_err(broken)?;
            // A name may hold dots itself.
            return match (fields.get(rest), fields.get(first)) {
                (Some(inner), _) => self.walk(inner.get(), "", found),
                (_, Some(inner)) => self.walk(inner.get(), after, found),
                (None, None) => Err(self.missing(rest, fields.keys().map(AsRef::as_ref))),
            };
        }
        if !value.starts_with('[') {
            return Err(format!("`{name}` leads through a value that is no object"));
        }
        let entries: Vec<&RawValue> = serde_json::from_str(value).map_err(broken)?;
        match (first, first.parse::<usize>()) {
            ("*", _) => entries.iter().try_for_each(|entry| self.walk(entry.get(), after, found)),
            (_, Ok(at)) => match entries.get(at) {
                Some(entry) => self.walk(entry.get(), after, found),
                None => Err(format!("`{name}`: a list has only {} entries", entries.len())),
            },
            _ => Err(format!("`{name}` leads through a list: `*` takes every entry, a number one")),
        }
    }

    /// No field of the name `rest`, but others.
    pub fn missing<'n>(&self, rest: &str, there: impl Iterator<Item = &'n str>) -> String {
        let names = listed(there);
        let names = if names.is_empty() { "none" } else { &names };
        let inside =
            if rest == self.0 { String::new() } else { format!(" on the way `{}`", self.0) };
        format!("there is no field `{rest}`{inside}, only {names}; name it with --field")
    }
}

/// A JSON string's text, halves of surrogate pairs replaced, and their number; nothing for another value.
fn string(value: &str) -> Option<(String, usize)> {
    /// Bytes of a string: serde_json passes halves of surrogate pairs through to bytes only.
    struct Bytes(Vec<u8>);
    impl<'de> Deserialize<'de> for Bytes {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
            struct Visitor;
            impl serde::de::Visitor<'_> for Visitor {
                type Value = Bytes;
                fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                    f.write_str("a string")
                }
                fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                    Ok(Bytes(bytes.to_vec()))
                }
            }
            from.deserialize_bytes(Visitor)
        }
    }
    if !value.starts_with('"') {
        return None;
    }
    let Bytes(mut bytes) = serde_json::from_str(value).ok()?;
    let mut halves = 0;
    // A half of a pair comes as three bytes (WTF-8), of which a text cannot hold the second.
    for at in 0..bytes.len().saturating_sub(2) {
        if bytes[at] == 0xED && bytes[at + 1] >= 0xA0 {
            bytes[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
            halves += 1;
        }
    }
    Some((String::from_utf8(bytes).ok()?, halves))
}

/// JSON as the standard has it.
fn sound(document: &str) -> Result<Cow<'_, str>, String> {
    let Err(error) = serde_json::from_str::<&RawValue>(document) else {
        return Ok(Cow::Borrowed(document));
    };
    let plain = without_odd_numbers(document);
    serde_json::from_str::<&RawValue>(&plain)
        .map_err(|_| format!("not a line of JSON ({error})"))?;
    Ok(Cow::Owned(plain))
}

/// The text with `NaN` and infinities, where they stand outside strings, as `null`.
fn without_odd_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut quoted) = (text, false);
    while let Some(c) = rest.chars().next() {
        let odd = ["NaN", "-Infinity", "Infinity"].into_iter().find(|odd| rest.starts_with(odd));
        let taken = match (quoted, c, odd) {
            (true, '\\', _) => {
                let taken = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                out.push_str(&rest[..taken]);
                taken
            }
            (false, _, Some(odd)) => {
                out.push_str("null");
                odd.len()
            }
            _ => {
                quoted ^= c == '"';
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

/// The documents of a `.json` file: the objects of a list, or objects one after the other; nothing for a text of another
/// kind, such as the settings of a program.
pub fn documents<'t>(text: &'t str, path: &FieldPath) -> Option<Vec<&'t str>> {
    let mut values = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        values.push(value.ok()?.get());
    }
    match values[..] {
        [list] if list.starts_with('[') => {
            let entries: Vec<&RawValue> = serde_json::from_str(list).ok()?;
            let objects = !entries.is_empty() && entries.iter().all(|e| e.get().starts_with('{'));
            objects.then(|| entries.into_iter().map(RawValue::get).collect())
        }
        [object] => path.text(object).is_ok().then(|| vec![object]),
        _ => (!values.is_empty() && values.iter().all(|value| value.starts_with('{')))
            .then_some(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(field: &str, line: &str) -> Result<String, String> {
        FieldPath::new(field).text(line).map(|found| found.text)
    }

    #[test]
    fn ways_lead_through_objects_and_lists() {
        let line =
            r#"{"meta":{"text":"nested"},"a.b":"dot","n":[{"x":["p","q"]},{"x":["r"]}],"e":[]}"#;
        assert_eq!(text("meta.text", line).unwrap(), "nested");
        assert_eq!(text("a.b", line).unwrap(), "dot");
        assert_eq!(text("n.*.x.*", line).unwrap(), "p\nq\nr");
        assert_eq!(text("n.0.x.1", line).unwrap(), "q");
        for (field, want) in [
            ("meta", "`meta` is no text"),
            ("meta.body", "no field `body` on the way `meta.body`, only text"),
            ("text", "there is no field `text`, only a.b, e, meta, n"),
            ("n.x", "`*` takes every entry"),
            ("n.7.x", "only 2 entries"),
            ("meta.text.more", "no object"),
            ("e.*", "empty list"),
        ] {
            let said = text(field, line).unwrap_err();
            assert!(said.contains(want), "{field}: {said}");
        }
    }

    #[test]
    fn what_nobody_reads_decides_nothing() {
        for odd in [
            "NaN",
            "-Infinity",
            "[Infinity, {\"y\": NaN}]",
            "1e999",
            r#""\ud83d""#,
            r#"{"\"NaN": NaN}"#,
        ] {
            let line = format!(r#"{{"x": {odd}, "text": "NaN \"Infinity\" stays"}}"#);
            assert_eq!(text("text", &line).unwrap(), "NaN \"Infinity\" stays", "{odd}");
        }
        assert!(text("text", r#"{"x": nan, "text": "a"}"#).unwrap_err().contains("not a line"));
        assert!(text("text", "nothing").unwrap_err().contains("not a line"));
    }

    #[test]
    fn halves_of_pairs_are_replaced_and_counted() {
        let found =
            FieldPath::new("text").text(r#"{"text":"half \ud83d, whole \ud83d\ude00 \uded0"}"#);
        assert_eq!(
            found.unwrap(),
            Found { text: "half \u{fffd}, whole 😀 \u{fffd}".into(), halves: 2 }
        );
        // U+D7FF begins with the same byte and is a letter.
        let found = FieldPath::new("text").text("{\"text\":\"\u{d7ff}\"}").unwrap();
        assert_eq!(found, Found { text: "\u{d7ff}".into(), halves: 0 });
    }

    #[test]
    fn a_json_file_is_documents_or_a_text() {
        let path = FieldPath::new("text");
        assert_eq!(documents(r#"[{"text":"a"},{"text":"b"}]"#, &path).unwrap().len(), 2);
        assert_eq!(documents("{\"text\":\"a\"}\n{\"text\":\"b\"}\n", &path).unwrap().len(), 2);
        assert_eq!(documents(r#"{"text":"a"}"#, &path).unwrap().len(), 1);
        assert_eq!(documents(r#"{"name":"settings"}"#, &path), None);
        assert_eq!(documents("[1, 2]", &path), None);
        assert_eq!(documents("// no JSON", &path), None);
    }
}
