//! What instructions cost on kinds of GPU: assumptions by which the sim device estimates times.
//!
//! Latencies and rates are those of the microbenchmark literature and of NVIDIA's programming guide (table
//! "throughput of native arithmetic instructions"); none was fitted to kernels of this project.

use crate::device::peak;

/// A kind of GPU as a table of costs. Latencies are cycles until a result can be used, `busy` cycles for which an
/// instruction of a warp keeps a unit of one of the four schedulers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hardware {
    /// As it is sold.
    pub name: &'static str,
    /// The kind of GPU that kernels for it are planned as.
    pub arch: &'static str,
    /// Cycles in a second.
    pub clock: f64,
    /// Multiprocessors.
    pub multiprocessors: usize,
    /// Bytes of device memory in a second, as far as kernels reach them.
    pub bandwidth: f64,
    /// Bytes of L1 and shared memory of a multiprocessor together.
    pub on_chip: usize,
    /// Latency of arithmetic.
    pub arithmetic: f64,
    /// Latency of functions (`exp2`, `rsqrt`, …) and conversions to and from whole numbers.
    pub function: f64,
    /// Latency of an exchange between lanes.
    pub shuffle: f64,
    /// Latency of a read of shared memory, and of four matrices at once.
    pub shared: [f64; 2],
    /// Latency of a product of matrix fragments.
    pub product: f64,
    /// Latency of a read of device memory that L1 holds, that L2 holds, and of others.
    pub memory: [f64; 3],
    /// Bytes of L2.
    pub l2: usize,
    /// Cycles between the last warp's arrival at a barrier and the first one's going on.
    pub barrier: f64,
    /// `busy` of whole numbers, of f32, of functions, of a product of fragments 16 x 8 x 16.
    pub busy: [f64; 4],
    /// Seconds between the starts of two kernels that wait for each other.
    pub launch: f64,
    /// Operations of a second in bf16 on the matrix units, as it is sold.
    pub peak: f64,
    /// The share of them that a library's dense products reach.
    pub products: f64,
}

/// NVIDIA A100 (80 GB).
pub const A100: Hardware = Hardware {
    name: "A100",
    arch: "sm_80",
    clock: 1.41e9,
    multiprocessors: 108,
    bandwidth: 1.75e12,
    on_chip: 192 << 10,
    arithmetic: 4.0,
    function: 24.0,
    shuffle: 24.0,
    shared: [29.0, 33.0],
    product: 33.0,
    memory: [38.0, 200.0, 500.0],
    l2: 40 << 20,
    barrier: 24.0,
    busy: [2.0, 2.0, 8.0, 8.0],
    launch: 3e-6,
    peak: peak::A100 * 1e12,
    products: 0.75,
};

/// NVIDIA H100 (SXM). Products of fragments reach 62 % of what the larger ones of this kind of GPU do.
pub const H100: Hardware = Hardware {
    name: "H100",
    arch: "sm_90a",
    clock: 1.7e9,
    multiprocessors: 132,
    bandwidth: 3.0e12,
    on_chip: 256 << 10,
    memory: [38.0, 270.0, 560.0],
    l2: 50 << 20,
    busy: [2.0, 1.0, 8.0, 6.5],
    peak: peak::H100 * 1e12,
    products: 0.65,
    ..A100
};

/// Bytes that a multiprocessor takes from L2 in a cycle at most.
const PORT: f64 = 64.0;

/// Those for which times are estimated.
pub const HARDWARE: [Hardware; 2] = [A100, H100];

impl Hardware {
    /// The one for which kernels of this kind of GPU are timed.
    pub fn of(arch: &str) -> Option<Hardware> {
        HARDWARE.into_iter().find(|hardware| hardware.arch == arch)
    }

    /// Bytes of device memory that a multiprocessor moves in a cycle while so many blocks have one each, or all are
    /// busy.
    pub fn bytes_a_cycle(&self, blocks: usize) -> f64 {
        let busy = blocks.clamp(1, self.multiprocessors);
        (self.bandwidth / self.clock / busy as f64).min(PORT)
    }
}
