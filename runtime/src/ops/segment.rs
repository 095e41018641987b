//! Segments of a batch: which rows of it a process holds, and what of its sequences lies with others.

use std::ops::Range;

/// Which rows of a batch lie here, where several processes hold a segment each of all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Which one.
    pub own: usize,
    /// Row of the whole at which each segment starts, and the total.
    pub cuts: Vec<usize>,
    /// Row of the whole at which each sequence starts, and the total.
    pub bounds: Vec<usize>,
    /// Rows of the whole at which something is asked.
    pub asked: usize,
}

impl Segment {
    /// How many segments there are.
    pub fn count(&self) -> usize {
        self.cuts.len() - 1
    }

    /// Rows of the whole.
    pub fn whole(&self) -> usize {
        self.cuts.last().copied().unwrap_or(0)
    }

    /// The rows of a segment.
    pub fn rows(&self, of: usize) -> Range<usize> {
        self.cuts[of]..self.cuts[of + 1]
    }

    /// The rows of the sequence that holds a row.
    fn sequence(&self, row: usize) -> Range<usize> {
        let next = self.bounds.partition_point(|bound| *bound <= row);
        self.bounds[next - 1]..self.bounds.get(next).copied().unwrap_or(row + 1)
    }

    /// Rows that the sequence of a segment's first row has before it, of the last `reach` where that is given.
    pub fn before_of(&self, of: usize, reach: Option<usize>) -> usize {
        let first = self.cuts[of];
        let before = first - self.sequence(first).start;
        before.min(reach.unwrap_or(before))
    }

    /// Rows that the sequence of the first row has before it.
    pub fn before(&self) -> usize {
        self.before_of(self.own, None)
    }

    /// Rows of a segment that go on with a sequence of an earlier one.
    pub fn head(&self, of: usize) -> usize {
        let rows = self.rows(of);
        match self.before_of(of, None) {
            0 => 0,
            _ => self.sequence(rows.start).end.min(rows.end) - rows.start,
        }
    }

    /// Whether the last sequence of a segment goes on in the next one.
    pub fn goes_on(&self, of: usize) -> bool {
        let end = self.cuts[of + 1];
        end < self.whole() && self.before_of(of + 1, None) > 0
    }

    /// Whether a segment lies inside one sequence, which goes on before and behind it.
    pub fn inside(&self, of: usize) -> bool {
        self.head(of) == self.rows(of).len() && self.goes_on(of)
    }

    /// The segments before one that hold rows of the sequence of its first row.
    pub fn earlier(&self, of: usize) -> Range<usize> {
        let start = self.sequence(self.cuts[of]).start;
        self.cuts[..=of].partition_point(|cut| *cut <= start) - 1..of
    }

    /// The segments behind one that hold rows of the sequence of its last row.
    pub fn later(&self, of: usize) -> Range<usize> {
        let end = self.sequence(self.cuts[of + 1] - 1).end;
        of + 1..self.cuts[..self.count()].partition_point(|cut| *cut < end).max(of + 1)
    }

    /// Where each sequence starts in the rows of the own segment, and the total.
    pub fn own_bounds(&self) -> Vec<usize> {
        let rows = self.rows(self.own);
        let inside = self.bounds.iter().filter(|bound| rows.start < **bound && **bound < rows.end);
        let inside = inside.map(|bound| bound - rows.start);
        [0].into_iter().chain(inside).chain([rows.len()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::batch::Batch;

    fn whole(lengths: &[u32]) -> Batch {
        let mut batch = Batch::default();
        for length in lengths {
            let tokens: Vec<u32> = (0..*length).collect();
            batch.push(&tokens, &tokens);
        }
        batch
    }

    /// What segments say of themselves is what the whole says of their rows.
    #[test]
    fn segments_know_their_sequences() {
        for lengths in [&[12][..], &[5, 1, 6, 9], &[1, 1, 1, 1], &[3, 30, 2], &[8, 8]] {
            let batch = whole(lengths);
            let positions = batch.positions();
            for count in 1..=4 {
                let segments = batch.segments(count);
                let said: Vec<u32> = segments.iter().flat_map(Batch::positions).collect();
                assert_eq!(said, positions, "{lengths:?} in {count}");
                for (at, one) in segments.iter().enumerate() {
                    let segment = one.segment.as_ref().unwrap();
                    let rows = segment.rows(at);
                    let number = |row: usize| batch.bounds.iter().filter(|b| **b <= row).count();
                    let holds = |s: &usize, row: usize| {
                        segment.rows(*s).any(|other| number(other) == number(row))
                    };
                    let earlier: Vec<usize> = (0..at).filter(|s| holds(s, rows.start)).collect();
                    let later: Vec<usize> =
                        (at + 1..count).filter(|s| holds(s, rows.end - 1)).collect();
                    assert_eq!(segment.earlier(at).collect::<Vec<_>>(), earlier);
                    assert_eq!(segment.later(at).collect::<Vec<_>>(), later);
                    assert_eq!(segment.goes_on(at), !later.is_empty());
                    assert_eq!(segment.head(at) > 0, !earlier.is_empty());
                    let head = rows.clone().filter(|row| number(*row) == number(rows.start));
                    assert!(segment.head(at) == 0 || segment.head(at) == head.count());
                    assert_eq!(one.bounds, segment.own_bounds());
                }
            }
        }
    }
}
