//! Tokenizers: bytes, or a `tokenizer.json` as Hugging Face's libraries write it.

use std::path::Path;

use lrc_dsl::text::unmarked;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::fixed_length::FixedLength;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, Tokenizer as Hf};
use tokenizers::{
    DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

use super::numbers::as_python_reads;
use crate::ground::bounded;
use crate::ground::error::Failure;

/// Turns text into tokens and back.
#[derive(Clone, Debug)]
pub enum Tokenizer {
    /// Every byte is a token; 256 ends a document.
    Bytes,
    /// A tokenizer file.
    File(Box<Opened>),
}

/// A tokenizer file that was read.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Cuts texts as Python's library would with that file.
    inner: Hf,
    /// The file with its numbers as they stand, where that library reads others.
    exact: Option<Hf>,
    /// The token that ends a document.
    end: u32,
    /// What a text that nothing comes before begins with, where it is not that token.
    begin: Option<Vec<u32>>,
}

/// Names under which the token between documents is known.
const ENDS: [&str; 9] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<eos>",
    "<|im_end|>",
    "[EOS]",
    // DeepSeek, Anthropic, BERT.
    "<｜end▁of▁sentence｜>",
    "<EOT>",
    "[SEP]",
];

/// Bytes of a word that are learned from; what is longer is cut: pairs of a word are counted anew with every merge.
const LONGEST_WORD: usize = 256;

/// Characters of one kind that may follow each other: a pattern may go back over all of them, and its engine ends the process
/// after ten million tries.
const LONGEST_RUN: usize = 1 << 22;

impl Tokenizer {
    /// Reads a tokenizer file. `end` names the token that ends a document; without it the usual
    /// names are tried.
    pub fn open(path: &Path, end: Option<&str>) -> Result<Tokenizer, Failure> {
        let mut file = read(path)?;
        let names: Vec<&str> = end.map_or(ENDS.to_vec(), |end| vec![end]);
        let Some(end) = names.iter().find_map(|name| file.inner.token_to_id(name)) else {
            return Err(Failure::World(format!(
                "{}: no token {}; name the token that ends a document with --end",
                path.display(),
                names.join(", ")
            )));
        };
        file.end = end;
        Ok(Tokenizer::File(Box::new(file)))
    }

    /// Reads a tokenizer file of which the number of the token that ends a document is known.
    pub fn with_end(path: &Path, end: u32) -> Result<Tokenizer, Failure> {
        Ok(Tokenizer::File(Box::new(Opened { end, ..read(path)? })))
    }

    /// The same with what a text begins with that nothing comes before, where it is not the token between documents.
    #[must_use]
    pub fn beginning(self, begin: Option<Vec<u32>>) -> Tokenizer {
        match self {
            Tokenizer::Bytes => Tokenizer::Bytes,
            Tokenizer::File(file) => Tokenizer::File(Box::new(Opened { begin, ..*file })),
        }
    }

    /// What a text begins with that nothing comes before.
    pub fn begin(&self) -> Vec<u32> {
        match self {
            Tokenizer::File(file) if file.begin.is_some() => file.begin.clone().unwrap_or_default(),
            _ => vec![self.end()],
        }
    }

    /// What the file itself puts around an empty text: its model has seen all texts begin so.
    pub fn around(&self) -> Vec<u32> {
        match self {
            Tokenizer::Bytes => vec![],
            Tokenizer::File(file) => {
                let around = file.inner.encode_fast("", true);
                around.map_or(vec![], |around| around.get_ids().to_vec())
            }
        }
    }

    /// The token between documents.
    pub fn end(&self) -> u32 {
        match self {
            Tokenizer::Bytes => 256,
            Tokenizer::File(file) => file.end,
        }
    }

    /// Tokens there are.
    pub fn vocab(&self) -> usize {
        match self {
            Tokenizer::Bytes => 257,
            // Numbers may have gaps: what counts is the largest.
            Tokenizer::File(file) => {
                file.inner.get_vocab(true).values().max().map_or(0, |max| *max as usize + 1)
            }
        }
    }

    /// The tokens of a text, without any around it.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Failure> {
        match self {
            Tokenizer::Bytes => Ok(text.bytes().map(u32::from).collect()),
            Tokenizer::File(..) if has_long_run(text) => Err(Failure::World(format!(
                "a text has a run of more than {LONGEST_RUN} letters, digits or spaces, which the tokenizer's patterns give up on; leave such texts out with --largest"
            ))),
            Tokenizer::File(file) => file
                .inner
                .encode_fast(text, false)
                .map(|encoding| encoding.get_ids().to_vec())
                .map_err(|error| Failure::World(format!("the tokenizer refuses a text: {error}"))),
        }
    }

    /// The text of tokens. What is no text becomes the replacement character.
    pub fn decode(&self, tokens: &[u32]) -> String {
        match self {
            Tokenizer::Bytes => {
                let bytes: Vec<u8> = tokens.iter().filter_map(|t| u8::try_from(*t).ok()).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Tokenizer::File(file) => file.inner.decode(tokens, false).unwrap_or_default(),
        }
    }

    /// The file's text; nothing for bytes.
    pub fn text(&self) -> Result<Option<String>, Failure> {
        match self {
            Tokenizer::Bytes => Ok(None),
            Tokenizer::File(file) => file
                .exact
                .as_ref()
                .unwrap_or(&file.inner)
                .to_string(false)
                .map(Some)
                .map_err(|error| Failure::World(format!("cannot write the tokenizer: {error}"))),
        }
    }
}

fn read(path: &Path) -> Result<Opened, Failure> {
    let bytes = bounded::bytes(path)?;
    let unsound =
        |why: String| Failure::World(format!("{} is not a sound tokenizer: {why}", path.display()));
    let bytes = unmarked(&bytes).map_err(|why| unsound(format!("it is {why}")))?;
    let parse = |bytes: &[u8]| -> Result<Hf, tokenizers::Error> {
        let mut inner = Hf::from_bytes(bytes)?;
        // The text of a special token inside a document is text.
        inner.set_encode_special_tokens(true);
        inner.with_padding(None);
        inner.with_truncation(None)?;
        Ok(inner)
    };
    let mut inner = parse(bytes).map_err(|error| unsound(error.to_string()))?;
    let mut exact = None;
    if matches!(inner.get_model(), ModelWrapper::Unigram(_)) {
        let python = parse(&as_python_reads(bytes)).map_err(|error| unsound(error.to_string()))?;
        exact = Some(std::mem::replace(&mut inner, python));
    }
    Ok(Opened { inner, exact, end: 0, begin: None })
}

/// Learns pairs of bytes that belong together (byte-pair encoding, Sennrich, Haddow and Birch 2016;
/// over bytes as in GPT-2) from texts, until there are `vocab` tokens. Gives the text of a
/// `tokenizer.json`; the token between documents is `<|endoftext|>`.
pub fn learn<'t>(
    texts: impl Iterator<Item = &'t str> + Send,
    vocab: usize,
) -> Result<String, Failure> {
    let wrong = |error: tokenizers::Error| Failure::World(format!("cannot learn tokens: {error}"));
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(vocab)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(vec![AddedToken::from(ENDS[0], true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let bytes = ByteLevel::new(false, true, true);
    let mut learned = tokenizers::TokenizerImpl::<
        BPE,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    >::new(BPE::default());
    let cut = Sequence::new(vec![bytes.into(), FixedLength::new(LONGEST_WORD).into()]);
    learned.with_pre_tokenizer(Some(cut));
    learned.train(&mut trainer, texts.flat_map(cut_runs)).map_err(wrong)?;
    // Texts are encoded in whole words.
    learned.with_pre_tokenizer(Some(bytes));
    learned.with_decoder(Some(bytes));
    learned.to_string(false).map_err(wrong)
}

/// What pieces of text are told apart by: letters, digits, space, and the rest.
fn kind(c: char) -> (bool, bool, bool) {
    (c.is_alphabetic(), c.is_numeric(), c.is_whitespace())
}

/// Whether more than [`LONGEST_RUN`] characters of one kind follow each other.
fn has_long_run(text: &str) -> bool {
    let (mut last, mut length) = (None, 0);
    text.len() > LONGEST_RUN
        && text.chars().any(|c| {
            length = if last == Some(kind(c)) { length + 1 } else { 1 };
            last = Some(kind(c));
            length > LONGEST_RUN
        })
}

/// A text in pieces without runs that are too long.
fn cut_runs(text: &str) -> Vec<&str> {
    let (mut pieces, mut from, mut length, mut last) = (Vec::new(), 0, 0, None);
    for (at, c) in text.char_indices() {
        if last != Some(kind(c)) {
            (last, length) = (Some(kind(c)), 0);
        }
        if length == LONGEST_RUN {
            pieces.push(&text[from..at]);
            (from, length) = (at, 0);
        }
        length += 1;
    }
    pieces.push(&text[from..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("lrc-{name}-{}.json", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn learned_tokens_give_every_text_back() {
        let texts =
            ["the state of the state", "fn main() { state }", "Zustände: 状態 <|endoftext|>"];
        let learned = learn(texts.into_iter(), 300).unwrap();
        assert_eq!(learned, learn(texts.into_iter(), 300).unwrap(), "learning is deterministic");
        let tokenizer = Tokenizer::open(&file(&learned, "learned"), None).unwrap();
        assert!(tokenizer.vocab() > 257 && tokenizer.vocab() <= 300);
        for text in texts {
            let tokens = tokenizer.encode(text).unwrap();
            assert!(tokens.len() < text.len());
            assert!(!tokens.contains(&tokenizer.end()), "a document cannot hold its own end");
            assert_eq!(tokenizer.decode(&tokens), text);
        }
    }

    #[test]
    fn a_file_that_is_no_tokenizer_is_refused() {
        for text in ["", "{}", "[1, 2]", "{\"model\": {\"type\": \"BPE\"}}"] {
            let said = Tokenizer::open(&file(text, "unsound"), None).unwrap_err().to_string();
            assert!(said.contains("not a sound tokenizer"), "{said}");
        }
    }
}
