//! `lrc data text`: the documents of a data folder as files.

use std::path::PathBuf;

use lrc_runtime::data::corpus;
use lrc_runtime::data::shards::{Manifest, Shard};
use lrc_runtime::ground::atomic;
use lrc_runtime::ground::error::{Failure, at_path};

use crate::terminal::say;

/// Arguments of `lrc data text`.
#[derive(Debug, clap::Args)]
pub struct WriteTexts {
    /// A data folder.
    pub path: PathBuf,
    /// Those that training never sees, instead of those it learns from.
    #[arg(long)]
    pub held_out: bool,
    /// The folder of the files, 000000.txt and so on.
    #[arg(long)]
    pub out: PathBuf,
}

pub fn texts(args: &WriteTexts) -> Result<(), Failure> {
    let manifest = Manifest::read(&args.path)?;
    let tokenizer = corpus::tokenizer(&args.path, &manifest)?;
    std::fs::create_dir_all(&args.out).map_err(at_path("make", &args.out))?;
    let mut count = 0;
    for written in if args.held_out { &manifest.held_out } else { &manifest.train } {
        let shard = Shard::of_folder(&args.path, written, true)?;
        for pair in shard.offsets.windows(2) {
            // Without the token between documents.
            let tokens = shard.read(pair[0] + 1, (pair[1] - pair[0] - 1) as usize)?;
            let file = args.out.join(format!("{count:06}.txt"));
            atomic::write(&file, tokenizer.decode(&tokens).as_bytes())?;
            count += 1;
        }
    }
    say!("{count} documents: {}", args.out.display());
    Ok(())
}
