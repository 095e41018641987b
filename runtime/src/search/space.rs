//! The space of a study: what may differ between trials, and points in it.

use lrc_dsl::Span;
use serde_json::{Value, json};

use crate::eval::experiment::Overrides;
use crate::ground::random::Stream;

/// Something that differs between trials.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// A path of the spec, or what several values are called together.
    pub name: String,
    /// What it may be.
    pub domain: Domain,
    /// Where it stands in the study.
    pub span: Option<Span>,
}

/// The values of a parameter. A number of a point is a choice's place, or the number itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// One of these.
    Choices(Vec<Choice>),
    /// A whole number.
    Int {
        /// The least.
        low: f64,
        /// The most.
        high: f64,
        /// Between neighbours.
        step: f64,
        /// Even in its logarithm.
        log: bool,
    },
    /// A number.
    Float {
        /// The least.
        low: f64,
        /// The most.
        high: f64,
        /// Even in its logarithm.
        log: bool,
    },
}

/// One of several.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Its name, as a value of JSON.
    pub label: Value,
    /// What it sets.
    pub set: Overrides,
    /// Where it stands in the study.
    pub span: Option<Span>,
}

/// A number for each parameter.
pub type Point = Vec<f64>;

impl Domain {
    /// How many values there are; nothing where they are without number.
    pub fn count(&self) -> Option<f64> {
        match self {
            Domain::Choices(choices) => Some(choices.len() as f64),
            Domain::Int { low, high, step, .. } => Some(((high - low) / step).floor() + 1.0),
            Domain::Float { low, high, .. } => (low == high).then_some(1.0),
        }
    }

    /// A value as a number between 0 and 1, evenly; for choices the place.
    pub fn unit(&self, x: f64) -> f64 {
        let (low, high, log) = match self {
            Domain::Choices(_) => return x,
            Domain::Int { low, high, step, log } if !log => {
                (low - step / 2.0, high + step / 2.0, false)
            }
            Domain::Int { low, high, .. } => (low - 0.5, high + 0.5, true),
            Domain::Float { low, high, log } => (*low, *high, *log),
        };
        let (x, low, high) = if log { (x.ln(), low.ln(), high.ln()) } else { (x, low, high) };
        if high > low { ((x - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 }
    }

    /// The value at a number between 0 and 1.
    pub fn at(&self, unit: f64) -> f64 {
        let between = |low: f64, high: f64, log: bool| match log {
            true => (low.ln() + unit * (high.ln() - low.ln())).exp(),
            false => low + unit * (high - low),
        };
        match self {
            Domain::Choices(_) => unit,
            Domain::Int { low, high, step, log } => {
                let half = if *log { 0.5 } else { step / 2.0 };
                let x = between(low - half, high + half, *log);
                (low + ((x - low) / step).round() * step)
                    .clamp(*low, low + ((high - low) / step).floor() * step)
            }
            Domain::Float { low, high, log } => between(*low, *high, *log).clamp(*low, *high),
        }
    }

    /// Whether it is even in its logarithm.
    pub fn log(&self) -> bool {
        matches!(self, Domain::Int { log: true, .. } | Domain::Float { log: true, .. })
    }

    /// Any value, evenly.
    pub fn draw(&self, random: &mut Stream) -> f64 {
        match self {
            Domain::Choices(choices) => random.below(choices.len()) as f64,
            _ => self.at(random.uniform()),
        }
    }

    /// Whether it has such a value.
    pub fn holds(&self, x: f64) -> bool {
        match self {
            Domain::Choices(choices) => x.fract() == 0.0 && x >= 0.0 && x < choices.len() as f64,
            Domain::Int { low, high, .. } => x.fract() == 0.0 && (*low..=*high).contains(&x),
            Domain::Float { low, high, .. } => (*low..=*high).contains(&x),
        }
    }

    /// As Optuna writes it.
    pub fn to_json(&self) -> Value {
        match self {
            Domain::Choices(choices) => {
                let labels: Vec<&Value> = choices.iter().map(|choice| &choice.label).collect();
                json!({"name": "CategoricalDistribution", "attributes": {"choices": labels}})
            }
            Domain::Int { low, high, step, log } => json!({"name": "IntDistribution", "attributes":
                {"log": log, "step": *step as i64, "low": *low as i64, "high": *high as i64}}),
            Domain::Float { low, high, log } => json!({"name": "FloatDistribution", "attributes":
                {"step": null, "low": low, "high": high, "log": log}}),
        }
    }

    /// The number of a value as people and Optuna name it.
    pub fn number(&self, value: &Value) -> Option<f64> {
        let number = match self {
            Domain::Choices(choices) => {
                let same = |label: &Value| {
                    label == value || (label.is_number() && label.as_f64() == value.as_f64())
                };
                choices.iter().position(|choice| same(&choice.label))? as f64
            }
            _ => value.as_f64()?,
        };
        self.holds(number).then_some(number)
    }

    /// The value of a number, likewise.
    pub fn value(&self, x: f64) -> Value {
        match self {
            Domain::Choices(choices) => {
                choices.get(x as usize).map_or(Value::Null, |choice| choice.label.clone())
            }
            Domain::Int { .. } => json!(x as i64),
            Domain::Float { .. } => json!(x),
        }
    }
}

/// A number of YAML as JSON has it: whole ones without a point.
pub fn json_number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 9e15 { json!(x as i64) } else { json!(x) }
}

impl Param {
    /// The end of its name: the last part that is no number, and what follows.
    pub fn short(&self) -> &str {
        let number = |part: &&str| part.parse::<u64>().is_ok();
        let parts: Vec<&str> = self.name.rsplit('.').collect();
        let count = parts.iter().take_while(|part| number(part)).count() + 1;
        let length = parts.iter().take(count).map(|part| part.len() + 1).sum::<usize>();
        &self.name[(self.name.len() + 1).saturating_sub(length)..]
    }

    /// What a value of it sets.
    pub fn sets(&self, x: f64) -> Overrides {
        match &self.domain {
            Domain::Choices(choices) => {
                choices.get(x as usize).map_or(vec![], |choice| choice.set.clone())
            }
            _ => vec![(self.name.clone(), format!("{x}"))],
        }
    }

    /// A value for people.
    pub fn said(&self, x: f64) -> String {
        match self.domain.value(x) {
            Value::String(text) => text,
            Value::Number(_) if matches!(self.domain, Domain::Float { .. }) => short(x),
            other => other.to_string(),
        }
    }
}

/// A number in four digits.
pub fn short(x: f64) -> String {
    match x.abs() {
        a if a >= 1e5 || (a < 1e-3 && a > 0.0) => format!("{x:.3e}"),
        a if a.fract() == 0.0 => format!("{x}"),
        _ => format!("{x:.4}"),
    }
}

/// The largest space that is gone through.
const SMALL: f64 = 4096.0;

/// All points of a small space, the first parameter's values following each other; nothing where there are too many.
pub fn every(space: &[Domain]) -> Option<impl Iterator<Item = Point> + '_> {
    let counts: Vec<f64> = space.iter().map(Domain::count).collect::<Option<_>>()?;
    let count: f64 = counts.iter().product();
    let point = move |at: u64| {
        let mut rest = at;
        let digits = counts.iter().zip(space).map(|(count, domain)| {
            let digit = rest % *count as u64;
            rest /= *count as u64;
            nth(domain, digit)
        });
        digits.collect()
    };
    (count <= SMALL).then(|| (0..count as u64).map(point))
}

/// The n-th value of a finite domain.
pub(super) fn nth(domain: &Domain, n: u64) -> f64 {
    match domain {
        Domain::Choices(_) => n as f64,
        Domain::Int { low, step, .. } => low + step * n as f64,
        Domain::Float { low, .. } => *low,
    }
}

/// What a point sets.
pub fn sets(space: &[Param], point: &[f64]) -> Overrides {
    space.iter().zip(point).flat_map(|(param, x)| param.sets(*x)).collect()
}
