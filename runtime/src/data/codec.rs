//! Between text and the tokens of a run.

use crate::data::Task;
use crate::data::tokenizer::Tokenizer;
use crate::ground::error::Failure;

/// What the tokens of a run stand for.
pub enum TextCodec {
    /// Numbers.
    Numbers,
    /// Bytes of a text without beginning or end.
    Bytes,
    /// Documents.
    Documents(Box<Tokenizer>),
}

impl TextCodec {
    /// That of a task.
    pub fn of(task: &Task) -> Result<TextCodec, Failure> {
        Ok(match task {
            Task::Text { .. } => TextCodec::Bytes,
            Task::Corpora(corpora) => match corpora.tokenizer()? {
                Some(tokenizer) => TextCodec::Documents(Box::new(tokenizer)),
                None => TextCodec::Numbers,
            },
            Task::Synthetic(_) => TextCodec::Numbers,
        })
    }

    /// Whether tokens stand for text.
    pub fn speaks(&self) -> bool {
        !matches!(self, TextCodec::Numbers)
    }

    /// Whether a token ends a document.
    pub fn ends(&self, token: u32) -> bool {
        matches!(self, TextCodec::Documents(tokenizer) if tokenizer.end() == token)
    }

    /// The text of tokens.
    pub fn text(&self, tokens: &[u32]) -> String {
        match self {
            TextCodec::Numbers => tokens.iter().map(|token| format!("{token} ")).collect(),
            TextCodec::Bytes => Tokenizer::Bytes.decode(tokens),
            TextCodec::Documents(tokenizer) => tokenizer.decode(tokens),
        }
    }

    /// The tokens of a text: text for a model of text, else numbers.
    pub fn tokens(&self, text: &str, vocab: usize) -> Result<Vec<u32>, Failure> {
        let wrong = |why: &str| Failure::Usage(format!("{text:?}: {why}"));
        let tokens = match self {
            TextCodec::Numbers => {
                let tokens: Result<Vec<u32>, _> = text.split_whitespace().map(str::parse).collect();
                tokens.map_err(|_| {
                    wrong("this model was not trained on text: give token numbers, such as \"3 17 4\"")
                })?
            }
            TextCodec::Bytes => Tokenizer::Bytes.encode(text)?,
            TextCodec::Documents(tokenizer) => tokenizer.encode(text)?,
        };
        if tokens.is_empty() && !matches!(self, TextCodec::Documents(_)) {
            return Err(wrong("expected at least one token"));
        }
        if tokens.iter().any(|token| *token as usize >= vocab) {
            return Err(wrong(&format!("tokens go up to {}", vocab - 1)));
        }
        Ok(tokens)
    }

    /// The tokens of a text that nothing comes before: a document begins with the token between documents, or with
    /// what its tokenizer puts there. They are never none.
    pub fn begun(&self, tokens: Vec<u32>) -> Vec<u32> {
        let TextCodec::Documents(tokenizer) = self else { return tokens };
        let begun = [tokenizer.begin(), tokens].concat();
        if begun.is_empty() { vec![tokenizer.end()] } else { begun }
    }
}
