//! Which choice is fastest: tried, written down, and told.
//!
//! Problem: a clock is noisy and time is short; a choice that wins by luck, or that computes something else, is worse
//! than none.
//!
//! Idea: every candidate is held against the truth, timed once and written down as a line that nobody changes. The best
//! three and the usual choice are then measured again in turns, so that what slows the machine down slows all of them,
//! and one wins only by more than its times are apart. Lines of earlier searches at the same place count as they are.

pub mod journal;
mod subject;
mod text;

use std::time::{Duration, Instant};

use lrc_compiler::elaborate::Recurrence;
use serde_json::{Value, json};

pub use subject::{Judge, Subject};
pub use text::text;

use crate::device::tuned::{Entry, Place, Table, USUAL, Work, fingerprint};
use crate::ground::error::Failure;
use crate::ground::timing::Repeat;
use crate::recurrence::draw::Sizes;
use journal::{Journal, Round, Trial};
use subject::Candidate;

/// A search.
#[derive(Clone, Debug)]
pub struct Search<'s> {
    /// How candidates are timed.
    pub judge: &'s Judge,
    /// Sequences, tokens, heads of the call.
    pub sizes: Sizes,
    /// Where trials are written down and earlier ones stand.
    pub journal: &'s Journal,
    /// Whether times come from the journal alone, and nothing is written.
    pub replay: bool,
    /// Choices of others that are in the last turns.
    pub others: Option<&'s Table>,
}

/// What was found for a recurrence and a work.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where.
    pub place: Place,
    /// What won.
    pub entry: Entry,
    /// All that was tried: of each choice its first trial, and where it was among the best the one in turns.
    pub trials: Vec<Trial>,
    /// Candidates for which there was no time.
    pub left_out: usize,
    /// Why that one won.
    pub why: String,
}

/// Candidates that are measured again in turns, besides the usual choice.
const BEST: usize = 3;
/// Turns.
const TURNS: usize = 7;
/// Seconds for which a candidate is timed, at most.
const LONGEST: f64 = 0.5;
/// A modelled time must be less by so much to count: the model is no better.
const MODEL: f64 = 0.01;

/// The recurrence and its sizes, for people.
fn named(r: &Recurrence) -> String {
    let built_in = ["heads", "layer", "layers"];
    let sizes = r.numbers.iter().filter(|(name, _)| !built_in.contains(&name.as_str()));
    let sizes: Vec<String> = sizes.map(|(name, x)| format!("{name}={x}")).collect();
    if sizes.is_empty() { r.name.clone() } else { format!("{} {}", r.name, sizes.join(" ")) }
}

/// Tunes recurrences, a work at a time, within a budget.
pub fn tune(
    all: &[Recurrence],
    search: &Search,
    budget: Duration,
    mut told: impl FnMut(&Found),
) -> Result<Vec<Found>, Failure> {
    let end = Instant::now() + budget;
    let works = search.judge.works();
    let mut left = all.len() * works.len();
    let mut found = Vec::new();
    let known = search.journal.read()?.0;
    for r in all {
        let mut subject = Subject::new(r, search.sizes, search.judge);
        for &work in works {
            let rest = end.saturating_duration_since(Instant::now());
            let mut one = One {
                search,
                kernel: named(r),
                fingerprint: fingerprint(r),
                work,
                place: if search.replay { replayed(&known)? } else { search.judge.place()? },
                known: &known,
                end: Instant::now() + rest / u32::try_from(left.max(1)).unwrap_or(u32::MAX),
            };
            subject.begin();
            let made = one.find(&mut subject)?;
            told(&made);
            found.push(made);
            left -= 1;
        }
    }
    Ok(found)
}

/// The place of a file of trials.
fn replayed(known: &[Trial]) -> Result<Place, Failure> {
    let Some(first) = known.first() else {
        return Err(Failure::Usage("--simulate: there are no trials in the file".into()));
    };
    match known.iter().find(|trial| trial.place != first.place) {
        Some(other) => Err(Failure::Usage(format!(
            "--simulate: the trials are of several places, {} and {}: keep those of one",
            first.place.device, other.place.device
        ))),
        None => Ok(first.place.clone()),
    }
}

/// The table of what was found.
pub fn table(found: &[Found], others: Option<&Table>) -> Option<Table> {
    let place = found.first()?.place.clone();
    let mut choices: Vec<Entry> = found.iter().map(|found| found.entry.clone()).collect();
    for entry in others.iter().flat_map(|table| &table.choices) {
        let same = |own: &Entry| own.fingerprint == entry.fingerprint && own.work == entry.work;
        if !choices.iter().any(same) {
            choices.push(entry.clone());
        }
    }
    Some(Table { place, choices })
}

/// For scripts.
pub fn document(found: &[Found]) -> Value {
    let one = |found: &Found| {
        json!({
            "kernel": found.entry.kernel, "fingerprint": found.entry.fingerprint,
            "work": found.entry.work.name(), "choice": found.entry.choice,
            "seconds": found.entry.seconds, "usual_seconds": found.entry.usual_seconds,
            "why": found.why, "left_out": found.left_out, "trials": found.trials,
        })
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "place": found.first().map(|found| &found.place),
        "tuned": found.iter().map(one).collect::<Vec<_>>(),
    })
}

/// The search for one recurrence and work.
struct One<'s> {
    search: &'s Search<'s>,
    kernel: String,
    fingerprint: String,
    work: Work,
    place: Place,
    known: &'s [Trial],
    end: Instant,
}

impl One<'_> {
    fn find(&mut self, subject: &mut Subject) -> Result<Found, Failure> {
        let candidates = subject.candidates(self.work)?;
        let (mut trials, mut left_out) = (Vec::new(), 0);
        for (at, candidate) in candidates.iter().enumerate() {
            if let Some(known) = self.known(candidate, Round::First) {
                trials.push(known);
            } else if !self.search.replay && at > 0 && Instant::now() > self.end {
                left_out += 1;
            } else if !self.search.replay {
                trials.push(self.first(subject, candidate, candidates.len() - at)?);
            }
        }
        let finalists = self.finalists(&trials, &candidates);
        let turns = self.turns(subject, &finalists)?;
        let (entry, why) = self.winner(if turns.is_empty() { &trials } else { &turns })?;
        let won = trials.iter().find(|trial| trial.choice == entry.choice);
        if let Some(won) = won.filter(|_| !self.search.replay) {
            let seconds = Some(entry.seconds);
            self.search.journal.add(&Trial { round: Round::Won, seconds, ..won.clone() })?;
        }
        trials.extend(turns);
        Ok(Found { place: self.place.clone(), entry, trials, left_out, why })
    }

    /// The newest line about a candidate.
    fn known(&self, candidate: &Candidate, round: Round) -> Option<Trial> {
        let Sizes { batch, length, heads } = self.search.sizes;
        let same = |trial: &&Trial| {
            trial.round == round
                && trial.choice == candidate.choice
                && trial.fingerprint == self.fingerprint
                && trial.work == self.work
                && trial.place == self.place
                && (self.search.replay || trial.shape == [batch, length, heads])
        };
        self.known.iter().rev().find(same).cloned()
    }

    fn trial(&self, candidate: &Candidate, round: Round) -> Trial {
        let Sizes { batch, length, heads } = self.search.sizes;
        Trial {
            kernel: self.kernel.clone(),
            fingerprint: self.fingerprint.clone(),
            work: self.work,
            choice: candidate.choice.clone(),
            place: self.place.clone(),
            shape: [batch, length, heads],
            how: self.search.judge.how(),
            round,
            seconds: None,
            spread: None,
            error: None,
            refused: None,
        }
    }

    /// Holds a candidate against the truth, times it and writes that down.
    fn first(
        &self,
        subject: &mut Subject,
        candidate: &Candidate,
        left: usize,
    ) -> Result<Trial, Failure> {
        let mut trial = self.trial(candidate, Round::First);
        let rest = self.end.saturating_duration_since(Instant::now()).as_secs_f64();
        // Half of the time is for the turns.
        let time = Duration::from_secs_f64((rest / 2.0 / left as f64).min(LONGEST));
        match subject.error(candidate, self.work)? {
            Err(why) => trial.refused = Some(why),
            Ok(error) => {
                trial.error = Some(error);
                match subject.time(candidate, self.work, Repeat { least: 3, time })? {
                    Ok(times) => (trial.seconds, trial.spread) = middle(&times),
                    Err(why) => trial.refused = Some(why),
                }
            }
        }
        self.search.journal.add(&trial)?;
        Ok(trial)
    }

    /// The best ones, the choices of others, and the usual one.
    fn finalists<'c>(&self, trials: &[Trial], candidates: &'c [Candidate]) -> Vec<&'c Candidate> {
        let mut best: Vec<&Trial> = trials.iter().filter(|trial| trial.seconds.is_some()).collect();
        best.sort_by(|a, b| a.seconds.unwrap_or(0.0).total_cmp(&b.seconds.unwrap_or(0.0)));
        let best = best.iter().filter(|trial| trial.choice != USUAL).take(BEST);
        let mut names: Vec<&str> = best.map(|trial| trial.choice.as_str()).collect();
        for entry in self.search.others.iter().flat_map(|table| &table.choices) {
            let own = entry.fingerprint == self.fingerprint && entry.work == self.work;
            let sound = |trial: &Trial| trial.choice == entry.choice && trial.seconds.is_some();
            if own && trials.iter().any(sound) && !names.contains(&entry.choice.as_str()) {
                names.push(&entry.choice);
            }
        }
        names.push(USUAL);
        candidates.iter().filter(|candidate| names.contains(&candidate.choice.as_str())).collect()
    }

    /// Measures in turns; a model says the same every time.
    fn turns(&self, subject: &Subject, finalists: &[&Candidate]) -> Result<Vec<Trial>, Failure> {
        if self.search.replay {
            let known = finalists.iter().map(|candidate| self.known(candidate, Round::Turns));
            // Half of a comparison is none.
            return Ok(known.collect::<Option<Vec<_>>>().unwrap_or_default());
        }
        if self.search.judge.how() == journal::How::Modelled || finalists.len() < 2 {
            return Ok(vec![]);
        }
        let mut times = vec![Vec::new(); finalists.len()];
        let once = Repeat { least: 1, time: Duration::ZERO };
        for turn in 0..TURNS {
            for at in 0..finalists.len() {
                // Nobody is always the first.
                let at = (at + turn) % finalists.len();
                if let Ok(taken) = subject.time(finalists[at], self.work, once)? {
                    times[at].extend(taken);
                }
            }
        }
        let mut trials = Vec::new();
        for (candidate, mut times) in finalists.iter().zip(times) {
            times.sort_by(f64::total_cmp);
            let (seconds, spread) = middle(&times);
            let trial = Trial { seconds, spread, ..self.trial(candidate, Round::Turns) };
            self.search.journal.add(&trial)?;
            trials.push(trial);
        }
        Ok(trials)
    }

    /// The fastest, if it is faster than the usual choice by more than their times are apart.
    fn winner(&self, trials: &[Trial]) -> Result<(Entry, String), Failure> {
        let timed = || trials.iter().filter_map(|trial| Some((trial, trial.seconds?)));
        let usual = timed().find(|(trial, _)| trial.choice == USUAL);
        let best = timed().min_by(|a, b| a.1.total_cmp(&b.1));
        let (Some((usual, usual_seconds)), Some((best, seconds))) = (usual, best) else {
            let first = trials.iter().find_map(|trial| trial.refused.clone());
            let why = first.unwrap_or_else(|| "the usual choice was not timed".into());
            return Err(Failure::World(format!("{}: {why}", self.kernel)));
        };
        let spread = |trial: &Trial| trial.spread.unwrap_or(0.0);
        let noise = match best.how {
            journal::How::Modelled => MODEL * usual_seconds,
            journal::How::Measured => spread(usual).max(spread(best)),
        };
        let gain = 100.0 * (usual_seconds - seconds) / usual_seconds;
        let (choice, seconds, why) = if best.choice == USUAL {
            (USUAL, usual_seconds, "nothing is faster".to_string())
        } else if usual_seconds - seconds > noise {
            let why = format!("{gain:.1} % less time than the usual choice");
            (best.choice.as_str(), seconds, why)
        } else {
            let why = format!("the best takes {gain:.1} % less time, which is within the noise");
            (USUAL, usual_seconds, why)
        };
        let entry = Entry {
            kernel: self.kernel.clone(),
            fingerprint: self.fingerprint.clone(),
            work: self.work,
            choice: choice.into(),
            seconds,
            usual_seconds,
        };
        Ok((entry, why))
    }
}

/// The median of sorted times, and half of what lies between their quartiles.
fn middle(times: &[f64]) -> (Option<f64>, Option<f64>) {
    let at =
        |share: f64| times.get(((times.len().saturating_sub(1)) as f64 * share).round() as usize);
    let spread = at(0.75).zip(at(0.25)).map(|(high, low)| (high - low) / 2.0);
    (at(0.5).copied(), spread)
}
