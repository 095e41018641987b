//! What an expression stands for while it is elaborated.

use std::rc::Rc;

use crate::tile::{Bounds, Int, Value};

/// Most characters of an axis as it is shown.
const MAX_TEXT: usize = 60;

/// A parameter of a declaration: a number or true/false.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Setting {
    /// A number.
    Number(f64),
    /// True or false.
    Truth(bool),
}

impl Setting {
    /// Reads `--set name=text`.
    pub fn parse(text: &str) -> Option<Setting> {
        match text.trim() {
            "true" => Some(Setting::Truth(true)),
            "false" => Some(Setting::Truth(false)),
            "inf" => Some(Setting::Number(f64::INFINITY)),
            "-inf" => Some(Setting::Number(f64::NEG_INFINITY)),
            text => text.replace('_', "").parse().ok().map(Setting::Number),
        }
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Setting::Number(x) => write!(f, "{x}"),
            Setting::Truth(x) => write!(f, "{x}"),
        }
    }
}

/// One axis: its size, and how it was written.
#[derive(Clone, Debug)]
pub struct Dim {
    /// The number of entries.
    pub size: usize,
    /// The declared expression, such as `dk` or `1 + dk`.
    pub text: Rc<str>,
}

impl Dim {
    /// An axis; a long text is cut.
    pub fn new(size: usize, text: impl Into<Rc<str>>) -> Dim {
        let text = text.into();
        match text.char_indices().nth(MAX_TEXT) {
            Some((at, _)) => Dim { size, text: format!("{}…", &text[..at]).into() },
            None => Dim { size, text },
        }
    }
}

/// Shows a shape as it was declared.
pub fn shape_text(dims: &[Dim]) -> String {
    if dims.is_empty() {
        return "scalar".into();
    }
    format!("[{}]", dims.iter().map(|dim| &*dim.text).collect::<Vec<_>>().join(", "))
}

/// A value of the run: a node and its axes.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The node; its shape has the sizes of `dims`.
    pub value: Value,
    /// The axes.
    pub dims: Vec<Dim>,
    /// A transposed vector.
    pub row: bool,
}

impl Tensor {
    /// The shape in words, `[dk]^T` for a row.
    pub fn text(&self) -> String {
        format!("{}{}", shape_text(&self.dims), if self.row { "^T" } else { "" })
    }
}

/// A list of values over positions of the past.
#[derive(Clone, Debug)]
pub struct List {
    /// The value at the bound position.
    pub body: Tensor,
    /// The positions that have one.
    pub bounds: Bounds,
}

/// The meaning of an expression.
#[derive(Clone, Debug)]
pub enum Val {
    /// A number known before the run.
    Number(f64),
    /// True or false, known before the run.
    Truth(bool),
    /// A whole number of the run; `position` if it counts tokens from the start.
    Int {
        /// The expression.
        int: Int,
        /// Whether it selects tokens.
        position: bool,
    },
    /// A value of the run.
    Tensor(Tensor),
    /// A complex value of the run: real and imaginary part, with the same axes.
    Complex(Box<[Tensor; 2]>),
    /// A multiple of the identity of a size that its neighbours give.
    Eye(Value),
    /// Values over the past.
    List(Box<List>),
}

impl Val {
    /// What it is, for messages.
    pub fn words(&self) -> String {
        match self {
            Val::Number(_) => "a number".into(),
            Val::Truth(_) => "true or false".into(),
            Val::Int { position: true, .. } => "a position".into(),
            Val::Int { .. } => "a whole number that depends on the token".into(),
            Val::Tensor(t) if t.dims.is_empty() => "a scalar".into(),
            Val::Tensor(t) => format!("of shape {}", t.text()),
            Val::Complex(parts) if parts[0].dims.is_empty() => "a complex scalar".into(),
            Val::Complex(parts) => format!("complex of shape {}", parts[0].text()),
            Val::Eye(_) => "a multiple of the identity".into(),
            Val::List(_) => "a list over the past".into(),
        }
    }
}
