//! What kernels do on a machine that somebody else has: right or wrong, and how long each takes, within a budget of seconds.

use std::time::{Duration, Instant};

use lrc_compiler::compile::Chosen;
use lrc_compiler::elaborate::Recurrence;

use super::verify::{Judged, KernelFound, Kernels as Judgeable, judge_kernels};
use crate::device::kernels::{Into as Gradients, Kernels, Unready, Wanted, sent};
use crate::device::store::{Machine, Store};
use crate::ground::error::Failure;
use crate::ground::timing::Repeat;
use crate::recurrence::draw::{Drawn, Sizes};

/// One thing to do: a recurrence at its sizes is compared with the truth, or timed in a call of a shape.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The recurrence.
    pub recurrence: Recurrence,
    /// The call that is timed; without it, kernels are compared with the recurrent form.
    pub timed: Option<Sizes>,
}

/// What became of a unit.
#[derive(Debug)]
pub enum Outcome {
    /// There are no kernels: why.
    Refused(String),
    /// Something failed on the way.
    Failed(Failure),
    /// How kernels compare.
    Verified(Judged<KernelFound>),
    /// How long each launch of a call takes.
    Timed(Vec<Timing>),
    /// The budget was used up before.
    NotReached,
}

/// The times of one launch of a call, in seconds.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The pass: `forward`, `saving` (the forward pass of training) or `backward`.
    pub pass: &'static str,
    /// The kernel.
    pub kernel: String,
    /// Of all runs.
    pub median: f64,
    /// The shortest.
    pub least: f64,
    /// The longest.
    pub most: f64,
    /// How many.
    pub runs: usize,
}

/// Works through units, and calls `done` behind each with its number, outcome and seconds. None is begun that would
/// not end within the budget if it took as long as the longest of its kind so far.
pub fn run(
    units: &[Unit],
    machine: &Machine,
    budget: Duration,
    repeat: Repeat,
    mut done: impl FnMut(usize, Outcome, Duration) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let start = Instant::now();
    let mut longest = [Duration::ZERO; 2];
    for (at, unit) in units.iter().enumerate() {
        let kind = usize::from(unit.timed.is_some());
        let began = Instant::now();
        if start.elapsed() + longest[kind] >= budget {
            done(at, Outcome::NotReached, Duration::ZERO)?;
            continue;
        }
        let outcome = match unit.timed {
            None => verified(&unit.recurrence, machine),
            Some(sizes) => timed(&unit.recurrence, sizes, machine, repeat).map(Outcome::Timed),
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(Unready::Refused(refusal)) => Outcome::Refused(refusal.why),
            Err(Unready::Failed(failure)) => Outcome::Failed(failure),
        };
        longest[kind] = longest[kind].max(began.elapsed());
        done(at, outcome, began.elapsed())?;
    }
    Ok(())
}

fn verified(r: &Recurrence, machine: &Machine) -> Result<Outcome, Unready> {
    let kernels = Judgeable::new(r, machine)?;
    judge_kernels(r, &kernels).map(Outcome::Verified).map_err(Unready::Failed)
}

/// Times each launch of a recurrence's calls, forward alone and of a training step.
fn timed(
    r: &Recurrence,
    sizes: Sizes,
    machine: &Machine,
    repeat: Repeat,
) -> Result<Vec<Timing>, Unready> {
    let made = |wanted| Kernels::new(r, wanted, Chosen::default(), machine);
    let (forward, training) = (made(Wanted::Forward)?, made(Wanted::Training)?);
    let drawn = Drawn::new(r, sizes);
    let alone = passes(r, &drawn, &forward, ["forward", "backward"], repeat);
    let both = passes(r, &drawn, &training, ["saving", "backward"], repeat);
    let all = alone.and_then(|mut all| {
        all.extend(both?);
        Ok(all)
    });
    all.map_err(Unready::Failed)
}

/// Times the launches of what kernels were made for.
fn passes(
    r: &Recurrence,
    drawn: &Drawn,
    kernels: &Kernels,
    names: [&'static str; 2],
    repeat: Repeat,
) -> Result<Vec<Timing>, Failure> {
    let mut store = Store::new(kernels.machine());
    store.time();
    let problem = drawn.problem(r);
    let (call, outs) = sent(&mut store, &problem)?;
    let trains = kernels.schedules().len() > 1;
    let mut d_outs = Vec::new();
    for (d, slot) in drawn.d_outs.iter().zip(&r.outs).filter(|_| trains) {
        d_outs.push(Some(store.holding("gradient given", d, slot.number)?));
    }
    let to = trains.then(|| Gradients::new(&mut store, &call)).transpose()?;
    let mut once = || -> Result<Vec<(&'static str, String, f64)>, Failure> {
        let (finals, left) = kernels.forward(&mut store, &call, &outs)?;
        let mut all = named(names[0], store.timed()?);
        if let Some(to) = &to {
            kernels.backward(&mut store, &call, &left, [&d_outs, &[]], to)?;
            all.extend(named(names[1], store.timed()?));
        }
        finals.into_iter().for_each(|tensor| store.give(tensor));
        left.release(&mut store);
        Ok(all)
    };
    // The first run warms up.
    once()?;
    let (start, mut runs) = (Instant::now(), Vec::new());
    while runs.len() < repeat.least.max(1) || start.elapsed() < repeat.time {
        runs.push(once()?);
    }
    Ok(gathered(&runs))
}

fn named(pass: &'static str, all: Vec<(String, f64)>) -> Vec<(&'static str, String, f64)> {
    all.into_iter().map(|(kernel, seconds)| (pass, kernel, seconds)).collect()
}

/// The times of each launch over all runs, which start the same kernels.
fn gathered(runs: &[Vec<(&'static str, String, f64)>]) -> Vec<Timing> {
    let Some(first) = runs.first() else { return vec![] };
    let of = |(at, (pass, kernel, _)): (usize, &(&'static str, String, f64))| {
        let mut times: Vec<f64> = runs.iter().filter_map(|run| Some(run.get(at)?.2)).collect();
        times.sort_by(f64::total_cmp);
        Timing {
            pass,
            kernel: kernel.clone(),
            median: times[times.len() / 2],
            least: times[0],
            most: times[times.len() - 1],
            runs: times.len(),
        }
    };
    first.iter().enumerate().map(of).collect()
}
