//! What expressions of a map say about `config.json`: names are its keys, `a.b` and `a[i]` reach into what they hold.

use std::collections::BTreeMap;

use lrc_dsl::ast::{Arg, BinaryOp, Expr, ExprKind};
use lrc_dsl::print;
use serde_json::Value as Json;

/// A value of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing was said.
    Null,
    /// `true`, `false`.
    Truth(bool),
    /// A number; transformers writes an infinite one as a mapping of its own.
    Number(f64),
    /// A text.
    Text(String),
    /// Several.
    List(Vec<Value>),
    /// By name.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// A value of a JSON file.
    pub fn of(json: &Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(x) => Value::Truth(*x),
            Json::Number(x) => Value::Number(x.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(all) => Value::List(all.iter().map(Value::of).collect()),
            Json::Object(map) => match map.get("__float__").and_then(Json::as_str) {
                Some("Infinity") => Value::Number(f64::INFINITY),
                Some("-Infinity") => Value::Number(f64::NEG_INFINITY),
                _ => Value::Map(map.iter().map(|(k, v)| (k.clone(), Value::of(v))).collect()),
            },
        }
    }

    /// As it stands in a text of `.arch`.
    pub fn text(&self) -> Result<String, String> {
        match self {
            Value::Truth(x) => Ok(x.to_string()),
            Value::Number(x) if *x == f64::INFINITY => Ok("inf".into()),
            Value::Number(x) if x.is_finite() => Ok(format!("{x}")),
            other => Err(format!("{} has no place in a model", other.kind())),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Truth(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// What names stand for.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// By name.
    pub known: BTreeMap<String, Value>,
}

type Found<T> = Result<T, String>;

impl Names {
    /// A value; the error says what is missing or does not fit.
    pub fn eval(&self, expr: &Expr) -> Found<Value> {
        match &expr.kind {
            ExprKind::Number(x) => Ok(Value::Number(*x)),
            ExprKind::Truth(x) => Ok(Value::Truth(*x)),
            ExprKind::Name(name) if name == "inf" => Ok(Value::Number(f64::INFINITY)),
            ExprKind::Name(name) => {
                self.known.get(name).cloned().ok_or_else(|| format!("`{name}` is missing"))
            }
            ExprKind::Field(base, name) => match self.eval(base)? {
                Value::Map(map) => map.get(&name.text).cloned().ok_or_else(|| missing(expr)),
                _ => Err(missing(expr)),
            },
            ExprKind::Index(base, at) => {
                let (list, at) = (self.eval(base)?, self.number(at)?);
                match list {
                    Value::List(all) if at >= 0.0 && at.fract() == 0.0 => all
                        .get(at as usize)
                        .cloned()
                        .ok_or_else(|| format!("`{}` has no entry {at}", print::expr(base))),
                    _ => Err(missing(expr)),
                }
            }
            ExprKind::Negate(inner) => Ok(Value::Number(-self.number(inner)?)),
            ExprKind::Choice(c, a, b) => self.eval(if self.truth(c)? { a } else { b }),
            ExprKind::Binary(op, a, b) => self.binary(*op, a, b),
            ExprKind::Call(name, args) => self.call(&name.text, args, expr),
            _ => Err(format!("`{}` means nothing in a map", print::expr(expr))),
        }
    }

    /// A number.
    pub fn number(&self, expr: &Expr) -> Found<f64> {
        match self.eval(expr)? {
            Value::Number(x) => Ok(x),
            other => Err(wants(expr, "a number", &other)),
        }
    }

    /// A condition.
    pub fn truth(&self, expr: &Expr) -> Found<bool> {
        match self.eval(expr)? {
            Value::Truth(x) => Ok(x),
            other => Err(wants(expr, "true or false", &other)),
        }
    }

    fn binary(&self, op: BinaryOp, a: &Expr, b: &Expr) -> Found<Value> {
        match op {
            BinaryOp::And => return Ok(Value::Truth(self.truth(a)? && self.truth(b)?)),
            BinaryOp::Or => return Ok(Value::Truth(self.truth(a)? || self.truth(b)?)),
            BinaryOp::Eq => return Ok(Value::Truth(self.eval(a)? == self.eval(b)?)),
            BinaryOp::Ne => return Ok(Value::Truth(self.eval(a)? != self.eval(b)?)),
            _ => {}
        }
        let (x, y) = (self.number(a)?, self.number(b)?);
        Ok(match op {
            BinaryOp::Lt => Value::Truth(x < y),
            BinaryOp::Le => Value::Truth(x <= y),
            BinaryOp::Gt => Value::Truth(x > y),
            BinaryOp::Ge => Value::Truth(x >= y),
            BinaryOp::Add => Value::Number(x + y),
            BinaryOp::Sub => Value::Number(x - y),
            BinaryOp::Mul | BinaryOp::Each => Value::Number(x * y),
            BinaryOp::Div => Value::Number(x / y),
            BinaryOp::Mod => Value::Number(x.rem_euclid(y)),
            _ => Value::Number(x.powf(y)),
        })
    }

    /// `default(a, b)` is the first that is there and not null, `has(a)` whether it is; `is(a, word)` and
    /// `differs(a, word)` whether it is there and that text, or another one; `length(list)` counts, `lists(list, x)`
    /// looks for an entry, `not(c)` turns a condition around.
    fn call(&self, name: &str, args: &[Arg], whole: &Expr) -> Found<Value> {
        let args: Vec<&Expr> = args.iter().map(|arg| &arg.value).collect();
        let there = |expr: &Expr| self.eval(expr).ok().filter(|value| *value != Value::Null);
        match (name, args.as_slice()) {
            ("default", [first @ .., last]) => match first.iter().find_map(|expr| there(expr)) {
                Some(value) => Ok(value),
                None => self.eval(last),
            },
            ("has", [expr]) => Ok(Value::Truth(there(expr).is_some())),
            ("is" | "differs", [expr, word]) => {
                let word = word.as_name().ok_or("a text is compared with a word")?;
                let same = there(expr).map(|found| found == Value::Text(word.into()));
                Ok(Value::Truth(same == Some(name == "is")))
            }
            ("not", [expr]) => Ok(Value::Truth(!self.truth(expr)?)),
            ("lists", [expr, entry]) => match self.eval(expr)? {
                Value::List(all) => Ok(Value::Truth(all.contains(&self.eval(entry)?))),
                other => Err(wants(expr, "a list", &other)),
            },
            ("length", [expr]) => match self.eval(expr)? {
                Value::List(all) => Ok(Value::Number(all.len() as f64)),
                other => Err(wants(expr, "a list", &other)),
            },
            // As a number is that is held in bf16.
            ("bf16", [expr]) => {
                Ok(Value::Number(half::bf16::from_f64(self.number(expr)?).to_f64()))
            }
            ("sqrt", [expr]) => Ok(Value::Number(self.number(expr)?.sqrt())),
            ("ceil", [expr]) => Ok(Value::Number(self.number(expr)?.ceil())),
            ("floor", [expr]) => Ok(Value::Number(self.number(expr)?.floor())),
            _ => Err(format!("`{}` means nothing in a map", print::expr(whole))),
        }
    }
}

fn missing(expr: &Expr) -> String {
    format!("`{}` is missing", print::expr(expr))
}

fn wants(expr: &Expr, what: &str, found: &Value) -> String {
    format!("`{}` is {}, expected {what}", print::expr(expr), found.kind())
}
