//! One model for all layouts: the paths of a supernet share their weights, each step trains one of them, drawn evenly, and at
//! the end each says what it makes of what it has (single path one-shot; Guo et al. 2019). A search then trains those that say
//! most first, each from its own beginning.
//!
//! Two paths share a parameter where its name and its shape are the same. A step changes what its path has, and nothing else:
//! weights, running means and decay of other paths rest. A supernet of one path is an ordinary run, to the last bit.

mod run;
mod weights;

use std::path::{Path as File, PathBuf};

use lrc_dsl::Sources;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Study;
use super::order::{Ranked, order};
use super::run::{PAUSE, Searching};
use super::space::{Domain, Point, every, sets};
use super::trial::{Known, elaborate, shown};
use crate::config::Spec;
use crate::config::open::Opened;
use crate::eval::experiment::Overrides;
use crate::ground::error::{Failure, at_path};
use crate::ground::lock::Lock;
use crate::ground::random::{Purpose, Stream};
use crate::ground::terminal::tell;
use crate::ground::{atomic, bounded};
use crate::schedule::Amount;
use run::Training;
use weights::Shared;

/// How a supernet is trained and asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Supernet {
    /// It trains so many times as long as a trial.
    pub times: usize,
    /// Paths that are asked at the end, at most.
    pub asked: usize,
}

/// A path and what it said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// A number for each parameter of the space.
    pub point: Point,
    /// The objectives, by the shared weights.
    pub values: Vec<f64>,
}

/// What a supernet leaves behind.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Ranking {
    /// A fingerprint of what it was trained for.
    of: String,
    /// Steps and tokens of its training.
    steps: u64,
    tokens: u64,
    /// Paths there are, best first those that were asked.
    paths: usize,
    said: Vec<Said>,
}

/// A path: a point of the space, and where its parameters are among all.
struct Path {
    point: Point,
    at: Vec<usize>,
}

/// What is trained.
struct Net<'s> {
    study: &'s Study,
    /// What the supernet's run differs in from a trial's.
    set: Overrides,
    paths: Vec<Path>,
    shared: Shared,
}

/// The folder of a study's supernet.
fn folder(searching: &Searching) -> PathBuf {
    searching.folder.join("supernet")
}

/// Refuses a study that a supernet cannot serve, before anything is trained.
pub(super) fn check(study: &Study, spec: &Spec) -> Result<(), Failure> {
    let refuse = |what: String, help: &str| {
        let diag = crate::config::fields::finding(study.place, "E0407", what);
        Err(Failure::Invalid(vec![diag.help(help.to_string())]))
    };
    let domains: Vec<Domain> = study.space.iter().map(|param| param.domain.clone()).collect();
    if every(&domains).is_none() {
        let help = "list the values of each parameter, a few thousand points in all";
        return refuse(
            "the paths of a supernet are counted, and this space has too many".into(),
            help,
        );
    }
    for param in &study.space {
        let cases = param.domain.count().unwrap_or(0.0) as u64;
        let other = (0..cases).flat_map(|at| param.sets(super::space::nth(&param.domain, at)));
        if let Some((path, _)) = other.into_iter().find(|(path, _)| !path.starts_with("model.")) {
            let what = format!(
                "`{path}` is no part of the model: all paths of a supernet train in one run"
            );
            return refuse(what, "search it with another sampler, behind this one");
        }
    }
    let late = ["final_loss", "best_val_loss", "seconds", "tokens_per_second"];
    if let Some(of) = study.objectives.iter().find(|of| late.contains(&of.metric.as_str())) {
        let what = format!("a path of a supernet has no `{}`: it is a run's", of.metric);
        return refuse(what, "for example `objectives: {accuracy: maximise}`");
    }
    let alone = [
        (spec.levels.is_some(), "levels of the task"),
        (!spec.monitor.policies.is_empty(), "policies"),
        (spec.stop_at.is_some(), "`stop_at`"),
        (matches!(spec.shaping.length, Amount::Time(_)), "a run of given time"),
    ];
    match alone.iter().find(|(there, _)| *there) {
        Some((_, what)) => refuse(
            format!("a supernet knows no {what}"),
            "take it out for this study: `set: {…: null}`, and `length` in steps or tokens",
        ),
        None => Ok(()),
    }
}

/// The paths of a study's supernet, best first: trained now, gone on with, waited for where another process trains it, or read.
pub(super) fn ranking(
    study: &Study,
    of: Supernet,
    about: &str,
    searching: &Searching,
) -> Result<Vec<Said>, Failure> {
    let place = folder(searching);
    std::fs::create_dir_all(&place).map_err(at_path("make", &place))?;
    let fingerprint = fingerprint(study, of, about);
    let _lock = loop {
        if let Some(lock) = Lock::of_file(&place.join(".training"))? {
            break lock;
        }
        super::next::wanted()?;
        std::thread::sleep(PAUSE);
    };
    let file = place.join("ranking.json");
    if file.exists() {
        let known = read(&file)?;
        if known.of == fingerprint {
            return Ok(known.said);
        }
        return Err(Failure::Usage(format!(
            "{} is of another supernet (space, spec, seed, `times` or objectives): remove that folder, or choose another with --out",
            place.display()
        )));
    }
    let net = Net::of(study, of)?;
    tell!(
        "supernet: {} paths, {} numbers for all of them, {} for the first one",
        net.paths.len(),
        net.numbers(),
        net.paths[0].at.iter().map(|at| net.size(*at)).sum::<usize>()
    );
    let mut training = Training::open(&net, &fingerprint, &place, searching.device)?;
    training.train()?;
    let mut said = Vec::new();
    for at in chosen(study, net.paths.len(), of.asked) {
        super::next::wanted()?;
        let point = net.paths[at].point.clone();
        said.push(Said { values: training.ask(at)?, point });
    }
    let ranked: Vec<Ranked> = said.iter().map(|said| ranked(study, said)).collect();
    let said = order(&ranked).into_iter().map(|at| said[at].clone()).collect();
    let [steps, tokens] = training.done();
    let all = Ranking { of: fingerprint, steps, tokens, paths: net.paths.len(), said };
    let text = serde_json::to_string_pretty(&all).map_err(|e| Failure::World(e.to_string()))?;
    atomic::write(&file, text.as_bytes())?;
    Ok(all.said)
}

fn read(file: &File) -> Result<Ranking, Failure> {
    let text = bounded::text(file, bounded::WRITTEN)?;
    let wrong = |e: serde_json::Error| {
        let file = file.display();
        Failure::World(format!(
            "{file} cannot be read ({e}): remove it, and the paths are asked again"
        ))
    };
    serde_json::from_str(&text).map_err(wrong)
}

/// What tells one supernet from another.
fn fingerprint(study: &Study, of: Supernet, about: &str) -> String {
    let objectives: Vec<Value> =
        study.objectives.iter().map(|o| json!([o.metric, o.maximise])).collect();
    let text = format!("{about} {:?} {} {objectives:?}", of, study.seed);
    blake3::hash(text.as_bytes()).to_hex()[..32].to_string()
}

fn ranked(study: &Study, said: &Said) -> Ranked {
    let costs = study.objectives.iter().zip(&said.values);
    let cost = |x: f64| if x.is_finite() { x } else { f64::INFINITY };
    Ranked { costs: costs.map(|(of, x)| cost(of.cost(*x))).collect(), depth: 1 }
}

/// Which paths are asked: all, or as many as are wanted, drawn evenly.
fn chosen(study: &Study, paths: usize, most: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..paths).collect();
    let mut random = Stream::new(study.seed, Purpose::Search, ASKED);
    for at in 0..most.min(paths) {
        let other = at + random.below(paths - at);
        all.swap(at, other);
    }
    all.truncate(most);
    all.sort_unstable();
    all
}

/// Streams of a supernet: of the path of each step, and of the paths that are asked. Trials draw from smaller ones.
const STEPS: u64 = 1 << 60;
const ASKED: u64 = 1 << 61;

impl<'s> Net<'s> {
    /// All paths of a study that keep its constraints.
    fn of(study: &'s Study, of: Supernet) -> Result<Net<'s>, Failure> {
        let domains: Vec<Domain> = study.space.iter().map(|param| param.domain.clone()).collect();
        let points = every(&domains).into_iter().flatten();
        let mut net = Net { study, set: vec![], paths: vec![], shared: Shared::default() };
        for point in points {
            super::next::wanted()?;
            let Ok(trial) = net.trial(&point) else { continue };
            if net.paths.is_empty() {
                let length = match trial.opened.spec.shaping.length {
                    Amount::Steps(x) => Amount::Steps(x * of.times as f64),
                    Amount::Tokens(x) => Amount::Tokens(x * of.times as f64),
                    other => other,
                };
                net.set.push(("length".into(), length.to_string()));
            }
            let at = net.shared.take(&trial.opened.model, &trial.opened.spec)?;
            net.paths.push(Path { point, at });
        }
        if net.paths.is_empty() {
            return Err(Failure::Usage("no point of the space can be a path of a supernet".into()));
        }
        Ok(net)
    }

    /// A point as trials have it.
    fn trial(&self, point: &[f64]) -> Result<super::trial::Elaborated, Failure> {
        elaborate(self.study, point, "supernet", &Known::default(), &mut Sources::default())
    }

    /// A path's spec, as long as the supernet's run, and its model.
    fn open(&self, path: &Path) -> Result<Opened, Failure> {
        let trial = self.trial(&path.point)?;
        let mut set = self.study.set.clone();
        set.extend(sets(&self.study.space, &path.point));
        set.extend(trial.solved);
        set.retain(|(name, _)| !self.set.iter().any(|(own, _)| own == name));
        set.extend(self.set.iter().cloned());
        set.push(("name".into(), "supernet".into()));
        crate::config::open::open(&self.study.spec, &set, &mut Sources::default())
    }

    fn size(&self, at: usize) -> usize {
        lrc_compiler::tile::size(&self.shared.params[at].shape)
    }

    fn numbers(&self) -> usize {
        (0..self.shared.params.len()).map(|at| self.size(at)).sum()
    }

    /// The path of a step.
    fn drawn(&self, step: u64) -> usize {
        Stream::new(self.study.seed, Purpose::Search, STEPS | step).below(self.paths.len())
    }

    /// The objectives of a path that has shown these.
    fn values(
        &self,
        path: &Path,
        eval: &crate::report::record::Evals,
    ) -> Result<Vec<f64>, Failure> {
        let trial = self.trial(&path.point)?;
        let all = shown(eval, &trial.costs, trial.opened.spec.task.name());
        super::trial::values(self.study, &all)
    }
}
