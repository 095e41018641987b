//! What several processes do together in a step: each computes some of its parts, owns some of its sums, updates some of the
//! parameters.

use std::borrow::Cow;
use std::sync::Arc;

use super::engine::{Engine, Found, share};
use crate::device::parameters::{Parameters, Piece, Pieces};
use crate::device::store::Tensor;
use crate::ground::error::Failure;
use crate::model::measure::Measured;
use crate::model::segments::Segments;
use crate::model::{Trained, Walk};
use crate::ops::batch::Batch;
use crate::ops::loss::{Predictions, Score};
use crate::optim::state::{Held, State};
use crate::optim::{ParamGroup, Rates};
use crate::parallel::shards::{Shards, collect};
use crate::parallel::sums::Sums;
use crate::parallel::words::{Reader, Writer, of_numbers, to_numbers};
use crate::parallel::{Group, Place};

/// A model that several processes train.
pub(super) struct Shared {
    group: Arc<Group>,
    shards: Arc<Shards>,
    sums: Sums,
    places: Places,
}

/// Refuses steps with fewer tokens than segments.
pub(super) fn too_short(segments: usize, tokens: usize) -> Failure {
    Failure::Usage(format!(
        "`segments: {segments}`, and a step has {tokens} tokens, which are too few: make `segments` smaller"
    ))
}

/// Where a step is computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// So many neighbouring processes hold a segment each of every part.
    pub segments: usize,
    /// Whether what is shared lies on devices, which add up and copy by themselves.
    pub on_devices: bool,
}

impl Places {
    /// The processes that hold the segments of a part, where there are several.
    pub(super) fn segments(self, group: &Arc<Group>) -> Result<Option<Segments>, Failure> {
        let count = self.segments;
        if count == 1 {
            return Ok(None);
        }
        group.place().holds(count)?;
        Ok(Some(Segments::new(Arc::clone(group), count)))
    }

    /// Parts, cut into the segments that processes hold.
    fn cut(self, parts: &[Batch]) -> Result<Cow<'_, [Batch]>, Failure> {
        let count = self.segments;
        if count == 1 {
            return Ok(Cow::Borrowed(parts));
        }
        // What is too short for so many segments goes with the part before it.
        let mut long: Vec<Batch> = vec![];
        for part in parts {
            match long.last_mut() {
                Some(last) if part.rows() < count => last.append(part),
                _ => long.push(part.clone()),
            }
        }
        match long.first() {
            Some(first) if first.rows() < count => Err(too_short(count, first.rows())),
            _ => Ok(long.iter().flat_map(|part| part.segments(count)).collect::<Vec<_>>().into()),
        }
    }
}

impl Shared {
    /// Shares a model out.
    pub(super) fn new(
        group: Arc<Group>,
        walk: &Walk,
        param_groups: &[ParamGroup],
        places: Places,
    ) -> Shared {
        let nodes = walk.prepared().model.graph.nodes.node_weights();
        let mut ready = vec![0; param_groups.len()];
        for (at, node) in nodes.enumerate() {
            node.gives.iter().for_each(|param| ready[param.0] = at);
        }
        let whole: Vec<bool> = param_groups.iter().map(ParamGroup::whole).collect();
        let shards = Shards::new(&walk.parameters.layout, &ready, &whole, group.place());
        let shards = Arc::new(shards);
        let sums = Sums::new(Arc::clone(&group), Arc::clone(&shards));
        Shared { sums, group, shards, places }
    }

    /// What this process updates.
    pub(super) fn own(&self) -> Vec<Piece> {
        self.shards.own()
    }

    /// What all processes hold of their pieces, for the first one or for all; nothing for the others.
    pub(super) fn collect(
        &self,
        state: &State,
        model: &Parameters,
        what: Held,
        to_all: bool,
    ) -> Result<Pieces, Failure> {
        let held = state.held(model, what)?;
        let spans = model.layout.spans().iter();
        let has: Vec<bool> = spans.map(|span| state.has(span.group, what)).collect();
        self.brought(held, move |piece| has[piece.span], to_all)
    }

    /// Brings pieces to the first process, or to all.
    fn brought(
        &self,
        held: Pieces,
        wanted: impl Fn(Piece) -> bool + Send + 'static,
        to_all: bool,
    ) -> Result<Pieces, Failure> {
        let shards = Arc::clone(&self.shards);
        let mine: Vec<Vec<u32>> = held.iter().map(|(_, numbers)| of_numbers(numbers)).collect();
        self.group.start(move |line| collect(line, &shards, &wanted, &mine, to_all)).wait()
    }

    /// The largest of what processes have measured: parts show their largest too.
    pub(super) fn largest(&self, mine: Measured) -> Result<Measured, Failure> {
        let mut said = Writer::default();
        let count: usize = mine.values().map(|names| names.len()).sum();
        said.whole(count as u64);
        for (layer, names) in &mine {
            for (name, x) in names {
                said.text(layer);
                said.text(name);
                said.real(*x);
            }
        }
        let mut all = Measured::new();
        for words in self.group.gather(said.0)? {
            let mut said = Reader(&words);
            for _ in 0..said.whole()? {
                let (layer, name, x) = (said.text()?, said.text()?, said.real()?);
                let known = all.entry(layer).or_default().entry(name);
                known.and_modify(|known| *known = known.max(x)).or_insert(x);
            }
        }
        Ok(all)
    }

    /// Updates the parameters: each process its own pieces, which then go to all.
    pub(super) fn update(
        &self,
        state: &mut State,
        model: &mut Parameters,
        rates: &Rates,
        norm: f64,
    ) -> Result<(), Failure> {
        if self.places.on_devices {
            state.step(model, rates, norm)?;
            let values = self.each(&model.values);
            return model.backend.broadcast(&values);
        }
        for (piece, sums) in self.sums.own()? {
            model.backend.write(piece.of(&model.grads), &sums)?;
        }
        state.step(model, rates, norm)?;
        let own = state
            .pieces()
            .iter()
            .map(|piece| Ok((*piece, model.backend.read(piece.of(&model.values))?.into_owned())));
        let own: Pieces = own.collect::<Result<_, Failure>>()?;
        for (piece, numbers) in self.brought(own, |_| true, true)? {
            if !state.pieces().contains(&piece) {
                model.backend.write(piece.of(&model.values), &numbers)?;
            }
        }
        Ok(())
    }

    /// Sends what is complete behind a node.
    fn send(
        &mut self,
        behind: usize,
        next: &mut usize,
        found: Option<&Parameters>,
        shares: &Arc<Vec<f32>>,
    ) -> Result<(), Failure> {
        while self.shards.buckets.get(*next).is_some_and(|bucket| bucket.ready <= behind) {
            self.sums.add(*next, found, shares)?;
            *next += 1;
        }
        Ok(())
    }

    /// All pieces of tensors for each span, with their owners, as devices exchange them.
    fn each(&self, spans: &[Tensor]) -> Vec<(Tensor, usize)> {
        self.shards.all().iter().map(|(piece, owner)| (piece.of(spans), *owner)).collect()
    }

    /// Tells the others what this process's parts have said, and the squares of the sums that it owns; the norm comes of
    /// what all say of these.
    fn told(
        &self,
        mine: &[Score],
        norms: &[f64],
        squares: &[f64],
        asked: &[usize],
        norm: impl Fn(&[Vec<f64>]) -> f64,
    ) -> Result<Found, Failure> {
        let mut said = Writer::default();
        let parts = asked.len();
        mine.iter().for_each(|score| write(&mut said, score));
        said.reals(norms);
        said.reals(squares);
        let Place { size, .. } = self.group.place();
        let (mut scores, mut norms) = (vec![Score::default(); parts], vec![0.0; parts]);
        let mut each = Vec::new();
        for (rank, words) in self.group.gather(said.0)?.iter().enumerate() {
            let mut said = Reader(words);
            for at in (rank..parts).step_by(size) {
                scores[at] = read(&mut said)?;
            }
            let asking = (rank..parts).step_by(size).filter(|at| asked[*at] > 0);
            asking.zip(said.reals()?).for_each(|(at, norm)| norms[at] = norm);
            each.push(said.reals()?);
        }
        let watched: Vec<f64> =
            norms.iter().zip(asked).filter(|(_, own)| **own > 0).map(|(norm, _)| *norm).collect();
        Ok(Found { scores, norms: watched, norm: norm(&each) })
    }

    /// What all processes say, each of its batches, in the order of processes.
    pub(super) fn predictions(&self, mine: &[Predictions]) -> Result<Vec<Predictions>, Failure> {
        let mut said = Writer::default();
        said.whole(mine.len() as u64);
        for Predictions { score, guesses, losses } in mine {
            write(&mut said, score);
            said.words(guesses);
            said.words(&of_numbers(losses));
        }
        let mut all = Vec::new();
        for words in self.group.gather(said.0)? {
            let mut said = Reader(&words);
            for _ in 0..said.whole()? {
                let (score, guesses) = (read(&mut said)?, said.words()?);
                all.push(Predictions { score, guesses, losses: to_numbers(&said.words()?) });
            }
        }
        Ok(all)
    }

    /// The processes.
    pub(super) fn place(&self) -> Place {
        self.group.place()
    }
}

fn write(said: &mut Writer, score: &Score) {
    let Score { loss, targets, right, auxiliary, log_z } = *score;
    said.real(loss);
    said.whole(targets as u64);
    said.whole(right as u64);
    said.real(auxiliary);
    said.real(log_z);
}

fn read(said: &mut Reader) -> Result<Score, Failure> {
    Ok(Score {
        loss: said.real()?,
        targets: said.whole()? as usize,
        right: said.whole()? as usize,
        auxiliary: said.real()?,
        log_z: said.real()?,
    })
}

impl Engine {
    /// The gradient by all processes: part `r`, `r + n`, `r + 2n` and so on by process `r` of `n`. What is complete on the way
    /// back is sent while the rest is computed.
    pub(super) fn found_by_all(
        &mut self,
        parts: &[Batch],
        step: u64,
        watched: bool,
    ) -> Result<Found, Failure> {
        let Some(mut shared) = self.shared.take() else {
            return Err(Failure::Usage("no other process trains this model".into()));
        };
        let found = shared.places.cut(parts).and_then(|parts| {
            let asked: Vec<usize> = parts.iter().map(Batch::asked).collect();
            if shared.places.on_devices {
                self.found_by_devices(&shared, &parts, &asked, step, watched)
            } else {
                self.found_by_sums(&mut shared, &parts, &asked, step, watched)
            }
        });
        self.shared = Some(shared);
        found
    }

    /// The gradient, whose sums go through the memory of the processor.
    fn found_by_sums(
        &mut self,
        shared: &mut Shared,
        parts: &[Batch],
        asked: &[usize],
        step: u64,
        watched: bool,
    ) -> Result<Found, Failure> {
        let (mine, norms) = self.in_rounds(shared, parts, asked, step, watched)?;
        shared.sums.finish()?;
        let (sums, squares) = (&shared.sums, shared.sums.squares()?);
        let found = shared.told(&mine, &norms, &squares, asked, |each| sums.norm(each))?;
        if self.walk.watch.is_some() {
            // Layers are measured on the whole gradient.
            let parameters = &mut self.walk.parameters;
            for (piece, sums) in shared.brought(shared.sums.own()?, |_| true, true)? {
                parameters.backend.write(piece.of(&parameters.grads), &sums)?;
            }
        }
        Ok(found)
    }

    /// The gradient, which devices add up: first that of this process's parts, as one process does it, then over processes.
    fn found_by_devices(
        &mut self,
        shared: &Shared,
        parts: &[Batch],
        asked: &[usize],
        step: u64,
        watched: bool,
    ) -> Result<Found, Failure> {
        let Place { rank, size, .. } = shared.place();
        let whole = asked.iter().sum();
        let mine: Vec<usize> = (rank..parts.len()).step_by(size).collect();
        for (turn, at) in mine.iter().enumerate() {
            // Segments of a part drop by its rows.
            self.draws(step, at / shared.places.segments);
            self.walk.start(&parts[*at])?;
            if watched && asked[*at] > 0 {
                self.squares()?;
            }
            if let Some(state) = &mut self.optimizer {
                let place = [turn, mine.len()];
                let share = share(parts[*at].weight(), whole);
                state.accumulate(&mut self.walk.parameters, place, share)?;
            }
        }
        if mine.len() < parts.len().div_ceil(size) {
            self.walk.idle(&mut |_, _| Ok(()))?;
        }
        let parameters = &mut self.walk.parameters;
        if mine.is_empty() {
            let grads = parameters.grads.clone();
            grads.into_iter().try_for_each(|grads| parameters.backend.clear(grads))?;
        }
        let grads = shared.each(&parameters.grads);
        parameters.backend.reduce(&grads)?;
        let own = grads.iter().filter(|(_, owner)| *owner == rank).map(|(grads, _)| *grads);
        parameters.backend.squares(&own.collect::<Vec<_>>())?;
        let own: Vec<usize> = mine.iter().map(|at| asked[*at]).collect();
        let Trained { scores, mut norms } = self.walk.trained(&own)?;
        let square = norms.pop().unwrap_or(f64::NAN).powi(2);
        let norm = |each: &[Vec<f64>]| each.iter().flatten().sum::<f64>().sqrt();
        let found = shared.told(&scores, &norms, &[square], asked, norm)?;
        if self.walk.watch.is_some() {
            self.walk.parameters.backend.broadcast(&grads)?;
        }
        Ok(found)
    }

    /// Computes this process's parts of a step; gives what they say, and their norms where layers are watched.
    fn in_rounds(
        &mut self,
        shared: &mut Shared,
        parts: &[Batch],
        asked: &[usize],
        step: u64,
        watched: bool,
    ) -> Result<(Vec<Score>, Vec<f64>), Failure> {
        let Place { rank, size, .. } = shared.place();
        let whole = asked.iter().sum();
        let mut own = vec![];
        shared.sums.clear()?;
        for first in (0..parts.len()).step_by(size) {
            let round = first..parts.len().min(first + size);
            let shares = parts[round.clone()].iter().map(|own| share(own.weight(), whole) as f32);
            let shares = Arc::new(shares.collect::<Vec<f32>>());
            shared.sums.round()?;
            let (at, mut next) = (first + rank, 0);
            if !round.contains(&at) {
                self.walk.idle(&mut |behind, _| shared.send(behind, &mut next, None, &shares))?;
                continue;
            }
            // Segments of a part drop by its rows.
            self.draws(step, at / shared.places.segments);
            self.walk.start_with(&parts[at], &mut |behind, parameters| {
                shared.send(behind, &mut next, Some(parameters), &shares)
            })?;
            if watched && asked[at] > 0 {
                self.squares()?;
            }
            own.push(asked[at]);
        }
        let Trained { scores, norms } = self.walk.trained(&own)?;
        Ok((scores, norms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_shorter_than_their_segments_go_with_others() {
        let part = |rows: u32| {
            let mut batch = Batch::default();
            (0..rows / 2).for_each(|at| batch.push(&[at, at], &[at, at]));
            batch
        };
        let places = Places { segments: 4, on_devices: false };
        let parts = [part(4), part(6), part(2)];
        let cut = places.cut(&parts).unwrap();
        let rows: Vec<usize> = cut.iter().map(Batch::rows).collect();
        assert_eq!(rows, [1, 1, 1, 1, 2, 2, 2, 2]);
        assert!(cut.iter().all(|one| one.segment.as_ref().unwrap().count() == 4));
        let said = places.cut(&[part(2)]).unwrap_err().to_string();
        assert!(said.contains("a step has 2 tokens"), "{said}");
    }
}
