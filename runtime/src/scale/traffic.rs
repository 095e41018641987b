//! What GPUs send each other in a step.
//!
//! A sum over ranks that all get is a reduction that leaves a share with each, and a gathering of these shares: each sends
//! `(n - 1) / n` of the bytes twice, which is the least there can be (Patarasuk and Yuan 2009). It goes within nodes first, then
//! each GPU of a node with its like of other nodes on its share. ZeRO sends as much as plain data parallelism (Rajbhandari et al.
//! 2020, section 7), but reduces every part's gradients where it holds a share of them only.

use super::fabric::{Fabric, HOP, REACHED};
use super::memory::Zero;
use super::{Job, Layout, Local};

/// GPUs of a collective: of a node, and nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranks {
    /// Of each node.
    pub within: usize,
    /// Nodes.
    pub nodes: usize,
}

impl Ranks {
    /// So many GPUs, so many to a node at most.
    pub fn of(gpus: usize, per_node: usize) -> Ranks {
        Ranks { within: gpus.min(per_node), nodes: gpus.div_ceil(per_node) }
    }
}

/// Bytes that one GPU sends, and how long it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sent {
    /// Bytes.
    pub bytes: f64,
    /// Seconds.
    pub seconds: f64,
}

impl Sent {
    fn plus(self, other: Sent) -> Sent {
        Sent { bytes: self.bytes + other.bytes, seconds: self.seconds + other.seconds }
    }

    fn times(self, n: f64) -> Sent {
        Sent { bytes: n * self.bytes, seconds: n * self.seconds }
    }
}

/// What a GPU sends in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Gradients: what may go on beside the backward pass.
    pub reduce: Sent,
    /// Parameters after the update, where each GPU updates a share.
    pub gather: Sent,
    /// Summaries of segments, keys and values, where GPUs share sequences.
    pub sequence: Sent,
}

/// One half of a sum over ranks: shares are left with each, or gathered from each.
pub fn half(bytes: f64, ranks: &Ranks, fabric: &Fabric) -> Sent {
    let Ranks { within, nodes } = *ranks;
    let (near, far) = (within as f64, nodes as f64);
    let own = bytes / near;
    let [inside, outside] = [bytes * (near - 1.0) / near, own * (far - 1.0) / far];
    let hops = |n: f64| n.log2().ceil();
    Sent {
        bytes: inside + outside,
        seconds: inside / (REACHED * fabric.within)
            + outside / (REACHED * fabric.between)
            + hops(near) * HOP[0]
            + hops(far) * HOP[1],
    }
}

/// What a GPU of a layout sends.
pub(super) fn of(
    job: &Job,
    layout: &Layout,
    local: &Local,
    ranks: &Ranks,
    fabric: &Fabric,
) -> Traffic {
    let nothing = Sent::default();
    let gradients = half(job.held.gradients, ranks, fabric);
    let reduce = match layout.zero {
        Zero::None => gradients.times(2.0),
        Zero::Optimiser => gradients,
        Zero::Gradients => gradients.times(local.parts as f64),
    };
    let gather = match layout.zero {
        Zero::None => nothing,
        _ => half(job.held.parameters, ranks, fabric),
    };
    let sequence = if layout.shared > 1 {
        // Neighbours share sequences, in a node as far as it has room.
        let ranks = Ranks::of(layout.shared, layout.per_node);
        let all = layout.shared as f64 * local.batch as f64;
        // A segment's transition and its write; keys and values of all segments.
        let summaries = 2.0 * job.states * all;
        let gathered = job.gathered * local.length as f64 * all;
        let pass = half(summaries, &ranks, fabric).plus(half(gathered, &ranks, fabric));
        // Forward, and their gradients backward.
        pass.times(2.0 * local.parts as f64)
    } else {
        nothing
    };
    Traffic { reduce, gather, sequence }
}
