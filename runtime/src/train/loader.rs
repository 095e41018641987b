//! The batches of a run in their order, prepared ahead by threads.
//!
//! What a step learns from is decided here, one step after the other; threads only read it. So
//! their number changes nothing but the time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::data::{Dataset, Draw, Place};
use crate::ground::error::Failure;
use crate::ops::batch::Batch;
use crate::schedule::run::{RunSchedule, StepPlan};

/// Gives the batches of a run.
pub struct DataLoader {
    source: Arc<Dataset>,
    run_schedule: RunSchedule,
    /// Behind the last step that was drawn.
    drawn: Place,
    /// Behind the last step that was given.
    given: Place,
    ahead: VecDeque<Ahead>,
    workers: Vec<Sender<Job>>,
    turn: usize,
    /// How likely each level of the task is; empty without levels.
    odds: Vec<f64>,
}

/// Where a run schedule stands in the data after segments of steps.
fn walked(source: &Dataset, run_schedule: &mut RunSchedule, segments: &[[u64; 2]]) -> Place {
    let mut place = source.start();
    for [from, to] in segments {
        if *from < run_schedule.step() {
            run_schedule.rewind();
        }
        run_schedule.walk_to(*from, &mut |_| {});
        run_schedule.walk_to(*to, &mut |next| {
            source.draw(next, &[], &mut place);
        });
    }
    place
}

/// A step that is being prepared.
struct Ahead {
    next: StepPlan,
    after: Place,
    batch: Receiver<Result<Batch, Failure>>,
}

struct Job {
    draw: Draw,
    to: Sender<Result<Batch, Failure>>,
}

impl DataLoader {
    /// the data loader of a run schedule from its first step on.
    pub fn new(source: Arc<Dataset>, run_schedule: RunSchedule, workers: usize) -> DataLoader {
        let workers = (0..workers)
            .map(|_| {
                let (jobs, work) = channel::<Job>();
                let source = Arc::clone(&source);
                thread::spawn(move || {
                    for Job { draw, to } in work {
                        // A feed that is gone wants no batch.
                        let _ = to.send(source.batch(&draw));
                    }
                });
                jobs
            })
            .collect();
        let start = source.start();
        let (drawn, given) = (start.clone(), start);
        let (ahead, odds) = (VecDeque::new(), vec![]);
        DataLoader { source, run_schedule, drawn, given, ahead, workers, turn: 0, odds }
    }

    /// What the data comes from.
    pub fn source(&self) -> &Dataset {
        &self.source
    }

    /// Says how likely each level is from the next step on. A feed of levels has no workers: what
    /// they had prepared would be of the odds before.
    pub fn weigh(&mut self, odds: &[f64]) {
        debug_assert!(self.workers.is_empty() || odds.is_empty());
        self.odds = odds.to_vec();
    }

    /// How often each source was gone through.
    pub fn epochs(&self) -> Vec<(String, f64)> {
        self.source.epochs(&self.given)
    }

    /// Takes up a run that has gone through these segments of steps, `[from, to)` each. A segment
    /// that begins before the end of the last one was a roll back: its data was used up.
    pub fn walk(&mut self, segments: &[[u64; 2]]) {
        self.ahead.clear();
        self.given = walked(&self.source, &mut self.run_schedule, segments);
        self.drawn = self.given.clone();
    }

    /// Whether another course over the same data had used up other data in these segments, or its steps other tokens.
    pub fn moved(&self, mut other: RunSchedule, segments: &[[u64; 2]]) -> bool {
        let place = walked(&self.source, &mut other, segments);
        place != self.given || other.tokens() != self.run_schedule.tokens()
    }

    /// Steps walked.
    pub fn step(&self) -> u64 {
        self.run_schedule.step()
    }

    /// Goes back to a step; the data that was given since stays used up.
    pub fn back_to(&mut self, step: u64) {
        self.ahead.clear();
        self.drawn = self.given.clone();
        self.run_schedule.rewind();
        self.run_schedule.walk_to(step, &mut |_| {});
    }

    /// The next step with its batch, for a run that has taken so many seconds.
    pub fn next(&mut self, seconds: f64) -> Result<Option<(StepPlan, Batch)>, Failure> {
        if self.workers.is_empty() {
            let Some(next) = self.run_schedule.next(seconds) else { return Ok(None) };
            let draw = self.source.draw(&next, &self.odds, &mut self.given);
            self.drawn = self.given.clone();
            return Ok(Some((next, self.source.batch(&draw)?)));
        }
        while self.ahead.len() <= self.workers.len() {
            let Some(next) = self.run_schedule.next(seconds) else { break };
            let draw = self.source.draw(&next, &self.odds, &mut self.drawn);
            let (to, batch) = channel();
            let lost = |_| Failure::World("a thread that prepares batches has ended".into());
            self.workers[self.turn].send(Job { draw, to }).map_err(lost)?;
            self.turn = (self.turn + 1) % self.workers.len();
            self.ahead.push_back(Ahead { next, after: self.drawn.clone(), batch });
        }
        let Some(Ahead { next, after, batch }) = self.ahead.pop_front() else { return Ok(None) };
        let lost = |_| Failure::World("a thread that prepares batches has ended".into());
        let batch = batch.recv().map_err(lost)??;
        self.given = after;
        Ok(Some((next, batch)))
    }
}
