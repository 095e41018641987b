//! Tokenised corpora as sequences: packed windows, or windows of single documents in buckets of
//! lengths; weighted mixtures of several sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::order::Order;
use super::shards::{Layout, Manifest, Shard};
use super::tokenizer::Tokenizer;
use crate::ground::bounded;
use crate::ground::error::Failure;
use crate::ground::random::{Purpose, Stream};
use crate::ops::batch::Batch;
use crate::ops::loss::NONE;
use crate::schedule::lengths::draw;
use crate::schedule::pacing::Pacing;
use crate::schedule::run::StepPlan;
use crate::schedule::{Line, Progress};

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

/// One open source.
#[derive(Debug)]
struct Corpus {
    name: String,
    weight: Line,
    shards: Vec<Shard>,
    held: Vec<Shard>,
    /// Windows by bucket.
    windows: Vec<Windows>,
    /// Windows of each bucket from the easiest to the hardest, where the run is paced by that.
    ranked: Vec<Vec<u32>>,
    /// Windows of held-out documents by their length: shard, start, tokens.
    held_windows: BTreeMap<usize, Vec<(u32, u64, u32)>>,
    vocab: Option<usize>,
    fingerprint: String,
    tokenizer: Option<String>,
}

/// Where the sequences of a bucket lie.
#[derive(Debug)]
enum Windows {
    /// Windows of one length, side by side: how many of the shards so far.
    Packed(Vec<u64>),
    /// Shard and first token of each.
    Listed(Vec<(u32, u64)>),
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
    pub fn unseen(
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
    if super::shards::fingerprint(&text) != manifest.tokenizer_blake3 {
        return Err(Failure::World(format!(
            "{} is not the tokenizer that {} was made with",
            path.display(),
            folder.display()
        )));
    }
    Tokenizer::with_end(&path, manifest.end)
}

impl Windows {
    fn count(&self) -> u64 {
        match self {
            Windows::Packed(so_far) => so_far.last().copied().unwrap_or(0),
            Windows::Listed(all) => all.len() as u64,
        }
    }

    /// Shard and first token of a window.
    fn place(&self, window: u64, length: usize) -> (u32, u64) {
        match self {
            Windows::Packed(so_far) => {
                let shard = so_far.partition_point(|n| *n <= window);
                let before = if shard == 0 { 0 } else { so_far[shard - 1] };
                (shard as u32, (window - before) * length as u64)
            }
            Windows::Listed(all) => all[window as usize],
        }
    }
}

/// Refuses what only shards outside a data folder need to be told, and what would be passed over.
fn shards_only(source: &Source) -> Result<(), Failure> {
    let said = [
        (source.held_out.is_some(), "held_out"),
        (source.end.is_some(), "end"),
        (source.layout != Layout::Llmc, "format"),
    ];
    let Some((_, field)) = said.iter().find(|(said, _)| *said) else { return Ok(()) };
    let (name, path) = (&source.name, source.path.display());
    let message = format!(
        "`{name}` is a data folder, and `{field}` is for shards outside of one: data.json of {path} says it"
    );
    let diag = lrc_dsl::Diag::global("E0405", message);
    Err(Failure::Invalid(vec![diag.help(format!("leave `{field}` out"))]))
}

impl Corpus {
    fn open(source: &Source, spec: &Corpora, lengths: &[usize]) -> Result<Corpus, Failure> {
        let folder = source.path.join("data.json").exists().then_some(&source.path);
        if folder.is_some() {
            shards_only(source)?;
        }
        let mut corpus = match folder {
            Some(folder) => Corpus::of_folder(source, folder, spec)?,
            None => Corpus::of_shards(source, spec)?,
        };
        if spec.boundaries && folder.is_none() && source.end.is_none() {
            return Err(Failure::invalid(
                "E0405",
                format!(
                    "where the documents of `{}` begin is not known: give its `end` token, or say `boundaries: false`",
                    source.name
                ),
            ));
        }
        corpus.windows = match &spec.buckets {
            Some(lengths) => {
                decompose(&corpus.shards, lengths).into_iter().map(Windows::Listed).collect()
            }
            None => {
                let counts = corpus.shards.iter().map(|s| (s.tokens - 1) / spec.length as u64);
                let so_far = counts.scan(0, |sum, n| {
                    *sum += n;
                    Some(*sum)
                });
                vec![Windows::Packed(so_far.collect())]
            }
        };
        if let Some(pacing) = &spec.pacing {
            corpus.rank(folder, pacing, spec)?;
        }
        let each = lengths.iter().copied().chain([spec.length]);
        corpus.held_windows = each.map(|length| (length, windows(&corpus.held, length))).collect();
        Ok(corpus)
    }

    /// Sorts the windows by the scores of their documents.
    fn rank(
        &mut self,
        folder: Option<&PathBuf>,
        pacing: &Pacing,
        spec: &Corpora,
    ) -> Result<(), Failure> {
        let Some(folder) = folder else {
            let why = format!(
                "`{}` is no data folder: only the documents of one have scores to be paced by",
                self.name
            );
            return Err(Failure::invalid("E0405", why));
        };
        let count = self.shards.iter().map(|shard| shard.offsets.len() - 1).sum();
        let mut scores = super::score::read(folder, &pacing.by, count)?;
        let bytes: Vec<u8> = scores.iter().flat_map(|score| score.to_le_bytes()).collect();
        self.fingerprint.push_str(&super::shards::fingerprint(&bytes));
        if pacing.largest_first {
            scores.iter_mut().for_each(|score| *score = -*score);
        }
        let lengths = spec.buckets.clone().unwrap_or_else(|| vec![spec.length]);
        for (windows, length) in self.windows.iter().zip(lengths) {
            let of: Vec<f64> = (0..windows.count())
                .map(|window| {
                    let (shard, start) = windows.place(window, length);
                    self.hardness(&scores, shard as usize, [start, length as u64])
                })
                .collect();
            let mut order: Vec<u32> = (0..of.len() as u32).collect();
            order.sort_by(|a, b| of[*a as usize].total_cmp(&of[*b as usize]));
            self.ranked.push(order);
        }
        Ok(())
    }

    /// The mean score of the documents of a window, by their tokens in it.
    fn hardness(&self, scores: &[f32], shard: usize, [start, length]: [u64; 2]) -> f64 {
        let before: usize = self.shards[..shard].iter().map(|one| one.offsets.len() - 1).sum();
        let offsets = &self.shards[shard].offsets;
        let end = start + length;
        let first = offsets.partition_point(|at| *at <= start) - 1;
        let mut sum = 0.0;
        for (document, pair) in offsets.windows(2).enumerate().skip(first) {
            if pair[0] >= end {
                break;
            }
            let tokens = pair[1].min(end) - pair[0].max(start);
            sum += f64::from(scores[before + document]) * tokens as f64;
        }
        sum / length as f64
    }

    fn of_folder(source: &Source, folder: &Path, spec: &Corpora) -> Result<Corpus, Failure> {
        let manifest = Manifest::read(folder)?;
        let open = |part: &[super::shards::Written]| -> Result<Vec<Shard>, Failure> {
            part.iter().map(|written| Shard::of_folder(folder, written, spec.verify)).collect()
        };
        let all = manifest.train.iter().chain(&manifest.held_out);
        let prints: Vec<&str> = all.map(|written| written.blake3.as_str()).collect();
        if manifest.train.is_empty() {
            let why = format!("{} holds no documents for training", folder.display());
            return Err(Failure::World(why));
        }
        Ok(Corpus {
            name: source.name.clone(),
            weight: source.weight.clone(),
            shards: open(&manifest.train)?,
            held: open(&manifest.held_out)?,
            windows: vec![],
            ranked: vec![],
            held_windows: BTreeMap::new(),
            vocab: Some(manifest.vocab),
            fingerprint: prints.join(" "),
            tokenizer: Some(manifest.tokenizer_blake3),
        })
    }

    fn of_shards(source: &Source, spec: &Corpora) -> Result<Corpus, Failure> {
        let open = |path: &Path| -> Result<Vec<Shard>, Failure> {
            let mut files = Vec::new();
            super::documents::collect(path, &mut files)?;
            if path.is_dir() {
                files.retain(|file| file.extension().is_some_and(|e| e == "bin"));
            }
            if files.is_empty() {
                let why = format!("{} holds no shard (.bin) and no data.json", path.display());
                return Err(Failure::World(why));
            }
            files
                .iter()
                .map(|file| {
                    let mut shard = Shard::open(file, source.layout)?;
                    if let Some(end) =
                        source.end.filter(|_| spec.boundaries || spec.buckets.is_some())
                    {
                        shard.find_documents(end)?;
                    }
                    Ok(shard)
                })
                .collect()
        };
        let shards = open(&source.path)?;
        let held = source.held_out.as_deref().map(open).transpose()?.unwrap_or_default();
        // Without a manifest a file is known by its name and size.
        let name = |shard: &Shard| {
            let name = shard.path().file_name().map(|n| n.to_string_lossy().into_owned());
            format!("{} {}", name.unwrap_or_default(), shard.tokens)
        };
        let prints: Vec<String> = shards.iter().chain(&held).map(name).collect();
        Ok(Corpus {
            name: source.name.clone(),
            weight: source.weight.clone(),
            shards,
            held,
            windows: vec![],
            ranked: vec![],
            held_windows: BTreeMap::new(),
            vocab: None,
            fingerprint: prints.join(" "),
            tokenizer: None,
        })
    }
}

/// Cuts documents into windows with lengths that are powers of two, the longest first; what is
/// shorter than the shortest bucket is left out. Shard and first token of each window, by length.
pub fn decompose(shards: &[Shard], lengths: &[usize]) -> Vec<Vec<(u32, u64)>> {
    let mut buckets = vec![Vec::new(); lengths.len()];
    for (number, shard) in shards.iter().enumerate() {
        for pair in shard.offsets.windows(2) {
            let mut start = pair[0];
            while let Some(bucket) = lengths.iter().rposition(|l| *l as u64 <= pair[1] - start) {
                buckets[bucket].push((number as u32, start));
                start += lengths[bucket] as u64;
            }
        }
    }
    buckets
}

/// Documents cut into windows of a length, the last of each shorter.
fn windows(shards: &[Shard], length: usize) -> Vec<(u32, u64, u32)> {
    let mut all = Vec::new();
    for (number, shard) in shards.iter().enumerate() {
        for pair in shard.offsets.windows(2) {
            for start in (pair[0]..pair[1]).step_by(length) {
                all.push((number as u32, start, (pair[1] - start).min(length as u64) as u32));
            }
        }
    }
    all
}
