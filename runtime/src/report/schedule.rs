//! What a run will do, drawn before it begins: lengths, batch, learning rate and mixture over time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Serialize;

use crate::report::plot::{COLOURS, Chart, Curve, HEAD, escape};
use crate::schedule::run::{RunSchedule, StepPlan};

/// A walk through a run schedule.
#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// Steps of the run.
    pub steps: u64,
    /// Tokens of the run.
    pub tokens: u64,
    /// The lengths that occur, rising.
    pub lengths: Vec<usize>,
    /// The run in equal parts.
    pub parts: Vec<Part>,
    /// Names of the sources of the data.
    pub sources: Vec<String>,
}

/// One of the equal parts of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Part {
    /// Tokens before it.
    pub tokens: u64,
    /// Share of its steps with each length.
    pub shares: Vec<f64>,
    /// Mean length of a sequence, by step.
    pub length: f64,
    /// Mean tokens of a step.
    pub batch: f64,
    /// Mean learning rate.
    pub lr: f64,
    /// Mean weight of each source.
    pub mixture: Vec<f64>,
}

/// Sums of the steps of a part.
#[derive(Default)]
struct Sums {
    steps: f64,
    tokens: u64,
    by_length: BTreeMap<usize, f64>,
    length: f64,
    lr: f64,
    mixture: Vec<f64>,
}

impl Sums {
    fn add(&mut self, next: &StepPlan, weights: &[f64]) {
        self.steps += 1.0;
        self.tokens += next.tokens();
        *self.by_length.entry(next.length).or_default() += 1.0;
        self.length += next.length as f64;
        self.lr += next.lr_scale;
        self.mixture.resize(weights.len(), 0.0);
        self.mixture.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
    }
}

/// Walks the first `within` of a run schedule (1 for all of it) and sums it up in `count` parts; `lr` is
/// the peak rate, `weights` gives the mixture of a step.
pub fn preview(
    mut run_schedule: RunSchedule,
    lr: f64,
    (within, count): (f64, usize),
    sources: Vec<String>,
    weights: &dyn Fn(&StepPlan) -> Vec<f64>,
) -> Preview {
    let shown = ((run_schedule.whole().steps * within).round() as usize).max(1);
    let count = count.min(shown).max(1);
    let mut sums: Vec<Sums> = (0..count).map(|_| Sums::default()).collect();
    let mut part = 0;
    while let Some(next) = run_schedule.next(0.0) {
        let step = next.step as usize;
        if step >= shown {
            continue;
        }
        while part + 1 < count && step >= (part + 1) * shown / count {
            part += 1;
        }
        sums[part].add(&next, &weights(&next));
    }
    let seen = sums.iter().flat_map(|sums| sums.by_length.keys().copied());
    let lengths: Vec<usize> = seen.collect::<BTreeSet<usize>>().into_iter().collect();
    let mut before = 0;
    let parts = sums.iter().map(|sums| {
        let mean = |sum: f64| sum / sums.steps.max(1.0);
        let share = |length: &usize| mean(sums.by_length.get(length).copied().unwrap_or(0.0));
        let part = Part {
            tokens: before,
            shares: lengths.iter().map(share).collect(),
            length: mean(sums.length),
            batch: mean(sums.tokens as f64),
            lr: lr * mean(sums.lr),
            mixture: (0..sources.len())
                .map(|at| mean(sums.mixture.get(at).copied().unwrap_or(0.0)))
                .collect(),
        };
        before += sums.tokens;
        part
    });
    let parts = parts.collect();
    Preview { steps: run_schedule.step(), tokens: run_schedule.tokens(), lengths, parts, sources }
}

impl Preview {
    /// A table, one line per part. Many lengths are told by their mean alone.
    pub fn table(&self) -> String {
        let shown = self.lengths.len() <= 10;
        let mut text = format!("{} steps, {} tokens\n", self.steps, self.tokens);
        let _ = write!(text, "{:>12} {:>10} {:>9} {:>10}", "tokens", "batch", "length", "rate");
        if shown {
            self.lengths.iter().for_each(|length| {
                let _ = write!(text, " {length:>6}");
            });
        }
        self.sources.iter().filter(|_| self.sources.len() > 1).for_each(|name| {
            let _ = write!(text, " {name:>8}");
        });
        for part in &self.parts {
            let Part { tokens, batch, length, lr, .. } = part;
            let _ = write!(text, "\n{tokens:>12} {batch:>10.0} {length:>9.1} {lr:>10.3e}");
            if shown {
                part.shares.iter().for_each(|share| {
                    let _ = write!(text, " {share:>6.2}");
                });
            }
            part.mixture.iter().filter(|_| self.sources.len() > 1).for_each(|weight| {
                let _ = write!(text, " {weight:>8.3}");
            });
        }
        text.push('\n');
        text
    }

    /// A page with the curves.
    pub fn page(&self, name: &str) -> String {
        let mut page = String::from(HEAD);
        let _ = write!(page, "<h1>{}</h1>", escape(name));
        let _ = write!(page, "<p>{} steps, {} tokens</p>", self.steps, self.tokens);
        let curve = |name: &str, colour, pick: &dyn Fn(&Part) -> f64| {
            let points = self.parts.iter().map(|part| (part.tokens as f64, pick(part)));
            Curve::line(name, colour, points.collect())
        };
        let colour = |at: usize| COLOURS[at % COLOURS.len()];
        let mut draw = |title, curves: Vec<Curve>| {
            page.push_str(&Chart { title, unit: "tokens", curves: &curves }.html());
        };
        if (2..=10).contains(&self.lengths.len()) {
            let shares = self.lengths.iter().enumerate().map(|(at, length)| {
                curve(&length.to_string(), colour(at), &|part: &Part| part.shares[at])
            });
            draw("Share of steps by length of their sequences", shares.collect());
        }
        draw("Mean length of a sequence", vec![curve("tokens", COLOURS[0], &|part| part.length)]);
        draw("Tokens of a step", vec![curve("tokens", COLOURS[2], &|part| part.batch)]);
        draw("Learning rate", vec![curve("rate", COLOURS[1], &|part| part.lr)]);
        if self.sources.len() > 1 {
            let mixture = self
                .sources
                .iter()
                .enumerate()
                .map(|(at, name)| curve(name, colour(at), &|part: &Part| part.mixture[at]));
            draw("Mixture of sources", mixture.collect());
        }
        page.push_str("</body></html>\n");
        page
    }
}
