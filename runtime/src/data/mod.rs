//! Tasks: where sequences come from. Sequence `n` of a task is a function of the seed and `n` alone;
//! which sequences a step has is a function of the steps before it.

pub mod codec;
pub mod corpus;
pub mod documents;
mod numbers;
pub mod order;
pub mod score;
pub mod shards;
pub mod tasks;
mod text;
pub mod tokenize;
pub mod tokenizer;

use std::path::PathBuf;

use crate::ground::error::Failure;
use crate::ground::random::{Purpose, Stream};
use crate::ops::batch::Batch;
use crate::schedule::lengths::draw;
use crate::schedule::levels::Levels;
use crate::schedule::run::StepPlan;
use corpus::{Corpora, Cursor, Mixture, Sample};
use tasks::Synthetic;
use text::Text;

/// The most tokens that a sequence can have.
pub const LONGEST: usize = 1 << 24;

/// What is learned.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// A synthetic task.
    Synthetic(Synthetic),
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
            Task::Synthetic(synthetic) => synthetic.name(),
            Task::Text { .. } => "text",
            Task::Corpora(_) => "data",
        }
    }

    /// Tokens that appear, at least, as far as the task itself says it.
    pub fn vocab(&self) -> usize {
        match self {
            Task::Synthetic(synthetic) => synthetic.vocab(),
            Task::Text { .. } => 256,
            Task::Corpora(_) => 0,
        }
    }

    /// Tokens of a sequence.
    pub fn length(&self) -> usize {
        match self {
            Task::Synthetic(Synthetic { length, .. })
            | Task::Text { length, .. }
            | Task::Corpora(Corpora { length, .. }) => *length,
        }
    }

    /// Why there are no sequences of so many tokens, on any of the levels, and what to do about it.
    pub fn wrong_at(&self, length: usize, levels: Option<&Levels>) -> Option<(String, String)> {
        if !(2..=LONGEST).contains(&length) {
            let message = format!("no sequence has {length} tokens");
            return Some((message, format!("lengths go from 2 to {LONGEST}")));
        }
        let Task::Synthetic(synthetic) = self else { return None };
        let level = |value: &usize| {
            let mut task = synthetic.clone();
            task.vary(levels.map_or("", |levels| levels.of.as_str()), *value);
            task
        };
        let levels = levels.iter().flat_map(|levels| &levels.values).map(level);
        let mut all = std::iter::once(synthetic.clone()).chain(levels);
        let (message, help) = all.find_map(|task| Synthetic { length, ..task }.wrong())?;
        Some((format!("sequences of {length} tokens: {message}"), help.to_string()))
    }
}

/// Refuses a task of so many tokens for a model of fewer.
pub fn fits(task: &Task, tokens: usize, vocab: usize) -> Result<(), Failure> {
    if tokens <= vocab {
        return Ok(());
    }
    let message =
        format!("the task `{}` has {tokens} tokens, the model's vocabulary {vocab}", task.name());
    Err(Failure::invalid("E0402", message))
}

/// On what a model is measured that training never sees.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvalSets {
    /// Tokens of a sequence besides those of the task.
    pub lengths: Vec<usize>,
    /// Easier and harder tasks; each is measured by itself.
    pub levels: Option<Levels>,
}

/// A task ready to give sequences.
pub struct Dataset {
    task: Task,
    seed: u64,
    asked: EvalSets,
    content: Content,
}

/// What sequences come from.
enum Content {
    /// They are made by their number.
    Made(Sequences),
    /// They are read.
    Corpora(Mixture),
}

/// What makes a sequence of its number.
enum Sequences {
    Synthetic(Synthetic),
    Text(Text),
}

/// Where a walk through the data stands: a function of the steps walked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// Sequences of a synthetic task so far.
    sequences: u64,
    /// Windows of corpora so far.
    windows: Cursor,
}

/// The sequences of one step.
#[derive(Clone, Debug, PartialEq)]
pub enum Draw {
    /// Of a task that makes them up.
    Made {
        /// The number of the first one.
        first: u64,
        /// How many.
        sequences: usize,
        /// Tokens of each.
        length: usize,
        /// The level of each, where there are levels.
        levels: Vec<usize>,
    },
    /// Of corpora.
    Corpora(Sample),
}

/// A set of sequences that training never sees.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// What it is called in metrics.
    pub name: String,
    /// The source among several.
    source: usize,
    /// Tokens of a sequence, at most.
    pub length: usize,
    /// The level, where it is one of several.
    pub level: Option<usize>,
    /// Sequences in it, as many as are wanted at most.
    pub sequences: usize,
    /// Bytes of text per token, where they are known.
    pub bytes_per_token: Option<f64>,
}

impl Dataset {
    /// Opens a task.
    pub fn open(task: &Task, seed: u64, asked: &EvalSets) -> Result<Dataset, Failure> {
        let content = match task {
            Task::Text { path, length } => {
                let longest = asked.lengths.iter().copied().fold(*length, usize::max);
                Content::Made(Sequences::Text(Text::open(path, longest)?))
            }
            Task::Corpora(all) => Content::Corpora(Mixture::new(all, seed, &asked.lengths)?),
            Task::Synthetic(synthetic) => Content::Made(Sequences::Synthetic(synthetic.clone())),
        };
        Ok(Dataset { task: task.clone(), seed, asked: asked.clone(), content })
    }

    /// Opens a task for a model with so many tokens.
    pub fn open_for(
        task: &Task,
        seed: u64,
        asked: &EvalSets,
        vocab: usize,
    ) -> Result<Dataset, Failure> {
        let mut source = Dataset::open(task, seed, asked)?;
        fits(task, source.vocab(), vocab)?;
        if let Content::Corpora(open) = &mut source.content {
            open.limit(vocab);
        }
        Ok(source)
    }

    /// Tokens that appear, at least.
    pub fn vocab(&self) -> usize {
        self.corpora().map_or(self.task.vocab(), Mixture::vocab)
    }

    /// Tokens by bucket; there is no end of those of a synthetic task.
    pub fn available(&self, buckets: usize) -> Vec<f64> {
        self.corpora().map_or_else(|| vec![1.0; buckets], Mixture::available)
    }

    /// The beginning of the data.
    pub fn start(&self) -> Place {
        let windows = self.corpora().map_or(vec![], Mixture::cursor);
        Place { sequences: 0, windows }
    }

    /// How often each source of a corpus was gone through.
    pub fn epochs(&self, place: &Place) -> Vec<(String, f64)> {
        self.corpora().map_or(vec![], |open| open.epochs(&place.windows))
    }

    /// The open corpora.
    pub fn corpora(&self) -> Option<&Mixture> {
        match &self.content {
            Content::Corpora(open) => Some(open),
            Content::Made(_) => None,
        }
    }

    /// Draws the sequences of a step, and goes on to the next place. `odds` says how likely each
    /// level is.
    pub fn draw(&self, next: &StepPlan, odds: &[f64], place: &mut Place) -> Draw {
        if let Content::Corpora(open) = &self.content {
            return Draw::Corpora(open.draw(next, &mut place.windows));
        }
        let (first, sequences, length) = (place.sequences, next.sequences, next.length);
        place.sequences += sequences as u64;
        let mut random = Stream::new(self.seed, Purpose::Levels, next.step);
        let levels = match odds {
            [] => vec![],
            odds => (0..sequences).map(|_| draw(odds, random.uniform())).collect(),
        };
        Draw::Made { first, sequences, length, levels }
    }

    /// The sequences that were drawn.
    pub fn batch(&self, draw: &Draw) -> Result<Batch, Failure> {
        match (draw, &self.content) {
            (Draw::Corpora(sample), Content::Corpora(open)) => open.batch(sample),
            (Draw::Made { first, sequences, length, levels }, Content::Made(maker)) => {
                let level = |at: usize| levels.get(at).copied();
                Ok(self.made(maker, Purpose::Train, *first, *sequences, *length, &level))
            }
            _ => Err(Failure::World("these sequences were drawn from other data".into())),
        }
    }

    /// Sequences `first..first + count` of a task that makes them up, each with its level.
    fn made(
        &self,
        maker: &Sequences,
        purpose: Purpose,
        first: u64,
        count: usize,
        length: usize,
        level: &dyn Fn(usize) -> Option<usize>,
    ) -> Batch {
        let mut batch = Batch::default();
        for at in 0..count {
            let item = first + at as u64;
            let (tokens, targets) = match maker {
                Sequences::Text(text) => text.sequence(self.seed, purpose, item, length),
                Sequences::Synthetic(synthetic) => {
                    let mut task = Synthetic { length, ..synthetic.clone() };
                    if let (Some(levels), Some(level)) = (&self.asked.levels, level(at)) {
                        task.vary(&levels.of, levels.values[level]);
                    }
                    task.sequence(self.seed, purpose, item)
                }
            };
            batch.push(&tokens, &targets);
        }
        batch
    }

    /// What can be evaluated on, at most so many sequences of each; all of a corpus without a number.
    pub fn held_out(&self, sequences: Option<usize>) -> Vec<HeldOut> {
        let own = self.task.length();
        let others = self.asked.lengths.iter().copied().filter(|length| *length != own);
        let lengths = std::iter::once(own).chain(others);
        let mut sets = Vec::new();
        for (at, length) in lengths.enumerate() {
            let named =
                |name: String| if at == 0 { name } else { format!("{name}, {length} tokens") };
            let Content::Corpora(open) = &self.content else {
                sets.push(HeldOut {
                    name: named(self.task.name().into()),
                    source: 0,
                    length,
                    level: None,
                    sequences: sequences.unwrap_or(1024),
                    bytes_per_token: matches!(self.task, Task::Text { .. }).then_some(1.0),
                });
                continue;
            };
            for (source, (name, windows)) in open.held_out(length).into_iter().enumerate() {
                if windows > 0 {
                    sets.push(HeldOut {
                        name: named(name),
                        source,
                        length,
                        level: None,
                        sequences: sequences.map_or(windows, |n| n.min(windows)),
                        bytes_per_token: open.bytes_per_token(source),
                    });
                }
            }
        }
        if let (Some(Levels { of, values, .. }), Some(whole)) =
            (&self.asked.levels, sets.first().cloned())
        {
            sets.extend(values.iter().enumerate().map(|(at, value)| {
                let name = format!("{}, {of} {value}", whole.name);
                HeldOut { name, level: Some(at), ..whole.clone() }
            }));
        }
        sets
    }

    /// Some of the unseen sequences.
    pub fn held_out_batch(
        &self,
        of: &HeldOut,
        first: usize,
        count: usize,
    ) -> Result<Batch, Failure> {
        match &self.content {
            Content::Corpora(open) => {
                open.held_out_batch([of.source, of.length], first, count, of.sequences)
            }
            Content::Made(maker) => {
                Ok(self.made(maker, Purpose::Eval, first as u64, count, of.length, &|_| of.level))
            }
        }
    }

    /// Whether what is asked is an answer to be given as a whole.
    pub fn asks(&self) -> bool {
        matches!(self.task, Task::Synthetic(_))
    }

    /// A fingerprint of what the sequences are made of.
    pub fn fingerprint(&self) -> String {
        let text = match &self.content {
            // Where the data lies does not matter, only what is in it and how it is cut.
            Content::Corpora(open) => format!("{} {}", open.fingerprint(), self.seed),
            Content::Made(Sequences::Text(text)) => {
                format!("{} {} {}", text.fingerprint(), self.task.length(), self.seed)
            }
            Content::Made(Sequences::Synthetic(_)) => {
                format!("{:?} {:?} {}", self.task, self.asked.levels, self.seed)
            }
        };
        blake3::hash(text.as_bytes()).to_hex()[..16].to_string()
    }
}
