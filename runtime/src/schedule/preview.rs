//! What a run will do, drawn before it begins: lengths, batch, learning rate and mixture over time.

use std::fmt::Write;

use serde::Serialize;

use super::course::{Course, Next};
use crate::plot::{COLOURS, Chart, Curve, HEAD, escape};

/// A walk through the course of a run.
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

/// Walks the first `within` of a course (1 for all of it) and sums it up in `count` parts; `lr` is
/// the peak rate, `weights` gives the mixture of a step.
pub fn preview(
    mut course: Course,
    lr: f64,
    (within, count): (f64, usize),
    sources: Vec<String>,
    weights: &dyn Fn(&Next) -> Vec<f64>,
) -> Preview {
    let mut steps = Vec::new();
    while let Some(next) = course.next(0.0) {
        steps.push(next);
    }
    let (whole, tokens) = (steps.len() as u64, course.tokens());
    steps.truncate(((steps.len() as f64 * within).round() as usize).max(1));
    let mut lengths: Vec<usize> = steps.iter().map(|next| next.length).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let count = count.min(steps.len()).max(1);
    let mut before = 0;
    let parts = (0..count)
        .map(|part| {
            let from = part * steps.len() / count;
            let here = &steps[from..(part + 1) * steps.len() / count];
            let mean = |pick: &dyn Fn(&Next) -> f64| {
                here.iter().map(pick).sum::<f64>() / here.len().max(1) as f64
            };
            let all: Vec<Vec<f64>> = here.iter().map(weights).collect();
            let mixture = (0..sources.len())
                .map(|s| all.iter().map(|w| w[s]).sum::<f64>() / here.len().max(1) as f64);
            let summed = Part {
                tokens: before,
                shares: lengths
                    .iter()
                    .map(|length| mean(&|next| f64::from(next.length == *length)))
                    .collect(),
                length: mean(&|next| next.length as f64),
                batch: mean(&|next| next.tokens() as f64),
                lr: lr * mean(&|next| next.factor),
                mixture: mixture.collect(),
            };
            before += here.iter().map(Next::tokens).sum::<u64>();
            summed
        })
        .collect();
    Preview { steps: whole, tokens, lengths, parts, sources }
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
