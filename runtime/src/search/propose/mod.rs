//! Where to look next: at random, by regularised evolution, by a tree of Parzen estimators. Pure: the same trials and the
//! same stream give the same point.

use super::order::{Ranked, order};
use super::space::{Domain, Point};
use super::supernet::Supernet;
use crate::ground::random::{Purpose, Stream};

/// How points are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampler {
    /// Evenly.
    Random,
    /// Regularised evolution (Real et al. 2019): of the newest trials a few meet, the best of them has a child that differs
    /// in one parameter; the oldest are forgotten.
    Evolution {
        /// Trials that are remembered.
        population: usize,
        /// Trials that meet.
        tournament: usize,
    },
    /// A tree of Parzen estimators (Bergstra et al. 2011): where good trials lie dense and others do not.
    Tpe {
        /// Random trials before that.
        first: usize,
        /// Points that are compared.
        candidates: usize,
        /// The share of good ones.
        good: f64,
    },
    /// Layouts in the order of what they say with weights that all of them share; behind these any, evenly.
    Supernet(Supernet),
}

/// Evolution as a study has it that says no more.
pub const EVOLUTION: Sampler = Sampler::Evolution { population: 20, tournament: 5 };

/// Parzen estimators, likewise.
pub const TPE: Sampler = Sampler::Tpe { first: 10, candidates: 24, good: 0.1 };

/// A trial that has shown something.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Where.
    pub point: Point,
    /// What.
    pub ranked: Ranked,
}

/// A point of the space.
pub fn propose(sampler: Sampler, space: &[Domain], seen: &[Seen], random: &mut Stream) -> Point {
    match sampler {
        Sampler::Evolution { population, tournament } if seen.len() >= population => {
            evolved(&seen[seen.len() - population..], tournament, space, random)
        }
        Sampler::Tpe { first, candidates, good } if seen.len() >= first.max(2) => {
            estimated(seen, [candidates as f64, good], space, random)
        }
        _ => space.iter().map(|domain| domain.draw(random)).collect(),
    }
}

/// Points tried for one new trial, before all of a small space are gone through.
pub const ATTEMPTS: u64 = 200;

/// Those of them that the sampler chooses; it may insist on a point that is tried already.
const CHOSEN: u64 = 50;

/// The first point drawn for trial `number` that is taken: one of the sampler's, or, where it insists on points that are not, any.
pub fn fresh<T, E>(
    sampler: Sampler,
    space: &[Domain],
    seen: &[Seen],
    [seed, number]: [u64; 2],
    take: &mut dyn FnMut(Point) -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    for attempt in 0..ATTEMPTS {
        let mut random = Stream::new(seed, Purpose::Search, number << 16 | attempt);
        let sampler = if attempt < CHOSEN { sampler } else { Sampler::Random };
        if let Some(taken) = take(propose(sampler, space, seen, &mut random))? {
            return Ok(Some(taken));
        }
    }
    Ok(None)
}

/// A child of the best of a few.
fn evolved(alive: &[Seen], tournament: usize, space: &[Domain], random: &mut Stream) -> Point {
    let met: Vec<&Seen> =
        (0..tournament.max(1)).map(|_| &alive[random.below(alive.len())]).collect();
    let ranked: Vec<Ranked> = met.iter().map(|seen| seen.ranked.clone()).collect();
    let mut child = met[order(&ranked)[0]].point.clone();
    let free: Vec<usize> = (0..space.len()).filter(|at| space[*at].count() != Some(1.0)).collect();
    if let Some(at) = free.get(random.below(free.len().max(1))) {
        child[*at] = mutated(&space[*at], child[*at], random);
    }
    child
}

/// Draws of a neighbour that must differ.
const TRIES: usize = 32;

/// Another value: for a number a neighbour, one time in ten any.
fn mutated(domain: &Domain, x: f64, random: &mut Stream) -> f64 {
    for _ in 0..TRIES {
        let far = random.uniform() < 0.1;
        let other = match domain {
            Domain::Choices(_) => domain.draw(random),
            _ if far => domain.draw(random),
            _ => {
                let unit = domain.unit(x) + 0.2 * random.normal();
                domain.at(reflected(unit))
            }
        };
        if other != x {
            return other;
        }
    }
    x
}

/// A number folded back into [0, 1].
fn reflected(x: f64) -> f64 {
    let x = x.rem_euclid(2.0);
    if x > 1.0 { 2.0 - x } else { x }
}

/// Most trials that count as good.
const GOOD: usize = 25;

/// The point, of several drawn where good trials lie, that is likelier among them than among the others.
fn estimated(
    seen: &[Seen],
    [candidates, good]: [f64; 2],
    space: &[Domain],
    random: &mut Stream,
) -> Point {
    let ranked: Vec<Ranked> = seen.iter().map(|seen| seen.ranked.clone()).collect();
    let places = order(&ranked);
    let split = ((good * seen.len() as f64).ceil() as usize).clamp(1, GOOD.min(seen.len() - 1));
    let (best, rest) = places.split_at(split);
    let column = |at: usize, of: &[usize]| {
        let values = of.iter().map(|place| space[at].unit(seen[*place].point[at])).collect();
        Density::of(&space[at], values)
    };
    let densities: Vec<[Density; 2]> =
        (0..space.len()).map(|at| [column(at, best), column(at, rest)]).collect();
    let mut chosen = (f64::NEG_INFINITY, Point::new());
    for _ in 0..(candidates as usize).max(1) {
        let mut score = 0.0;
        let mut point = Point::with_capacity(space.len());
        for (domain, [good, others]) in space.iter().zip(&densities) {
            let x = domain.at(good.draw(random));
            let unit = domain.unit(x);
            score += good.log(unit) - others.log(unit);
            point.push(x);
        }
        if score > chosen.0 {
            chosen = (score, point);
        }
    }
    chosen.1
}

/// How dense values lie.
enum Density {
    /// How often each choice, as a share.
    Shares(Vec<f64>),
    /// Bells around values of [0, 1], each with its width; one over all of it among them.
    Bells(Vec<[f64; 2]>),
}

impl Density {
    fn of(domain: &Domain, mut values: Vec<f64>) -> Density {
        if let Domain::Choices(choices) = domain {
            // Every choice counts once more than it was seen: none is given up for good.
            let mut shares = vec![1.0; choices.len()];
            for x in values {
                if let Some(share) = shares.get_mut(x as usize) {
                    *share += 1.0;
                }
            }
            let whole: f64 = shares.iter().sum();
            return Density::Shares(shares.into_iter().map(|share| share / whole).collect());
        }
        values.sort_by(f64::total_cmp);
        let narrow = 1.0 / (values.len() as f64 + 2.0).min(100.0);
        let mut bells: Vec<[f64; 2]> = (0..values.len())
            .map(|at| {
                let before = if at == 0 { 0.0 } else { values[at - 1] };
                let after = values.get(at + 1).copied().unwrap_or(1.0);
                [values[at], (values[at] - before).max(after - values[at]).clamp(narrow, 1.0)]
            })
            .collect();
        bells.push([0.5, 1.0]);
        Density::Bells(bells)
    }

    fn draw(&self, random: &mut Stream) -> f64 {
        match self {
            Density::Shares(shares) => {
                let mut left = random.uniform();
                let at = shares.iter().position(|share| {
                    left -= share;
                    left < 0.0
                });
                at.unwrap_or(shares.len() - 1) as f64
            }
            Density::Bells(bells) => {
                let [middle, width] = bells[random.below(bells.len())];
                reflected(middle + width * random.normal())
            }
        }
    }

    fn log(&self, x: f64) -> f64 {
        match self {
            Density::Shares(shares) => shares.get(x as usize).map_or(f64::NEG_INFINITY, |s| s.ln()),
            Density::Bells(bells) => {
                let bell = |[middle, width]: &[f64; 2]| {
                    (-0.5 * ((x - middle) / width).powi(2)).exp() / width
                };
                (bells.iter().map(bell).sum::<f64>() / bells.len() as f64).max(1e-300).ln()
            }
        }
    }
}

#[cfg(test)]
mod tests;
