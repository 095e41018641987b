//! Texts out of parquet tables.

use std::fs::File;
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;

use super::json::FieldPath;
use crate::ground::error::{Failure, at_path};

/// Hands the text of every row to `each`, or why it holds none, with the number of the row from 1.
pub fn read(
    path: &Path,
    way: &FieldPath,
    each: &mut dyn FnMut(usize, Result<String, String>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let file = File::open(path).map_err(at_path("read", path))?;
    let failed = |error: ParquetError| match error {
        // Such as a codec: the file is sound, and this program lacks something.
        ParquetError::NYI(what) => {
            Failure::World(format!("{} cannot be read: {what}", path.display()))
        }
        other => Failure::World(format!("{} is not a sound parquet file: {other}", path.display())),
    };
    let reader = SerializedFileReader::new(file).map_err(failed)?;
    let schema = reader.metadata().file_metadata().schema().clone();
    let (first, rest) = way.name().split_once('.').unwrap_or((way.name(), ""));
    let column = |name: &str| schema.get_fields().iter().find(|f| f.name() == name);
    // A name may hold dots itself.
    let (column, rest) = match (column(way.name()), column(first)) {
        (Some(column), _) => (column, ""),
        (_, Some(column)) => (column, rest),
        (None, None) => {
            let there = schema.get_fields().iter().map(|f| f.name());
            let why = way.missing(way.name(), there);
            return Err(Failure::World(format!("{}: {why}", path.display())));
        }
    };
    let only = Type::group_type_builder(schema.name()).with_fields(vec![column.clone()]);
    let only = only.build().map_err(failed)?;
    for (number, row) in reader.get_row_iter(Some(only)).map_err(failed)?.enumerate() {
        let row = row.map_err(failed)?;
        let mut texts = Vec::new();
        let value = row.get_column_iter().next().map(|(_, value)| value);
        let walked = match value {
            Some(value) => walk(value, rest, way, &mut texts),
            None => Err(format!("`{}` is no text", way.name())),
        };
        let empty = || format!("`{}` is an empty list", way.name());
        let found = walked
            .and_then(|()| if texts.is_empty() { Err(empty()) } else { Ok(texts.join("\n")) });
        each(number + 1, found)?;
    }
    Ok(())
}

/// As in JSON: names lead into groups, `*` and numbers into lists.
fn walk(value: &Field, rest: &str, way: &FieldPath, texts: &mut Vec<String>) -> Result<(), String> {
    let name = way.name();
    if rest.is_empty() {
        let text = match value {
            Field::Str(text) => Some(text.clone()),
            Field::Bytes(bytes) => String::from_utf8(bytes.data().to_vec()).ok(),
            _ => None,
        };
        texts.push(text.ok_or_else(|| format!("`{name}` is no text"))?);
        return Ok(());
    }
    let (first, after) = rest.split_once('.').unwrap_or((rest, ""));
    match value {
        Field::Group(row) => {
            let inner = row.get_column_iter().find(|(field, _)| *field == first);
            let inner = inner.ok_or_else(|| {
                way.missing(first, row.get_column_iter().map(|(field, _)| field.as_str()))
            })?;
            walk(inner.1, after, way, texts)
        }
        Field::ListInternal(list) => {
            let entries = list.elements();
            match (first, first.parse::<usize>()) {
                ("*", _) => entries.iter().try_for_each(|entry| walk(entry, after, way, texts)),
                (_, Ok(at)) => match entries.get(at) {
                    Some(entry) => walk(entry, after, way, texts),
                    None => Err(format!("`{name}`: a list has only {} entries", entries.len())),
                },
                _ => Err(format!(
                    "`{name}` leads through a list: `*` takes every entry, a number one"
                )),
            }
        }
        _ => Err(format!("`{name}` leads through a value that is no object")),
    }
}
