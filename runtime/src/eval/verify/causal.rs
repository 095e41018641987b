//! Whether earlier tokens keep their bits when later ones change, however large the later ones are and
//! also where they are no numbers.

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::form::{Outputs, Problem};
use lrc_compiler::tile::size;

use super::drawn::Drawn;
use super::{Trial, Verdict};

/// Runs a problem forward.
pub type Forward<'a> = dyn Fn(&Problem<f32>) -> Outputs<f32> + 'a;

/// The same where running may fail.
pub type Tried<'a, E> = dyn Fn(&Problem<f32>) -> Result<Outputs<f32>, E> + 'a;

/// What became of a change of later tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leak {
    /// A token before the change has other bits: which one, where the change begins, and what it is.
    Earlier {
        /// The token with other bits; `None` for one of another sequence.
        token: Option<usize>,
        /// The first token that was changed.
        changed: usize,
        /// What was put there.
        by: &'static str,
    },
    /// A token at or after one that is no number has numbers, where the equations give none.
    Hidden {
        /// The token.
        token: usize,
        /// The token that is no number.
        changed: usize,
    },
}

impl Leak {
    /// What a leak means.
    pub fn verdict(self) -> Verdict {
        match self {
            Leak::Earlier { .. } => Verdict::Acausal,
            Leak::Hidden { .. } => Verdict::Wrong,
        }
    }
}

impl std::fmt::Display for Leak {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Leak::Earlier { token: Some(token), changed, by } => {
                write!(f, "token {token} changes with the tokens from {changed} on ({by})")
            }
            Leak::Earlier { token: None, changed, by } => {
                write!(f, "another sequence changes with the tokens from {changed} on ({by})")
            }
            Leak::Hidden { token, changed } => {
                write!(f, "token {token} hides that token {changed} is no number")
            }
        }
    }
}

/// What stands in for later tokens.
#[derive(Clone, Copy, PartialEq)]
enum Change {
    /// Other draws, at every later token.
    Other,
    /// Numbers as large as they get, at every later token.
    Huge,
    /// This at one token.
    Single(f32),
}

const CHANGES: [(Change, &str); 4] = [
    (Change::Other, "other numbers"),
    (Change::Huge, "numbers of 1e30"),
    (Change::Single(f32::NAN), "what is no number"),
    (Change::Single(f32::INFINITY), "infinity"),
];

/// The first leak of what `run` does, if there is one. `truth` says which tokens have no numbers.
pub fn leak<E>(
    r: &Recurrence,
    trial: &Trial,
    run: &Tried<E>,
    truth: &Forward,
) -> Result<Option<Leak>, E> {
    let drawn: Drawn<f32> = Drawn::new(r, trial).rounded();
    let other: Drawn<f32> =
        Drawn::new(r, &Trial { seed: trial.seed + 1000, ..trial.clone() }).rounded();
    let (sequence, tokens) = drawn.longest();
    if tokens < 2 {
        return Ok(None);
    }
    let start = drawn.bounds[sequence];
    let base = run(&drawn.problem(r, trial.heads))?;
    let mut cuts = vec![tokens / 2, tokens - 1];
    cuts.dedup();
    for cut in cuts {
        for (change, by) in CHANGES {
            let mut changed = drawn.clone();
            let last = if matches!(change, Change::Single(_)) { cut + 1 } else { tokens };
            for ((data, slot), other) in changed.inputs.iter_mut().zip(&r.inputs).zip(&other.inputs)
            {
                let one = trial.heads * size(&slot.shape);
                let rows = (start + cut) * one..(start + last) * one;
                for (at, x) in rows.clone().zip(&mut data[rows]) {
                    *x = match change {
                        Change::Other => other[at],
                        Change::Huge => {
                            if at % 3 == 0 {
                                -1e30
                            } else {
                                1e30
                            }
                        }
                        Change::Single(value) => value,
                    };
                }
            }
            let problem = changed.problem(r, trial.heads);
            let got = run(&problem)?;
            let place = Place { r, heads: trial.heads, drawn: &drawn, sequence, cut };
            if let Some(token) = place.earlier(&base, &got) {
                return Ok(Some(Leak::Earlier { token, changed: cut, by }));
            }
            if matches!(change, Change::Single(_))
                && let Some(token) = place.hidden(&got, &truth(&problem))
            {
                return Ok(Some(Leak::Hidden { token, changed: cut }));
            }
        }
    }
    Ok(None)
}

/// Where a change begins.
struct Place<'a> {
    r: &'a Recurrence,
    heads: usize,
    drawn: &'a Drawn<f32>,
    sequence: usize,
    cut: usize,
}

impl Place<'_> {
    /// The first row of an output that the change may reach, and the first behind its sequence.
    fn reach(&self) -> [usize; 2] {
        let bounds = &self.drawn.bounds;
        [bounds[self.sequence] + self.cut, bounds[self.sequence + 1]]
    }

    /// The token of the changed sequence that a row is.
    fn token(&self, row: usize) -> Option<usize> {
        let [start, end] = [self.drawn.bounds[self.sequence], self.reach()[1]];
        (start..end).contains(&row).then(|| row - start)
    }

    /// A token out of reach whose bits differ; that of another sequence is `None`.
    fn earlier(&self, base: &Outputs<f32>, got: &Outputs<f32>) -> Option<Option<usize>> {
        let [from, until] = self.reach();
        let differ =
            |a: &[Vec<f32>], b: &[Vec<f32>], slots: &[Slot], out: &dyn Fn(usize) -> bool| {
                a.iter().zip(b).zip(slots).find_map(|((a, b), slot)| {
                    let one = (self.heads * size(&slot.shape)).max(1);
                    let rows = a.chunks_exact(one).zip(b.chunks_exact(one)).enumerate();
                    rows.filter(|(row, _)| out(*row))
                        .find(|(_, (a, b))| !same(a, b))
                        .map(|(row, _)| row)
                })
            };
        let out = |row: usize| row < from || row >= until;
        let row = differ(&base.outs, &got.outs, &self.r.outs, &out);
        if let Some(row) = row {
            return Some(self.token(row));
        }
        let others = |sequence: usize| sequence != self.sequence;
        differ(&base.finals, &got.finals, &self.r.states, &others).map(|_| None)
    }

    /// A token in reach that has numbers where the truth has none.
    fn hidden(&self, got: &Outputs<f32>, truth: &Outputs<f32>) -> Option<usize> {
        let [from, until] = self.reach();
        let outs = got.outs.iter().zip(&truth.outs).zip(&self.r.outs);
        outs.into_iter().find_map(|((got, truth), slot)| {
            let one = self.heads * size(&slot.shape);
            let whole =
                |data: &[f32], row: usize| data[row * one..][..one].iter().all(|x| x.is_finite());
            let row = (from..until).find(|row| whole(got, *row) && !whole(truth, *row))?;
            self.token(row)
        })
    }
}

/// The same bits; one NaN is as good as another.
fn same(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
}
