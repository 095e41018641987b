//! Commands about a trained run: eval, generate.

use std::io::Write;
use std::path::Path;

use lrc_compiler::graph::Model;
use lrc_dsl::Sources;
use lrc_runtime::data::Task;
use lrc_runtime::data::tokenizer::Tokenizer;
use lrc_runtime::error::Failure;
use lrc_runtime::execute::Executor;
use lrc_runtime::random::{Purpose, Stream};
use lrc_runtime::sample::Sampling;
use lrc_runtime::spec::{self, Spec};
use lrc_runtime::train::{self, checkpoint};

use crate::args::{Eval, Generate};
use crate::terminal::say;

/// The spec and the model of a run; it keeps its model beside its spec.
fn open(run: &Path, sources: &mut Sources) -> Result<(Spec, Model), Failure> {
    let own = [("model.file".to_string(), "model.arch".to_string())];
    let opened = spec::open::open(&run.join("spec.resolved.yaml"), &own, sources)?;
    Ok((opened.spec, opened.model))
}

/// `lrc eval`
pub fn eval(args: &Eval, sources: &mut Sources) -> Result<(), Failure> {
    let (spec, model) = open(&args.run, sources)?;
    let length = args.length.unwrap_or(spec.task.length());
    if length < 2 || args.sequences == 0 {
        return Err(Failure::Usage("--length starts at 2 and --sequences at 1".into()));
    }
    let sequences = if args.all { None } else { Some(args.sequences) };
    let scores = train::evaluate(&spec, model, &args.run, length, sequences, args.device.into())?;
    let results: Vec<(&str, usize, train::Metrics)> = scores
        .iter()
        .map(|(set, score)| (set.name.as_str(), score.asked, train::metrics(set, score)))
        .collect();
    if args.json {
        let each = results.iter().map(|(task, asked, metrics)| {
            let mut line = serde_json::json!({ "task": task, "length": length, "asked": asked });
            if let (Some(line), Ok(serde_json::Value::Object(more))) =
                (line.as_object_mut(), serde_json::to_value(metrics))
            {
                line.extend(more);
            }
            line
        });
        let mut all: Vec<serde_json::Value> = each.collect();
        let json = if all.len() == 1 { all.remove(0) } else { all.into() };
        say!("{json}");
        return Ok(());
    }
    for (task, _, metrics) in results {
        let said: Vec<String> =
            metrics.iter().map(|(name, x)| format!("{} {x:.4}", name.replace('_', " "))).collect();
        say!("{task}, {length} tokens: {}", said.join(", "));
    }
    Ok(())
}

/// `lrc generate`
pub fn generate(args: &Generate, sources: &mut Sources) -> Result<(), Failure> {
    let (spec, model) = open(&args.run, sources)?;
    let tongue = Tongue::of(&spec)?;
    let prompt = tongue.prompt(&args.prompt, model.vocab)?;
    let newest = checkpoint::newest(&args.run)?;
    let params = checkpoint::read_model(&newest, &model.graph.params)?;
    let executor = Executor::new(model, params);
    let sampling = Sampling { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p };
    let mut random = Stream::new(args.seed, Purpose::Sample, 0);
    let mut session = executor.session();
    let mut logits = session.feed(&prompt);
    let mut said = Vec::with_capacity(args.tokens);
    // Tokens of which no text was written yet: a character may take several.
    let mut held = 0;
    for at in 0..args.tokens {
        let token = sampling.draw(&logits, &mut random);
        if tongue.ends(token) {
            break;
        }
        said.push(token);
        if !args.json {
            let text = tongue.text(&said[held..]);
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
            logits = session.feed(&[token]);
        }
    }
    if args.json {
        let text = tongue.speaks().then(|| tongue.text(&said));
        say!("{}", serde_json::json!({ "prompt": prompt, "tokens": said, "text": text }));
    } else {
        say!("{}", tongue.text(&said[held..]));
    }
    Ok(())
}

/// Writes a text; says whether anybody reads.
fn write_text(text: &str) -> bool {
    let mut out = std::io::stdout();
    write!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

/// What the tokens of a run stand for.
enum Tongue {
    /// Numbers.
    Numbers,
    /// Bytes of a text without beginning or end.
    Bytes,
    /// Documents.
    Documents(Tokenizer),
}

impl Tongue {
    fn of(spec: &Spec) -> Result<Tongue, Failure> {
        Ok(match &spec.task {
            Task::Text { .. } => Tongue::Bytes,
            Task::Corpora(corpora) => match corpora.tokenizer()? {
                Some(tokenizer) => Tongue::Documents(tokenizer),
                None => Tongue::Numbers,
            },
            _ => Tongue::Numbers,
        })
    }

    fn speaks(&self) -> bool {
        !matches!(self, Tongue::Numbers)
    }

    fn ends(&self, token: u32) -> bool {
        matches!(self, Tongue::Documents(tokenizer) if tokenizer.end() == token)
    }

    fn text(&self, tokens: &[u32]) -> String {
        match self {
            Tongue::Numbers => tokens.iter().map(|token| format!("{token} ")).collect(),
            Tongue::Bytes => Tokenizer::Bytes.decode(tokens),
            Tongue::Documents(tokenizer) => tokenizer.decode(tokens),
        }
    }

    /// The tokens of a prompt: text for a model of text, else numbers. A document begins with the
    /// token between documents.
    fn prompt(&self, text: &str, vocab: usize) -> Result<Vec<u32>, Failure> {
        let wrong = |why: &str| Failure::Usage(format!("--prompt {text:?}: {why}"));
        let tokens = match self {
            Tongue::Numbers => {
                let tokens: Result<Vec<u32>, _> = text.split_whitespace().map(str::parse).collect();
                tokens.map_err(|_| {
                    wrong("this model was not trained on text: give token numbers, such as \"3 17 4\"")
                })?
            }
            Tongue::Bytes => Tokenizer::Bytes.encode(text)?,
            Tongue::Documents(tokenizer) => {
                [vec![tokenizer.end()], tokenizer.encode(text)?].concat()
            }
        };
        if tokens.is_empty() {
            return Err(wrong("expected at least one token to go on from"));
        }
        if tokens.iter().any(|token| *token as usize >= vocab) {
            return Err(wrong(&format!("tokens go up to {}", vocab - 1)));
        }
        Ok(tokens)
    }
}
