//! What a model costs, as studies and `lrc params --match` name it.

use lrc_compiler::graph::Model;
use lrc_compiler::graph::account::account;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Learned numbers.
    Parameters,
    /// Numbers of all states of a sequence, caches included.
    State,
    /// The same in bytes, of f32.
    StateBytes,
    /// Nominal operations per token, forward.
    Flops,
}

/// All of them with their names.
pub const ALL: [(&str, Measure); 4] = [
    ("parameters", Measure::Parameters),
    ("state", Measure::State),
    ("state_bytes", Measure::StateBytes),
    ("flops", Measure::Flops),
];

impl Measure {
    /// By its name; `params` is short for parameters.
    pub fn named(name: &str) -> Option<Measure> {
        let name = if name == "params" { "parameters" } else { name };
        ALL.iter().find(|(known, _)| *known == name).map(|(_, measure)| *measure)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(_, measure)| *measure == self).map_or("", |(name, _)| name)
    }
}

/// What a model costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Costs {
    /// Learned numbers.
    pub parameters: usize,
    /// Numbers of all states of a sequence, caches included.
    pub state: usize,
    /// Nominal operations per token, forward.
    pub flops: usize,
}

impl Costs {
    /// Those of a model on sequences of a length.
    pub fn of(model: &Model, length: usize) -> Costs {
        let account = account(model);
        Costs {
            parameters: account.parameters,
            state: account.state(length),
            flops: account.flops_per_token(length),
        }
    }

    /// One of them.
    pub fn get(&self, measure: Measure) -> f64 {
        match measure {
            Measure::Parameters => self.parameters as f64,
            Measure::State => self.state as f64,
            Measure::StateBytes => 4.0 * self.state as f64,
            Measure::Flops => self.flops as f64,
        }
    }
}

/// Reads `399.7M`, `400_000`, `1.5k`, `2B`.
pub fn quantity(text: &str) -> Option<f64> {
    let text = text.trim();
    let factor = match text.chars().last()? {
        'k' | 'K' => 1e3,
        'M' => 1e6,
        'B' | 'G' => 1e9,
        'T' => 1e12,
        _ => 1.0,
    };
    let digits = if factor == 1.0 { text } else { &text[..text.len() - 1] };
    let x = digits.trim().replace('_', "").parse::<f64>().ok()? * factor;
    (x.is_finite() && x >= 0.0).then_some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_people_write_them() {
        let cases =
            [("399.7M", 399.7e6), ("400_000", 4e5), ("1.5k", 1500.0), ("2B", 2e9), ("7", 7.0)];
        for (text, x) in cases {
            assert!((quantity(text).unwrap_or(-1.0) - x).abs() <= 1e-6 * x, "{text}");
        }
        for text in ["", "M", "-3", "x", "nan", "3 apples"] {
            assert_eq!(quantity(text), None, "{text}");
        }
    }
}
