//! Commands about a trained run: eval, generate.

use std::io::Write;
use std::path::Path;

use lrc_compiler::graph::Model;
use lrc_dsl::Sources;
use lrc_runtime::data::Task;
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
    let score =
        train::evaluate(&spec, model, &args.run, length, args.sequences, args.device.into())?;
    let (task, accuracy) = (spec.task.name(), score.accuracy());
    if args.json {
        say!(
            "{}",
            serde_json::json!({
                "task": task, "length": length, "accuracy": accuracy, "loss": score.loss,
                "asked": score.asked,
            })
        );
    } else {
        say!("{task}, {length} tokens: accuracy {accuracy:.4}, loss {:.4}", score.loss);
    }
    Ok(())
}

/// `lrc generate`
pub fn generate(args: &Generate, sources: &mut Sources) -> Result<(), Failure> {
    let (spec, model) = open(&args.run, sources)?;
    let bytes = matches!(spec.task, Task::Text { .. });
    let prompt = prompt(&args.prompt, bytes, model.vocab)?;
    let (_, numbers) = checkpoint::newest(&args.run, &model.graph.params)?;
    let executor = Executor::new(model, numbers.params);
    let sampling = Sampling { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p };
    let mut random = Stream::new(args.seed, Purpose::Sample, 0);
    let mut session = executor.session();
    let mut logits = session.feed(&prompt);
    let mut said = Vec::with_capacity(args.tokens);
    for at in 0..args.tokens {
        let token = sampling.draw(&logits, &mut random);
        said.push(token);
        // A reader that has gone away wants no more.
        if !args.json && !write_token(token, bytes) {
            return Ok(());
        }
        if at + 1 < args.tokens {
            logits = session.feed(&[token]);
        }
    }
    if args.json {
        let text = bytes.then(|| {
            let bytes: Vec<u8> = said.iter().map(|token| *token as u8).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        say!("{}", serde_json::json!({ "prompt": prompt, "tokens": said, "text": text }));
    } else {
        say!("");
    }
    Ok(())
}

/// Writes a token as its byte or its number; says whether anybody reads.
fn write_token(token: u32, bytes: bool) -> bool {
    let mut out = std::io::stdout();
    let written = if bytes { out.write_all(&[token as u8]) } else { write!(out, "{token} ") };
    written.and_then(|()| out.flush()).is_ok()
}

/// The tokens of a prompt: bytes for a model of text, else numbers.
fn prompt(text: &str, bytes: bool, vocab: usize) -> Result<Vec<u32>, Failure> {
    let tokens: Result<Vec<u32>, _> = if bytes {
        Ok(text.bytes().map(u32::from).collect())
    } else {
        text.split_whitespace().map(str::parse).collect()
    };
    let wrong = |why: &str| Failure::Usage(format!("--prompt {text:?}: {why}"));
    let tokens = tokens.map_err(|_| {
        wrong("this model was not trained on text: give token numbers, such as \"3 17 4\"")
    })?;
    if tokens.is_empty() {
        return Err(wrong("expected at least one token to go on from"));
    }
    if tokens.iter().any(|token| *token as usize >= vocab) {
        return Err(wrong(&format!("tokens go up to {}", vocab - 1)));
    }
    Ok(tokens)
}
