//! What a step works on: tokens of several sequences, row after row.

use super::loss::NONE;

/// Sequences one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Token of each row.
    pub tokens: Vec<u32>,
    /// What the model should say at each row; `NONE` where nothing is asked.
    pub targets: Vec<u32>,
    /// Where each sequence starts, and the total.
    pub bounds: Vec<usize>,
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
        self.bounds.windows(2).flat_map(|w| 0..(w[1] - w[0]) as u32).collect()
    }
}
