//! What a model says of sequences that training never saw.

use std::path::Path;

use lrc_compiler::graph::{Model, Prepared};

use super::engine::Engine;
use super::{Metrics, checkpoint};
use crate::config::Spec;
use crate::data::{Dataset, HeldOut};
use crate::device::Device;
use crate::ground::error::Failure;
use crate::ops::loss::{NONE, Predictions, Score};

/// What a model answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Over all asked tokens.
    pub score: Score,
    /// Sequences in which something was asked.
    pub sequences: usize,
    /// Of these, in how many every answer was right.
    pub whole: usize,
    /// Mean loss and number of asked tokens by place in the sequence, in segments that double:
    /// the first token, the second, two more, four more and so on.
    pub places: Vec<(f64, usize)>,
}

impl Answers {
    /// Share of sequences in which every answer was right.
    pub fn exact(&self) -> f64 {
        self.whole as f64 / self.sequences.max(1) as f64
    }

    /// Takes in the answers to a batch: guesses and losses at each asked row, in order.
    fn add(&mut self, targets: &[u32], bounds: &[usize], said: &Predictions) {
        self.score.add(&said.score);
        let mut at = 0;
        for pair in bounds.windows(2) {
            let (mut asked, mut right) = (0, 0);
            for (place, target) in targets[pair[0]..pair[1]].iter().enumerate() {
                if *target == NONE {
                    continue;
                }
                asked += 1;
                right += usize::from(said.guesses[at] == *target);
                self.place(segment(place), f64::from(said.losses[at]));
                at += 1;
            }
            self.sequences += usize::from(asked > 0);
            self.whole += usize::from(asked > 0 && right == asked);
        }
    }

    fn place(&mut self, segment: usize, loss: f64) {
        if self.places.len() <= segment {
            self.places.resize(segment + 1, (0.0, 0));
        }
        let (mean, count) = &mut self.places[segment];
        *count += 1;
        *mean += (loss - *mean) / *count as f64;
    }

    /// As named numbers.
    pub fn metrics(&self, of: &HeldOut, source: &Dataset) -> Metrics {
        let Score { loss, .. } = self.score;
        let mut metrics: Metrics =
            [("accuracy".to_string(), self.score.accuracy()), ("loss".to_string(), loss)].into();
        if source.asks() {
            metrics.insert("exact".into(), self.exact());
        }
        if let Some(bytes) = of.bytes_per_token {
            metrics.insert("bits_per_byte".into(), loss / std::f64::consts::LN_2 / bytes);
        }
        metrics
    }
}

/// The segment of a place: 0, 1, 2 to 3, 4 to 7 and so on.
fn segment(place: usize) -> usize {
    (usize::BITS - place.leading_zeros()) as usize
}

/// First place of a segment, and the one behind its last.
pub fn places(segment: usize) -> [usize; 2] {
    if segment == 0 { [0, 1] } else { [1 << (segment - 1), 1 << segment] }
}

/// The answers to unseen sequences, a batch at a time.
pub fn held_out(
    engine: &mut Engine,
    source: &Dataset,
    set: &HeldOut,
    batch: usize,
) -> Result<Answers, Failure> {
    let mut answers = Answers::default();
    // Longer sequences come in smaller batches.
    let batch = batch.min(set.sequences).max(1);
    let mut first = 0;
    while first < set.sequences {
        let mut turn = Vec::new();
        while turn.len() < engine.processes() && first < set.sequences {
            let count = batch.min(set.sequences - first);
            turn.push(source.held_out_batch(set, first, count)?);
            first += count;
        }
        for (asked, said) in turn.iter().zip(engine.answers(&turn)?) {
            answers.add(&asked.targets, &asked.bounds, &said);
        }
    }
    Ok(answers)
}

/// How a trained run is measured.
#[derive(Clone, Debug)]
pub struct Request {
    /// Tokens of a sequence; without any, as the spec says.
    pub lengths: Vec<usize>,
    /// So many sequences of each set; all of a corpus without a number.
    pub sequences: Option<usize>,
    /// Layers that are taken out: see [`super::ablate`].
    pub ablate: Option<String>,
    /// The checkpoint after so many steps; without it, the newest one.
    pub step: Option<u64>,
    /// Where to run.
    pub device: Device,
}

/// Measures a checkpoint of a run on what it has not seen.
pub fn evaluate(
    spec: &Spec,
    model: Model,
    folder: &Path,
    request: &Request,
) -> Result<(Dataset, Vec<(HeldOut, Answers)>), Failure> {
    let params = checkpoint::parameters(folder, request.step, &model.graph.params)?;
    let mut asked = spec.asked();
    if !request.lengths.is_empty() {
        asked.lengths.clone_from(&request.lengths);
    }
    let source = Dataset::open_for(&spec.task, spec.seed, &asked, model.vocab)?;
    let prepared = match &request.ablate {
        Some(layers) => super::ablate::ablate(model, layers)?,
        None => Prepared::plain(model),
    };
    let mut engine = Engine::asked(prepared, &params, request.device)?;
    let mut sets = source.held_out(request.sequences);
    if sets.is_empty() {
        return Err(Failure::Usage("the data of this run keeps nothing for evaluation".into()));
    }
    if !request.lengths.is_empty() {
        sets.retain(|set| set.level.is_none() && request.lengths.contains(&set.length));
    }
    let answers = sets.into_iter().map(|set| {
        let found = held_out(&mut engine, &source, &set, spec.batch(set.length))?;
        Ok((set, found))
    });
    let answers: Result<_, Failure> = answers.collect();
    Ok((source, answers?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_sequence_and_by_place() {
        let targets = [1, NONE, 2, 3, NONE, 4, 5, NONE];
        let said = Predictions {
            score: Score { loss: 2.0, targets: 5, right: 4, ..Score::default() },
            guesses: vec![1, 2, 3, 9, 5],
            losses: vec![1.0, 3.0, 2.0, 2.5, 1.5],
        };
        let mut answers = Answers::default();
        answers.add(&targets, &[0, 4, 7, 8], &said);
        assert_eq!((answers.sequences, answers.whole), (2, 1));
        // Places 0; 1; 2 and 3 of both sequences.
        assert_eq!(answers.places[..2], [(1.0, 1), (2.5, 1)]);
        assert!((answers.places[2].0 - 6.5 / 3.0).abs() < 1e-12 && answers.places[2].1 == 3);
        assert_eq!((places(0), places(1), places(3)), ([0, 1], [1, 2], [4, 8]));
    }
}
