//! What one GPU holds (ZeRO; Rajbhandari et al. 2020, section 5).

use super::{Job, Layout, Local};

/// What of a model's training each GPU holds a share of only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Zero {
    /// Nothing: each holds all.
    None,
    /// What the optimiser remembers, master weights included.
    Optimiser,
    /// That, and gradients.
    Gradients,
}

impl Zero {
    /// The stage of a number.
    pub const STAGES: [Zero; 3] = [Zero::None, Zero::Optimiser, Zero::Gradients];
}

/// Bytes of a model's training on one GPU that holds all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Held {
    /// Parameters as passes read them.
    pub parameters: f64,
    /// Gradients, as they are reduced.
    pub gradients: f64,
    /// What the optimiser remembers, with master weights.
    pub optimiser: f64,
}

impl Held {
    /// Bytes on each of so many GPUs.
    pub fn each(&self, zero: Zero, gpus: usize) -> Held {
        let share = |from: Zero, bytes: f64| if zero >= from { bytes / gpus as f64 } else { bytes };
        Held {
            parameters: self.parameters,
            gradients: share(Zero::Gradients, self.gradients),
            optimiser: share(Zero::Optimiser, self.optimiser),
        }
    }

    /// All of them.
    pub fn all(&self) -> f64 {
        self.parameters + self.gradients + self.optimiser
    }
}

/// Bytes of one GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// Of the model and its optimiser.
    pub held: Held,
    /// A second copy of the gradients, where parts add up; the bucket in which they are reduced, where each GPU holds a share.
    pub sums: f64,
    /// Values between nodes, of one part.
    pub activations: f64,
    /// The block of logits.
    pub logits: f64,
}

impl Memory {
    /// All of them.
    pub fn all(&self) -> f64 {
        self.held.all() + self.sums + self.activations + self.logits
    }
}

/// Bytes of gradients that are reduced together on their way to the GPU that holds them.
pub const BUCKET: f64 = 256e6;

/// What a GPU of a layout holds.
pub(super) fn of(job: &Job, layout: &Layout, local: &Local) -> Memory {
    Memory {
        held: job.held.each(layout.zero, layout.gpus),
        sums: match layout.zero {
            Zero::Gradients => job.held.gradients.min(BUCKET),
            _ if local.parts > 1 => job.held.gradients,
            _ => 0.0,
        },
        activations: job.activations * local.part() as f64,
        logits: job.logits,
    }
}
