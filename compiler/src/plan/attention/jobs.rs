//! Which blocks of tokens each block of threads meets.

use super::super::{Grid, Kernel, Side};

/// What a block of threads does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its sequence.
    pub sequence: usize,
    /// The first of its own tokens.
    pub first: usize,
    /// The first token of the other side that it meets.
    pub from: usize,
    /// The one after the last.
    pub until: usize,
}

impl Job {
    /// The words by which a block knows it.
    pub fn words(self) -> [usize; 4] {
        [self.sequence, self.first, self.from, self.until]
    }
}

/// What each block of threads does. The longest loops come first, so that they do not run alone at the
/// end.
pub fn jobs(kernel: &Kernel, bounds: &[usize]) -> Vec<Job> {
    let Grid::Pairs { own, range, .. } = &kernel.grid else { return vec![] };
    let mut jobs = Vec::new();
    for (sequence, w) in bounds.windows(2).enumerate() {
        let tokens = w[1] - w[0];
        let blocks = || (0..tokens).step_by(kernel.chunk);
        let rows = |first: usize| first..tokens.min(first + kernel.chunk);
        let reads: Vec<(usize, usize)> = blocks().map(|first| range.of_rows(rows(first))).collect();
        for (at, first) in blocks().enumerate() {
            let (from, until) = match own {
                Side::Queries => (reads[at].0, reads[at].1 + 1),
                Side::Keys => {
                    let meets =
                        |(low, high): &(usize, usize)| *low < rows(first).end && *high >= first;
                    let found = reads.iter().position(meets).zip(reads.iter().rposition(meets));
                    found.map_or((0, 0), |(a, b)| (a * kernel.chunk, rows(b * kernel.chunk).end))
                }
            };
            jobs.push(Job { sequence, first, from, until });
        }
    }
    jobs.sort_by_key(|job| std::cmp::Reverse(job.until.saturating_sub(job.from)));
    jobs
}
