//! Older names of fields: they are read, and the new ones are said.

use lrc_dsl::Diag;

use super::tree::{Tree, Value};
use crate::fields::{Kind, Table};

/// A note for each field that goes by an older name.
pub fn old_names(tree: &Tree, table: &Table) -> Vec<Diag> {
    let mut notes = Vec::new();
    mapping(tree, table, &mut notes);
    notes
}

fn mapping(tree: &Tree, table: &Table, notes: &mut Vec<Diag>) {
    let Value::Map(entries) = &tree.value else { return };
    for (key, value) in entries {
        if let Some(variant) = table.kinds.iter().find(|variant| variant.key == key.text) {
            mapping(value, &variant.table, notes);
        }
        let named = |name: &str| name == key.text;
        let mut fields = table.fields.iter();
        let Some(field) = fields.find(|f| named(f.key) || f.old.iter().any(|old| named(old)))
        else {
            continue;
        };
        if let (false, Some(span)) = (named(field.key), key.span) {
            let message = format!("`{}` is an older name of `{}`", key.text, field.key);
            let diag = Diag::note("N0403", span, message);
            notes.push(diag.help(format!("both are read; write `{}`", field.key)));
        }
        below(value, &field.kind, notes);
    }
}

/// The mappings that a value holds.
fn below(tree: &Tree, kind: &Kind, notes: &mut Vec<Diag>) {
    match (kind, &tree.value) {
        (Kind::List(table), Value::List(items)) => {
            items.iter().for_each(|item| mapping(item, table, notes));
        }
        (Kind::Named(table), Value::Map(entries)) => {
            entries.iter().for_each(|(_, one)| mapping(one, table, notes));
        }
        (Kind::Section(_) | Kind::Either(_), Value::Map(_)) => {
            if let Some(table) = kind.table() {
                mapping(tree, table, notes);
            }
        }
        _ => {}
    }
}
