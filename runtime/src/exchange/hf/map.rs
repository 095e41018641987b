//! Maps: texts that say how a class of transformers is written as `.arch`, and where its weights have their places.
//!
//! ```text
//! # Llama.                                        a comment
//! class LlamaForCausalLM                          what `architectures` of config.json says
//! let tie = default(tie_word_embeddings, false)   a name for what config.json says
//! refuse mlp_bias : biases in its MLP             what the text below would get wrong
//! model
//! use "mixers/attention.arch"                     from here to `weights` the text of the model; `$(…)` is a value,
//! @for i < num_hidden_layers                      lines with `@` repeat and choose: @for, @if, @else, @end
//! attention(heads = $(num_attention_heads))
//! @end
//! weights
//! model.layers.{i}.mlp.up_proj.weight = layers.{2 * i + 1}.swiglu.up.weight
//! ```
//!
//! A line of weights names a tensor of the folder, with whole numbers `{i}` in it, and its parts: parameters of the model,
//! whose rows stand one below the other in it. `^T` behind the tensor says that it is the transpose of that, behind a part
//! that its first axis comes last; `NAME[{e}]` is entry `e` of its first axis. `by N` says that its rows come in N groups,
//! each with a share of every part. Where a parameter does not exist in the model at hand, the next line that
//! fits counts. `keep NAME` takes a tensor along that no parameter holds, such as a table that the class makes itself; `{*}` at
//! the end of a name is whatever follows.

use lrc_dsl::ast::Expr;
use lrc_dsl::{Diag, Sources, parse_expr};

use crate::ground::error::Failure;

/// A map.
#[derive(Clone, Debug)]
pub struct Map {
    /// Its name, such as `llama`.
    pub name: String,
    /// The classes it is of.
    pub classes: Vec<String>,
    /// Names for values of the configuration, in order.
    pub lets: Vec<(String, Expr)>,
    /// Conditions that the text would get wrong, with what to say.
    pub refusals: Vec<(Expr, String)>,
    /// The model's text.
    pub model: Vec<Line>,
    /// Where weights have their places.
    pub weights: Vec<Place>,
}

/// A line of the model's text.
#[derive(Clone, Debug)]
pub enum Line {
    /// Text with values.
    Text(Vec<Piece>),
    /// `@for i < n`
    For(String, Expr),
    /// `@if c`
    If(Expr),
    /// `@else`
    Else,
    /// `@end`
    End,
}

/// A piece of a text.
#[derive(Clone, Debug)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// A value in its place.
    Value(Expr),
}

/// A line of weights.
#[derive(Clone, Debug)]
pub struct Place {
    /// The tensor's name.
    pub tensor: Vec<Name>,
    /// Whether it is the transpose of its parts.
    pub transposed: bool,
    /// Groups of rows.
    pub by: Option<Expr>,
    /// Its parts; none where it is only taken along.
    pub parts: Vec<Part>,
}

/// A piece of a tensor's name.
#[derive(Clone, Debug, PartialEq)]
pub enum Name {
    /// As it stands.
    Text(String),
    /// A whole number, by its name.
    Number(String),
    /// `{*}`: whatever follows.
    Rest,
}

/// A parameter of the model, or an entry of its first axis.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name.
    pub name: Vec<Piece>,
    /// The entry.
    pub entry: Option<Expr>,
    /// Whether its first axis comes last.
    pub transposed: bool,
}

/// Reads a map; `name` is what messages call it.
pub fn read(name: &str, text: &str, sources: &mut Sources) -> Result<Map, Failure> {
    let mut reader = Reader { sources, map: Map::new(name), part: Section::Top };
    for (at, line) in text.lines().enumerate() {
        reader.line(line).map_err(|why| {
            Failure::invalid("E0604", format!("{name}.map, line {}: {why}", at + 1))
        })?;
    }
    let map = reader.map;
    let lacks = [
        (map.classes.is_empty(), "class"),
        (map.model.is_empty(), "model"),
        (map.weights.is_empty(), "weights"),
    ];
    match lacks.iter().find(|(lacks, _)| *lacks) {
        Some((_, what)) => {
            Err(Failure::invalid("E0604", format!("{name}.map has no line `{what}`")))
        }
        None => Ok(map),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Section {
    Top,
    Model,
    Weights,
}

struct Reader<'s> {
    sources: &'s mut Sources,
    map: Map,
    part: Section,
}

type Told<T> = Result<T, String>;

impl Map {
    fn new(name: &str) -> Map {
        let name = name.to_string();
        Map {
            name,
            classes: vec![],
            lets: vec![],
            refusals: vec![],
            model: vec![],
            weights: vec![],
        }
    }
}

impl Reader<'_> {
    fn line(&mut self, line: &str) -> Told<()> {
        let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match (self.part, word) {
            (Section::Model, "weights") if rest.is_empty() => self.part = Section::Weights,
            (Section::Model, _) => {
                let line = self.template(line)?;
                self.map.model.push(line);
            }
            (_, "") => {}
            (_, word) if word.starts_with('#') => {}
            (Section::Weights, _) => {
                let place = self.place(line)?;
                self.map.weights.push(place);
            }
            (Section::Top, "class") => {
                self.map.classes.extend(rest.split(',').map(|name| name.trim().to_string()));
            }
            (Section::Top, "let") => {
                let (name, value) = rest.split_once('=').ok_or("expected `let NAME = VALUE`")?;
                let value = self.expr(value)?;
                self.map.lets.push((name.trim().into(), value));
            }
            (Section::Top, "refuse") => {
                let (when, what) =
                    rest.split_once(" : ").ok_or("expected `refuse CONDITION : what it is`")?;
                let when = self.expr(when)?;
                self.map.refusals.push((when, what.trim().into()));
            }
            (Section::Top, "model") if rest.is_empty() => self.part = Section::Model,
            (Section::Top, _) => {
                return Err(format!(
                    "`{word}` begins no line here: expected class, let, refuse or model"
                ));
            }
        }
        Ok(())
    }

    fn expr(&mut self, text: &str) -> Told<Expr> {
        let file = self.sources.add(format!("{}.map", self.map.name), text);
        parse_expr(file, text)
            .map_err(|diag: Box<Diag>| format!("`{}`: {}", text.trim(), diag.message))
    }

    fn template(&mut self, line: &str) -> Told<Line> {
        let Some(rule) = line.trim().strip_prefix('@') else {
            return Ok(Line::Text(self.pieces(line, "$(", ')')?));
        };
        let (word, rest) = rule.split_once(' ').unwrap_or((rule, ""));
        match word {
            "for" => {
                let (name, high) = rest.split_once('<').ok_or("expected `@for i < n`")?;
                Ok(Line::For(name.trim().into(), self.expr(high)?))
            }
            "if" => Ok(Line::If(self.expr(rest)?)),
            "else" => Ok(Line::Else),
            "end" => Ok(Line::End),
            _ => Err(format!("`@{word}` is none of @for, @if, @else, @end")),
        }
    }

    /// A text with values between `open` and its `close`.
    fn pieces(&mut self, text: &str, open: &str, close: char) -> Told<Vec<Piece>> {
        let opens = open.chars().last();
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(open) {
            let mut depth = 1;
            let end = after.char_indices().find(|(_, c)| {
                depth += i32::from(Some(*c) == opens) - i32::from(*c == close);
                depth == 0
            });
            let (end, _) = end.ok_or_else(|| format!("`{open}` without `{close}`"))?;
            pieces.push(Piece::Text(before.into()));
            pieces.push(Piece::Value(self.expr(&after[..end])?));
            rest = &after[end + close.len_utf8()..];
        }
        pieces.push(Piece::Text(rest.into()));
        Ok(pieces)
    }

    fn place(&mut self, line: &str) -> Told<Place> {
        if let Some(name) = line.trim().strip_prefix("keep ") {
            let tensor = tensor_name(name.trim())?;
            return Ok(Place { tensor, transposed: false, by: None, parts: vec![] });
        }
        let (left, parts) = line.split_once(" = ").ok_or("expected `TENSOR = PARAMETER, …`")?;
        let (left, by) = match left.split_once(" by ") {
            Some((left, by)) => (left, Some(self.expr(by)?)),
            None => (left, None),
        };
        let (tensor, transposed) = transposed(left.trim());
        let parts = parts.split(", ").map(|part| self.part(part.trim()));
        let parts = parts.collect::<Told<Vec<Part>>>()?;
        Ok(Place { tensor: tensor_name(tensor)?, transposed, by, parts })
    }

    fn part(&mut self, text: &str) -> Told<Part> {
        let (text, transposed) = transposed(text);
        let (name, entry) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
            Some((name, entry)) => (name, Some(self.expr(entry)?)),
            None => (text, None),
        };
        Ok(Part { name: self.pieces(name, "{", '}')?, entry, transposed })
    }
}

fn transposed(text: &str) -> (&str, bool) {
    text.strip_suffix("^T").map_or((text, false), |text| (text, true))
}

fn tensor_name(text: &str) -> Told<Vec<Name>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("`{` without `}`")?;
        pieces.push(Name::Text(before.into()));
        pieces.push(match name.trim() {
            "*" => Name::Rest,
            name => Name::Number(name.into()),
        });
        rest = after;
    }
    pieces.push(Name::Text(rest.into()));
    Ok(pieces)
}

/// The numbers in a tensor's name, where it fits.
pub fn numbers(pattern: &[Name], name: &str) -> Option<Vec<(String, f64)>> {
    let mut found = Vec::new();
    let mut rest = name;
    for piece in pattern {
        match piece {
            Name::Text(text) => rest = rest.strip_prefix(text.as_str())?,
            Name::Number(name) => {
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                // More digits than any model has layers.
                let number: u32 = rest[..end].parse().ok()?;
                found.push((name.clone(), f64::from(number)));
                rest = &rest[end..];
            }
            Name::Rest => rest = "",
        }
    }
    rest.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tensors_are_told_apart() {
        let fits = |pattern: &str, name: &str| numbers(&tensor_name(pattern).unwrap(), name);
        let found = fits("a.{i}.b.{e}.c", "a.3.b.12.c").unwrap();
        assert_eq!(found, [("i".to_string(), 3.0), ("e".to_string(), 12.0)]);
        for other in ["a.3.b.12.cc", "a..b.12.c", "a.x.b.1.c", "a.3.b.99999999999.c", "xa.3.b.12.c"]
        {
            assert!(fits("a.{i}.b.{e}.c", other).is_none(), "{other}");
        }
        assert!(fits("mtp.{*}", "mtp.layers.0.w").is_some());
        assert!(fits("mtp.{*}", "mt").is_none());
    }
}
