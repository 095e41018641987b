//! What a process of a search does next, decided while it holds the journal's lock: so two processes never take one trial.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use lrc_dsl::Sources;
use serde_json::{Map, Value, json};

use super::Study;
use super::halving::{Standing, promoted};
use super::journal::{Operation, State, StoredTrial, Writer};
use super::order::Ranked;
use super::propose::{ATTEMPTS, Seen, fresh};
use super::space::{Domain, Point, every};
use super::supernet::Said;
use super::trial::{Elaborated, Known, elaborate};
use crate::ground::error::{Failure, at_path};
use crate::ground::lock::Lock;
use crate::ground::random::{Purpose, Stream};
use crate::ground::terminal::tell;
use crate::train::signals::signals;

/// A trial that this process has.
#[derive(Debug)]
pub struct Job {
    /// Among all of the journal.
    pub id: usize,
    /// Within the study.
    pub number: usize,
    /// The rung that it trains to.
    pub rung: usize,
    /// Tokens of the last rung that it has come to.
    pub reached: u64,
    /// Tokens of its whole run, where its first rung has shown them.
    pub whole: Option<f64>,
    /// What it trains.
    pub trial: Elaborated,
    /// Nobody else has it as long as this lives.
    pub lock: Lock,
}

impl Job {
    /// A trial that the journal has, to be trained to a rung.
    fn of(stored: &StoredTrial, rung: usize, trial: Elaborated, lock: Lock) -> Job {
        let whole = stored.notes.get(WHOLE).and_then(Value::as_f64);
        let reached = reached(stored);
        Job { id: stored.id, number: stored.number, rung, reached, whole, trial, lock }
    }
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// A trial to train.
    Train(Box<Job>),
    /// Others are at work, and what they find may bring more.
    Wait,
    /// Nothing more.
    Done,
}

/// Chooses for one study.
#[derive(Debug)]
pub struct Chooser<'s> {
    /// What is searched.
    pub study: &'s Study,
    /// Its number in the journal.
    pub id: usize,
    /// Where its run folders are.
    pub trials: PathBuf,
    /// Points that are tried first, with what a supernet makes of them.
    pub first: Vec<Said>,
    /// Fingerprints of points that were elaborated; nothing where the space forbids one.
    known: BTreeMap<Vec<u64>, Option<String>>,
}

/// The note that holds a trial's fingerprint.
const HASH: &str = "lrc:hash";
/// The note that holds the rung that a trial was sent to.
const RUNG: &str = "lrc:rung";
/// The note that holds the sizes that were solved for.
const SOLVED: &str = "lrc:solved";
/// The note that holds the seconds of a training step per token.
const TIME: &str = "lrc:time_per_token";
/// The note that holds the tokens of a trial's whole run, of which rungs are shares.
pub const WHOLE: &str = "lrc:whole";
/// The note that holds a trial's objectives by the weights of the study's supernet.
pub const SUPERNET: &str = "lrc:supernet";
/// The note that says why a trial failed.
pub const WHY: &str = "lrc:why";

/// The folder of a trial's run.
pub fn folder(trials: &Path, number: usize) -> PathBuf {
    trials.join(format!("{number:05}"))
}

/// Where a trial is, for people and programs.
pub fn name(number: usize) -> String {
    format!("trial-{number:05}")
}

/// The point of a trial whose parameters are all given.
pub fn point(study: &Study, trial: &StoredTrial) -> Option<Point> {
    let number = |name: &str, domain: &Domain| {
        let (x, distribution) = trial.params.get(name)?;
        // Another program's choices may stand in another order.
        let choices = distribution["attributes"]["choices"].as_array();
        match choices {
            Some(choices) => domain.number(choices.get(*x as usize)?),
            None => domain.number(&domain.value(*x)),
        }
    };
    study.space.iter().map(|param| number(&param.name, &param.domain)).collect()
}

/// The rung that a trial was sent to.
pub fn rung(trial: &StoredTrial) -> usize {
    trial.notes.get(RUNG).and_then(Value::as_u64).unwrap_or(0) as usize
}

impl<'s> Chooser<'s> {
    /// Chooses for a study of a journal.
    pub fn new(study: &'s Study, id: usize, trials: PathBuf) -> Chooser<'s> {
        Chooser { study, id, trials, first: vec![], known: BTreeMap::new() }
    }

    /// Rungs of the study, the whole run among them.
    pub fn rungs(&self) -> usize {
        self.study.halving.map_or(1, |halving| halving.rungs().len())
    }

    fn standing(&self, trial: &StoredTrial) -> Standing {
        let cost = |value: &f64| {
            let cost = self.study.objectives.first().map_or(*value, |first| first.cost(*value));
            if cost.is_finite() { cost } else { f64::INFINITY }
        };
        let sent = rung(trial);
        // Without rungs intermediate values are evaluations, and nobody pauses.
        if self.study.halving.is_none() {
            return Standing { costs: vec![], sent, paused: false };
        }
        let costs: Vec<f64> = trial.intermediate.values().map(cost).collect();
        let paused = trial.state == State::Running && costs.len() == sent + 1;
        Standing { costs, sent, paused }
    }

    /// What the trials so far have shown.
    pub fn seen(&self, trials: &[StoredTrial]) -> Vec<Seen> {
        let seen = |trial: &StoredTrial| {
            let point = point(self.study, trial)?;
            let standing = self.standing(trial);
            let ranked = match (trial.state, &trial.values) {
                (State::Complete, Some(values)) => {
                    let costs = self.study.objectives.iter().zip(values);
                    let costs = costs.map(|(objective, value)| objective.cost(*value)).collect();
                    Ranked { costs, depth: self.rungs() }
                }
                (State::Fail, _) => Ranked { costs: vec![f64::INFINITY], depth: 0 },
                _ => Ranked { costs: vec![*standing.costs.last()?], depth: standing.costs.len() },
            };
            Some(Seen { point, ranked })
        };
        trials.iter().filter_map(seen).collect()
    }

    /// Chooses: what was left, what was asked for, what is promoted, something new, in this order.
    pub fn next(&mut self, writer: &mut Writer) -> Result<Next, Failure> {
        let trials: Vec<StoredTrial> = writer.said().trials_of(self.id).cloned().collect();
        let (mut busy, mut deferred) = (false, false);
        for trial in trials.iter().filter(|trial| !trial.state.finished()) {
            if self.standing(trial).paused {
                continue;
            }
            match self.open_trial(trial, &trials, writer)? {
                Some(Next::Train(job)) => return Ok(Next::Train(job)),
                Some(Next::Wait) => busy = true,
                Some(Next::Done) => deferred = true,
                None => {}
            }
        }
        if let Some(job) = self.promotion(&trials, writer)? {
            return Ok(Next::Train(Box::new(job)));
        }
        if trials.len() < self.study.trials
            && let Some(job) = self.new_trial(&trials, writer)?
        {
            return Ok(Next::Train(Box::new(job)));
        }
        if busy {
            return Ok(Next::Wait);
        }
        // What was asked twice hears what becomes of the first.
        let pruned = self.prune(&trials, writer)?;
        if deferred && pruned { self.next(writer) } else { Ok(Next::Done) }
    }

    /// A trial that is neither finished nor paused: who trained it may be gone, or Optuna asks for it. `Done` says that it
    /// is that of another one, which is not.
    fn open_trial(
        &mut self,
        trial: &StoredTrial,
        all: &[StoredTrial],
        writer: &mut Writer,
    ) -> Result<Option<Next>, Failure> {
        let Some(lock) = self.claim(trial.number)? else { return Ok(Some(Next::Wait)) };
        let fail = |why: String, writer: &mut Writer| {
            tell!("trial {} cannot be run: {why}", trial.number);
            writer.add(&[
                Operation::Note(trial.id, WHY, json!(why)),
                Operation::State(trial.id, State::Fail, None),
            ])?;
            Ok(None)
        };
        let mut adds = Vec::new();
        let point = match (point(self.study, trial), trial.system.get("fixed_params")) {
            (Some(point), _) => point,
            (None, Some(fixed)) => match self.completed(trial, fixed) {
                Ok(point) => {
                    let params = self.study.space.iter().zip(&point);
                    adds.extend(params.map(|(param, x)| {
                        Operation::Param(trial.id, param.name.clone(), *x, param.domain.to_json())
                    }));
                    point
                }
                Err(why) => return fail(why, writer),
            },
            // Whoever asked for it is not done with saying what.
            (None, None) => return Ok(None),
        };
        let (name, known) = (name(trial.number), known(trial));
        let made = elaborate(self.study, &point, &name, &known, &mut Sources::default());
        let elaborated = match made {
            Ok(elaborated) => elaborated,
            Err(why) => return fail(why.to_string(), writer),
        };
        if !trial.notes.contains_key(HASH) {
            if let Some(other) = all.iter().find(|other| hash_of(other) == Some(&elaborated.hash)) {
                if !other.state.finished() {
                    return Ok(Some(Next::Done));
                }
                for (key, value) in notes(&elaborated) {
                    adds.push(Operation::Note(trial.id, key, value));
                }
                adds.push(Operation::Note(trial.id, "lrc:same_as", json!(other.number)));
                adds.push(Operation::State(trial.id, other.state, other.values.clone()));
                writer.add(&adds)?;
                tell!("trial {} is trial {} again", trial.number, other.number);
                return Ok(None);
            }
            for (key, value) in notes(&elaborated) {
                adds.push(Operation::Note(trial.id, key, value));
            }
        }
        if trial.state == State::Waiting {
            adds.push(Operation::State(trial.id, State::Running, None));
        }
        if !adds.is_empty() {
            writer.add(&adds)?;
        }
        let rung = rung(trial);
        Ok(Some(Next::Train(Box::new(Job::of(trial, rung, elaborated, lock)))))
    }

    /// What Optuna wants fixed, and the rest at random.
    fn completed(&self, trial: &StoredTrial, fixed: &Value) -> Result<Point, String> {
        let mut random = Stream::new(self.study.seed, Purpose::Search, (trial.number as u64) << 16);
        let value = |name: &str, domain: &Domain, random: &mut Stream| match fixed.get(name) {
            Some(value) => domain
                .number(value)
                .ok_or_else(|| format!("`{name}` cannot be {value} in this space")),
            None => Ok(domain.draw(random)),
        };
        let all = self.study.space.iter();
        all.map(|param| value(&param.name, &param.domain, &mut random)).collect()
    }

    fn promotion(
        &self,
        trials: &[StoredTrial],
        writer: &mut Writer,
    ) -> Result<Option<Job>, Failure> {
        let Some(halving) = self.study.halving else { return Ok(None) };
        let mut standings: Vec<Standing> =
            trials.iter().map(|trial| self.standing(trial)).collect();
        while let Some(at) = promoted(&standings, halving.factor, self.rungs()) {
            let (trial, rung) = (&trials[at], standings[at].sent + 1);
            standings[at].paused = false;
            let Some(lock) = self.claim(trial.number)? else { continue };
            let Some(point) = point(self.study, trial) else { continue };
            let name = name(trial.number);
            let elaborated =
                elaborate(self.study, &point, &name, &known(trial), &mut Sources::default())?;
            writer.add(&[Operation::Note(trial.id, RUNG, json!(rung))])?;
            return Ok(Some(Job::of(trial, rung, elaborated, lock)));
        }
        Ok(None)
    }

    fn new_trial(
        &mut self,
        trials: &[StoredTrial],
        writer: &mut Writer,
    ) -> Result<Option<Job>, Failure> {
        let number = trials.len();
        let Some((point, trial)) = self.untried(number, trials)? else { return Ok(None) };
        let Some(lock) = self.claim(number)? else {
            return Err(Failure::Usage(format!(
                "another process has {}, which is no trial of this journal: give another folder with --out",
                folder(&self.trials, number).display()
            )));
        };
        let params = self.study.space.iter().zip(&point);
        let params =
            params.map(|(param, x)| (param.name.clone(), *x, param.domain.to_json())).collect();
        let said = self.first.iter().find(|said| said.point == point);
        let said = said.map(|said| (SUPERNET, json!(said.values)));
        let notes = notes(&trial).into_iter().chain(said);
        let notes = notes.map(|(key, value)| (key.to_string(), value)).collect();
        let id = writer.said().trials.len();
        writer.add(&[Operation::CreateTrial(self.id, params, notes)])?;
        Ok(Some(Job { id, number, rung: 0, reached: 0, whole: None, trial, lock }))
    }

    /// A point that no trial has; nothing where all of the space has been tried, as far as can be found.
    fn untried(
        &mut self,
        number: usize,
        trials: &[StoredTrial],
    ) -> Result<Option<(Point, Elaborated)>, Failure> {
        let domains: Vec<Domain> = self.study.space.iter().map(|p| p.domain.clone()).collect();
        let seen = self.seen(trials);
        let draw = [self.study.seed, number as u64];
        for at in 0..self.first.len() {
            wanted()?;
            let point = self.first[at].point.clone();
            if let Some(trial) = self.free(&point, number, trials) {
                return Ok(Some((point, trial)));
            }
        }
        let found = fresh(self.study.sampler, &domains, &seen, draw, &mut |point| {
            wanted()?;
            let trial = self.free(&point, number, trials);
            Ok::<_, Failure>(trial.map(|trial| (point, trial)))
        })?;
        if found.is_some() {
            return Ok(found);
        }
        let Some(points) = every(&domains) else {
            tell!(
                "no new point was found in {ATTEMPTS} tries: the search ends after {number} trials"
            );
            return Ok(None);
        };
        for point in points {
            wanted()?;
            if let Some(trial) = self.free(&point, number, trials) {
                return Ok(Some((point, trial)));
            }
        }
        tell!("all of the space has been tried: the search ends after {number} trials");
        Ok(None)
    }

    /// What a point makes, if the space allows it and no trial has it.
    fn free(&mut self, point: &Point, number: usize, trials: &[StoredTrial]) -> Option<Elaborated> {
        let key: Vec<u64> = point.iter().map(|x| x.to_bits()).collect();
        let taken = |hash: &String| trials.iter().any(|trial| hash_of(trial) == Some(hash));
        if self.known.get(&key).is_some_and(|hash| hash.as_ref().is_none_or(taken)) {
            return None;
        }
        let (new, sources) = (Known::default(), &mut Sources::default());
        let made = elaborate(self.study, point, &name(number), &new, sources).ok();
        self.known.insert(key, made.as_ref().map(|trial| trial.hash.clone()));
        made.filter(|trial| !taken(&trial.hash))
    }

    /// The lock of a trial's folder; nothing where another process has it.
    fn claim(&self, number: usize) -> Result<Option<Lock>, Failure> {
        let folder = folder(&self.trials, number);
        std::fs::create_dir_all(&folder).map_err(at_path("make", &folder))?;
        Lock::of_file(&folder.join(".trial"))
    }

    /// Nobody goes on with what is paused.
    fn prune(&self, trials: &[StoredTrial], writer: &mut Writer) -> Result<bool, Failure> {
        let paused = trials.iter().filter(|trial| self.standing(trial).paused);
        let ended: Vec<Operation> = paused
            .map(|trial| {
                let last = trial.intermediate.values().last().copied();
                let values = last.filter(|_| self.study.objectives.len() == 1).map(|x| vec![x]);
                Operation::State(trial.id, State::Pruned, values)
            })
            .collect();
        writer.add(&ended)?;
        Ok(!ended.is_empty())
    }
}

/// Stops where a signal says so: points may take long to look at.
pub(super) fn wanted() -> Result<(), Failure> {
    match signals()?.load(Ordering::Relaxed) {
        0 => Ok(()),
        signal => Err(Failure::Stopped(signal)),
    }
}

fn hash_of(trial: &StoredTrial) -> Option<&String> {
    match trial.notes.get(HASH) {
        Some(Value::String(hash)) => Some(hash),
        _ => None,
    }
}

/// What is noted of a trial as it begins.
fn notes(trial: &Elaborated) -> Vec<(&'static str, Value)> {
    let solved: Map<String, Value> =
        trial.solved.iter().map(|(path, value)| (path.clone(), json!(value))).collect();
    let mut notes = vec![
        (HASH, json!(trial.hash)),
        (RUNG, json!(0)),
        ("lrc:parameters", json!(trial.costs.parameters)),
        ("lrc:state", json!(trial.costs.state)),
        ("lrc:flops", json!(trial.costs.flops)),
        (SOLVED, Value::Object(solved)),
    ];
    notes.extend(trial.costs.time.map(|time| (TIME, json!(time))));
    notes
}

/// What a trial's notes say of it, where it was elaborated before.
fn known(trial: &StoredTrial) -> Known {
    let solved = trial.notes.get(SOLVED).and_then(Value::as_object);
    let pair = |(path, value): (&String, &Value)| Some((path.clone(), value.as_str()?.to_string()));
    Known {
        solved: solved.and_then(|all| all.iter().map(pair).collect()),
        time: trial.notes.get(TIME).and_then(Value::as_f64),
    }
}

/// Tokens of the last rung that a trial has come to.
fn reached(trial: &StoredTrial) -> u64 {
    trial.intermediate.keys().last().and_then(|tokens| u64::try_from(*tokens).ok()).unwrap_or(0)
}
