//! Tasks: where sequences come from. Sequence `n` of a task is a function of the seed and `n` alone.

mod synthetic;
mod text;

use std::path::PathBuf;

use crate::error::Failure;
use crate::execute::Batch;
use crate::random::Purpose;
pub use text::Corpus;

/// What is learned.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Multi-query associative recall (Arora et al. 2024): key-value pairs, then the keys again at
    /// gaps drawn from a power law; the value is asked at each repeated key.
    Mqar {
        /// Tokens: keys from the lower half (without 0), values from the upper half.
        vocab: usize,
        /// Tokens of a sequence.
        length: usize,
        /// Key-value pairs.
        pairs: usize,
        /// The fewest pairs: where it is less than `pairs`, each sequence draws its own number.
        fewest: usize,
        /// Exponent of the gaps: `p ∝ a x^(a-1)`.
        power: f64,
    },
    /// Parity of the ones so far, asked at every token.
    Parity {
        /// Tokens of a sequence.
        length: usize,
    },
    /// The running value of a chain of additions, subtractions and multiplications modulo a number,
    /// from left to right, asked after every operand.
    Modular {
        /// Tokens of a sequence.
        length: usize,
        /// The modulus.
        modulus: usize,
    },
    /// Bytes of a file, or of all files below a folder; the next byte is asked everywhere.
    Text {
        /// The file or folder.
        path: PathBuf,
        /// Tokens of a sequence.
        length: usize,
    },
}

impl Task {
    /// One word.
    pub fn name(&self) -> &'static str {
        match self {
            Task::Mqar { .. } => "mqar",
            Task::Parity { .. } => "parity",
            Task::Modular { .. } => "modular",
            Task::Text { .. } => "text",
        }
    }

    /// Tokens that appear, at least.
    pub fn vocab(&self) -> usize {
        match self {
            Task::Mqar { vocab, .. } => *vocab,
            Task::Parity { .. } => 2,
            Task::Modular { modulus, .. } => modulus + 3,
            Task::Text { .. } => 256,
        }
    }

    /// Tokens of a sequence.
    pub fn length(&self) -> usize {
        match self {
            Task::Mqar { length, .. }
            | Task::Parity { length }
            | Task::Modular { length, .. }
            | Task::Text { length, .. } => *length,
        }
    }

    /// The same task with another length.
    pub fn with_length(&self, new: usize) -> Task {
        let mut task = self.clone();
        match &mut task {
            Task::Mqar { length, .. }
            | Task::Parity { length }
            | Task::Modular { length, .. }
            | Task::Text { length, .. } => *length = new,
        }
        task
    }
}

/// A task ready to give sequences.
pub struct Source {
    task: Task,
    seed: u64,
    corpus: Option<Corpus>,
}

impl Source {
    /// Opens a task.
    pub fn open(task: &Task, seed: u64) -> Result<Source, Failure> {
        let corpus = match task {
            Task::Text { path, length } => Some(Corpus::open(path, *length)?),
            _ => None,
        };
        Ok(Source { task: task.clone(), seed, corpus })
    }

    /// Sequences `first..first + count` for training or evaluation.
    pub fn batch(&self, purpose: Purpose, first: u64, count: usize) -> Batch {
        let mut batch = Batch::default();
        for item in first..first + count as u64 {
            let (tokens, targets) = match &self.corpus {
                Some(corpus) => corpus.sequence(self.seed, purpose, item),
                None => synthetic::sequence(&self.task, self.seed, purpose, item),
            };
            batch.push(&tokens, &targets);
        }
        batch
    }

    /// A fingerprint of what the sequences are made of.
    pub fn fingerprint(&self) -> String {
        let mut text = format!("{:?} {}", self.task, self.seed);
        if let Some(corpus) = &self.corpus {
            text.push_str(&corpus.fingerprint());
        }
        blake3::hash(text.as_bytes()).to_hex()[..16].to_string()
    }
}
