//! `lrc generate`

use std::io::IsTerminal;
use std::path::PathBuf;

use lrc_compiler::graph::Prepared;
use lrc_dsl::{Sources, printable};
use lrc_runtime::data::LONGEST;
use lrc_runtime::data::codec::TextCodec;
use lrc_runtime::device::Device;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::ground::random::{Purpose, Stream};
use lrc_runtime::model::Walk;
use lrc_runtime::ops::sample::Sampling;
use lrc_runtime::train::checkpoint;

use crate::args::{self, count, probability, temperature};
use crate::commands::trained::open;
use crate::terminal::{self, say};

/// Arguments of `lrc generate`.
#[derive(Debug, clap::Args)]
pub struct Generate {
    /// A run's folder.
    pub run: PathBuf,
    /// Text for a model of text, else token numbers: "3 17 4".
    #[arg(long)]
    pub prompt: String,
    /// How many tokens to add.
    #[arg(long, default_value_t = 256, value_parser = count(LONGEST))]
    pub tokens: usize,
    /// Logits are divided by this; 0 takes the likeliest token.
    #[arg(long, default_value_t = 1.0, value_parser = temperature)]
    pub temperature: f64,
    /// Only so many of the likeliest tokens.
    #[arg(long, value_parser = count(LONGEST))]
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that together have this probability.
    #[arg(long, default_value_t = 1.0, value_parser = probability)]
    pub top_p: f64,
    /// Of what is drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Take the checkpoint after so many steps instead of the newest one.
    #[arg(long, value_name = "STEP")]
    pub from_step: Option<u64>,
    /// Where to run.
    #[arg(long, default_value = "auto")]
    pub device: args::Device,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// `lrc generate`
pub fn generate(args: &Generate, sources: &mut Sources) -> Result<(), Failure> {
    let (spec, model) = open(&args.run, sources)?;
    let codec = TextCodec::of(&spec.task)?;
    let prompt = codec.tokens(&args.prompt, model.vocab)?;
    let prompt = codec.begun(prompt);
    let params = checkpoint::parameters(&args.run, args.from_step, &model.graph.params)?;
    let device: Device = args.device.into();
    let mut walk = Walk::of(device, Prepared::plain(model), &params)?;
    let sampling = Sampling { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p };
    let mut random = Stream::new(args.seed, Purpose::Sample, 0);
    let mut session = walk.session();
    let mut logits = session.feed(&prompt)?;
    let mut said = Vec::with_capacity(args.tokens);
    // Tokens of which no text was written yet: a character may take several.
    let mut held = 0;
    for at in 0..args.tokens {
        let token = sampling.draw(&logits, &mut random);
        if codec.ends(token) {
            break;
        }
        said.push(token);
        if !args.json {
            let text = codec.text(&said[held..]);
            let whole = !text.ends_with(char::REPLACEMENT_CHARACTER) || said.len() - held > 8;
            if whole {
                held = said.len();
                // A reader that has gone away wants no more.
                if !write_text(&text) {
                    return Ok(());
                }
            }
        }
        if at + 1 < args.tokens {
            logits = session.feed(&[token])?;
        }
    }
    if args.json {
        let text = codec.speaks().then(|| codec.text(&said));
        say!("{}", serde_json::json!({ "prompt": prompt, "tokens": said, "text": text }));
    } else {
        write_text(&format!("{}\n", codec.text(&said[held..])));
    }
    Ok(())
}

/// Writes a text; says whether anybody reads. A model may say anything: a terminal is spared its control characters, a file
/// gets them as they are.
fn write_text(text: &str) -> bool {
    if std::io::stdout().is_terminal() {
        terminal::write(&printable(text))
    } else {
        terminal::write(text)
    }
}
