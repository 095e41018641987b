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
    /// Seconds of a training step per token on a GPU, modelled.
    TimePerToken,
}

/// All of them with their names.
pub const ALL: [(&str, Measure); 5] = [
    ("parameters", Measure::Parameters),
    ("state", Measure::State),
    ("state_bytes", Measure::StateBytes),
    ("flops", Measure::Flops),
    ("time_per_token", Measure::TimePerToken),
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

    /// Whether a model has it by itself: how long one takes depends on the batch, the optimiser and the GPU too.
    pub fn of_model(self) -> bool {
        self != Measure::TimePerToken
    }

    /// Reads a bound: `400k`; of a time `3 us`.
    pub fn quantity(self, text: &str) -> Option<f64> {
        let units = [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)];
        let text = text.trim();
        match self {
            Measure::TimePerToken => units.iter().find_map(|(unit, seconds)| {
                let number = text.strip_suffix(unit)?.trim().parse::<f64>().ok()?;
                (number.is_finite() && number >= 0.0).then_some(number * seconds)
            }),
            _ => quantity(text),
        }
    }

    /// What a bound looks like.
    pub fn example(self) -> &'static str {
        match self {
            Measure::TimePerToken => "a time such as `3 us`",
            _ => "a number such as `400k` or `1.5M`",
        }
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
    /// Seconds of a training step per token, where somebody asks for them.
    pub time: Option<f64>,
}

impl Costs {
    /// Those of a model on sequences of a length.
    pub fn of(model: &Model, length: usize) -> Costs {
        let account = account(model);
        Costs {
            parameters: account.parameters,
            state: account.state(length),
            flops: account.flops_per_token(length),
            time: None,
        }
    }

    /// One of them; no number where it was not asked for.
    pub fn get(&self, measure: Measure) -> f64 {
        match measure {
            Measure::Parameters => self.parameters as f64,
            Measure::State => self.state as f64,
            Measure::StateBytes => 4.0 * self.state as f64,
            Measure::Flops => self.flops as f64,
            Measure::TimePerToken => self.time.unwrap_or(f64::NAN),
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
        let time = Measure::TimePerToken;
        for (text, x) in
            [("3 us", 3e-6), ("3us", 3e-6), ("1.5 ms", 1.5e-3), ("40ns", 4e-8), ("2 s", 2.0)]
        {
            let read = time.quantity(text).unwrap_or(-1.0);
            assert!((read - x).abs() <= 1e-9 * x, "{text}: {read}");
        }
        for text in ["3", "us", "-3 us", "3 min", "400k", "nan us"] {
            assert_eq!(time.quantity(text), None, "{text}");
        }
        assert_eq!(Measure::State.quantity("3 us"), None);
    }
}
