//! The text of a model from the template of a map and a configuration.

use lrc_dsl::ast::Expr;

use super::map::{Line, Map, Piece};
use super::value::{Names, Value};
use crate::ground::bounded;
use crate::ground::error::Failure;

/// The names of a map over a configuration. What the map cannot write is a failure.
pub fn names(map: &Map, config: &Value) -> Result<Names, Failure> {
    let Value::Map(known) = config else {
        return Err(Failure::invalid("E0601", "config.json holds no mapping"));
    };
    let mut names = Names { known: known.clone() };
    for (name, value) in &map.lets {
        let value = names.eval(value).map_err(|why| wrong(map, &why))?;
        names.known.insert(name.clone(), value);
    }
    for (when, what) in &map.refusals {
        if names.truth(when).map_err(|why| wrong(map, &why))? {
            let message =
                format!("config.json asks for {what}, which {}.map does not write", map.name);
            return Err(Failure::invalid("E0602", message));
        }
    }
    Ok(names)
}

fn wrong(map: &Map, why: &str) -> Failure {
    Failure::invalid("E0602", format!("config.json does not fit {}.map: {why}", map.name))
}

/// The text of the model.
pub fn fill(map: &Map, names: &Names) -> Result<String, Failure> {
    let mut text = String::new();
    let mut filler = Filler { lines: &map.model, names: names.clone(), text: &mut text };
    filler.lines(0, true).map_err(|why| wrong(map, &why))?;
    Ok(text)
}

struct Filler<'m, 't> {
    lines: &'m [Line],
    names: Names,
    text: &'t mut String,
}

impl Filler<'_, '_> {
    /// Writes lines from one on to the `@end` or `@else` of their block, or passes over them; gives the line of that.
    fn lines(&mut self, from: usize, write: bool) -> Result<usize, String> {
        let mut at = from;
        while let Some(line) = self.lines.get(at) {
            at = match line {
                Line::End | Line::Else => return Ok(at),
                Line::Text(pieces) => {
                    if write {
                        self.line(pieces)?;
                    }
                    at + 1
                }
                Line::For(name, high) => self.repeat(name, high, at + 1, write)?,
                Line::If(condition) => {
                    let holds = write && self.names.truth(condition)?;
                    self.choose(at + 1, write, holds)?
                }
            };
        }
        Ok(at)
    }

    fn repeat(
        &mut self,
        name: &str,
        high: &Expr,
        from: usize,
        write: bool,
    ) -> Result<usize, String> {
        let high = if write { self.names.number(high)? } else { 0.0 };
        let outer = self.names.known.get(name).cloned();
        let mut i = 0.0;
        while i < high {
            self.names.known.insert(name.into(), Value::Number(i));
            self.lines(from, true)?;
            i += 1.0;
        }
        match outer {
            Some(value) => self.names.known.insert(name.into(), value),
            None => self.names.known.remove(name),
        };
        Ok(self.lines(from, false)? + 1)
    }

    fn choose(&mut self, from: usize, write: bool, holds: bool) -> Result<usize, String> {
        let at = self.lines(from, holds)?;
        match self.lines.get(at) {
            Some(Line::Else) => Ok(self.lines(at + 1, write && !holds)? + 1),
            _ => Ok(at + 1),
        }
    }

    fn line(&mut self, pieces: &[Piece]) -> Result<(), String> {
        for piece in pieces {
            match piece {
                Piece::Text(text) => self.text.push_str(text),
                Piece::Value(value) => self.text.push_str(&self.names.eval(value)?.text()?),
            }
        }
        self.text.push('\n');
        if self.text.len() as u64 > bounded::WRITTEN {
            return Err(format!("the model's text is longer than {} bytes", bounded::WRITTEN));
        }
        Ok(())
    }
}
