//! The fields of a mapping: read with their defaults, every mistake remembered, and written back so that the resolved
//! text says everything.

use lrc_dsl::{Diag, Span};

use super::tree::{Key, Tree, Value};
use crate::fields::{Field, Kind, Preset, Table, field};
use crate::schedule::Amount;

/// What a key without a row is taken for, once that has been reported.
static UNKNOWN: Field = field("", Kind::Text, Preset::Words(""), "");

/// The fields of what has none.
static EMPTY: Table = Table::of(&[]);

/// What stands for a section that is not there.
static NOTHING: Tree = Tree { value: Value::Null, span: None };

/// Reads the fields of one mapping and remembers every mistake.
pub struct Fields<'t, 'd> {
    entries: &'t [(Key, Tree)],
    /// Whether the mapping itself is not there.
    absent: bool,
    place: Option<Span>,
    name: String,
    /// What its fields are.
    table: &'static Table,
    seen: Vec<&'static str>,
    /// What was read, in the order of reading, with defaults.
    written: Vec<(Key, Tree)>,
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
    /// The fields of a mapping called `name`, as a table has them.
    pub fn of(
        tree: &'t Tree,
        name: &str,
        table: &'static Table,
        diags: &'d mut Vec<Diag>,
    ) -> Fields<'t, 'd> {
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
        Fields {
            entries,
            absent: tree.value == Value::Null,
            place: tree.span,
            name: name.to_string(),
            table,
            seen: Vec::new(),
            written: Vec::new(),
            diags,
        }
    }

    /// Where the mapping stands.
    pub fn place(&self) -> Option<Span> {
        self.place
    }

    /// The row of a field. One without a row could be read by nobody who looks into the table: that is reported.
    fn row(&mut self, name: &'static str) -> &'static Field {
        let found = self.table.field(name);
        if found.is_none() {
            let message = format!("`{name}` of `{}` stands in no table of fields", self.name);
            self.diags.push(finding(self.place, "E0401", message));
        }
        found.unwrap_or(&UNKNOWN)
    }

    /// Whether a key is an older name of a field.
    fn is_old(&self, name: &str, key: &str) -> bool {
        self.table.field(name).is_some_and(|field| field.old.contains(&key))
    }

    /// The field, under any of its names.
    fn entry(&self, name: &str) -> Option<&'t Tree> {
        let exact = self.entries.iter().find(|(key, _)| key.text == name);
        let found =
            exact.or_else(|| self.entries.iter().find(|(key, _)| self.is_old(name, &key.text)));
        found.map(|(_, tree)| tree)
    }

    fn see(&mut self, name: &'static str) {
        if !self.seen.contains(&name) {
            self.seen.push(name);
        }
    }

    /// Writes a field, in the place of what was written of it before.
    pub fn put(&mut self, name: &str, tree: Tree) {
        match self.written.iter_mut().find(|(key, _)| key.text == name) {
            Some((_, old)) => *old = tree,
            None => self.written.push((Key { text: name.to_string(), span: None }, tree)),
        }
    }

    /// Writes a field's value.
    pub fn put_value(&mut self, name: &str, value: Value) {
        self.put(name, Tree { value, span: None });
    }

    /// A field, if it is there and not null.
    pub fn get(&mut self, name: &'static str) -> Option<&'t Tree> {
        self.see(name);
        let found = self.entry(name).filter(|tree| tree.value != Value::Null)?;
        if !self.written.iter().any(|(key, _)| key.text == name) {
            self.put(name, found.clone());
        }
        Some(found)
    }

    /// A field that must be there.
    pub fn need(&mut self, name: &'static str) -> Option<&'t Tree> {
        let found = self.get(name);
        if found.is_none() {
            let row = self.row(name);
            let mut diag = finding(self.place, "E0401", format!("`{}` needs `{name}`", self.name));
            if let Preset::Needed(example) = row.default {
                diag = diag.help(format!("for example {example}"));
            }
            self.diags.push(diag);
        }
        found
    }

    /// A number in its range, or its default.
    pub fn number(&mut self, name: &'static str) -> f64 {
        let row = self.row(name);
        let default = if let Preset::Number(x) = row.default { x } else { 0.0 };
        self.number_in(name, default, row.kind.range())
    }

    /// A number with a default and a range that other fields decide.
    fn number_in(&mut self, name: &'static str, default: f64, [low, high]: [f64; 2]) -> f64 {
        let Some(tree) = self.get(name) else {
            self.put_value(name, Value::Number(default));
            return default;
        };
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

    /// A whole number in its range, or its default.
    pub fn whole(&mut self, name: &'static str) -> u64 {
        let x = self.number(name);
        self.rounded(name, x)
    }

    /// The same as a size.
    pub fn size(&mut self, name: &'static str) -> usize {
        self.whole(name) as usize
    }

    /// A whole number with a default and a largest value that other fields decide.
    pub fn size_up_to(&mut self, name: &'static str, default: usize, most: usize) -> usize {
        let [low, high] = self.row(name).kind.range();
        let x = self.number_in(name, default as f64, [low, high.min(most as f64)]);
        self.rounded(name, x) as usize
    }

    fn rounded(&mut self, name: &'static str, x: f64) -> u64 {
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
            Value::Truth(_) => {
                // `y`, `no` and `on` are read as such too.
                let message = format!("`{name}` must be a text, not {}", tree.words());
                let diag = finding(tree.span, "E0401", message).label("expected a text");
                self.diags.push(diag.help("put it in quotes if this is one"));
                None
            }
            _ => {
                self.wrong(name, tree, "a text");
                None
            }
        }
    }

    /// Names or patterns: a text with commas between them, or a list of texts.
    pub fn patterns(&mut self, name: &'static str) -> Option<Vec<String>> {
        let tree = self.get(name)?;
        let own = |text: &str| text.split(',').map(|one| one.trim().to_string()).collect();
        let text = |item: &Tree| match &item.value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        let found: Option<Vec<String>> = match &tree.value {
            Value::Text(text) => Some(own(text)),
            Value::List(items) => items.iter().map(text).collect(),
            _ => None,
        };
        if found.as_ref().is_none_or(Vec::is_empty) {
            self.wrong(name, tree, "a text or a list of texts");
        }
        found
    }

    /// Gives a field a text where it has nothing.
    pub fn text_unless(&mut self, name: &'static str, default: &str) {
        if self.get(name).is_none() {
            self.put_value(name, Value::Text(default.to_string()));
        }
    }

    /// A text, with a default.
    pub fn text_or(&mut self, name: &'static str, default: &str) -> String {
        self.text_unless(name, default);
        self.text(name).map_or_else(|| default.to_string(), |(text, _)| text)
    }

    /// A text that must be there.
    pub fn need_text(&mut self, name: &'static str) -> Option<(String, Option<Span>)> {
        self.need(name)?;
        self.text(name)
    }

    /// `true` or `false`, or its default.
    pub fn truth(&mut self, name: &'static str) -> bool {
        let default = matches!(self.row(name).default, Preset::Truth(true));
        let Some(tree) = self.get(name) else {
            self.put_value(name, Value::Truth(default));
            return default;
        };
        match tree.value {
            Value::Truth(x) => x,
            _ => {
                self.wrong(name, tree, "true or false");
                default
            }
        }
    }

    /// An amount of training, or its default.
    pub fn amount(&mut self, name: &'static str) -> Amount {
        let row = self.row(name);
        let default = if let Preset::Amount(x) = row.default { x } else { Amount::Tokens(1.0) };
        let Some(tree) = self.get(name) else {
            self.put_value(name, Value::Text(default.to_string()));
            return default;
        };
        let parsed = match &tree.value {
            Value::Number(x) => Some(Amount::Tokens(*x)),
            Value::Text(text) => Amount::parse(text),
            _ => None,
        };
        match parsed {
            Some(Amount::Share(share)) if share > 1.0 => {
                let message =
                    format!("`{name}` is {}, and the whole run is 100%", Amount::Share(share));
                self.diags.push(finding(tree.span, "E0402", message));
                default
            }
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

    /// What one of its words stands for, if it is given; `all` are in the order of the table.
    pub fn word<T: Copy, const N: usize>(&mut self, name: &'static str, all: [T; N]) -> Option<T> {
        let words = self.row(name).kind.words();
        let (text, span) = self.text(name)?;
        let found = words.iter().position(|word| *word == text).and_then(|at| all.get(at));
        if found.is_none() {
            let message = format!("`{name}` cannot be `{text}`");
            let known = words.iter().copied();
            self.diags.push(finding(span, "E0401", message).help_nearest(&text, "it is", known));
        }
        found.copied()
    }

    /// What one of its words stands for, or the first of them.
    pub fn word_or<T: Copy, const N: usize>(&mut self, name: &'static str, all: [T; N]) -> T {
        const { assert!(N > 0, "one of no words") };
        if self.get(name).is_none() {
            let first = self.row(name).kind.words().first().copied().unwrap_or_default();
            self.put_value(name, Value::Text(first.into()));
        }
        self.word(name, all).unwrap_or(all[0])
    }

    /// What `read` makes of the fields of a part of the mapping; they are written below `name`.
    pub fn within<T>(
        &mut self,
        name: &str,
        tree: &'t Tree,
        read: impl FnOnce(&mut Fields<'t, '_>) -> T,
    ) -> T {
        let table = self.table.below(name).unwrap_or(&EMPTY);
        let mut f = Fields::of(tree, name, table, self.diags);
        let found = read(&mut f);
        let written = f.finish();
        self.put(name, written);
        found
    }

    /// What `read` makes of a section; of nothing but defaults where it is not there.
    pub fn section<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Fields<'t, '_>) -> T,
    ) -> T {
        let tree = self.get(name).unwrap_or(&NOTHING);
        self.within(name, tree, read)
    }

    /// What `read` makes of a section that may be missing.
    pub fn maybe<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Fields<'t, '_>) -> T,
    ) -> Option<T> {
        let tree = self.get(name)?;
        Some(self.within(name, tree, read))
    }

    /// What `read` makes of each mapping of a list; `example` shows one.
    pub fn list<T>(
        &mut self,
        name: &'static str,
        one: &str,
        example: &str,
        mut read: impl FnMut(&mut Fields<'t, '_>) -> T,
    ) -> Vec<T> {
        let Some(tree) = self.get(name) else { return vec![] };
        let Value::List(items) = &tree.value else {
            let diag = finding(tree.span, "E0401", format!("`{name}` is a list"));
            self.diags.push(diag.help(format!("for example {example}")));
            return vec![];
        };
        let table = self.table.below(name).unwrap_or(&EMPTY);
        let (mut all, mut written) = (Vec::new(), Vec::new());
        for item in items {
            let mut f = Fields::of(item, one, table, self.diags);
            all.push(read(&mut f));
            written.push(f.finish());
        }
        self.put_value(name, Value::List(written));
        all
    }

    /// What `read` makes of each mapping of a mapping from names; `words` says so, `example` shows one.
    pub fn named<T>(
        &mut self,
        name: &'static str,
        [words, example]: [&str; 2],
        mut read: impl FnMut(&'t str, &mut Fields<'t, '_>) -> T,
    ) -> Vec<T> {
        let Some(tree) = self.get(name) else { return vec![] };
        let Value::Map(entries) = &tree.value else {
            let diag = finding(tree.span, "E0401", format!("`{name}` is {words}"));
            self.diags.push(diag.help(format!("for example {example}")));
            return vec![];
        };
        let table = self.table.below(name).unwrap_or(&EMPTY);
        let (mut all, mut written) = (Vec::new(), Vec::new());
        for (key, tree) in entries {
            let mut f = Fields::of(tree, &key.text, table, self.diags);
            all.push(read(&key.text, &mut f));
            written.push((key.clone(), f.finish()));
        }
        self.put_value(name, Value::Map(written));
        all
    }

    /// The one kind that is given of several, and what `read` makes of its fields.
    pub fn kind<T>(
        &mut self,
        read: impl FnOnce(&'static str, &mut Fields<'t, '_>) -> T,
    ) -> Option<T> {
        let (name, tree) = self.one_kind()?;
        Some(self.within(name, tree, |f| read(name, f)))
    }

    /// As [`Fields::kind`]; where the mapping is not there, the usual kind with its defaults.
    pub fn kind_or<T>(&mut self, read: impl FnOnce(&'static str, &mut Fields<'t, '_>) -> T) -> T {
        let given = if self.absent { None } else { self.one_kind() };
        let (name, tree) = given.unwrap_or((self.table.usual.unwrap_or_default(), &NOTHING));
        self.within(name, tree, |f| read(name, f))
    }

    /// The one field of several kinds that is given.
    fn one_kind(&mut self) -> Option<(&'static str, &'t Tree)> {
        let kinds = self.table.kinds.iter().map(|variant| variant.key);
        let mut given = Vec::new();
        for kind in kinds.clone() {
            self.see(kind);
            // A kind whose fields all have defaults may stand alone in a file: `natural:`. From the command line null
            // takes a field away.
            let there = |tree: &&Tree| tree.value != Value::Null || tree.span.is_some();
            if let Some(tree) = self.entry(kind).filter(there) {
                given.push((kind, tree));
            }
        }
        match given[..] {
            [one] => Some(one),
            _ => {
                let message = format!("`{}` needs exactly one kind", self.name);
                let kinds: Vec<String> = kinds.map(|kind| format!("`{kind}`")).collect();
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

    /// Reports fields that nobody asked for; gives what was read, with defaults.
    pub fn finish(self) -> Tree {
        for (at, (key, _)) in self.entries.iter().enumerate() {
            let new = self.table.fields.iter().find(|field| field.old.contains(&key.text.as_str()));
            let name = new.map_or(key.text.as_str(), |field| field.key);
            if !self.seen.contains(&name) {
                let message = format!("unknown field `{}` in `{}`", key.text, self.name);
                let diag = finding(key.span, "E0401", message);
                self.diags.push(diag.help_nearest(
                    &key.text,
                    "its fields",
                    self.seen.iter().copied(),
                ));
            }
            let same = |other: &Key| other.text == name || self.is_old(name, &other.text);
            if let Some((other, _)) = self.entries[..at].iter().find(|(other, _)| same(other)) {
                let message = if other.text == key.text {
                    format!("`{name}` is given twice")
                } else {
                    format!("`{name}` is given twice, as `{}` and as `{}`", other.text, key.text)
                };
                self.diags.push(finding(key.span, "E0401", message));
            }
        }
        Tree { value: Value::Map(self.written), span: None }
    }
}
