//! What is watched while a model trains, and what is done about it.
//!
//! Everything here is a function of the numbers of the run: a run that is taken up again, or done over,
//! sees the same and does the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::measure::Measured;
use crate::schedule::Amount;

/// What is watched, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    /// How often layers are measured.
    pub every: Amount,
    /// Steps that a loss is compared with.
    pub window: usize,
    /// A loss is a spike where it lies so many standard deviations above the mean of the window.
    pub deviations: f64,
    /// What is done about it.
    pub policies: Vec<Policy>,
}

/// A reaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// When.
    pub on: Trigger,
    /// What.
    pub action: Action,
    /// So often at most; then the run ends.
    pub at_most: u64,
}

/// When a policy acts.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// The loss or the gradient is no number.
    Nan,
    /// The loss is far above those before.
    Spike,
    /// The loss on unseen data stalls while that of training falls.
    Underfitting,
    /// A measure is above a number.
    Above(Measure, f64),
    /// A measure is below a number.
    Below(Measure, f64),
}

/// Measures that policies may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The loss of a step.
    Loss,
    /// Norm of the gradient before clipping.
    GradNorm,
    /// Share of the steps since the last measuring whose gradient was clipped.
    ClipShare,
    /// The largest growth of a layer's output since the last measuring.
    NormGrowth,
    /// The largest output of a layer.
    OutputNorm,
    /// The largest norm of a state.
    StateNorm,
    /// The largest norm of a query or key.
    Qk,
    /// The smallest entropy of attention.
    Entropy,
}

/// Names of measures in a spec.
pub const MEASURES: [(&str, Measure); 8] = [
    ("loss", Measure::Loss),
    ("grad_norm", Measure::GradNorm),
    ("clip_share", Measure::ClipShare),
    ("norm_growth", Measure::NormGrowth),
    ("output_norm", Measure::OutputNorm),
    ("state_norm", Measure::StateNorm),
    ("qk", Measure::Qk),
    ("entropy", Measure::Entropy),
];

impl Measure {
    /// Whether it takes a look into the layers.
    pub fn of_layers(self) -> bool {
        !matches!(self, Measure::Loss | Measure::GradNorm | Measure::ClipShare)
    }
}

/// What a policy does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// Say so.
    Warn,
    /// Leave the batch out.
    Skip,
    /// Go back to a checkpoint this many steps ago or more; the data since stays used up.
    Back(u64),
    /// Multiply the learning rate from now on, and clip to another norm.
    Change {
        /// Factor on the learning rate.
        lr_scale: f64,
        /// Another norm to clip to.
        clip: Option<f64>,
    },
    /// End the run.
    Stop,
}

/// What the monitor remembers between steps; part of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Factor on the learning rate.
    #[serde(rename = "lr")]
    pub lr_scale: f64,
    /// Another norm to clip to.
    pub clip: Option<f64>,
    /// Means of the trace and the signal of the gradients' noise.
    #[serde(default)]
    noise: Option<[f64; 2]>,
    /// Losses of the last steps.
    losses: Vec<f64>,
    /// Steps since layers were measured, and how many of these were clipped.
    since: [u64; 2],
    /// The outputs of layers when they were measured last.
    outputs: BTreeMap<String, f64>,
    /// Sum and number of the losses since the last evaluation.
    seen: [f64; 2],
    /// Loss in training and on unseen data at each evaluation.
    evaluations: Vec<[f64; 2]>,
    /// How often each policy has acted.
    acted: Vec<u64>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            lr_scale: 1.0,
            clip: None,
            noise: None,
            losses: vec![],
            since: [0; 2],
            outputs: BTreeMap::new(),
            seen: [0.0; 2],
            evaluations: vec![],
            acted: vec![],
        }
    }
}

/// Something that happened, and what was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What.
    pub what: String,
    /// What was done.
    pub did: String,
}

/// Evaluations without a better loss on unseen data that count as a stall.
const STALL: usize = 3;

impl Memory {
    /// Takes in a loss. The value says by how many deviations it is a spike.
    pub fn spike(&self, monitor: &Monitor, loss: f64) -> Option<f64> {
        let n = self.losses.len();
        // A mean of few losses says nothing.
        if n < monitor.window.min(20) {
            return None;
        }
        let mean = self.losses.iter().sum::<f64>() / n as f64;
        let variance = self.losses.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
        // Losses that hardly differ would make a spike of anything.
        let deviation = variance.sqrt().max(1e-3 * mean.abs());
        let found = (loss - mean) / deviation;
        (found > monitor.deviations).then_some(found)
    }

    /// Takes in what a step says of the noise of gradients; gives the noise scale, in asked tokens.
    pub fn noise(&mut self, trace: f64, signal: f64) -> Option<f64> {
        // Single steps say little: the mean is over about twenty.
        let mix = |old: f64, new: f64| 0.9 * old + 0.1 * new;
        let [t, s] = self.noise.map_or([trace, signal], |[t, s]| [mix(t, trace), mix(s, signal)]);
        self.noise = Some([t, s]);
        (t > 0.0 && s > 0.0).then(|| t / s)
    }

    /// Takes in a step that was taken.
    pub fn stepped(&mut self, monitor: &Monitor, loss: f64, clipped: bool) {
        self.losses.push(loss);
        if self.losses.len() > monitor.window {
            self.losses.remove(0);
        }
        self.since[0] += 1;
        self.since[1] += u64::from(clipped);
        self.seen = [self.seen[0] + loss, self.seen[1] + 1.0];
    }

    /// The measures of layers, and those that need some steps; they begin anew.
    pub fn measures(&mut self, layers: &Measured) -> Vec<(Measure, f64)> {
        let all = |name: &str| layers.values().filter_map(|m| m.get(name)).copied().collect();
        let most = |all: Vec<f64>| all.into_iter().reduce(f64::max);
        let least = |all: Vec<f64>| all.into_iter().reduce(f64::min);
        let outputs: BTreeMap<String, f64> = layers
            .iter()
            .filter_map(|(layer, m)| Some((layer.clone(), *m.get("output")?)))
            .collect();
        let growth = outputs
            .iter()
            .filter_map(|(layer, now)| Some(now / self.outputs.get(layer)?.max(1e-12)))
            .reduce(f64::max);
        let [steps, clipped] = self.since;
        let found = [
            (Measure::ClipShare, (steps > 0).then(|| clipped as f64 / steps as f64)),
            (Measure::NormGrowth, growth),
            (Measure::OutputNorm, most(all("output"))),
            (Measure::StateNorm, most(all("state"))),
            (Measure::Qk, most([all("q"), all("k")].concat())),
            (Measure::Entropy, least(all("entropy"))),
        ];
        self.outputs = outputs;
        self.since = [0; 2];
        found.into_iter().filter_map(|(measure, x)| Some((measure, x?))).collect()
    }

    /// Takes in a loss on unseen data; says whether training goes on without it.
    pub fn underfits(&mut self, unseen: f64) -> bool {
        let [sum, count] = self.seen;
        self.seen = [0.0; 2];
        self.evaluations.push([sum / count.max(1.0), unseen]);
        let n = self.evaluations.len();
        if n <= STALL {
            return false;
        }
        let (before, last) = self.evaluations.split_at(n - STALL);
        let best = before.iter().map(|e| e[1]).fold(f64::INFINITY, f64::min);
        let stalls = last.iter().all(|e| e[1] >= best);
        let falls = self.evaluations[n - STALL - 1..].windows(2).all(|p| p[1][0] < p[0][0]);
        stalls && falls
    }

    /// The first policy for something that happened, counted; the error says that it acted too
    /// often.
    pub fn react(
        &mut self,
        monitor: &Monitor,
        happened: &dyn Fn(&Trigger) -> bool,
    ) -> Result<Option<Action>, String> {
        self.acted.resize(monitor.policies.len(), 0);
        for (policy, acted) in monitor.policies.iter().zip(&mut self.acted) {
            if !happened(&policy.on) {
                continue;
            }
            if *acted >= policy.at_most {
                return Err(format!("its policy has acted {acted} times, and may not again"));
            }
            *acted += 1;
            if let Action::Change { lr_scale, clip } = policy.action {
                self.lr_scale *= lr_scale;
                self.clip = clip.or(self.clip);
            }
            return Ok(Some(policy.action));
        }
        Ok(None)
    }

    /// What a run that goes back keeps of what it has learned about itself.
    pub fn kept(&self, of_checkpoint: Memory) -> Memory {
        Memory {
            lr_scale: self.lr_scale,
            clip: self.clip,
            acted: self.acted.clone(),
            ..of_checkpoint
        }
    }
}

impl std::fmt::Display for Trigger {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let name = |measure: &Measure| {
            MEASURES.iter().find(|(_, m)| m == measure).map_or("", |(name, _)| *name)
        };
        match self {
            Trigger::Nan => f.write_str("nan"),
            Trigger::Spike => f.write_str("spike"),
            Trigger::Underfitting => f.write_str("underfitting"),
            Trigger::Above(measure, bound) => write!(f, "{} > {bound}", name(measure)),
            Trigger::Below(measure, bound) => write!(f, "{} < {bound}", name(measure)),
        }
    }
}

impl Trigger {
    /// Reads `nan`, `spike`, `underfitting`, or a measure and a bound: `norm_growth > 2`.
    pub fn parse(text: &str) -> Option<Trigger> {
        match text.trim() {
            "nan" => return Some(Trigger::Nan),
            "spike" => return Some(Trigger::Spike),
            "underfitting" => return Some(Trigger::Underfitting),
            _ => {}
        }
        let at = text.find(['<', '>'])?;
        let (name, bound) = (text[..at].trim(), text[at + 1..].trim().parse::<f64>().ok()?);
        let (_, measure) = MEASURES.iter().find(|(known, _)| *known == name)?;
        // Nothing lies above or below what is no number.
        let bound = Some(bound).filter(|bound| bound.is_finite())?;
        let above = text[at..].starts_with('>');
        Some(if above { Trigger::Above(*measure, bound) } else { Trigger::Below(*measure, bound) })
    }

    /// Whether it takes a look into the layers.
    pub fn of_layers(&self) -> bool {
        matches!(self, Trigger::Above(m, _) | Trigger::Below(m, _) if m.of_layers())
    }

    /// Whether measures set it off.
    pub fn met(&self, measures: &[(Measure, f64)]) -> bool {
        let of = |wanted: Measure| measures.iter().find(|(m, _)| *m == wanted).map(|(_, x)| *x);
        match self {
            Trigger::Above(measure, bound) => of(*measure).is_some_and(|x| x > *bound),
            Trigger::Below(measure, bound) => of(*measure).is_some_and(|x| x < *bound),
            _ => false,
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Action::Warn => f.write_str("nothing but to say so"),
            Action::Skip => f.write_str("the batch is left out"),
            Action::Back(steps) => write!(f, "back to a checkpoint {steps} steps ago or more"),
            Action::Change { lr_scale, clip: None } => write!(f, "learning rate x {lr_scale}"),
            Action::Change { lr_scale, clip: Some(clip) } => {
                write!(f, "learning rate x {lr_scale}, gradients clipped to {clip}")
            }
            Action::Stop => f.write_str("the run ends"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(policies: Vec<Policy>) -> Monitor {
        Monitor { every: Amount::Steps(10.0), window: 30, deviations: 6.0, policies }
    }

    #[test]
    fn a_spike_stands_out_of_its_window() {
        let (monitor, mut memory) = (monitor(vec![]), Memory::default());
        for step in 0..100 {
            let loss = 3.0 - 0.01 * f64::from(step) + 0.05 * f64::from(step % 5);
            assert_eq!(memory.spike(&monitor, loss), None, "{step}");
            memory.stepped(&monitor, loss, false);
        }
        assert!(memory.spike(&monitor, 2.9).is_some());
        assert_eq!(memory.spike(&monitor, 2.3), None);
    }

    #[test]
    fn a_stall_on_unseen_data_is_seen_only_while_training_improves() {
        let run = |train: &[f64], unseen: &[f64]| -> Vec<bool> {
            let (monitor, mut memory) = (monitor(vec![]), Memory::default());
            let each = train.iter().zip(unseen).map(|(t, u)| {
                memory.stepped(&monitor, *t, false);
                memory.underfits(*u)
            });
            each.collect()
        };
        let falls = [3.0, 2.8, 2.6, 2.4, 2.2, 2.0];
        let stalls = [3.0, 2.9, 2.9, 2.95, 2.91, 3.0];
        assert_eq!(run(&falls, &stalls), [false, false, false, false, true, true]);
        assert_eq!(run(&falls, &falls), [false; 6]);
        assert_eq!(run(&stalls, &stalls), [false; 6]);
    }

    #[test]
    fn policies_act_so_often_and_changes_add_up() {
        let change = Action::Change { lr_scale: 0.5, clip: Some(0.3) };
        let on = Trigger::Above(Measure::NormGrowth, 2.0);
        let monitor = monitor(vec![Policy { on, action: change, at_most: 2 }]);
        let mut memory = Memory::default();
        let layers = |x: f64| -> Measured {
            [("layers.0".to_string(), [("output".to_string(), x)].into())].into()
        };
        let mut react = |x: f64| {
            let measures = memory.measures(&layers(x));
            let action = memory.react(&monitor, &|trigger| trigger.met(&measures));
            (action.map(|a| a.is_some()), memory.lr_scale)
        };
        assert_eq!(react(1.0), (Ok(false), 1.0), "nothing to compare with");
        assert_eq!(react(1.9), (Ok(false), 1.0));
        assert_eq!(react(4.0), (Ok(true), 0.5));
        assert_eq!(react(9.0), (Ok(true), 0.25));
        assert!(react(90.0).0.is_err());
    }
}
