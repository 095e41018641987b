//! One source that is open: its shards, and the windows they are cut into.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Corpora, Source};
use crate::data::shards::{Layout, Manifest, Shard};
use crate::ground::error::Failure;
use crate::schedule::Line;
use crate::schedule::pacing::Pacing;

/// One open source.
#[derive(Debug)]
pub(super) struct Corpus {
    pub(super) name: String,
    pub(super) weight: Line,
    pub(super) shards: Vec<Shard>,
    pub(super) held: Vec<Shard>,
    /// Windows by bucket.
    pub(super) windows: Vec<Windows>,
    /// Windows of each bucket from the easiest to the hardest, where the run is paced by that.
    pub(super) ranked: Vec<Vec<u32>>,
    /// Windows of held-out documents by their length: shard, start, tokens.
    pub(super) held_windows: BTreeMap<usize, Vec<(u32, u64, u32)>>,
    pub(super) vocab: Option<usize>,
    pub(super) fingerprint: String,
    pub(super) tokenizer: Option<String>,
}

/// Where the sequences of a bucket lie.
#[derive(Debug)]
pub(super) enum Windows {
    /// Windows of one length, side by side: how many of the shards so far.
    Packed(Vec<u64>),
    /// Shard and first token of each.
    Listed(Vec<(u32, u64)>),
}

impl Windows {
    pub(super) fn count(&self) -> u64 {
        match self {
            Windows::Packed(so_far) => so_far.last().copied().unwrap_or(0),
            Windows::Listed(all) => all.len() as u64,
        }
    }

    /// Shard and first token of a window.
    pub(super) fn place(&self, window: u64, length: usize) -> (u32, u64) {
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
    pub(super) fn open(
        source: &Source,
        spec: &Corpora,
        lengths: &[usize],
    ) -> Result<Corpus, Failure> {
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
        let mut scores = crate::data::score::read(folder, &pacing.by, count)?;
        let bytes: Vec<u8> = scores.iter().flat_map(|score| score.to_le_bytes()).collect();
        self.fingerprint.push_str(&crate::data::shards::fingerprint(&bytes));
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
        let open = |part: &[crate::data::shards::Written]| -> Result<Vec<Shard>, Failure> {
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
            crate::data::documents::collect(path, &mut files)?;
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
