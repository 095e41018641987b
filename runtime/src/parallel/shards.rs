//! Which process owns which numbers: sums of gradients, what the optimiser remembers, and the update of the parameters.
//!
//! What is exchanged together is a bucket: parameters whose gradients are complete at about the same time on the way back. Each
//! process owns an even share of every bucket.

use super::words::to_numbers;
use super::{Line, Place};
use crate::device::parameters::{Layout, Piece, Pieces};
use crate::ground::error::Failure;
use crate::ops::norm;

/// Numbers of a bucket, at least where there are more.
const BUCKET: usize = 1 << 20;

/// What is exchanged together.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// In order of their owners: piece, owner.
    pub pieces: Vec<(Piece, usize)>,
    /// The node of the model behind which the gradients of all of them are complete.
    pub ready: usize,
}

impl Bucket {
    /// Numbers that a process owns of it.
    pub fn owned(&self, rank: usize) -> usize {
        self.of(rank).map(|piece| piece.words).sum()
    }

    /// The pieces that a process owns.
    pub fn of(&self, rank: usize) -> impl Iterator<Item = Piece> + '_ {
        self.pieces.iter().filter(move |(_, owner)| *owner == rank).map(|(piece, _)| *piece)
    }
}

/// Who owns what of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Shards {
    /// In the order in which they are complete.
    pub buckets: Vec<Bucket>,
    /// Which process this is.
    pub place: Place,
}

impl Shards {
    /// Shares the numbers of a layout out. `ready` says behind which node the gradient of each parameter is complete, `whole`
    /// which parameters one process must update as a whole.
    pub fn new(layout: &Layout, ready: &[usize], whole: &[bool], place: Place) -> Shards {
        let mut units: Vec<(usize, Piece)> = Vec::new();
        for (at, span) in layout.trained_spans().iter().enumerate() {
            let members: Vec<usize> = layout.members(at).collect();
            let last = members.iter().map(|param| ready[*param]).max().unwrap_or(0);
            if members.iter().any(|param| whole[*param]) {
                let starts: Vec<usize> = members.iter().map(|param| layout.start(*param)).collect();
                let ends = starts.iter().skip(1).copied().chain([span.words]);
                units.extend(starts.iter().zip(ends).map(|(start, end)| {
                    (last, Piece { span: at, start: *start, words: end - start })
                }));
            } else {
                // Cut where norms are: what they add up to does not depend on who adds.
                units.extend((0..span.words).step_by(norm::SHARE).map(|start| {
                    let words = norm::SHARE.min(span.words - start);
                    (last, Piece { span: at, start, words })
                }));
            }
        }
        units.sort_by_key(|(ready, piece)| (*ready, piece.span, piece.start));
        let mut buckets: Vec<(usize, Vec<Piece>)> = Vec::new();
        let mut room = 0;
        for (ready, piece) in units {
            if room == 0 {
                buckets.push((ready, vec![]));
                room = BUCKET;
            }
            if let Some((last, pieces)) = buckets.last_mut() {
                *last = ready;
                pieces.push(piece);
            }
            room = room.saturating_sub(piece.words);
        }
        let buckets = buckets
            .into_iter()
            .map(|(ready, pieces)| Bucket { pieces: shared_out(&pieces, place.size), ready });
        Shards { buckets: buckets.collect(), place }
    }

    /// The pieces of this process, in the order of buckets.
    pub fn own(&self) -> Vec<Piece> {
        self.buckets.iter().flat_map(|bucket| bucket.of(self.place.rank)).collect()
    }

    /// All pieces with their owners, in the order of a layout.
    pub fn all(&self) -> Vec<(Piece, usize)> {
        let mut all: Vec<(Piece, usize)> =
            self.buckets.iter().flat_map(|bucket| bucket.pieces.iter().copied()).collect();
        all.sort_by_key(|(piece, _)| (piece.span, piece.start));
        all
    }
}

/// Gives neighbouring pieces to each process, as even as they can be, and joins what then lies side by side.
fn shared_out(pieces: &[Piece], size: usize) -> Vec<(Piece, usize)> {
    let whole: usize = pieces.iter().map(|piece| piece.words).sum();
    let (mut out, mut before): (Vec<(Piece, usize)>, usize) = (vec![], 0);
    for piece in pieces {
        // By its middle: the last one ends at the end.
        let owner = (2 * before + piece.words) * size / (2 * whole).max(1);
        before += piece.words;
        let beside = out.last_mut().filter(|(last, last_owner)| {
            *last_owner == owner
                && last.span == piece.span
                && last.start + last.words == piece.start
        });
        match beside {
            Some((last, _)) => last.words += piece.words,
            None => out.push((*piece, owner.min(size - 1))),
        }
    }
    out
}

/// What lies one piece after the other, piece by piece.
pub fn cut<T>(
    pieces: impl Iterator<Item = Piece>,
    numbers: &[T],
) -> impl Iterator<Item = (Piece, &[T])> {
    pieces.scan(numbers, |rest, piece| {
        let (own, others) = rest.split_at(piece.words);
        *rest = others;
        Some((piece, own))
    })
}

/// Numbers of pieces, as their owner has them, brought to all processes, or to the first alone: the numbers of every wanted
/// piece, in the order of [`Shards::all`]. `mine` holds those of this process's wanted pieces, in the order of buckets.
pub fn collect(
    line: &mut Line,
    shards: &Shards,
    wanted: &dyn Fn(Piece) -> bool,
    mine: &[Vec<u32>],
    to_all: bool,
) -> Result<Pieces, Failure> {
    let Place { rank, size, .. } = shards.place;
    let (mut found, mut mine) = (Vec::new(), mine.iter());
    for bucket in &shards.buckets {
        let of = |owner: usize| bucket.of(owner).filter(|piece| wanted(*piece));
        let own: Vec<u32> = mine.by_ref().take(of(rank).count()).flatten().copied().collect();
        let hears = |who: usize| to_all || who == 0;
        let to: Vec<&[u32]> =
            (0..size).map(|who| if hears(who) { own.as_slice() } else { &[] }).collect();
        let length = |owner: usize| {
            if hears(rank) { of(owner).map(|piece| piece.words).sum() } else { 0 }
        };
        let mut from: Vec<Vec<u32>> = (0..size).map(|owner| vec![0; length(owner)]).collect();
        line.exchange(&to, &mut from)?;
        if !hears(rank) {
            continue;
        }
        for (owner, words) in from.iter().enumerate() {
            found.extend(cut(of(owner), words).map(|(piece, own)| (piece, to_numbers(own))));
        }
    }
    found.sort_by_key(|(piece, _)| (piece.span, piece.start));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use lrc_compiler::tile::Number;

    use super::*;
    use crate::device::parameters::Storage;

    fn plain(count: usize) -> Storage {
        Storage { numbers: vec![Number::F32; count], frozen: vec![] }
    }

    #[test]
    fn every_number_has_one_owner_and_shares_are_even() {
        let sizes = [3 << 20, 100, 70_000, 5];
        for piece in [None, Some(1024)] {
            let layout = Layout::new(piece, &sizes, &[0, 1, 0, 0], &plain(4));
            let whole: usize = layout.spans().iter().map(|span| span.words).sum();
            for size in 1..6 {
                let place = Place { rank: 0, size, local: 0, beside: size };
                let shards = Shards::new(&layout, &[9, 4, 2, 7], &[false; 4], place);
                let mut ends = vec![0; layout.spans().len()];
                for (piece, owner) in shards.all() {
                    assert!(owner < size);
                    assert_eq!(ends[piece.span], piece.start, "no gap, nothing twice");
                    ends[piece.span] += piece.words;
                }
                let spans: Vec<usize> = layout.spans().iter().map(|span| span.words).collect();
                assert_eq!(ends, spans);
                for rank in 0..size {
                    let own: usize = shards.buckets.iter().map(|bucket| bucket.owned(rank)).sum();
                    let most = whole / size + shards.buckets.len() * norm::SHARE;
                    assert!(own <= most, "{own} of {whole} for one of {size}");
                }
                assert!(shards.buckets.windows(2).all(|two| two[0].ready <= two[1].ready));
            }
        }
    }

    #[test]
    fn matrices_stay_whole() {
        let layout = Layout::new(Some(1024), &[200_000, 200_000], &[0, 0], &plain(2));
        let place = Place { rank: 1, size: 2, local: 1, beside: 2 };
        let shards = Shards::new(&layout, &[1, 2], &[true; 2], place);
        assert_eq!(shards.own(), [Piece { span: 0, start: 200_704, words: 200_704 }]);
    }
}
