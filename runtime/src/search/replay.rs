//! Searches over trials that are finished already: a recorded study answers at once what a trial shows, so that samplers can be
//! compared over many seeds.
//!
//! A replay decides as a search of one process does: the same points from the same seed, the same promotions. It trains nothing,
//! but counts the tokens that would have been trained on.

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde_json::{Value, json};

use super::Study;
use super::halving::{Halving, Standing, promoted};
use super::order::Ranked;
use super::propose::{EVOLUTION, Sampler, Seen, TPE, fresh};
use super::space::{Domain, Point, every, short};

use crate::ground::error::Failure;
use crate::ground::statistics::{Mean, mean};
use crate::report::plot;

/// Finished trials by their points.
#[derive(Clone, Debug)]
pub struct Table {
    space: Vec<Domain>,
    /// By the bits of the point: the first objective's cost at each evaluation, by tokens; nothing of a trial that failed.
    rows: BTreeMap<Vec<u64>, BTreeMap<u64, f64>>,
    /// Trials of the record that are not in the table: not ended, or outside the space.
    pub left_out: usize,
}

/// How a search chooses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strategy {
    /// Points.
    pub sampler: Sampler,
    /// How far each trains.
    pub halving: Option<Halving>,
}

/// Where a search ends.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Trials at most.
    pub trials: usize,
    /// Tokens at most, over all trials.
    pub tokens: u64,
}

/// What a replayed search did.
#[derive(Clone, Debug, PartialEq)]
pub struct Searched {
    /// The trials' points, in order.
    pub points: Vec<Point>,
    /// Tokens trained on, over all.
    pub tokens: u64,
    /// The least cost of a trial that ended; infinite where none did.
    pub best: f64,
}

/// How far from a rung an evaluation may lie to be taken for it, as a share of the run.
const NEAR: f64 = 0.01;

fn key(point: &[f64]) -> Vec<u64> {
    point.iter().map(|x| x.to_bits()).collect()
}

impl Table {
    /// Reads the `results.json` of a study over the same space, whose trials all ended.
    pub fn read(study: &Study, text: &str) -> Result<Table, Failure> {
        let wrong = |what: &str| {
            Failure::Usage(format!("the record is no `results.json` of a finished study: {what}"))
        };
        let whole: Value = serde_json::from_str(text).map_err(|e| wrong(&e.to_string()))?;
        let metric = &study.objectives[0].metric;
        if whole["objectives"][0]["metric"] != json!(metric) {
            let theirs = &whole["objectives"][0]["metric"];
            return Err(wrong(&format!("its objective is {theirs}, not `{metric}`")));
        }
        let trials = whole["trials"].as_array().ok_or_else(|| wrong("it has no `trials`"))?;
        let space = study.space.iter().map(|param| param.domain.clone()).collect();
        let mut table = Table { space, rows: BTreeMap::new(), left_out: 0 };
        for trial in trials {
            match row(study, trial) {
                Some((point, shown)) => {
                    table.rows.insert(key(&point), shown);
                }
                None => table.left_out += 1,
            }
        }
        if table.rows.is_empty() {
            return Err(wrong("no trial of it ended inside this study's space"));
        }
        Ok(table)
    }

    /// Points that it knows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The least cost of all.
    pub fn least(&self) -> f64 {
        self.rows.values().filter_map(last).map(|(_, cost)| cost).fold(f64::INFINITY, f64::min)
    }

    /// Tokens and costs at the rungs of a strategy, the whole run last; one rung of infinite cost for what failed.
    fn rungs(&self, point: &[f64], shares: &[f64]) -> Result<Vec<(u64, f64)>, Failure> {
        let empty = BTreeMap::new();
        let shown = self.rows.get(&key(point)).unwrap_or(&empty);
        let Some((whole, _)) = last(shown) else {
            let tokens = self.rows.values().filter_map(last).map(|(tokens, _)| tokens).max();
            let first = shares.first().copied().unwrap_or(1.0);
            return Ok(vec![((first * tokens.unwrap_or(0) as f64).ceil() as u64, f64::INFINITY)]);
        };
        let near = |share: &f64| {
            let from = (share * whole as f64).ceil() as u64;
            let found = shown.range(from..).next().map(|(tokens, cost)| (*tokens, *cost));
            let found = found.filter(|(tokens, _)| (tokens - from) as f64 <= NEAR * whole as f64);
            found.ok_or_else(|| {
                Failure::Usage(format!(
                    "the record has no evaluation at {}% of a run of {whole} tokens: record it with `eval.every` that comes to each rung",
                    100.0 * share
                ))
            })
        };
        shares.iter().map(near).collect()
    }

    /// One search.
    pub fn search(&self, strategy: Strategy, seed: u64, limit: Limit) -> Result<Searched, Failure> {
        let shares = strategy.halving.map_or(vec![1.0], |halving| halving.rungs());
        let mut all: Vec<Trial> = Vec::new();
        let (mut tokens, mut best) = (0, f64::INFINITY);
        loop {
            let standings: Vec<Standing> = all.iter().map(|trial| trial.standing.clone()).collect();
            let next =
                strategy.halving.and_then(|of| promoted(&standings, of.factor, shares.len()));
            let at = match next {
                Some(at) => {
                    all[at].standing.sent += 1;
                    at
                }
                None if all.len() == limit.trials => break,
                None => {
                    let Some(point) = self.untried(strategy.sampler, seed, &all, shares.len())
                    else {
                        break;
                    };
                    let rungs = self.rungs(&point, &shares)?;
                    let standing = Standing { costs: vec![], sent: 0, paused: false };
                    all.push(Trial { point, rungs, standing });
                    all.len() - 1
                }
            };
            let trial = &mut all[at];
            let rung = trial.standing.sent;
            let before = rung.checked_sub(1).map_or(0, |before| trial.rungs[before].0);
            let more = trial.rungs[rung].0 - before;
            if tokens + more > limit.tokens {
                break;
            }
            tokens += more;
            let cost = trial.rungs[rung].1;
            trial.standing.costs.push(cost);
            let ended = rung + 1 == shares.len();
            trial.standing.paused = !ended && cost.is_finite();
            if ended {
                best = best.min(cost);
            }
        }
        Ok(Searched { points: all.into_iter().map(|trial| trial.point).collect(), tokens, best })
    }

    /// A point of the table that no trial has.
    fn untried(&self, sampler: Sampler, seed: u64, all: &[Trial], rungs: usize) -> Option<Point> {
        let free = |point: &Point| {
            self.rows.contains_key(&key(point)) && all.iter().all(|trial| trial.point != *point)
        };
        let seen: Vec<Seen> = all.iter().map(|trial| trial.seen(rungs)).collect();
        let draw = [seed, all.len() as u64];
        let take = &mut |point: Point| Ok::<_, Infallible>(Some(point).filter(free));
        let Ok(found) = fresh(sampler, &self.space, &seen, draw, take);
        found.or_else(|| every(&self.space)?.find(free))
    }
}

/// A trial of a replay.
struct Trial {
    point: Point,
    rungs: Vec<(u64, f64)>,
    standing: Standing,
}

impl Trial {
    fn seen(&self, rungs: usize) -> Seen {
        let costs = &self.standing.costs;
        let cost = costs.last().copied().unwrap_or(f64::INFINITY);
        let depth = if cost.is_finite() { costs.len().min(rungs) } else { 0 };
        Seen { point: self.point.clone(), ranked: Ranked { costs: vec![cost], depth } }
    }
}

fn last(shown: &BTreeMap<u64, f64>) -> Option<(u64, f64)> {
    shown.iter().next_back().map(|(tokens, cost)| (*tokens, *cost))
}

/// A trial's point and what it showed on the way; nothing where it did not end, or lies outside.
fn row(study: &Study, trial: &Value) -> Option<(Point, BTreeMap<u64, f64>)> {
    let number =
        |param: &super::space::Param| param.domain.number(trial["params"].get(&param.name)?);
    let point: Point = study.space.iter().map(number).collect::<Option<_>>()?;
    match trial["state"].as_str()? {
        "fail" => return Some((point, BTreeMap::new())),
        "complete" => {}
        _ => return None,
    }
    let one = |(tokens, value): (&String, &Value)| {
        Some((tokens.parse().ok()?, study.objectives[0].cost(value.as_f64()?)))
    };
    let shown: BTreeMap<u64, f64> =
        trial["rungs"].as_object()?.iter().map(one).collect::<Option<_>>()?;
    (!shown.is_empty()).then_some((point, shown))
}

/// A strategy against random search with as many tokens, over seeds.
#[derive(Clone, Debug)]
pub struct Compared {
    /// What it is called.
    pub name: String,
    /// Trials at most.
    pub trials: usize,
    /// Tokens it took.
    pub tokens: Mean,
    /// The least cost it found.
    pub best: Mean,
    /// The least cost of the random search with as many tokens.
    pub random: Mean,
    /// By how much the least cost is lower than the random search's, seed by seed.
    pub gained: Mean,
}

/// Every sampler, with and without rungs: as the study has them, else by default.
pub fn strategies(study: &Study) -> Vec<(String, Strategy)> {
    let same = |a: &Sampler| std::mem::discriminant(a) == std::mem::discriminant(&study.sampler);
    let halving = Some(study.halving.unwrap_or(Halving { first: 0.25, factor: 2.0 }));
    let mut all = Vec::new();
    for (name, usual) in [("random", Sampler::Random), ("evolution", EVOLUTION), ("tpe", TPE)] {
        let sampler = if same(&usual) { study.sampler } else { usual };
        if sampler != Sampler::Random {
            all.push((name.to_string(), Strategy { sampler, halving: None }));
        }
        all.push((format!("{name}, halving"), Strategy { sampler, halving }));
    }
    all
}

/// Shares of a study's trials after which searches are compared.
const SHARES: [f64; 3] = [0.25, 0.5, 1.0];

/// Compares every strategy with random search at a quarter, half and all of the study's trials, over so many seeds from the
/// study's own on.
pub fn compare(study: &Study, table: &Table, repeats: u64) -> Result<Vec<Compared>, Failure> {
    let mut all = Vec::new();
    let chance = Strategy { sampler: Sampler::Random, halving: None };
    for (name, strategy) in strategies(study) {
        for share in SHARES {
            let trials = ((share * study.trials as f64) as usize).max(1);
            let (mut tokens, mut best, mut random) = (vec![], vec![], vec![]);
            for seed in (study.seed..).take(repeats as usize) {
                let limit = Limit { trials, tokens: u64::MAX };
                let own = table.search(strategy, seed, limit)?;
                let limit = Limit { trials: usize::MAX, tokens: own.tokens };
                let other = table.search(chance, seed, limit)?;
                tokens.push(own.tokens as f64);
                best.push(own.best);
                random.push(other.best);
            }
            let gained: Vec<f64> = random.iter().zip(&best).map(|(r, b)| r - b).collect();
            all.push(Compared {
                name: name.clone(),
                trials,
                tokens: mean(&tokens),
                best: mean(&best),
                random: mean(&random),
                gained: mean(&gained),
            });
        }
    }
    Ok(all)
}

/// A comparison as one JSON document.
pub fn document(study: &Study, table: &Table, compared: &[Compared], repeats: u64) -> Value {
    let of = |x: &Mean| json!({"mean": x.mean, "interval": x.interval});
    let one = |c: &Compared| {
        json!({"strategy": c.name, "trials": c.trials, "tokens": of(&c.tokens), "best": of(&c.best),
            "random": of(&c.random), "gained": of(&c.gained)})
    };
    json!({
        "study": study.name, "metric": study.objectives[0].metric, "recorded": table.len(),
        "left_out": table.left_out, "least": table.least(), "repeats": repeats, "seed": study.seed,
        "compared": compared.iter().map(one).collect::<Vec<_>>(),
    })
}

/// A comparison for people.
pub fn words(study: &Study, table: &Table, compared: &[Compared], repeats: u64) -> String {
    let objective = &study.objectives[0];
    // Costs of what is to be large are negative.
    let value = |cost: f64| short(if objective.maximise { -cost } else { cost });
    let heads = ["strategy", "trials", "tokens", "best", "random", "better by", "95 % interval"];
    let mut rows = vec![heads.map(String::from).to_vec()];
    for c in compared {
        rows.push(vec![
            c.name.clone(),
            c.trials.to_string(),
            short(c.tokens.mean.round()),
            value(c.best.mean),
            value(c.random.mean),
            short(c.gained.mean),
            format!("[{}, {}]", short(c.gained.interval[0]), short(c.gained.interval[1])),
        ]);
    }
    let left_out = match table.left_out {
        0 => String::new(),
        n => format!(" ({n} more did not end, or lie outside the space)"),
    };
    format!(
        "{} recorded trials{left_out}, the best `{}` of all {}; means over {repeats} seeds from {} on.\n\
         Each strategy against a random search with as many tokens and the same seed.\n\n{}",
        table.len(),
        objective.metric,
        value(table.least()),
        study.seed,
        plot::aligned(&rows)
    )
}
