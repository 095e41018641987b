//! Commands about a trained run: eval, generate.

use std::io::IsTerminal;
use std::path::Path;

use lrc_compiler::graph::{Model, Prepared};
use lrc_dsl::{Sources, printable};
use lrc_runtime::config::{self, Spec};
use lrc_runtime::data::codec::Tongue;
use lrc_runtime::device::Device;
use lrc_runtime::eval::benchmark;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::ground::random::{Purpose, Stream};
use lrc_runtime::model::Executor;
use lrc_runtime::ops::sample::Sampling;
use lrc_runtime::train::engine::Engine;
use lrc_runtime::train::evaluate::{Answers, Request, evaluate, places};
use lrc_runtime::train::{ablate, checkpoint};

use crate::args::{Eval, Generate};
use crate::terminal::{self, say};

/// The spec and the model of a run; it keeps its model beside its spec.
pub fn open(run: &Path, sources: &mut Sources) -> Result<(Spec, Model), Failure> {
    // Its name is where it stands, whatever an earlier version let a name be.
    let own = [("model.file", "model.arch"), ("name", "run")];
    let own = own.map(|(path, value)| (path.to_string(), value.to_string()));
    let opened = config::open::open(&run.join("spec.resolved.yaml"), &own, sources)?;
    Ok((opened.spec, opened.model))
}

/// The model of a run as its newest checkpoint has it.
pub fn trained(run: &Path, sources: &mut Sources) -> Result<Engine, Failure> {
    let (_, model) = open(run, sources)?;
    let params = checkpoint::parameters(run, None, &model.graph.params)?;
    Engine::asked(Prepared::plain(model), params, Device::Cpu)
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
                "task": set.name, "length": set.length, "asked": answers.score.asked,
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
        return Ok(());
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
    Ok(())
}

/// Losses by place for JSON.
fn by_place(answers: &Answers) -> Vec<serde_json::Value> {
    let stretches = answers.places.iter().enumerate().filter(|(_, (_, asked))| *asked > 0);
    stretches
        .map(|(at, (loss, asked))| {
            let [from, to] = places(at);
            serde_json::json!({ "from": from, "to": to, "asked": asked, "loss": loss })
        })
        .collect()
}

/// `lrc eval --questions`
fn questions(args: &Eval, file: &Path, spec: &Spec, model: Model) -> Result<(), Failure> {
    let tongue = Tongue::of(&spec.task)?;
    let questions = benchmark::read(file, &tongue, model.vocab)?;
    let params = checkpoint::parameters(&args.run, args.from_step, &model.graph.params)?;
    let prepared = match &args.ablate {
        Some(layers) => ablate::ablate(model, layers)?,
        None => Prepared::plain(model),
    };
    let mut engine = Engine::asked(prepared, params, args.device.into())?;
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

/// `lrc generate`
pub fn generate(args: &Generate, sources: &mut Sources) -> Result<(), Failure> {
    let (spec, model) = open(&args.run, sources)?;
    let tongue = Tongue::of(&spec.task)?;
    let prompt = tongue.tokens(&args.prompt, model.vocab)?;
    let prompt = tongue.begun(prompt);
    let params = checkpoint::parameters(&args.run, args.from_step, &model.graph.params)?;
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
        write_text(&format!("{}\n", tongue.text(&said[held..])));
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
