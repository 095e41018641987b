//! The spike of gradients in the first steps of a run without warmup, against what they are later.

use lrc_compiler::graph::Model;
use serde::Serialize;

use crate::config::Spec;
use crate::data::Dataset;
use crate::device::Device;
use crate::ground::error::Failure;
use crate::ground::statistics::{Mean, mean};
use crate::optim::Rates;
use crate::schedule::run::RunSchedule;
use crate::train::engine::{Engine, Training};
use crate::train::ready::run_schedule;
use crate::train::start;

/// A probe.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Steps without warmup.
    pub steps: u64,
    /// The later steps, whose mean is compared with: from this one to the last.
    pub from: u64,
    /// Probes of different seeds.
    pub seeds: u64,
}

/// What a probe found.
#[derive(Clone, Debug, Serialize)]
pub struct Spike {
    /// Largest norm of all steps over the mean norm of the later ones, per seed.
    pub ratios: Vec<f64>,
    /// Steps on which the largest norms fell, from 1.
    pub at: Vec<u64>,
    /// The mean ratio.
    pub mean: f64,
    /// Its bootstrap interval over seeds.
    pub interval: [f64; 2],
    /// Warmup that would suit it, as a share of a run. A rule of thumb; see [`suggested`].
    pub warmup: f64,
}

/// Runs the first steps of a spec at its full learning rate.
pub fn spike(
    spec: &Spec,
    model: &Model,
    probe: &Probe,
    say: &mut dyn FnMut(&str),
) -> Result<Spike, Failure> {
    let (mut ratios, mut at) = (Vec::new(), Vec::new());
    for seed in spec.seed..spec.seed + probe.seeds {
        let norms = norms(spec, model, seed, probe.steps)?;
        let later = &norms[probe.from as usize..];
        let usual = later.iter().sum::<f64>() / later.len() as f64;
        let (step, largest) = norms
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1))
            .map_or((0, 0.0), |(step, x)| (step, *x));
        let ratio = largest / usual;
        say(&format!(
            "seed {seed}: largest gradient {largest:.3} at step {}, {usual:.3} later: ratio {ratio:.2}",
            step + 1
        ));
        ratios.push(ratio);
        at.push(step as u64 + 1);
    }
    let Mean { mean, interval } = mean(&ratios);
    Ok(Spike { ratios, at, mean, interval, warmup: suggested(mean) })
}

/// Norms of the gradients of the first steps, before clipping.
fn norms(spec: &Spec, model: &Model, seed: u64, steps: u64) -> Result<Vec<f64>, Failure> {
    let source = Dataset::open_for(&spec.task, seed, &spec.asked(), model.vocab)?;
    let mut run_schedule: RunSchedule = run_schedule(spec, Some(&source))?;
    let training = Training::of(spec, &run_schedule, seed, 1);
    let params = start::parameters(&Spec { seed, ..spec.clone() }, model)?;
    let mut engine = Engine::new(model.clone(), params, Device::Cpu, &training)?;
    let odds = spec.levels.as_ref().map_or(vec![], |levels| levels.start().odds);
    let mut place = source.start();
    let mut norms = Vec::new();
    let micro = spec.micro.map_or(usize::MAX, |tokens| tokens as usize);
    for step in 0..steps {
        let Some(next) = run_schedule.next(0.0) else { break };
        let batch = source.batch(&source.draw(&next, &odds, &mut place))?;
        let stepped = engine.gradient(&batch.parts(micro), step)?;
        if !stepped.norm.is_finite() {
            let why = format!("the loss was no number at step {} without warmup", step + 1);
            return Err(Failure::Diverged(why));
        }
        norms.push(stepped.norm);
        let optimizer = &spec.optimizer;
        let rates = Rates { lr: optimizer.lr, clip: optimizer.clip, step: step + 1 };
        engine.update(&rates, stepped.norm)?;
    }
    if (norms.len() as u64) < steps {
        return Err(Failure::Usage(format!(
            "the run of the spec has {} steps, the probe wants {steps}",
            norms.len()
        )));
    }
    Ok(norms)
}

/// The warmup that a ratio suggests, as a share of a run: between 0.5 % at 2.1 and 6.5 % at 47.3, the
/// ratios and best warmups that the source study gives for a state-space model and a Transformer,
/// in a straight line over the logarithm of the ratio. Two points make no law.
pub fn suggested(ratio: f64) -> f64 {
    let (low, high) = (2.1_f64.ln(), 47.3_f64.ln());
    let way = ((ratio.max(1e-9).ln() - low) / (high - low)).clamp(0.0, 1.0);
    0.005 + (0.065 - 0.005) * way
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_lie_between_the_published_ones() {
        assert!((suggested(2.1) - 0.005).abs() < 1e-12);
        assert!((suggested(47.3) - 0.065).abs() < 1e-12);
        assert!((suggested(1e9) - 0.065).abs() < 1e-12 && suggested(0.0) == 0.005);
        assert!((suggested((2.1_f64 * 47.3).sqrt()) - 0.035).abs() < 1e-12);
    }
}
