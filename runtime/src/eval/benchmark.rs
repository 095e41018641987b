//! Questions from a file: the likeliest of several choices, or an answer word by word.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::codec::TextCodec;
use crate::ground::bounded;
use crate::ground::error::Failure;
use crate::ops::batch::Batch;
use crate::ops::loss::NONE;
use crate::train::engine::Engine;

/// One line of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    prompt: String,
    #[serde(default)]
    choices: Vec<String>,
    answer: serde_json::Value,
}

/// A question in tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    prompt: Vec<u32>,
    /// What may follow; a single one is the answer itself.
    choices: Vec<Vec<u32>>,
    right: usize,
}

/// How questions were answered.
#[derive(Clone, Debug, Serialize)]
pub struct Answered {
    /// Those with choices, if there are any.
    pub choices: Option<Choices>,
    /// Those to complete, if there are any.
    pub recall: Option<Recall>,
}

/// Questions with choices.
#[derive(Clone, Debug, Serialize)]
pub struct Choices {
    /// Questions.
    pub asked: usize,
    /// Share where the likeliest choice is the right one.
    pub right: f64,
    /// Share where the choice with the least loss per token is.
    pub right_per_token: f64,
    /// Share that guessing would get.
    pub chance: f64,
}

/// Questions to complete.
#[derive(Clone, Debug, Serialize)]
pub struct Recall {
    /// Questions.
    pub asked: usize,
    /// Share whose likeliest continuation, token by token, is the answer.
    pub exact: f64,
    /// Share of the answers' tokens that are the likeliest after those before.
    pub tokens: f64,
}

/// The most bytes of a file of questions.
const MOST_BYTES: u64 = 1 << 28;

/// Reads questions.
pub fn read(file: &Path, codec: &TextCodec, vocab: usize) -> Result<Vec<Question>, Failure> {
    let text = bounded::text(file, MOST_BYTES)?;
    let mut questions = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong =
            |why: String| Failure::Usage(format!("{}, line {}: {why}", file.display(), at + 1));
        let line: Line = serde_json::from_str(line).map_err(|error| {
            wrong(format!(
                "{error}; expected {{\"prompt\": …, \"choices\": […], \"answer\": 0}} or {{\"prompt\": …, \"answer\": \"…\"}}"
            ))
        })?;
        let (choices, right) = match (&line.answer, line.choices.len()) {
            (serde_json::Value::String(answer), 0) => (vec![answer.clone()], 0),
            (serde_json::Value::Number(number), count @ 2..) => {
                let right = number.as_u64().map(|n| n as usize).filter(|n| *n < count);
                let why = || wrong(format!("`answer` is a number from 0 to {}", count - 1));
                (line.choices, right.ok_or_else(why)?)
            }
            (_, 0) => return Err(wrong("`answer` is a text where there are no choices".into())),
            (_, 1) => return Err(wrong("one choice is none".into())),
            _ => return Err(wrong("`answer` is the number of the right choice, from 0".into())),
        };
        let tokens = |text: &str| codec.tokens(text, vocab);
        let prompt = codec.begun(tokens(&line.prompt)?);
        let choices: Vec<Vec<u32>> =
            choices.iter().map(|text| tokens(text)).collect::<Result<_, Failure>>()?;
        if prompt.is_empty() || choices.iter().any(Vec::is_empty) {
            return Err(wrong("a prompt or an answer is empty".into()));
        }
        questions.push(Question { prompt, choices, right });
    }
    if questions.is_empty() {
        return Err(Failure::Usage(format!("{} holds no question", file.display())));
    }
    Ok(questions)
}

/// Asks a model. Prompt and answer are tokenised apart, so that both keep their tokens.
pub fn ask(engine: &mut Engine, questions: &[Question]) -> Result<Answered, Failure> {
    let (mut choices, mut recall) = (Vec::new(), Vec::new());
    for (number, question) in questions.iter().enumerate() {
        let mut batch = Batch::default();
        for choice in &question.choices {
            let tokens = [&question.prompt[..], &choice[..choice.len() - 1]].concat();
            let mut targets = vec![NONE; question.prompt.len() - 1];
            targets.extend(choice);
            batch.push(&tokens, &targets);
        }
        let said = engine.evaluate(&batch)?;
        if said.losses.iter().any(|loss| loss.is_nan()) {
            return Err(Failure::Diverged(format!(
                "the loss of an answer to question {} is not a number: the model's parameters have diverged",
                number + 1
            )));
        }
        if let [only] = &question.choices[..] {
            let right = only.iter().zip(&said.guesses).filter(|(a, b)| a == b).count();
            recall.push([right, only.len()]);
            continue;
        }
        let mut losses = said.losses.iter();
        let sums: Vec<f64> = question
            .choices
            .iter()
            .map(|choice| losses.by_ref().take(choice.len()).map(|x| f64::from(*x)).sum())
            .collect();
        let least = |of: &dyn Fn(usize) -> f64| {
            (0..sums.len()).min_by(|a, b| of(*a).total_cmp(&of(*b))) == Some(question.right)
        };
        let per_token = |at: usize| sums[at] / question.choices[at].len() as f64;
        choices.push((least(&|at| sums[at]), least(&per_token), 1.0 / sums.len() as f64));
    }
    let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
    let many = choices.len();
    Ok(Answered {
        choices: (many > 0).then(|| Choices {
            asked: many,
            right: share(choices.iter().filter(|c| c.0).count(), many),
            right_per_token: share(choices.iter().filter(|c| c.1).count(), many),
            chance: choices.iter().map(|c| c.2).sum::<f64>() / many as f64,
        }),
        recall: (!recall.is_empty()).then(|| Recall {
            asked: recall.len(),
            exact: share(recall.iter().filter(|[a, b]| a == b).count(), recall.len()),
            tokens: share(recall.iter().map(|r| r[0]).sum(), recall.iter().map(|r| r[1]).sum()),
        }),
    })
}
