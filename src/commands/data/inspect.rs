//! `lrc data inspect`: what is in a data folder or shard.

use std::path::PathBuf;

use lrc_runtime::data::corpus;
use lrc_runtime::data::shards::{Layout, Manifest, Shard};
use lrc_runtime::ground::error::Failure;

use super::{lengths, parts};
use crate::terminal::say;

/// Arguments of `lrc data inspect`.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// A data folder, or a shard.
    pub path: PathBuf,
    /// The shard has no header, as nanoGPT writes them.
    #[arg(long)]
    pub nanogpt: bool,
    /// The token that begins a document, for a shard outside a data folder.
    #[arg(long)]
    pub end: Option<u32>,
    /// Show the beginnings of so many documents.
    #[arg(long, default_value_t = 0)]
    pub show: usize,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

pub fn inspect(args: &Inspect) -> Result<(), Failure> {
    let folder = args.path.as_path();
    let (manifest, shards) = if folder.join("data.json").exists() {
        let manifest = Manifest::read(folder)?;
        let all = manifest.train.iter().chain(&manifest.held_out);
        let shards: Result<Vec<Shard>, Failure> =
            all.map(|written| Shard::of_folder(folder, written, true)).collect();
        (Some(manifest), shards?)
    } else {
        let layout = if args.nanogpt { Layout::Nanogpt } else { Layout::Llmc };
        let mut shard = Shard::open(folder, layout)?;
        if let Some(end) = args.end {
            shard.find_documents(end)?;
        }
        (None, vec![shard])
    };
    let tokens: u64 = shards.iter().map(|shard| shard.tokens).sum();
    if args.json {
        let json = serde_json::json!({
            "manifest": manifest, "tokens": tokens,
            "documents_by_length": lengths(&shards),
        });
        say!("{json}");
        return Ok(());
    }
    if let Some(manifest) = &manifest {
        say!(
            "tokenizer {}, {} tokens, documents end with {}",
            manifest.tokenizer,
            manifest.vocab,
            manifest.end
        );
        parts(manifest);
        let old = manifest.train.iter().chain(&manifest.held_out).any(|s| s.index_blake3.is_none());
        say!(
            "every checksum is right{}",
            if old { "; the indexes have none: an older version wrote them" } else { "" }
        );
    } else {
        say!("{tokens} tokens");
    }
    say!("documents by length in tokens, up to:");
    for (length, count) in lengths(&shards) {
        say!("{length:>10} {count:>10}");
    }
    let shard = shards.first().filter(|_| args.show > 0);
    for pair in shard.iter().flat_map(|shard| shard.offsets.windows(2)).take(args.show) {
        let Some(shard) = shard else { break };
        let tokens = shard.read(pair[0], (pair[1] - pair[0]).min(200) as usize)?;
        let text = match &manifest {
            Some(manifest) => corpus::tokenizer(folder, manifest)?.decode(&tokens),
            None => format!("{tokens:?}"),
        };
        say!("---\n{text}");
    }
    Ok(())
}
