//! `lrc data tokenizer`: learns a tokenizer from text.

use std::path::PathBuf;

use lrc_runtime::data::tokenize::{MOST_TOKENS, learn};
use lrc_runtime::data::tokenizer::Tokenizer;
use lrc_runtime::ground::error::Failure;

use super::{Texts, reading};
use crate::terminal::say;

/// Arguments of `lrc data tokenizer`.
#[derive(Debug, clap::Args)]
pub struct LearnTokenizer {
    /// What is read.
    #[command(flatten)]
    pub texts: Texts,
    /// Tokens to learn.
    #[arg(long, default_value_t = 4096)]
    pub vocab: usize,
    /// The file to write.
    #[arg(long, default_value = "tokenizer.json")]
    pub out: PathBuf,
}

pub fn tokenizer(args: &LearnTokenizer) -> Result<(), Failure> {
    if !(257..=MOST_TOKENS).contains(&args.vocab) {
        return Err(Failure::Usage(format!(
            "--vocab {}: from 257 (every byte, and the token between documents) to {MOST_TOKENS}",
            args.vocab
        )));
    }
    let done = learn(&args.texts.inputs, &reading(&args.texts), args.vocab, &args.out)?;
    let learned = Tokenizer::open(&args.out, None)?;
    say!("{} tokens from {} documents: {}", learned.vocab(), done.documents, args.out.display());
    Ok(())
}
