//! `lrc data`: from files of text to shards, and what a run will make of them.

mod bucketize;
mod inspect;
mod plan;
mod score;
mod text;
mod tokenize;
mod tokenizer;

use std::path::PathBuf;

use clap::Subcommand;
use lrc_dsl::Sources;
use lrc_runtime::data::documents::Reading;
use lrc_runtime::data::shards::{Manifest, Shard, Written};
use lrc_runtime::ground::error::Failure;

use crate::terminal::say;
use bucketize::Bucketize;
use inspect::Inspect;
use plan::Plan;
use score::ScoreDocuments;
use text::WriteTexts;
use tokenize::Tokenize;
use tokenizer::LearnTokenizer;

/// Commands about data.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Tokenise text into a folder of shards.
    Tokenize(Tokenize),
    /// Learn a tokenizer from text (byte-pair encoding over bytes).
    Tokenizer(LearnTokenizer),
    /// Check a data folder or shard, and say what is in it.
    Inspect(Inspect),
    /// Write the documents of a data folder as files of text.
    Text(WriteTexts),
    /// Count the pieces of single documents by length; write them with --out.
    Bucketize(Bucketize),
    /// Score the training documents of a data folder, for a curriculum of difficulty.
    Score(ScoreDocuments),
    /// Draw lengths, batch, learning rate and mixture of a spec's run over time.
    Plan(Plan),
}

/// Files of text.
#[derive(Debug, clap::Args)]
pub struct Texts {
    /// Files and folders: .jsonl, .parquet, text; each also as .gz and .zst.
    #[arg(required = true)]
    pub inputs: Vec<PathBuf>,
    /// The field or column that holds a document's text.
    #[arg(long, default_value = "text")]
    pub field: String,
    /// Pass over lines and files without a text, and count them.
    #[arg(long)]
    pub skip_bad: bool,
    /// Of folders, only files with these endings: `rs,md`.
    #[arg(long, value_delimiter = ',')]
    pub ending: Vec<String>,
    /// Leave out texts of more bytes.
    #[arg(long, value_name = "BYTES")]
    pub largest: Option<usize>,
    /// Leave out texts that say that a program wrote them ("@generated", "do not edit").
    #[arg(long)]
    pub no_generated: bool,
}

/// Runs one of the commands.
pub fn data(args: &Data, sources: &mut Sources) -> Result<(), Failure> {
    match args {
        Data::Tokenize(args) => tokenize::tokenise(args),
        Data::Tokenizer(args) => tokenizer::tokenizer(args),
        Data::Inspect(args) => inspect::inspect(args),
        Data::Text(args) => text::texts(args),
        Data::Bucketize(args) => bucketize::bucketize(args),
        Data::Score(args) => score::score(args, sources),
        Data::Plan(args) => plan::plan(args, sources),
    }
}

fn reading(texts: &Texts) -> Reading {
    Reading {
        field: texts.field.clone(),
        skip: texts.skip_bad,
        endings: texts.ending.clone(),
        largest: texts.largest.unwrap_or(usize::MAX),
        no_generated: texts.no_generated,
    }
}

/// What is in the parts of a data folder.
fn parts(manifest: &Manifest) {
    for (name, shards) in [("train", &manifest.train), ("held out", &manifest.held_out)] {
        let sum = |pick: fn(&Written) -> u64| shards.iter().map(pick).sum::<u64>();
        let (tokens, bytes) = (sum(|s| s.tokens), sum(|s| s.bytes));
        say!(
            "{name:<9} {:>4} shards {:>10} documents {tokens:>13} tokens {bytes:>14} bytes, {:.3} bytes per token",
            shards.len(),
            sum(|s| s.documents),
            bytes as f64 / tokens.max(1) as f64
        );
    }
}

/// How many documents have lengths up to each power of two.
fn lengths(shards: &[Shard]) -> Vec<(u64, u64)> {
    let mut counts = std::collections::BTreeMap::new();
    for pair in shards.iter().flat_map(|shard| shard.offsets.windows(2)) {
        *counts.entry((pair[1] - pair[0]).next_power_of_two()).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}
