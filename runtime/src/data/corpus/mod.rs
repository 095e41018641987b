//! Tokenised corpora as sequences: packed windows, or windows of single documents in buckets of
//! lengths; weighted mixtures of several sources.

mod source;

use std::path::{Path, PathBuf};

use crate::data::order::Order;
use crate::data::shards::{Layout, Manifest, Shard};
use crate::data::tokenizer::Tokenizer;
use crate::ground::bounded;
use crate::ground::error::Failure;
use crate::ground::random::{Purpose, Stream};
use crate::ops::batch::Batch;
use crate::ops::loss::NONE;
use crate::schedule::lengths::draw;
use crate::schedule::pacing::Pacing;
use crate::schedule::run::StepPlan;
use crate::schedule::{Line, Progress};
pub use source::decompose;
use source::{Corpus, Windows};

/// Corpora to learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Corpora {
    /// Where tokens come from.
    pub sources: Vec<Source>,
    /// Tokens of a packed sequence.
    pub length: usize,
    /// Lengths of the buckets, where each sequence comes from one document.
    pub buckets: Option<Vec<usize>>,
    /// Whether documents that share a window are kept apart.
    pub boundaries: bool,
    /// Whether checksums are compared before the run.
    pub verify: bool,
    /// Easy documents first.
    pub pacing: Option<Pacing>,
}

/// One source.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// A data folder, or a shard, or a folder of shards.
    pub path: PathBuf,
    /// How shards outside a data folder are laid out.
    pub layout: Layout,
    /// The token that begins a document, where no data folder says it.
    pub end: Option<u32>,
    /// What is kept for evaluation, where no data folder says it.
    pub held_out: Option<PathBuf>,
    /// How likely a sequence is from it, over the run.
    pub weight: Line,
}

/// Corpora that are open, and how they mix.
#[derive(Debug)]
pub struct Mixture {
    spec: Corpora,
    seed: u64,
    sources: Vec<Corpus>,
    /// The model knows tokens below this.
    vocab: usize,
}

/// Which sequences a step has.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Source, bucket and number of each window.
    pub windows: Vec<(u32, u32, u64)>,
    /// The share of the windows that may be drawn, from the easiest on.
    pub share: f64,
    /// Tokens of a sequence.
    pub length: usize,
    /// Sequences; windows that are longer give several.
    pub sequences: usize,
    /// Only the first part of a window is used.
    pub truncate: bool,
}

/// How many windows were drawn, by source and bucket.
pub type Cursor = Vec<Vec<u64>>;

impl Mixture {
    /// Opens all sources; held-out documents are cut to the data's length, and to each of `lengths`.
    pub fn new(spec: &Corpora, seed: u64, lengths: &[usize]) -> Result<Mixture, Failure> {
        let sources: Result<Vec<Corpus>, Failure> =
            spec.sources.iter().map(|source| Corpus::open(source, spec, lengths)).collect();
        let open = Mixture { spec: spec.clone(), seed, sources: sources?, vocab: usize::MAX };
        let mut known = open.sources.iter().filter(|source| source.tokenizer.is_some());
        if let Some(first) = known.next()
            && let Some(other) = known.find(|source| source.tokenizer != first.tokenizer)
        {
            return Err(Failure::invalid(
                "E0405",
                format!(
                    "`{}` and `{}` were made with different tokenizers: the same number would stand for different texts",
                    first.name, other.name
                ),
            ));
        }
        if let Some(buckets) = &spec.buckets
            && open.available().iter().all(|tokens| *tokens == 0.0)
        {
            return Err(Failure::World(format!(
                "no document has {} tokens, the length of the shortest bucket",
                buckets.first().copied().unwrap_or(0)
            )));
        }
        if spec.buckets.is_none()
            && let Some(short) = open.sources.iter().find(|source| source.windows[0].count() == 0)
        {
            return Err(Failure::World(format!(
                "`{}` holds no window of {} tokens",
                short.name, spec.length
            )));
        }
        Ok(open)
    }

    /// Refuses tokens that a model with so many does not know, when they are read.
    pub fn limit(&mut self, vocab: usize) {
        self.vocab = vocab;
    }

    /// Tokens by bucket.
    pub fn available(&self) -> Vec<f64> {
        let lengths = self.lengths();
        let tokens = |bucket: usize| -> f64 {
            let counts = self.sources.iter().map(|source| source.windows[bucket].count() as f64);
            counts.sum::<f64>() * lengths[bucket] as f64
        };
        (0..lengths.len()).map(tokens).collect()
    }

    fn lengths(&self) -> &[usize] {
        self.spec.buckets.as_deref().unwrap_or(std::slice::from_ref(&self.spec.length))
    }

    /// Nothing drawn yet.
    pub fn cursor(&self) -> Cursor {
        vec![vec![0; self.lengths().len()]; self.sources.len()]
    }

    /// Tokens there are, as far as the sources say.
    pub fn vocab(&self) -> usize {
        self.sources.iter().filter_map(|source| source.vocab).max().unwrap_or(0)
    }

    /// A fingerprint of what the sequences are made of.
    pub fn fingerprint(&self) -> String {
        let all: Vec<&str> = self.sources.iter().map(|s| s.fingerprint.as_str()).collect();
        all.join(" ")
    }

    /// Names of the sources, and the share of the run's sequences that each has had, in epochs.
    pub fn epochs(&self, cursor: &Cursor) -> Vec<(String, f64)> {
        let share = |source: &Corpus, drawn: &Vec<u64>| {
            let whole: u64 = source.windows.iter().map(Windows::count).sum();
            drawn.iter().sum::<u64>() as f64 / whole.max(1) as f64
        };
        let each = self.sources.iter().zip(cursor);
        each.map(|(source, drawn)| (source.name.clone(), share(source, drawn))).collect()
    }

    /// The weights of the sources at a moment, adding up to 1.
    pub fn weights(&self, progress: &Progress) -> Vec<f64> {
        let raw: Vec<f64> =
            self.sources.iter().map(|source| source.weight.at(progress).max(0.0)).collect();
        let whole: f64 = raw.iter().sum();
        raw.iter().map(|weight| weight / whole.max(f64::MIN_POSITIVE)).collect()
    }

    /// The share of the documents that a moment may see, from the easiest on.
    pub fn share(&self, progress: &Progress) -> f64 {
        self.spec.pacing.as_ref().map_or(1.0, |pacing| pacing.share(progress))
    }

    /// Draws the sequences of a step. What is drawn depends on the cursor, the step and the seed.
    pub fn draw(&self, next: &StepPlan, cursor: &mut Cursor) -> Sample {
        let bucket = next.bucket.unwrap_or(0);
        let full = self.lengths()[bucket];
        // Shorter sequences than their windows: each window gives several, unless it is truncated.
        let of_one = if next.truncate { 1 } else { (full / next.length).max(1) };
        let weights: Vec<f64> = self
            .weights(&next.before)
            .into_iter()
            .zip(&self.sources)
            .map(|(weight, source)| if source.windows[bucket].count() > 0 { weight } else { 0.0 })
            .collect();
        // A bucket that only sources of weight 0 have is theirs nevertheless.
        let weights = if weights.iter().all(|weight| *weight == 0.0) {
            self.sources.iter().map(|s| f64::from(s.windows[bucket].count() > 0)).collect()
        } else {
            weights
        };
        let mut random = Stream::new(self.seed, Purpose::Mixture, next.step);
        let windows = (0..next.sequences.div_ceil(of_one))
            .map(|_| {
                let source = draw(&weights, random.uniform());
                let number = cursor[source][bucket];
                cursor[source][bucket] += 1;
                (source as u32, bucket as u32, number)
            })
            .collect();
        Sample {
            windows,
            share: self.share(&next.before),
            length: next.length,
            sequences: next.sequences,
            truncate: next.truncate,
        }
    }

    /// The sequences that were drawn.
    pub fn batch(&self, sample: &Sample) -> Result<Batch, Failure> {
        let mut batch = Batch::default();
        let mut left = sample.sequences;
        for (source, bucket, number) in &sample.windows {
            let (at, bucket) = (*source as usize, *bucket as usize);
            let corpus = &self.sources[at];
            let whole = corpus.windows[bucket].count();
            let count = ((sample.share * whole as f64).ceil() as u64).clamp(1, whole);
            let full = self.lengths()[bucket];
            // Every epoch has an order of its own. While the share grows, it is an order of another
            // number of windows at each step: a draw that may repeat a window.
            let item = (number / count) << 24 | (at as u64) << 8 | bucket as u64;
            let window = Order::new(count, self.seed, item).at(number % count);
            let window =
                corpus.ranked.get(bucket).map_or(window, |all| all[window as usize].into());
            let (shard, start) = corpus.windows[bucket].place(window, full);
            let here = if sample.truncate { 1 } else { (full / sample.length).max(1) }.min(left);
            for part in 0..here {
                let start = start + (part * sample.length) as u64;
                let shard = &corpus.shards[shard as usize];
                self.push(&mut batch, shard, [start, sample.length as u64], self.spec.boundaries)?;
            }
            left -= here;
        }
        Ok(batch)
    }

    /// The sources, and how many windows of a length each keeps for evaluation.
    pub fn held_out(&self, length: usize) -> Vec<(String, usize)> {
        let windows = |source: &Corpus| source.held_windows.get(&length).map_or(0, Vec::len);
        self.sources.iter().map(|source| (source.name.clone(), windows(source))).collect()
    }

    /// `count` of a source's `of` evenly spread held-out windows of a length, from the `first` one on.
    pub fn held_out_batch(
        &self,
        [source, length]: [usize; 2],
        first: usize,
        count: usize,
        of: usize,
    ) -> Result<Batch, Failure> {
        let corpus = &self.sources[source];
        let windows = corpus.held_windows.get(&length).map_or(&[][..], Vec::as_slice);
        let mut batch = Batch::default();
        for i in first..first + count {
            let (shard, start, length) = windows[i * windows.len() / of];
            self.push(&mut batch, &corpus.held[shard as usize], [start, length.into()], false)?;
        }
        Ok(batch)
    }

    /// Appends tokens of a shard: one sequence, or one per document in them.
    fn push(
        &self,
        batch: &mut Batch,
        shard: &Shard,
        [start, length]: [u64; 2],
        boundaries: bool,
    ) -> Result<(), Failure> {
        let more = u64::from(start + length < shard.tokens);
        let tokens = shard.read(start, (length + more) as usize)?;
        if let Some(at) = tokens.iter().position(|token| *token as usize >= self.vocab) {
            let (path, place) = (shard.path().display(), start + at as u64);
            let (token, vocab) = (tokens[at], self.vocab);
            return Err(Failure::World(format!(
                "{path}: token {token} at place {place}, and the model's vocabulary is {vocab}"
            )));
        }
        let length = length as usize;
        let mut targets = tokens[1..].to_vec();
        targets.resize(length, NONE);
        let tokens = &tokens[..length];
        if !boundaries {
            batch.push(tokens, &targets);
            return Ok(());
        }
        let first = shard.offsets.partition_point(|at| *at <= start);
        let inner = shard.offsets[first..].iter().take_while(|at| **at < start + length as u64);
        let mut from = 0;
        for to in inner.map(|at| (at - start) as usize).chain([length]) {
            batch.push(&tokens[from..to], &targets[from..to]);
            from = to;
        }
        Ok(())
    }

    /// Bytes of text per held-out token of a source, where documents know theirs.
    pub fn bytes_per_token(&self, source: usize) -> Option<f64> {
        let held = &self.sources[source].held;
        let bytes: Option<u64> =
            held.iter().map(|shard| Some(shard.bytes.as_ref()?.iter().sum::<u64>())).sum();
        let tokens: u64 = held.iter().map(|shard| shard.tokens).sum();
        bytes.filter(|_| tokens > 0).map(|bytes| bytes as f64 / tokens as f64)
    }
}

impl Corpora {
    /// The tokenizer of the data, where its folders say which.
    pub fn tokenizer(&self) -> Result<Option<Tokenizer>, Failure> {
        for Source { path, .. } in &self.sources {
            if path.join("data.json").exists() {
                return tokenizer(path, &Manifest::read(path)?).map(Some);
            }
        }
        Ok(None)
    }
}

/// The tokenizer of a data folder; it must be the one the data was made with.
pub fn tokenizer(folder: &Path, manifest: &Manifest) -> Result<Tokenizer, Failure> {
    if manifest.tokenizer == "bytes" {
        return Ok(Tokenizer::Bytes);
    }
    let path = folder.join(&manifest.tokenizer);
    let text = bounded::bytes(&path)?;
    if crate::data::shards::fingerprint(&text) != manifest.tokenizer_blake3 {
        return Err(Failure::World(format!(
            "{} is not the tokenizer that {} was made with",
            path.display(),
            folder.display()
        )));
    }
    Ok(Tokenizer::with_end(&path, manifest.end)?.beginning(manifest.begin.clone()))
}
