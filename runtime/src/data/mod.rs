//! Tasks: where sequences come from. Sequence `n` of a task is a function of the seed and `n` alone;
//! which sequences a step has is a function of the steps before it.

pub mod corpus;
pub mod documents;
pub mod order;
pub mod shards;
mod synthetic;
mod text;
pub mod tokenize;
pub mod tokenizer;

use std::path::PathBuf;

use crate::error::Failure;
use crate::execute::Batch;
use crate::random::Purpose;
use crate::schedule::course::Next;
use corpus::{Corpora, Cursor, Drawn, Open};
use text::Text;

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
    /// Tokenised corpora; the next token is asked everywhere.
    Corpora(Corpora),
}

impl Task {
    /// One word.
    pub fn name(&self) -> &'static str {
        match self {
            Task::Mqar { .. } => "mqar",
            Task::Parity { .. } => "parity",
            Task::Modular { .. } => "modular",
            Task::Text { .. } => "text",
            Task::Corpora(_) => "data",
        }
    }

    /// Tokens that appear, at least, as far as the task itself says it.
    pub fn vocab(&self) -> usize {
        match self {
            Task::Mqar { vocab, .. } => *vocab,
            Task::Parity { .. } => 2,
            Task::Modular { modulus, .. } => modulus + 3,
            Task::Text { .. } => 256,
            Task::Corpora(_) => 0,
        }
    }

    /// Tokens of a sequence.
    pub fn length(&self) -> usize {
        match self {
            Task::Mqar { length, .. }
            | Task::Parity { length }
            | Task::Modular { length, .. }
            | Task::Text { length, .. }
            | Task::Corpora(Corpora { length, .. }) => *length,
        }
    }

    /// The fewest tokens that a sequence can have.
    pub fn shortest(&self) -> usize {
        match self {
            Task::Mqar { pairs, .. } => 4 * pairs,
            Task::Parity { .. } | Task::Modular { .. } => 2,
            Task::Text { .. } | Task::Corpora(_) => 2,
        }
    }

    /// The same task with another length.
    pub fn with_length(&self, new: usize) -> Task {
        let mut task = self.clone();
        match &mut task {
            Task::Mqar { length, .. }
            | Task::Parity { length }
            | Task::Modular { length, .. }
            | Task::Text { length, .. }
            | Task::Corpora(Corpora { length, .. }) => *length = new,
        }
        task
    }
}

/// A task ready to give sequences.
pub struct Source {
    task: Task,
    seed: u64,
    text: Option<Text>,
    corpora: Option<Open>,
}

/// Where a walk through the data stands: a function of the steps walked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// Sequences of a synthetic task so far.
    sequences: u64,
    /// Pieces of corpora so far.
    pieces: Cursor,
}

/// The sequences of one step.
#[derive(Clone, Debug, PartialEq)]
pub enum Draw {
    /// Of a synthetic task: the first one, how many, and their length.
    Task(u64, usize, usize),
    /// Of corpora.
    Corpora(Drawn),
}

/// A set of sequences that training never sees.
#[derive(Clone, Debug, PartialEq)]
pub struct Unseen {
    /// What it is called in metrics.
    pub name: String,
    /// The source among several.
    source: usize,
    /// Sequences in it, as many as are wanted at most.
    pub sequences: usize,
    /// Bytes of text per token, where they are known.
    pub bytes_per_token: Option<f64>,
}

impl Source {
    /// Opens a task.
    pub fn open(task: &Task, seed: u64) -> Result<Source, Failure> {
        let mut source = Source { task: task.clone(), seed, text: None, corpora: None };
        match task {
            Task::Text { path, length } => source.text = Some(Text::open(path, *length)?),
            Task::Corpora(corpora) => source.corpora = Some(Open::new(corpora, seed)?),
            _ => {}
        }
        Ok(source)
    }

    /// Opens a task for a model with so many tokens.
    pub fn open_for(task: &Task, seed: u64, vocab: usize) -> Result<Source, Failure> {
        let source = Source::open(task, seed)?;
        if vocab < source.vocab() {
            return Err(Failure::invalid(
                "E0402",
                format!(
                    "the task `{}` has {} tokens, the model's vocabulary {vocab}",
                    task.name(),
                    source.vocab(),
                ),
            ));
        }
        Ok(source)
    }

    /// Tokens that appear, at least.
    pub fn vocab(&self) -> usize {
        self.corpora.as_ref().map_or(self.task.vocab(), Open::vocab)
    }

    /// Tokens by bucket; there is no end of those of a synthetic task.
    pub fn available(&self, buckets: usize) -> Vec<f64> {
        self.corpora.as_ref().map_or_else(|| vec![1.0; buckets], Open::available)
    }

    /// The beginning of the data.
    pub fn start(&self) -> Place {
        let pieces = self.corpora.as_ref().map_or(vec![], Open::cursor);
        Place { sequences: 0, pieces }
    }

    /// How often each source of a corpus was gone through.
    pub fn epochs(&self, place: &Place) -> Vec<(String, f64)> {
        self.corpora.as_ref().map_or(vec![], |open| open.epochs(&place.pieces))
    }

    /// The open corpora.
    pub fn corpora(&self) -> Option<&Open> {
        self.corpora.as_ref()
    }

    /// Draws the sequences of a step, and goes on to the next place.
    pub fn draw(&self, next: &Next, place: &mut Place) -> Draw {
        match &self.corpora {
            Some(open) => Draw::Corpora(open.draw(next, &mut place.pieces)),
            None => {
                let first = place.sequences;
                place.sequences += next.sequences as u64;
                Draw::Task(first, next.sequences, next.length)
            }
        }
    }

    /// The sequences that were drawn.
    pub fn batch(&self, draw: &Draw) -> Result<Batch, Failure> {
        match (draw, &self.corpora) {
            (Draw::Corpora(drawn), Some(open)) => open.batch(drawn),
            (Draw::Task(first, count, length), _) => {
                Ok(self.made(Purpose::Train, *first, *count, *length))
            }
            (Draw::Corpora(_), None) => unreachable!("only corpora draw pieces"),
        }
    }

    /// Sequences `first..first + count` of a synthetic task.
    fn made(&self, purpose: Purpose, first: u64, count: usize, length: usize) -> Batch {
        let mut batch = Batch::default();
        let task = if length == self.task.length() {
            self.task.clone()
        } else {
            self.task.with_length(length)
        };
        for item in first..first + count as u64 {
            let (tokens, targets) = match &self.text {
                Some(text) => text.sequence(self.seed, purpose, item, length),
                None => synthetic::sequence(&task, self.seed, purpose, item),
            };
            batch.push(&tokens, &targets);
        }
        batch
    }

    /// What can be evaluated on, at most so many sequences of each; all of a corpus without a number.
    pub fn unseen(&self, sequences: Option<usize>) -> Vec<Unseen> {
        match &self.corpora {
            None => vec![Unseen {
                name: self.task.name().into(),
                source: 0,
                sequences: sequences.unwrap_or(1024),
                bytes_per_token: self.text.as_ref().map(|_| 1.0),
            }],
            Some(open) => open
                .held_out()
                .into_iter()
                .enumerate()
                .filter(|(_, (_, windows))| *windows > 0)
                .map(|(source, (name, windows))| Unseen {
                    name,
                    source,
                    sequences: sequences.map_or(windows, |n| n.min(windows)),
                    bytes_per_token: open.bytes_per_token(source),
                })
                .collect(),
        }
    }

    /// Some of the unseen sequences.
    pub fn unseen_batch(&self, of: &Unseen, first: usize, count: usize) -> Result<Batch, Failure> {
        match &self.corpora {
            Some(open) => open.unseen(of.source, first, count, of.sequences),
            None => Ok(self.made(Purpose::Eval, first as u64, count, self.task.length())),
        }
    }

    /// A fingerprint of what the sequences are made of.
    pub fn fingerprint(&self) -> String {
        let text = match (&self.text, &self.corpora) {
            // Where the data lies does not matter, only what is in it and how it is cut.
            (_, Some(open)) => format!("{} {}", open.fingerprint(), self.seed),
            (Some(text), _) => {
                format!("{} {} {}", text.fingerprint(), self.task.length(), self.seed)
            }
            _ => format!("{:?} {}", self.task, self.seed),
        };
        blake3::hash(text.as_bytes()).to_hex()[..16].to_string()
    }
}
