//! Sums of the gradients of a step's parts, each process with those that it owns.
//!
//! Parts go round: in each round every process computes one, and what it found of a number goes to the owner of that number, who
//! adds in the order of parts. So a sum is `((s₀g₀ + s₁g₁) + s₂g₂) + …`, as one process alone computes it.

use std::sync::{Arc, Mutex};

use super::shards::{Shards, cut};
use super::words::of_numbers;
use super::{Group, Line, Pending};
use crate::device::parameters::{Parameters, Piece, Pieces};
use crate::ground::error::Failure;
use crate::ops::norm;

/// The sums of one step so far, per bucket; empty before its first part.
type Own = Arc<Mutex<Vec<Vec<f32>>>>;

/// What adds up the gradients of a step.
pub struct Sums {
    group: Arc<Group>,
    shards: Arc<Shards>,
    own: Own,
    /// Of this round.
    pending: Vec<Pending<()>>,
    /// Of the round before.
    before: Vec<Pending<()>>,
}

impl Sums {
    /// Of a model that is shared out so.
    pub fn new(group: Arc<Group>, shards: Arc<Shards>) -> Sums {
        let own = Arc::new(Mutex::new(vec![vec![]; shards.buckets.len()]));
        Sums { group, shards, own, pending: vec![], before: vec![] }
    }

    /// Begins a step.
    pub fn clear(&mut self) -> Result<(), Failure> {
        self.own.lock().map_err(|_| lost())?.iter_mut().for_each(Vec::clear);
        Ok(())
    }

    /// Begins a round. What the round before the last has found must have been added up: no more lies in memory.
    pub fn round(&mut self) -> Result<(), Failure> {
        std::mem::replace(&mut self.before, std::mem::take(&mut self.pending))
            .into_iter()
            .try_for_each(Pending::wait)
    }

    /// Sends what this process found of a bucket, where it has a part in this round; `shares` are the weights of the parts of
    /// the round, for as many processes as have one.
    pub fn add(
        &mut self,
        bucket: usize,
        found: Option<&Parameters>,
        shares: &Arc<Vec<f32>>,
    ) -> Result<(), Failure> {
        let mine = match found {
            Some(parameters) => read(&self.shards, bucket, parameters)?,
            None => vec![],
        };
        let (shards, own, shares) =
            (Arc::clone(&self.shards), Arc::clone(&self.own), Arc::clone(shares));
        self.pending.push(self.group.start(move |line| {
            let sent = exchange(line, &shards, bucket, &mine, shares.len())?;
            let mut own = own.lock().map_err(|_| lost())?;
            let sum = &mut own[bucket];
            for (share, words) in shares.iter().zip(&sent) {
                add(sum, words, *share);
            }
            Ok(())
        }));
        Ok(())
    }

    /// Waits until all is added up.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.round()?;
        self.round()
    }

    /// Does something for each piece that this process owns and its sums, in the order of buckets.
    fn each<R>(&self, done: impl Fn(Piece, &[f32]) -> R) -> Result<Vec<R>, Failure> {
        let own = self.own.lock().map_err(|_| lost())?;
        let buckets = self.shards.buckets.iter().zip(own.iter());
        let pieces =
            buckets.flat_map(|(bucket, sums)| cut(bucket.of(self.shards.place.rank), sums));
        Ok(pieces.map(|(piece, sums)| done(piece, sums)).collect())
    }

    /// The sums that this process owns.
    pub fn own(&self) -> Result<Pieces, Failure> {
        self.each(|piece, sums| (piece, sums.to_vec()))
    }

    /// The sums of squares of what this process owns, a number for each stretch that [`norm::norm`] would add up by itself, in
    /// the order of buckets.
    pub fn squares(&self) -> Result<Vec<f64>, Failure> {
        Ok(self.each(|_, sums| norm::squares(sums))?.concat())
    }

    /// The norm of all sums, from what each process says of [`Sums::squares`].
    pub fn norm(&self, squares: &[Vec<f64>]) -> f64 {
        let mut each: Vec<_> = squares.iter().map(|squares| squares.iter()).collect();
        let mut found: Vec<([usize; 2], f64)> = Vec::new();
        for bucket in &self.shards.buckets {
            for (piece, owner) in &bucket.pieces {
                let stretches = piece.words.div_ceil(norm::SHARE);
                let own = each[*owner].by_ref().take(stretches).enumerate();
                found.extend(own.map(|(at, x)| ([piece.span, piece.start + at * norm::SHARE], *x)));
            }
        }
        found.sort_by_key(|(at, _)| *at);
        found.iter().map(|(_, x)| x).sum::<f64>().sqrt()
    }
}

/// What is wrong where the thread that adds up has ended in the middle of it.
fn lost() -> Failure {
    Failure::World("the sums of gradients are lost".into())
}

/// The gradients of a bucket, in the order of its pieces.
fn read(shards: &Shards, bucket: usize, parameters: &Parameters) -> Result<Vec<u32>, Failure> {
    let mut words = Vec::new();
    for (piece, _) in &shards.buckets[bucket].pieces {
        let tensor = parameters.grads[piece.span].part(piece.start, piece.words);
        words.extend(of_numbers(&parameters.backend.read(tensor)?));
    }
    Ok(words)
}

/// Sends what was found of a bucket to the owners; gives what each of the first `parts` processes found of what this one owns.
fn exchange(
    line: &mut Line,
    shards: &Shards,
    bucket: usize,
    mine: &[u32],
    parts: usize,
) -> Result<Vec<Vec<u32>>, Failure> {
    let (bucket, place) = (&shards.buckets[bucket], shards.place);
    let (mut to, mut rest): (Vec<&[u32]>, _) = (vec![], mine);
    for owner in 0..place.size {
        // Pieces lie in the order of their owners.
        let (own, others) = rest.split_at(bucket.owned(owner).min(rest.len()));
        to.push(own);
        rest = others;
    }
    let own = bucket.owned(place.rank);
    let mut from: Vec<Vec<u32>> =
        (0..place.size).map(|rank| vec![0; if rank < parts { own } else { 0 }]).collect();
    line.exchange(&to, &mut from)?;
    from.truncate(parts);
    Ok(from)
}

/// `sum ← sum + share g`, which is `share g` in the beginning.
fn add(sum: &mut Vec<f32>, words: &[u32], share: f32) {
    let part = words.iter().map(|word| f32::from_bits(*word) * share);
    if sum.is_empty() {
        sum.extend(part);
    } else {
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
}
