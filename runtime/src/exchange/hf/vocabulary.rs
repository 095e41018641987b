//! What a folder says of its vocabulary, where a model goes out with another than it came with.

use std::path::Path;

use serde_json::Value as Json;

use super::folder::Described;
use crate::data::codec::TextCodec;
use crate::data::tokenizer::Tokenizer;
use crate::ground::atomic;
use crate::ground::error::Failure;

/// What of a folder belongs to its tokenizer; its numbers of tokens do too, which transformers then takes from `config.json`.
const OF_TOKENIZER: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "generation_config.json",
];

/// Tokens before and now, where these are others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resized {
    before: usize,
    now: usize,
}

impl Resized {
    /// Compares a configuration with the tokens of a model.
    pub fn of(config: &Json, now: usize) -> Option<Resized> {
        let before = config.get("vocab_size")?.as_u64()? as usize;
        (before != now).then_some(Resized { before, now })
    }

    /// The same tensor with as many rows as there are tokens now.
    pub fn tensor(self, described: &Described) -> Described {
        let of = |size: &usize| if *size == self.before { self.now } else { *size };
        Described { shape: described.shape.iter().map(of).collect(), ..described.clone() }
    }

    /// Gives a configuration the tokens there are now.
    pub fn configure(self, config: &mut Json) {
        config["vocab_size"] = self.now.into();
        let beyond = |x: &Json| x.as_u64().is_some_and(|x| x >= self.now as u64);
        if config.get("pad_token_id").is_some_and(beyond) {
            config["pad_token_id"] = Json::Null;
        }
    }
}

/// Whether a file of a folder goes out where the tokenizer is another: what belonged to the old one does not.
pub fn stays(name: &str, tokenizer: Option<&Tokenizer>) -> bool {
    tokenizer.is_none() || !OF_TOKENIZER.contains(&name)
}

/// The tokenizer of a run's data, where it is another than that of the folder that the run came from.
pub fn another(own: Option<Tokenizer>, kept: &Path) -> Result<Option<Tokenizer>, Failure> {
    let path = kept.join("tokenizer.json");
    let Some(own) = own else { return Ok(None) };
    // Bytes have no text of their own, and a folder without a file nothing to differ from.
    let known = match path.is_file() {
        true => Tokenizer::with_end(&path, own.end())?.text()?,
        false => None,
    };
    Ok(if known == own.text()? { None } else { Some(own) })
}

/// Writes a tokenizer, and what its tokens are for.
pub fn write(to: &Path, tokenizer: &Tokenizer, config: &mut Json) -> Result<(), Failure> {
    let codec = TextCodec::Documents(Box::new(tokenizer.clone()));
    for (name, text) in super::tokenizer::files(&codec)?.unwrap_or_default() {
        atomic::write(&to.join(name), text.as_bytes())?;
    }
    config["eos_token_id"] = tokenizer.end().into();
    if config.get("pad_token_id").is_some_and(|pad| !pad.is_null()) {
        config["pad_token_id"] = tokenizer.end().into();
    }
    config["bos_token_id"] = tokenizer.begin().first().map_or(Json::Null, |first| (*first).into());
    Ok(())
}
