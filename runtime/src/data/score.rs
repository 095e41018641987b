//! Scores of documents: how hard each is to learn, by one measure or another. They lie beside the
//! shards in `scores.safetensors`, one number per training document and name; larger is harder.

use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;

use super::corpus::tokenizer;
use super::documents::json::FieldPath;
use super::shards::{Manifest, Shard};
use super::tokenizer::Tokenizer;
use crate::ground::bounded;
use crate::ground::error::Failure;
use crate::ground::tensors::{self, Data, Tensor};

/// The file of a data folder.
const FILE: &str = "scores.safetensors";
/// Of zstd, so that scores of today and tomorrow agree.
const LEVEL: i32 = 3;
/// Where a stretch of a text counts as used up (McCarthy and Jarvis 2010).
const MTLD: f64 = 0.72;

/// A measure of the text alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Compressed bytes per byte, each document by itself.
    Compression,
    /// MTLD: the mean number of words over which the share of different words stays above 0.72; at
    /// most the number of words, so that short texts are not taken for endlessly rich ones.
    Diversity,
}

impl Metric {
    /// Reads a name.
    pub fn parse(text: &str) -> Option<Metric> {
        match text {
            "compression" => Some(Metric::Compression),
            "diversity" => Some(Metric::Diversity),
            _ => None,
        }
    }

    fn of(self, text: &str) -> Result<f32, Failure> {
        match self {
            Metric::Compression => {
                let packed = zstd::bulk::compress(text.as_bytes(), LEVEL)
                    .map_err(|error| Failure::World(format!("cannot compress: {error}")))?;
                Ok((packed.len() as f64 / text.len().max(1) as f64) as f32)
            }
            Metric::Diversity => Ok(diversity(text) as f32),
        }
    }
}

/// Open training documents of a data folder.
pub struct Documents {
    shards: Vec<Shard>,
    tokenizer: Tokenizer,
}

impl Documents {
    /// Opens them.
    pub fn open(folder: &Path) -> Result<Documents, Failure> {
        let manifest = Manifest::read(folder)?;
        if manifest.train.is_empty() {
            let why = format!("{} holds no documents for training", folder.display());
            return Err(Failure::World(why));
        }
        let shards: Result<Vec<Shard>, Failure> =
            manifest.train.iter().map(|part| Shard::of_folder(folder, part, false)).collect();
        Ok(Documents { shards: shards?, tokenizer: tokenizer(folder, &manifest)? })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.offsets.len() - 1).sum()
    }

    /// Shard, first token and number of tokens of each, with the token between documents.
    fn places(&self) -> Vec<(&Shard, u64, usize)> {
        let of = |shard| move |pair: &[u64]| (shard, pair[0], (pair[1] - pair[0]) as usize);
        self.shards.iter().flat_map(|shard| shard.offsets.windows(2).map(of(shard))).collect()
    }

    /// Scores by a measure of the text.
    pub fn measure(&self, metric: Metric) -> Result<Vec<f32>, Failure> {
        let one = |(shard, start, count): &(&Shard, u64, usize)| {
            let tokens = shard.read(start + 1, count - 1)?;
            metric.of(&self.tokenizer.decode(&tokens))
        };
        self.places().par_iter().map(one).collect()
    }

    /// The first tokens of each, `longest` and one more at most.
    pub fn beginnings(&self, longest: usize) -> impl Iterator<Item = Result<Vec<u32>, Failure>> {
        let read = move |(shard, start, count): (&Shard, u64, usize)| {
            shard.read(start, count.min(longest + 1))
        };
        self.places().into_iter().map(read)
    }
}

/// Scores that another program has written, a JSON object per document in their order.
pub fn import(file: &Path, field: &str, count: usize) -> Result<Vec<f32>, Failure> {
    let (text, way) = (bounded::whole_text(file)?, FieldPath::new(field));
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let scores: Result<Vec<f32>, Failure> = lines
        .map(|(at, line)| {
            way.number(line).filter(|x| x.is_finite()).map(|x| x as f32).ok_or_else(|| {
                Failure::Usage(format!(
                    "{}, line {}: no number in the field `{field}`",
                    file.display(),
                    at + 1
                ))
            })
        })
        .collect();
    let scores = scores?;
    if scores.len() != count {
        return Err(Failure::Usage(format!(
            "{} has {} scores, and the data {count} documents for training",
            file.display(),
            scores.len()
        )));
    }
    Ok(scores)
}

/// Whether scores can have this name.
pub fn check_name(name: &str) -> Result<(), Failure> {
    match tensors::reserved(name) {
        true => Err(Failure::Usage(format!(
            "--name {name}: safetensors files keep that name for themselves"
        ))),
        false => Ok(()),
    }
}

/// Writes scores beside the shards; others stay.
pub fn save(folder: &Path, name: &str, scores: Vec<f32>) -> Result<(), Failure> {
    let path = folder.join(FILE);
    let mut all = if path.exists() { tensors::read(&path)? } else { Default::default() };
    all.insert(name.to_string(), Tensor::f32(vec![scores.len()], scores));
    tensors::write(&path, &all)
}

/// Scores by name, of `count` documents.
pub fn read(folder: &Path, name: &str, count: usize) -> Result<Vec<f32>, Failure> {
    let path = folder.join(FILE);
    let all = if path.exists() { tensors::read(&path)? } else { Default::default() };
    let known: Vec<&str> = all.keys().map(String::as_str).collect();
    match all.get(name) {
        Some(Tensor { data: Data::F32(scores), .. })
            if scores.len() == count && scores.iter().all(|x| x.is_finite()) =>
        {
            Ok(scores.clone())
        }
        Some(_) => Err(Failure::World(format!(
            "the scores `{name}` in {} do not fit its documents: make them again with `lrc data score`",
            folder.display()
        ))),
        None => Err(Failure::World(format!(
            "{} has no scores `{name}`{}; make them with `lrc data score`",
            folder.display(),
            if known.is_empty() {
                String::new()
            } else {
                format!(" (it has {})", known.join(", "))
            }
        ))),
    }
}

/// All scores of a folder by name that fit its `count` documents.
pub fn all(folder: &Path, count: usize) -> Result<Vec<(String, Vec<f32>)>, Failure> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(vec![]);
    }
    let all = tensors::read(&path)?.into_iter().filter_map(|(name, tensor)| match tensor.data {
        Data::F32(scores) if scores.len() == count => Some((name, scores)),
        _ => None,
    });
    Ok(all.collect())
}

/// MTLD, forward and backward, at most the number of words.
fn diversity(text: &str) -> f64 {
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let one_way = |words: &mut dyn Iterator<Item = &String>| {
        let (mut factors, mut seen, mut count) = (0.0, HashSet::new(), 0_usize);
        for word in words {
            seen.insert(word.as_str());
            count += 1;
            if (seen.len() as f64) < MTLD * count as f64 {
                factors += 1.0;
                seen.clear();
                count = 0;
            }
        }
        if count > 0 {
            // What is left is a part of a stretch, by how far its share has come down.
            factors += (1.0 - seen.len() as f64 / count as f64) / (1.0 - MTLD);
        }
        factors
    };
    let n = words.len() as f64;
    let mean = |factors: f64| if factors > 0.0 { (n / factors).min(n) } else { n };
    (mean(one_way(&mut words.iter())) + mean(one_way(&mut words.iter().rev()))) / 2.0
}

/// The correlation of the ranks of two lists (Spearman); equal numbers share their rank.
pub fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let dot = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum()
    };
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

fn ranks(x: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|a, b| x[*a].total_cmp(&x[*b]));
    let mut ranks = vec![0.0; x.len()];
    let mut from = 0;
    while from < order.len() {
        let mut to = from + 1;
        while to < order.len() && x[order[to]] == x[order[from]] {
            to += 1;
        }
        order[from..to].iter().for_each(|at| ranks[*at] = (from + to - 1) as f64 / 2.0);
        from = to;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_easy() {
        let same = "the cat sat on the mat ".repeat(40);
        let words: Vec<String> = (0..240).map(|i| format!("w{}", i * 7919 % 10_007)).collect();
        let other = words.join(" ");
        for metric in [Metric::Compression, Metric::Diversity] {
            assert!(metric.of(&same).unwrap() < metric.of(&other).unwrap());
        }
        assert_eq!(diversity(&other), 240.0);
        assert_eq!(diversity(""), 0.0);
        // Five words, then the sixth makes 5/6; "the" again, and so on: by hand 6 words hold 0.83.
        assert!(diversity(&same) < 12.0, "{}", diversity(&same));
    }

    #[test]
    fn correlations_of_ranks() {
        assert!((correlation(&[1.0, 2.0, 9.0], &[0.1, 0.2, 0.3]) - 1.0).abs() < 1e-12);
        assert!((correlation(&[1.0, 2.0, 9.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
        // Ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3.
        let found = correlation(&[1.0, 2.0, 2.0, 5.0], &[1.0, 2.0, 3.0, 4.0]);
        assert!((found - (4.5_f64 / (4.5_f64 * 5.0).sqrt())).abs() < 1e-12, "{found}");
    }
}
