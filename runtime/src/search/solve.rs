//! Which size brings a measure nearest to a number: the same parameters, the same state, in models that differ otherwise.

use std::collections::BTreeMap;

use crate::ground::error::Failure;

/// The largest size that is tried.
const MOST: u64 = 1 << 24;

/// Sizes tried beside one that no model can have, in each direction.
const BESIDE: u64 = 128;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Solved {
    /// The size.
    pub size: u64,
    /// The measure there.
    pub value: f64,
}

/// Sizes with what was measured there.
struct Tried<'m> {
    measure: &'m mut dyn FnMut(u64) -> Result<f64, Failure>,
    known: BTreeMap<u64, Option<f64>>,
    why: Option<Failure>,
}

impl Tried<'_> {
    /// The measure at a size; nothing where no model can have it.
    fn at(&mut self, size: u64) -> Option<f64> {
        if let Some(known) = self.known.get(&size) {
            return *known;
        }
        let value = match (self.measure)(size) {
            Ok(value) => Some(value),
            Err(why) => {
                self.why.get_or_insert(why);
                None
            }
        };
        self.known.insert(size, value);
        value
    }

    /// The legal size nearest to one, strictly between two others.
    fn near(&mut self, middle: u64, low: u64, high: u64) -> Option<u64> {
        (0..=BESIDE).find_map(|off| {
            let beside = [middle.checked_add(off), middle.checked_sub(off)];
            let inside = beside.into_iter().flatten().filter(|x| low < *x && *x < high);
            inside.into_iter().find(|x| self.at(*x).is_some())
        })
    }
}

/// The size whose measure lies nearest to `to`, the one nearer to `start` of two. The measure grows with the size, or falls with it; sizes
/// without a model are gone around.
pub fn solve(
    to: f64,
    start: u64,
    measure: &mut dyn FnMut(u64) -> Result<f64, Failure>,
) -> Result<Solved, Failure> {
    let mut tried = Tried { measure, known: BTreeMap::new(), why: None };
    let start = start.clamp(1, MOST);
    let Some(first) = tried.near(start, 0, MOST + 1) else {
        let why = tried.why.take();
        return Err(why.unwrap_or_else(|| Failure::Usage("no size gives a model".into())));
    };
    let (mut low, mut high) = (first, first);
    let begun = tried.at(first).unwrap_or_default();
    // Which way the measure goes: the next legal size says.
    let second = tried.near(2 * first, first, MOST + 1);
    let other = second.or_else(|| tried.near(first / 2, 0, first));
    let grows = other.and_then(|size| Some((size > first) == (tried.at(size)? >= begun)));
    let Some(grows) = grows else { return Ok(Solved { size: first, value: begun }) };
    let up = (begun < to) == grows;
    while let Some(next) = beyond(&mut tried, up, low, high) {
        let value = tried.at(next).unwrap_or_default();
        let was = tried.at(if up { high } else { low }).unwrap_or_default();
        if value == was && value == begun {
            // Another doubling may show what it changes, but not for ever.
            if next >= 64 * start.max(1) || next == 1 {
                break;
            }
        }
        if up {
            (low, high) = (high, next)
        } else {
            (low, high) = (next, low)
        }
        if ((value < to) == grows) != up {
            break;
        }
    }
    between(&mut tried, to, grows, low, high);
    let legal = tried.known.iter().filter_map(|(size, value)| Some((*size, (*value)?)));
    let best = legal.min_by(|a, b| {
        (a.1 - to)
            .abs()
            .total_cmp(&(b.1 - to).abs())
            // So far off that it does not show in the difference.
            .then(if a.1 < to { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) })
            .then(a.0.abs_diff(first).cmp(&b.0.abs_diff(first)))
    });
    let (size, value) = best.unwrap_or((first, begun));
    if tried.known.values().flatten().all(|x| *x == begun) && begun != to {
        let why = format!(
            "it is {begun} at every size from {low} to {high}: the size changes nothing in it"
        );
        return Err(Failure::Usage(why));
    }
    Ok(Solved { size, value })
}

/// A legal size about twice as large, or half as large.
fn beyond(tried: &mut Tried, up: bool, low: u64, high: u64) -> Option<u64> {
    if up {
        (high < MOST).then(|| tried.near((2 * high).min(MOST), high, MOST + 1)).flatten()
    } else {
        (low > 1).then(|| tried.near(low / 2, 0, low)).flatten()
    }
}

/// Halves what lies between two sizes until no legal one does.
fn between(tried: &mut Tried, to: f64, grows: bool, mut low: u64, mut high: u64) {
    while let Some(middle) = tried.near(low + (high - low) / 2, low, high) {
        let value = tried.at(middle).unwrap_or_default();
        if (value < to) == grows { low = middle } else { high = middle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(to: f64, start: u64, legal: fn(u64) -> bool, of: fn(u64) -> f64) -> Option<u64> {
        let mut measure = |n: u64| match legal(n) {
            true => Ok(of(n)),
            false => Err(Failure::Usage(format!("{n} is not legal"))),
        };
        solve(to, start, &mut measure).ok().map(|solved| solved.size)
    }

    /// Against the nearest of all legal sizes, tried one by one.
    #[test]
    fn the_nearest_legal_size_is_found() {
        let laws: [fn(u64) -> f64; 4] = [
            |n| 7.0 * n as f64 + 100.0,
            |n| (n * n) as f64,
            |n| 1e6 / n as f64,
            |n| (n * n * 3 + 5 * n) as f64,
        ];
        let legals: [fn(u64) -> bool; 4] =
            [|_| true, |n| n % 8 == 0, |n| n % 64 == 0, |n| n % 3 == 1];
        for of in laws {
            for legal in legals {
                for to in [10.0, 900.0, 12_345.0, 640_000.0] {
                    for start in [1, 64, 500] {
                        let all = (1..200_000_u64).filter(|n| legal(*n));
                        let off = |n: u64| (of(n) - to).abs();
                        let best = all.min_by(|a, b| off(*a).total_cmp(&off(*b))).map(off);
                        let got = found(to, start, legal, of).map(off);
                        assert_eq!(got, best, "to {to} from {start}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_size_that_changes_nothing_is_told() {
        assert_eq!(found(5.0, 10, |_| true, |_| 3.0), None);
        assert_eq!(found(5.0, 10, |_| false, |_| 3.0), None);
        assert_eq!(found(3.0, 10, |_| true, |_| 3.0), Some(10));
    }
}
