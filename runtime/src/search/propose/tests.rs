//! Samplers on problems whose best point is known, scored by a function instead of a run.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use super::*;
use crate::ground::statistics::mean;
use crate::search::space::Choice;

/// A space and what a point costs.
type Problem = (Vec<Domain>, fn(&[f64]) -> f64);

fn choices(n: usize) -> Domain {
    let choice = |i| Choice { label: serde_json::json!(i), set: vec![], span: None };
    Domain::Choices((0..n).map(choice).collect())
}

/// Eight places with one of four mixers each: the planted layout costs nothing, every other place one.
fn layout() -> Problem {
    let cost = |point: &[f64]| {
        let planted = [0.0, 3.0, 1.0, 2.0, 3.0, 0.0, 2.0, 1.0];
        point.iter().zip(planted).filter(|(x, want)| **x != *want).count() as f64
    };
    ((0..8).map(|_| choices(4)).collect(), cost)
}

/// A rate on a logarithmic scale, a width and a choice: the best is 3e-3, 48 and the second.
fn settings() -> Problem {
    let cost = |point: &[f64]| {
        let rate = (point[0] / 3e-3).log10().powi(2);
        rate + ((point[1] - 48.0) / 32.0).powi(2) + 0.5 * f64::from(point[2] != 1.0)
    };
    let float = Domain::Float { low: 1e-5, high: 1.0, log: true };
    (vec![float, Domain::Int { low: 8.0, high: 128.0, step: 8.0, log: false }, choices(3)], cost)
}

/// A study that was trained (`examples/search/rates.yaml`): the loss of each family at each rate.
const RECORDED: [[f64; 6]; 4] = [
    [2.9719, 2.7747, 2.6238, 2.2088, 2.7749, 2.7817],
    [3.0345, 2.7652, 2.6047, 2.5083, 2.5587, 2.7823],
    [2.8177, 2.2516, 1.2673, 1.0021, 2.6755, 2.731],
    [2.6737, 1.7095, 1.363, 1.2759, 1.5735, 2.78],
];

/// The mean loss of the first 12 trials of the recorded study, no point twice, as a search draws them: where the sampler has
/// found no new point in 50 tries, any.
fn replayed(sampler: Sampler, seed: u64) -> f64 {
    let rates = Domain::Float { low: -0.5, high: 5.5, log: false };
    let space = [choices(4), rates];
    let mut seen: Vec<Seen> = Vec::new();
    let (mut tries, mut drawn) = (0, 0);
    while seen.len() < 12 {
        let mut random = Stream::new(seed, Purpose::Search, drawn);
        drawn += 1;
        let sampler = if tries < 50 { sampler } else { Sampler::Random };
        let mut point = propose(sampler, &space, &seen, &mut random);
        point[1] = point[1].round().clamp(0.0, 5.0);
        tries += 1;
        if seen.iter().all(|seen| seen.point != point) {
            let cost = RECORDED[point[0] as usize][point[1] as usize];
            seen.push(Seen { point, ranked: Ranked { costs: vec![cost], depth: 1 } });
            tries = 0;
        }
    }
    mean(&seen.iter().map(|seen| seen.ranked.costs[0]).collect::<Vec<f64>>()).mean
}

#[test]
fn trials_of_a_recorded_study_are_better_than_by_chance() {
    let tpe = Sampler::Tpe { first: 6, candidates: 24, good: 0.1 };
    let evolution = Sampler::Evolution { population: 6, tournament: 3 };
    for sampler in [tpe, evolution] {
        let better: Vec<f64> = (0..100)
            .map(|seed| replayed(Sampler::Random, seed) - replayed(sampler, seed))
            .collect();
        let found = mean(&better);
        assert!(found.interval[0] > 0.0, "{sampler:?}: {found:?}");
    }
}

/// The least cost after a number of trials.
fn least(sampler: Sampler, (space, cost): &Problem, trials: u64, seed: u64) -> f64 {
    let mut seen: Vec<Seen> = Vec::new();
    for at in 0..trials {
        let point = propose(sampler, space, &seen, &mut Stream::new(seed, Purpose::Search, at));
        assert!(space.iter().zip(&point).all(|(domain, x)| domain.holds(*x)), "{point:?}");
        let ranked = Ranked { costs: vec![cost(&point)], depth: 1 };
        seen.push(Seen { point, ranked });
    }
    seen.iter().map(|seen| seen.ranked.costs[0]).fold(f64::INFINITY, f64::min)
}

/// The mean of how much more a random search costs, over seeds, and the interval of that mean.
fn gained(sampler: Sampler, problem: &Problem, trials: u64) -> [f64; 2] {
    let one = |seed| {
        least(Sampler::Random, problem, trials, seed) - least(sampler, problem, trials, seed)
    };
    mean(&(0..20).map(one).collect::<Vec<f64>>()).interval
}

#[test]
fn evolution_finds_a_planted_layout_where_chance_does_not() {
    let [low, _] = gained(EVOLUTION, &layout(), 200);
    assert!(low > 0.5, "{low}");
}

#[test]
fn parzen_estimators_find_settings_where_chance_does_not() {
    for problem in [settings(), layout()] {
        let [low, _] = gained(TPE, &problem, 80);
        assert!(low > 0.0, "{low}");
    }
}

#[test]
fn the_same_trials_and_stream_give_the_same_point() {
    for sampler in [Sampler::Random, EVOLUTION, TPE] {
        let twice = [0, 1].map(|_| least(sampler, &settings(), 40, 7).to_bits());
        assert_eq!(twice[0], twice[1], "{sampler:?}");
    }
}

/// Values of a domain on the unit interval and back are themselves.
#[test]
fn values_lie_evenly_and_come_back() {
    let domains = [
        Domain::Int { low: 3.0, high: 9.0, step: 2.0, log: false },
        Domain::Int { low: 1.0, high: 1000.0, step: 1.0, log: true },
        Domain::Float { low: 1e-4, high: 10.0, log: true },
        Domain::Float { low: -2.0, high: 3.0, log: false },
    ];
    let mut random = Stream::new(3, Purpose::Search, 0);
    for domain in &domains {
        for _ in 0..200 {
            let x = domain.draw(&mut random);
            assert!(domain.holds(x), "{domain:?} {x}");
            assert!((domain.at(domain.unit(x)) - x).abs() <= 1e-9 * x.abs(), "{domain:?} {x}");
            assert_eq!(domain.number(&domain.value(x)), Some(x));
        }
    }
    let odd = &domains[0];
    assert_eq!([0.0, 0.3, 0.6, 0.99].map(|unit| odd.at(unit)), [3.0, 5.0, 7.0, 9.0]);
}
