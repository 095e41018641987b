//! `lrc eval`: a trained run on unseen data.

use std::path::{Path, PathBuf};

use lrc_compiler::graph::{Model, Prepared};
use lrc_dsl::Sources;
use lrc_runtime::config::Spec;
use lrc_runtime::data::HeldOut;
use lrc_runtime::data::codec::TextCodec;
use lrc_runtime::eval::benchmark;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::train::engine::Engine;
use lrc_runtime::train::evaluate::{Answers, Request, evaluate, places};
use lrc_runtime::train::{ablate, checkpoint};

use crate::args::{Device, SEQUENCES, count};
use crate::commands::trained::open;
use crate::terminal::say;

/// Arguments of `lrc eval`.
#[derive(Debug, clap::Args)]
pub struct Eval {
    /// A run's folder.
    pub run: PathBuf,
    /// Tokens of a sequence, or several: `256,1024` [default: as the spec says].
    #[arg(long, value_delimiter = ',')]
    pub length: Vec<usize>,
    /// Also say the loss by place in the sequence.
    #[arg(long)]
    pub places: bool,
    /// Without what these layers add: names of mixers, `attention`, or single layers, `layers.4.attention`.
    #[arg(long, value_name = "LAYERS")]
    pub ablate: Option<String>,
    /// Ask the questions of a file instead, one JSON object per line: a `prompt` with `choices` and the number of the
    /// right one in `answer`, or with the text of the right `answer`.
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["length", "places"])]
    pub questions: Option<PathBuf>,
    /// Unseen sequences.
    #[arg(long, default_value_t = 512, value_parser = count(SEQUENCES))]
    pub sequences: usize,
    /// All unseen sequences of a corpus.
    #[arg(long, conflicts_with = "sequences")]
    pub all: bool,
    /// Take the checkpoint after so many steps instead of the newest one.
    #[arg(long, value_name = "STEP")]
    pub from_step: Option<u64>,
    /// Where to run.
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// `lrc eval`
pub fn eval(args: &Eval, sources: &mut Sources) -> Result<(), Failure> {
    let (spec, model) = open(&args.run, sources)?;
    if let Some(file) = &args.questions {
        return questions(args, file, &spec, model);
    }
    let wrong = |length: &usize| spec.task.wrong_at(*length, None);
    if let Some((message, help)) = args.length.iter().find_map(wrong) {
        return Err(Failure::Usage(format!("--length: {message} ({help})")));
    }
    let request = Request {
        lengths: args.length.clone(),
        sequences: if args.all { None } else { Some(args.sequences) },
        ablate: args.ablate.clone(),
        step: args.from_step,
        device: args.device.into(),
    };
    let (source, found) = evaluate(&spec, model, &args.run, &request)?;
    if args.json {
        let each = found.iter().map(|(set, answers)| {
            let mut line = serde_json::json!({
                "task": set.name, "length": set.length, "asked": answers.score.targets,
            });
            if let (Some(line), Ok(serde_json::Value::Object(more))) =
                (line.as_object_mut(), serde_json::to_value(answers.metrics(set, &source)))
            {
                line.extend(more);
                if args.places {
                    line.insert("places".into(), by_place(answers).into());
                }
            }
            line
        });
        let mut all: Vec<serde_json::Value> = each.collect();
        let json = if all.len() == 1 { all.remove(0) } else { all.into() };
        say!("{json}");
        return numbers(&found);
    }
    for (set, answers) in &found {
        let metrics = answers.metrics(set, &source);
        let said: Vec<String> =
            metrics.iter().map(|(name, x)| format!("{} {x:.4}", name.replace('_', " "))).collect();
        let tokens = if set.name.ends_with("tokens") {
            String::new()
        } else {
            format!(", {} tokens", set.length)
        };
        say!("{}{tokens}: {}", set.name, said.join(", "));
        if args.places {
            say!("{:>16} {:>10} {:>10} {:>12}", "place", "asked", "loss", "perplexity");
            for (at, (loss, asked)) in answers.places.iter().enumerate().filter(|(_, p)| p.1 > 0) {
                let [from, to] = places(at);
                let place = if to - from == 1 {
                    format!("{from}")
                } else {
                    format!("{from} to {}", to - 1)
                };
                say!("{place:>16} {asked:>10} {loss:>10.4} {:>12.3}", loss.exp());
            }
        }
    }
    numbers(&found)
}

/// Refuses losses that are no numbers: whoever reads the status alone takes them for results.
fn numbers(found: &[(HeldOut, Answers)]) -> Result<(), Failure> {
    match found.iter().find(|(_, answers)| !answers.score.loss.is_finite()) {
        Some((set, answers)) => {
            let loss = answers.score.loss;
            Err(Failure::Diverged(format!("the loss on {} is {loss}", set.name)))
        }
        None => Ok(()),
    }
}

/// Losses by place for JSON.
fn by_place(answers: &Answers) -> Vec<serde_json::Value> {
    let segments = answers.places.iter().enumerate().filter(|(_, (_, asked))| *asked > 0);
    segments
        .map(|(at, (loss, asked))| {
            let [from, to] = places(at);
            serde_json::json!({ "from": from, "to": to, "asked": asked, "loss": loss })
        })
        .collect()
}

/// `lrc eval --questions`
fn questions(args: &Eval, file: &Path, spec: &Spec, model: Model) -> Result<(), Failure> {
    let codec = TextCodec::of(&spec.task)?;
    let questions = benchmark::read(file, &codec, model.vocab)?;
    let params = checkpoint::parameters(&args.run, args.from_step, &model.graph.params)?;
    let prepared = match &args.ablate {
        Some(layers) => ablate::ablate(model, layers)?,
        None => Prepared::plain(model),
    };
    let mut engine = Engine::asked(prepared, &params, args.device.into())?;
    let result = benchmark::ask(&mut engine, &questions)?;
    if args.json {
        let json = serde_json::to_string(&result).map_err(|e| Failure::World(e.to_string()))?;
        say!("{json}");
        return Ok(());
    }
    if let Some(choices) = &result.choices {
        say!(
            "{} questions with choices: {:.4} right, {:.4} by loss per token; guessing gives {:.4}",
            choices.asked,
            choices.right,
            choices.right_per_token,
            choices.chance
        );
    }
    if let Some(recall) = &result.recall {
        say!(
            "{} questions to complete: {:.4} word by word, {:.4} of the tokens",
            recall.asked,
            recall.exact,
            recall.tokens
        );
    }
    Ok(())
}
