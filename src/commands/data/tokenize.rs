//! `lrc data tokenize`: text into a folder of shards.

use std::io::IsTerminal;
use std::path::PathBuf;

use lrc_runtime::data::tokenize::{Request, tokenize};
use lrc_runtime::data::tokenizer::Tokenizer;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::ground::terminal;
use lrc_runtime::schedule::Amount;
use lrc_runtime::tell;

use super::{Texts, parts, reading};
use crate::terminal::say;

/// Arguments of `lrc data tokenize`.
#[derive(Debug, clap::Args)]
pub struct Tokenize {
    /// What is read.
    #[command(flatten)]
    pub texts: Texts,
    /// The folder of the shards.
    #[arg(long)]
    pub out: PathBuf,
    /// A `tokenizer.json`, or `bytes`.
    #[arg(long, default_value = "bytes")]
    pub tokenizer: PathBuf,
    /// The token that ends a document [default: the usual names are tried].
    #[arg(long)]
    pub end: Option<String>,
    /// Share of documents that training never sees.
    #[arg(long, default_value = "1%")]
    pub held_out: String,
    /// Tokens of a shard.
    #[arg(long, default_value = "100M")]
    pub shard: String,
    /// Leave out documents that came before, word by word.
    #[arg(long)]
    pub unique: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

fn share(text: &str) -> Result<f64, Failure> {
    match Amount::parse(text) {
        Some(Amount::Share(share)) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err(Failure::Usage(format!("--held-out {text}: expected a share, such as `1%`"))),
    }
}

pub fn tokenise(args: &Tokenize) -> Result<(), Failure> {
    let tokenizer = match args.tokenizer.to_str() {
        Some("bytes") if args.end.is_some() => {
            return Err(Failure::Usage(
                "--end is for a tokenizer.json: after bytes comes 256".into(),
            ));
        }
        Some("bytes") => Tokenizer::Bytes,
        _ => Tokenizer::open(&args.tokenizer, args.end.as_deref())?,
    };
    let shard = match Amount::parse(&args.shard) {
        Some(Amount::Tokens(tokens)) if (1.0..2e9).contains(&tokens) => tokens as u64,
        _ => {
            let text = &args.shard;
            return Err(Failure::Usage(format!("--shard {text}: expected tokens, such as `100M`")));
        }
    };
    let request = Request {
        inputs: args.texts.inputs.clone(),
        reading: reading(&args.texts),
        out: args.out.clone(),
        held_out: share(&args.held_out)?,
        shard,
        unique: args.unique,
    };
    let shows = std::io::stderr().is_terminal();
    let made = tokenize(&request, &tokenizer, &mut |documents| {
        if shows {
            terminal::count(format_args!("{documents} documents"));
        }
    })?;
    if shows {
        terminal::count(format_args!(""));
    }
    let left = [
        ("without a text", made.done.skipped),
        ("too long or generated", made.done.dropped),
        ("empty", made.empty),
        ("that came before", made.repeated),
    ];
    let left: Vec<String> =
        left.iter().filter(|(_, n)| *n > 0).map(|(why, n)| format!("{n} {why}")).collect();
    if !left.is_empty() {
        tell!("left out: {}", left.join(", "));
    }
    made.done.lines().iter().for_each(|line| tell!("{line}"));
    if args.json {
        let json =
            serde_json::to_string(&made.manifest).map_err(|e| Failure::World(e.to_string()))?;
        say!("{json}");
    } else {
        parts(&made.manifest);
    }
    Ok(())
}
