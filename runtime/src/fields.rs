//! What a row of the tables of fields says, whoever owns the fields. Reading, writing back with defaults, the page `docs/spec.md` and the JSON Schema
//! for editors all come from these rows.

use crate::schedule::Amount;

/// One field of a mapping.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The key.
    pub key: &'static str,
    /// What its value is, and in which range.
    pub kind: Kind,
    /// What it is where it is not given.
    pub default: Preset,
    /// What it means, for people.
    pub meaning: &'static str,
    /// What it counts, where a number alone does not say it.
    pub unit: &'static str,
    /// The first version of this program that has it.
    pub since: &'static str,
    /// Older names that are still read.
    pub old: &'static [&'static str],
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A number between two others.
    Number([f64; 2]),
    /// A whole number between two others.
    Whole([u64; 2]),
    /// `true` or `false`.
    Truth,
    /// A text.
    Text,
    /// A number, a truth or a text; `null` for nothing.
    Value,
    /// A list of numbers, truths or texts.
    Values,
    /// A number that may be shortened, `400k`, `1.5M`, or a time, `3 us`.
    Count,
    /// A path, from the spec's folder.
    Path,
    /// An amount of training: `5%`, `200 steps`, `1.5M tokens`, `30 min`.
    Amount,
    /// One of some words, the default first.
    Word(&'static [&'static str]),
    /// Sequences or tokens of a step.
    Size,
    /// An amount of memory: `2 GB`.
    Memory,
    /// A list of numbers.
    Numbers,
    /// A list of points over the run: `[[0%, 1], [80%, 0.2]]`.
    Points,
    /// A mapping from names to values.
    Map(&'static Kind),
    /// A mapping with fields of its own.
    Section(&'static Table),
    /// A list of such mappings.
    List(&'static Table),
    /// A mapping from names to such mappings.
    Named(&'static Table),
    /// One or another.
    Either(&'static [Kind]),
}

/// What a field is where it is not given.
#[derive(Clone, Copy, Debug)]
pub enum Preset {
    /// It must be given; this is how.
    Needed(&'static str),
    /// Nothing, or what another value decides: in words.
    Words(&'static str),
    /// A number.
    Number(f64),
    /// A truth.
    Truth(bool),
    /// An amount.
    Amount(Amount),
    /// The first of its words.
    First,
    /// What the section's own fields have.
    Section,
}

/// The fields of a mapping.
#[derive(Debug)]
pub struct Table {
    /// Its fields, besides those of its kind.
    pub fields: &'static [Field],
    /// Where exactly one of several keys says which of several things it is: these.
    pub kinds: &'static [Variant],
    /// The kind where the mapping is not there.
    pub usual: Option<&'static str>,
}

/// One of several things that a mapping can be.
#[derive(Debug)]
pub struct Variant {
    /// Its key.
    pub key: &'static str,
    /// What it means, for people.
    pub meaning: &'static str,
    /// Its fields.
    pub table: Table,
}

impl Table {
    /// Fields alone.
    pub const fn of(fields: &'static [Field]) -> Table {
        Table { fields, kinds: &[], usual: None }
    }

    /// One of several kinds.
    pub const fn one_of(kinds: &'static [Variant], usual: Option<&'static str>) -> Table {
        Table { fields: &[], kinds, usual }
    }

    /// A field by its key.
    pub fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// The fields of a kind, or of the section, list or mapping below a field.
    pub fn below(&self, key: &str) -> Option<&'static Table> {
        let variant = self.kinds.iter().find(|variant| variant.key == key);
        variant.map(|variant| &variant.table).or_else(|| self.field(key)?.kind.table())
    }
}

impl Kind {
    /// Between which numbers it lies.
    pub fn range(&self) -> [f64; 2] {
        match self {
            Kind::Number(range) => *range,
            Kind::Whole(range) => range.map(|x| x as f64),
            Kind::Either(kinds) => kinds.first().map_or(ANY, Kind::range),
            _ => ANY,
        }
    }

    /// The words that it may be.
    pub fn words(&self) -> &'static [&'static str] {
        match self {
            Kind::Word(words) => words,
            _ => &[],
        }
    }

    /// The fields of a mapping that this may be.
    pub fn table(&self) -> Option<&'static Table> {
        match self {
            Kind::Section(table) | Kind::List(table) | Kind::Named(table) => Some(table),
            Kind::Either(kinds) => kinds.iter().find_map(Kind::table),
            _ => None,
        }
    }
}

/// All numbers.
const ANY: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

/// The version that most fields came with.
pub const FIRST: &str = "0.1";

/// A field.
pub const fn field(key: &'static str, kind: Kind, default: Preset, meaning: &'static str) -> Field {
    Field { key, kind, default, meaning, unit: "", since: FIRST, old: &[] }
}

/// A number with its default and range.
pub const fn number(
    key: &'static str,
    default: f64,
    range: [f64; 2],
    meaning: &'static str,
) -> Field {
    field(key, Kind::Number(range), Preset::Number(default), meaning)
}

/// A whole number with its default and range.
pub const fn whole(
    key: &'static str,
    default: u64,
    range: [u64; 2],
    meaning: &'static str,
) -> Field {
    field(key, Kind::Whole(range), Preset::Number(default as f64), meaning)
}

/// `true` or `false`.
pub const fn truth(key: &'static str, default: bool, meaning: &'static str) -> Field {
    field(key, Kind::Truth, Preset::Truth(default), meaning)
}

/// An amount of training.
pub const fn amount(key: &'static str, default: Amount, meaning: &'static str) -> Field {
    field(key, Kind::Amount, Preset::Amount(default), meaning)
}

/// One of some words; the first one is the default.
pub const fn word(
    key: &'static str,
    words: &'static [&'static str],
    meaning: &'static str,
) -> Field {
    field(key, Kind::Word(words), Preset::First, meaning)
}

/// A mapping with fields of its own, each with its default.
pub const fn section(key: &'static str, table: &'static Table, meaning: &'static str) -> Field {
    field(key, Kind::Section(table), Preset::Section, meaning)
}

/// A kind and its fields.
pub const fn variant(
    key: &'static str,
    fields: &'static [Field],
    meaning: &'static str,
) -> Variant {
    Variant { key, meaning, table: Table::of(fields) }
}

impl Field {
    /// It must be given; `example` shows how.
    pub const fn needed(self, example: &'static str) -> Field {
        Field { default: Preset::Needed(example), ..self }
    }

    /// Without it there is nothing, or what another value decides: in words.
    pub const fn missing(self, words: &'static str) -> Field {
        Field { default: Preset::Words(words), ..self }
    }

    /// What it counts.
    pub const fn unit(self, unit: &'static str) -> Field {
        Field { unit, ..self }
    }

    /// Older names that are still read.
    pub const fn old(self, old: &'static [&'static str]) -> Field {
        Field { old, ..self }
    }
}

/// A mapping of a spec on its way to who owns its fields: each is read by the row of its table, and what is wrong is noted.
pub trait Given {
    /// A number.
    fn number(&mut self, name: &'static str) -> f64;
    /// A whole number.
    fn size(&mut self, name: &'static str) -> usize;
    /// A whole number at most as large as another, with a default of its own.
    fn size_up_to(&mut self, name: &'static str, default: usize, most: usize) -> usize;
    /// Which of its words.
    fn word(&mut self, name: &'static str) -> usize;
    /// Whether it is given.
    fn has(&mut self, name: &'static str) -> bool;
    /// `true` or `false`.
    fn truth(&mut self, name: &'static str) -> bool;
}
