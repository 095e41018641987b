//! From documents to a data folder of shards.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::documents::{self, Reading};
use super::shards::{self, Manifest, Writer, fingerprint};
use super::tokenizer::{self, Tokenizer};
use crate::ground::atomic;
use crate::ground::error::{Failure, at_path};

/// What is to be tokenised, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// Files and folders.
    pub inputs: Vec<PathBuf>,
    /// What is read of them.
    pub reading: Reading,
    /// The folder of the shards.
    pub out: PathBuf,
    /// Share of documents that training never sees. The text of a document decides, so that equal
    /// documents are on the same side.
    pub held_out: f64,
    /// Tokens of a shard, about.
    pub shard: u64,
    /// Documents that came before, word by word, are left out.
    pub unique: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Made {
    /// As it was written.
    pub manifest: Manifest,
    /// What was read.
    pub done: documents::Done,
    /// Documents that came before.
    pub repeated: usize,
    /// Documents without a text.
    pub empty: usize,
}

/// Documents that are tokenised at a time, on all cores.
const BATCH: usize = 1024;
/// Bytes of text that wait for it, about.
const BATCH_BYTES: usize = 64 << 20;
/// Tokens that can be learned: a table of them lies in memory from the start.
pub const MOST_TOKENS: usize = 1 << 20;

/// Tokenises documents into shards. `say` hears how far it is.
pub fn tokenize(
    request: &Request,
    tokenizer: &Tokenizer,
    say: &mut dyn FnMut(usize),
) -> Result<Made, Failure> {
    let out = request.out.as_path();
    shards::refuse_old(out)?;
    let vocab = tokenizer.vocab();
    let mut job = Job {
        request,
        tokenizer,
        waiting: Vec::new(),
        bytes: 0,
        train: Writer::new(out, "train", request.shard, vocab),
        held: Writer::new(out, "held", request.shard, vocab),
        seen: HashSet::new(),
        repeated: 0,
        empty: 0,
    };
    let mut count = 0;
    let done = documents::read(&request.inputs, &request.reading, &mut |text| {
        job.take(text)?;
        count += 1;
        if count % BATCH == 0 {
            say(count);
        }
        Ok(())
    })?;
    if count == job.repeated + job.empty {
        return Err(Failure::World(format!(
            "there is no document with a text in {}: {} files were read{}",
            listed(&request.inputs),
            done.files,
            if request.reading.endings.is_empty() {
                String::new()
            } else {
                format!(", of those that end with {}", request.reading.endings.join(", "))
            }
        )));
    }
    job.flush()?;
    let text = tokenizer.text()?;
    let file = if text.is_some() { "tokenizer.json" } else { "bytes" };
    if let Some(text) = &text {
        atomic::write(&out.join(file), text.as_bytes())?;
    }
    let manifest = Manifest {
        tokenizer: file.into(),
        tokenizer_blake3: fingerprint(text.unwrap_or_else(|| "bytes".into()).as_bytes()),
        vocab,
        end: tokenizer.end(),
        begin: None,
        train: job.train.finish()?,
        held_out: job.held.finish()?,
    };
    let json =
        serde_json::to_string_pretty(&manifest).map_err(|e| Failure::World(e.to_string()))?;
    // Last: a folder without a manifest is no data.
    atomic::write(&out.join("data.json"), json.as_bytes())?;
    Ok(Made { manifest, done, repeated: job.repeated, empty: job.empty })
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

struct Job<'a> {
    request: &'a Request,
    tokenizer: &'a Tokenizer,
    waiting: Vec<(String, bool)>,
    /// Of the texts that wait.
    bytes: usize,
    train: Writer<'a>,
    held: Writer<'a>,
    seen: HashSet<[u8; 16]>,
    repeated: usize,
    empty: usize,
}

impl Job<'_> {
    fn take(&mut self, text: String) -> Result<(), Failure> {
        if text.is_empty() {
            self.empty += 1;
            return Ok(());
        }
        let hash = *blake3::hash(text.as_bytes()).as_bytes();
        if self.request.unique {
            let mut half = [0; 16];
            half.copy_from_slice(&hash[..16]);
            if !self.seen.insert(half) {
                self.repeated += 1;
                return Ok(());
            }
        }
        let drawn = u32::from_le_bytes([hash[16], hash[17], hash[18], hash[19]]);
        let held = f64::from(drawn) < self.request.held_out * 4_294_967_296.0;
        self.bytes += text.len();
        self.waiting.push((text, held));
        if self.waiting.len() < BATCH && self.bytes < BATCH_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let end = self.tokenizer.end();
        let waiting = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        let out = self.request.out.as_path();
        std::fs::create_dir_all(out).map_err(at_path("make", out))?;
        let encoded: Result<Vec<Vec<u32>>, Failure> = waiting
            .par_iter()
            .map(|(text, _)| {
                let mut tokens = vec![end];
                tokens.extend(self.tokenizer.encode(text)?);
                Ok(tokens)
            })
            .collect();
        for ((text, held), tokens) in waiting.iter().zip(encoded?) {
            let to = if *held { &mut self.held } else { &mut self.train };
            to.push(&tokens, text.len())?;
        }
        Ok(())
    }
}

/// Learns a tokenizer from documents and writes it.
pub fn learn(
    inputs: &[PathBuf],
    reading: &Reading,
    vocab: usize,
    out: &Path,
) -> Result<documents::Done, Failure> {
    let mut texts = Vec::new();
    let done = documents::read(inputs, reading, &mut |text| {
        texts.push(text);
        Ok(())
    })?;
    if texts.is_empty() {
        return Err(Failure::World("there is no document to learn from".into()));
    }
    let json = tokenizer::learn(texts.iter().map(String::as_str), vocab)?;
    atomic::write(out, json.as_bytes())?;
    Ok(done)
}
