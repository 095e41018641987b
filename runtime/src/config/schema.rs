//! JSON Schemas of specs, studies and experiments, for editors: what a field may be, its default and its meaning.

use serde_json::{Map, Value, json};

use super::{page, tables};
use crate::fields::{Field, Kind, Preset, Table};

/// An amount of training.
const AMOUNT: &str =
    "^[0-9][0-9_.eE+-]*[kKMBT]? ?(%|steps?|tokens?|tok|s|sec|seconds?|min|minutes?|h|hours?)?$";
/// A batch.
const SIZE: &str = "^[0-9][0-9_.eE+-]*[kKMBT]?( ?(sequences|tokens?|tok))?$";
/// A number that may be shortened, or a time.
const COUNT: &str = "^[0-9][0-9_.eE+-]*([kKMBGT]| ?(ns|us|µs|ms|s))?$";
/// An amount of memory.
const MEMORY: &str = "^[0-9.]+ ?(kB|MB|GB|TB)$";

/// The schema of specs, as a text that ends with a line.
pub fn schema() -> String {
    of(&tables::SPEC, "spec.yaml of lrc")
}

/// The schema of a file with these fields, likewise.
pub fn of(fields: &Table, title: &str) -> String {
    let mut schema = table(fields);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!(title);
    format!("{schema:#}\n")
}

fn table(table: &Table) -> Value {
    let mut properties = Map::new();
    for variant in table.kinds {
        let mut of = self::table(&variant.table);
        of["description"] = json!(variant.meaning);
        // A kind whose fields all have defaults may stand alone.
        of["type"] = json!(["object", "null"]);
        properties.insert(variant.key.into(), of);
    }
    for field in table.fields {
        let one = self::field(field);
        for old in field.old {
            let mut one = one.clone();
            one["deprecated"] = json!(true);
            one["description"] = json!(format!("an older name of `{}`", field.key));
            properties.insert((*old).into(), one);
        }
        properties.insert(field.key.into(), one);
    }
    let mut schema =
        json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let all = table.fields.iter();
    // A field with an older name may be given by either.
    let needed = all.filter(|f| matches!(f.default, Preset::Needed(_)) && f.old.is_empty());
    let needed: Vec<&str> = needed.map(|field| field.key).collect();
    // Or they are given by name, as in `data.sources`: the fields stand there once for each.
    let named = table.fields.iter().find(|field| match field.kind {
        Kind::Named(inner) => needed.iter().any(|key| inner.fields.iter().any(|f| f.key == *key)),
        _ => false,
    });
    match named {
        _ if needed.is_empty() => {}
        None => schema["required"] = json!(needed),
        Some(named) => {
            schema["anyOf"] = json!([{ "required": needed }, { "required": [named.key] }]);
        }
    }
    if !table.kinds.is_empty() {
        let one = table.kinds.iter().map(|variant| json!({ "required": [variant.key] }));
        let mut one: Vec<Value> = one.collect();
        if table.usual.is_some() {
            let any: Vec<Value> = one.clone();
            one.push(json!({ "not": { "anyOf": any } }));
        }
        schema["oneOf"] = json!(one);
    }
    schema
}

fn field(field: &Field) -> Value {
    let mut schema = kind(&field.kind);
    let (what, unit) = (page::words(&field.kind), field.unit);
    let unit = if unit.is_empty() { String::new() } else { format!(", in {unit}") };
    schema["description"] = json!(format!("{} ({what}{unit})", field.meaning));
    match field.default {
        Preset::Number(x) => schema["default"] = json!(x),
        Preset::Truth(x) => schema["default"] = json!(x),
        Preset::Amount(amount) => schema["default"] = json!(amount.to_string()),
        Preset::First => schema["default"] = json!(field.kind.words().first()),
        Preset::Needed(_) | Preset::Words(_) | Preset::Section => {}
    }
    schema
}

fn kind(kind: &Kind) -> Value {
    let bounded = |name: &str, [low, high]: [f64; 2]| {
        let mut schema = json!({ "type": name });
        for (key, bound) in [("minimum", low), ("maximum", high)] {
            if bound.is_finite() {
                schema[key] = json!(bound);
            }
        }
        schema
    };
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let number = json!({ "type": "number", "minimum": 0 });
    match kind {
        Kind::Number(range) => bounded("number", *range),
        Kind::Whole(range) => bounded("integer", range.map(|x| x as f64)),
        Kind::Truth => json!({ "type": "boolean" }),
        Kind::Text | Kind::Path => json!({ "type": "string" }),
        Kind::Value => json!({ "type": ["number", "boolean", "string", "null"] }),
        Kind::Values => json!({
            "type": "array", "items": { "type": ["number", "boolean", "string"] }, "minItems": 1
        }),
        Kind::Count => json!({ "anyOf": [number, text(COUNT)] }),
        Kind::Amount => json!({ "anyOf": [number, text(AMOUNT)] }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Size => json!({ "anyOf": [number, text(SIZE)] }),
        Kind::Memory => text(MEMORY),
        Kind::Numbers => json!({ "type": "array", "items": { "type": "number" } }),
        Kind::Points => json!({ "type": "array", "items": { "type": "array" } }),
        Kind::Map(of) => json!({ "type": "object", "additionalProperties": self::kind(of) }),
        Kind::Section(of) => table(of),
        Kind::List(of) => json!({ "type": "array", "items": table(of) }),
        Kind::Named(of) => json!({ "type": "object", "additionalProperties": table(of) }),
        Kind::Either(all) => json!({ "anyOf": all.iter().map(self::kind).collect::<Vec<_>>() }),
    }
}
