//! What links between GPUs carry, as makers state it, and what is assumed of it.

use crate::device::sim::hardware::{A100, H100, Hardware};

/// A kind of GPU with its memory and its links.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fabric {
    /// What it computes.
    pub hardware: Hardware,
    /// Bytes of its memory.
    pub memory: f64,
    /// Bytes of a second in one direction to GPUs of its node.
    pub within: f64,
    /// Bytes of a second in one direction to GPUs of other nodes.
    pub between: f64,
    /// Where these numbers stand.
    pub source: &'static str,
}

/// The share of what links carry that collectives reach.
pub const REACHED: f64 = 0.8;

/// Seconds of a hop within a node, and between nodes.
pub const HOP: [f64; 2] = [5e-6, 15e-6];

/// NVLink is stated for both directions together, InfiniBand in bits.
pub const FABRICS: [Fabric; 2] = [
    Fabric {
        hardware: A100,
        memory: 80e9,
        within: 600e9 / 2.0,
        between: 200e9 / 8.0,
        source: "NVIDIA's data sheets of the A100 80 GB SXM (312 TFLOP/s in bf16, 80 GB, NVLink 600 GB/s for both directions) and of the DGX A100 (a 200 Gb/s HDR InfiniBand link per GPU)",
    },
    Fabric {
        hardware: H100,
        memory: 80e9,
        within: 900e9 / 2.0,
        between: 400e9 / 8.0,
        source: "NVIDIA's data sheets of the H100 SXM (989 TFLOP/s in bf16, 80 GB, NVLink 900 GB/s for both directions) and of the DGX H100 (a 400 Gb/s NDR InfiniBand link per GPU)",
    },
];

impl Fabric {
    /// That of a kind of GPU.
    pub fn of(arch: &str) -> Option<Fabric> {
        FABRICS.into_iter().find(|fabric| fabric.hardware.arch == arch)
    }
}
