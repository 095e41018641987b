//! Samplers on problems whose best point is known, scored by a function instead of a run.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use super::*;
use crate::ground::random::Purpose;
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

const EVOLUTION: Sampler = Sampler::Evolution { population: 20, tournament: 5 };
const TPE: Sampler = Sampler::Tpe { first: 10, candidates: 24, good: 0.1 };

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
