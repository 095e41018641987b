//! What a training step takes on many GPUs, before there are any: memory of each, what flows between them, seconds.
//!
//! Arithmetic only: the model's graph says what is held and computed, [`crate::profile::step`] (or a share of the peak) how long
//! one GPU computes, [`fabric`] what links carry. Every assumption is a line of [`text::assumptions`]; nothing is measured.

pub mod fabric;
pub mod memory;
pub mod text;
pub mod traffic;

use fabric::Fabric;
use memory::{Held, Memory, Zero};
use traffic::{Ranks, Traffic};

/// A training step of a model as one process would do it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Job {
    /// What one process holds of the model.
    pub held: Held,
    /// Sequences of a step, over all GPUs.
    pub sequences: usize,
    /// Tokens of each.
    pub length: usize,
    /// Tokens that run through the model at a time on one GPU, at most.
    pub micro: usize,
    /// Bytes of values between the nodes of the graph, for a token.
    pub activations: f64,
    /// Bytes of the block of logits, whatever the tokens are.
    pub logits: f64,
    /// Operations of a token, forward and backward.
    pub operations: f64,
    /// Bytes of the states of one sequence, in f32: what ranks that share it hand on.
    pub states: f64,
    /// Bytes of keys and values of one token, in f32: what ranks that share a sequence gather.
    pub gathered: f64,
    /// Steps of the run; nothing for a run of given time.
    pub steps: Option<u64>,
}

/// How many GPUs share the work, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// GPUs in all.
    pub gpus: usize,
    /// GPUs of a node, which NVLink connects.
    pub per_node: usize,
    /// What of the model each holds a share of only.
    pub zero: Zero,
    /// GPUs that share each sequence.
    pub shared: usize,
}

/// What one GPU does of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Local {
    /// Sequences of a part that runs through the model at a time.
    pub batch: usize,
    /// Tokens of each that this GPU has.
    pub length: usize,
    /// Parts of a step.
    pub parts: usize,
}

impl Local {
    /// Tokens of a part.
    pub fn part(&self) -> usize {
        self.batch * self.length
    }
}

/// Why a layout cannot be.
#[derive(Clone, Debug, PartialEq)]
pub enum Refused {
    /// GPUs would have nothing to do: so many sequences, so many that could have one.
    Idle {
        /// Sequences of a step.
        sequences: usize,
        /// Groups of GPUs that have sequences of their own.
        groups: usize,
    },
    /// GPUs that share sequences do not divide all GPUs, or the tokens of a sequence.
    Uneven,
}

impl Job {
    /// What each GPU of a layout does; the busiest, where sequences do not divide evenly.
    pub fn local(&self, layout: &Layout) -> Result<Local, Refused> {
        let Layout { gpus, shared, .. } = *layout;
        if !gpus.is_multiple_of(shared) || !self.length.is_multiple_of(shared) {
            return Err(Refused::Uneven);
        }
        let groups = gpus / shared;
        if groups > self.sequences {
            return Err(Refused::Idle { sequences: self.sequences, groups });
        }
        let own = self.sequences.div_ceil(groups);
        let length = self.length / shared;
        let most = (self.micro / length).max(1);
        let parts = own.div_ceil(most);
        Ok(Local { batch: own.div_ceil(parts), length, parts })
    }
}

/// Seconds of what one GPU computes in a step, without what it waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Computed {
    /// Forward and backward.
    pub passes: f64,
    /// The backward pass of a part: what its gradients may be reduced beside.
    pub beside: f64,
    /// The update of all parameters by one GPU.
    pub update: f64,
}

/// The share of the operations of a step that its backward pass does.
const BACKWARD: f64 = 2.0 / 3.0;

impl Computed {
    /// By a share of the peak, the update not counted apart.
    pub fn by_share(job: &Job, local: &Local, peak: f64, share: f64) -> Computed {
        let part = job.operations * local.part() as f64 / (peak * share);
        Computed { passes: part * local.parts as f64, beside: BACKWARD * part, update: 0.0 }
    }
}

/// A step on many GPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Who shares what.
    pub layout: Layout,
    /// What each does.
    pub local: Local,
    /// What each holds.
    pub memory: Memory,
    /// What each sends, and for how long.
    pub traffic: Traffic,
    /// What each computes.
    pub computed: Computed,
    /// Seconds of a step: gradients are reduced beside the backward pass.
    pub seconds: f64,
    /// Seconds where nothing is done beside anything.
    pub apart: f64,
    /// Tokens of a second, over all GPUs.
    pub speed: f64,
    /// The share of all peaks that the published operations of these tokens are.
    pub utilisation: f64,
    /// Hours of the run, and of all its GPUs together.
    pub hours: Option<[f64; 2]>,
}

/// Plans a step; `computed` says how long one GPU computes its part of it.
pub fn plan(job: &Job, layout: Layout, local: Local, fabric: &Fabric, computed: Computed) -> Plan {
    let ranks = Ranks::of(layout.gpus, layout.per_node);
    let memory = memory::of(job, &layout, &local);
    let traffic = traffic::of(job, &layout, &local, &ranks, fabric);
    // ZeRO updates a share of the parameters each.
    let update = match layout.zero {
        Zero::None => computed.update,
        _ => computed.update / layout.gpus as f64,
    };
    // Gradients of which each holds a share are reduced with every part, else with the last one.
    let beside = match layout.zero {
        Zero::Gradients => computed.beside * local.parts as f64,
        _ => computed.beside,
    };
    let alone = computed.passes + update + traffic.gather.seconds + traffic.sequence.seconds;
    let apart = alone + traffic.reduce.seconds;
    let seconds = alone + (traffic.reduce.seconds - beside).max(0.0);
    let speed = (job.sequences * job.length) as f64 / seconds;
    let peak = fabric.hardware.peak * layout.gpus as f64;
    let hours = job.steps.map(|steps| steps as f64 * seconds / 3600.0);
    Plan {
        layout,
        local,
        memory,
        traffic,
        computed: Computed { update, ..computed },
        seconds,
        apart,
        speed,
        utilisation: speed * job.operations / peak,
        hours: hours.map(|hours| gpu_hours(hours, layout.gpus)),
    }
}

/// Hours of a run and of all its GPUs together.
fn gpu_hours(hours: f64, gpus: usize) -> [f64; 2] {
    [hours, hours * gpus as f64]
}

#[cfg(test)]
mod tests;
