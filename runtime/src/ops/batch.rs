//! What a step works on: tokens of several sequences, row after row.

use super::loss::NONE;
use super::segment::Segment;

/// Sequences one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Token of each row.
    pub tokens: Vec<u32>,
    /// What the model should say at each row; `NONE` where nothing is asked.
    pub targets: Vec<u32>,
    /// Where each sequence starts, and the total.
    pub bounds: Vec<usize>,
    /// Which rows of a larger batch these are, where several processes hold its segments.
    pub segment: Option<Segment>,
}

impl Batch {
    /// Appends a sequence.
    pub fn push(&mut self, tokens: &[u32], targets: &[u32]) {
        if self.bounds.is_empty() {
            self.bounds.push(0);
        }
        self.tokens.extend_from_slice(tokens);
        self.targets.extend_from_slice(targets);
        self.bounds.push(self.tokens.len());
    }

    /// Appends the sequences of another batch.
    pub fn append(&mut self, other: &Batch) {
        for pair in other.bounds.windows(2) {
            let rows = pair[0]..pair[1];
            self.push(&other.tokens[rows.clone()], &other.targets[rows]);
        }
    }

    /// The same sequences in parts of at most so many tokens, each of one sequence at least.
    pub fn parts(self, tokens: usize) -> Vec<Batch> {
        if self.rows() <= tokens {
            return vec![self];
        }
        let mut parts: Vec<Batch> = Vec::new();
        for pair in self.bounds.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            if parts.last().is_none_or(|part| part.rows() + to - from > tokens) {
                parts.push(Batch::default());
            }
            if let Some(part) = parts.last_mut() {
                part.push(&self.tokens[from..to], &self.targets[from..to]);
            }
        }
        parts
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Rows at which something is asked.
    pub fn asked(&self) -> usize {
        self.targets.iter().filter(|target| **target != NONE).count()
    }

    /// The position of each row in its sequence.
    pub fn positions(&self) -> Vec<u32> {
        let before = self.segment.as_ref().map_or(0, Segment::before) as u32;
        let lengths = self.bounds.windows(2).map(|w| (w[1] - w[0]) as u32).enumerate();
        lengths
            .flat_map(|(at, length)| {
                let first = if at == 0 { before } else { 0 };
                first..first + length
            })
            .collect()
    }

    /// The rows of this batch in so many segments, which are as even as can be; sequences go on from one to the next.
    pub fn segments(&self, count: usize) -> Vec<Batch> {
        let (rows, asked) = (self.rows(), self.asked());
        let cuts: Vec<usize> = (0..=count).map(|at| rows * at / count).collect();
        let whole = Segment { own: 0, cuts, bounds: self.bounds.clone(), asked };
        let one = |own| {
            let segment = Segment { own, ..whole.clone() };
            let (from, to) = (segment.cuts[own], segment.cuts[own + 1]);
            Batch {
                tokens: self.tokens[from..to].to_vec(),
                targets: self.targets[from..to].to_vec(),
                bounds: segment.own_bounds(),
                segment: Some(segment),
            }
        };
        (0..count).map(one).collect()
    }

    /// Rows at which something is asked of the batch of which this is a segment; of itself where it is none.
    pub fn weight(&self) -> usize {
        self.segment.as_ref().map_or_else(|| self.asked(), |segment| segment.asked)
    }
}
