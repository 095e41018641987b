//! Scores of documents by a model that has learned before: what it finds hard.

use crate::data::score::Documents;
use crate::ground::error::Failure;
use crate::ops::batch::Batch;
use crate::train::engine::Engine;

/// The mean loss per token of a model, on the first `longest` tokens of each document.
pub fn scores(
    documents: &Documents,
    teacher: &mut Engine,
    longest: usize,
) -> Result<Vec<f32>, Failure> {
    let vocab = teacher.model().vocab;
    let mut scores = Vec::with_capacity(documents.count());
    for tokens in documents.beginnings(longest) {
        let tokens = tokens?;
        if tokens.iter().any(|token| *token as usize >= vocab) {
            return Err(Failure::Usage(
                "the teacher's vocabulary is smaller than that of the data".into(),
            ));
        }
        if tokens.len() < 2 {
            scores.push(0.0);
            continue;
        }
        let mut batch = Batch::default();
        batch.push(&tokens[..tokens.len() - 1], &tokens[1..]);
        scores.push(teacher.evaluate(&batch)?.score.loss as f32);
    }
    Ok(scores)
}
