//! `lrc data bucketize`: pieces of documents by length.

use std::path::{Path, PathBuf};

use lrc_runtime::data::corpus;
use lrc_runtime::data::shards::{Manifest, Shard, Writer, refuse_old};
use lrc_runtime::ground::atomic;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::schedule::lengths::{doubling, powers};

use crate::terminal::say;

/// Arguments of `lrc data bucketize`.
#[derive(Debug, clap::Args)]
pub struct Bucketize {
    /// A data folder.
    pub path: PathBuf,
    /// The shortest length.
    #[arg(long, default_value_t = 256)]
    pub shortest: usize,
    /// The longest length.
    #[arg(long, default_value_t = 8192)]
    pub longest: usize,
    /// A folder for a data folder of each length.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

pub fn bucketize(args: &Bucketize) -> Result<(), Failure> {
    let (low, high) = (args.shortest, args.longest);
    if !powers(low, high) {
        return Err(Failure::Usage("--shortest and --longest are powers of two, and rise".into()));
    }
    let lengths = doubling(low, high);
    let manifest = Manifest::read(&args.path)?;
    let shards: Result<Vec<Shard>, Failure> =
        manifest.train.iter().map(|written| Shard::of_folder(&args.path, written, true)).collect();
    let shards = shards?;
    let buckets = corpus::decompose(&shards, &lengths);
    let whole: u64 = shards.iter().map(|shard| shard.tokens).sum();
    let mut used = 0;
    say!("{:>10} {:>12} {:>14} {:>7}", "length", "sequences", "tokens", "share");
    for (length, pieces) in lengths.iter().zip(&buckets) {
        let tokens = (pieces.len() * length) as u64;
        used += tokens;
        let share = tokens as f64 / whole as f64;
        say!("{length:>10} {:>12} {tokens:>14} {share:>7.3}", pieces.len());
    }
    let left = whole - used;
    say!("{:>10} {:>12} {left:>14} {:>7.3}", "shorter", "", left as f64 / whole as f64);
    let Some(out) = &args.out else { return Ok(()) };
    for (length, pieces) in lengths.iter().zip(&buckets) {
        write_bucket(&out.join(length.to_string()), *length, pieces, &shards, &manifest)?;
    }
    Ok(())
}

/// Writes the sequences of a bucket as a data folder of their own.
fn write_bucket(
    folder: &Path,
    length: usize,
    pieces: &[(u32, u64)],
    shards: &[Shard],
    manifest: &Manifest,
) -> Result<(), Failure> {
    refuse_old(folder)?;
    let failed =
        |e: std::io::Error| Failure::World(format!("cannot make {}: {e}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut writer = Writer::new(folder, "train", 100_000_000, manifest.vocab);
    for (shard, start) in pieces {
        writer.push(&shards[*shard as usize].read(*start, length)?, 0)?;
    }
    let bucket = Manifest { train: writer.finish()?, held_out: vec![], ..manifest.clone() };
    let json = serde_json::to_string_pretty(&bucket).map_err(|e| Failure::World(e.to_string()))?;
    atomic::write(&folder.join("data.json"), json.as_bytes())
}
