//! What the GPUs that kernels are made for can hold.

/// A kind of GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gpu {
    /// As NVRTC names it.
    pub arch: &'static str,
    /// Compute capability, major and minor.
    pub capability: (i32, i32),
    /// Bytes of shared memory that one block may have.
    pub shared: usize,
    /// Bytes of shared memory of a multiprocessor, for all of its blocks.
    pub shared_in_all: usize,
    /// Threads that a multiprocessor holds at a time.
    pub threads: usize,
    /// Multiprocessors.
    pub multiprocessors: usize,
    /// Bytes of device memory that each of them moves in a cycle, when all do.
    pub bandwidth: usize,
    /// Whether it has `cp.async.bulk` (sm_90).
    pub bulk_copies: bool,
    /// Whether it has `wgmma` (sm_90a alone).
    pub wgmma: bool,
}

const KIB: usize = 1024;

/// A kind of GPU; what one block may have is 1 KiB less than a multiprocessor has.
const fn gpu(
    arch: &'static str,
    capability: (i32, i32),
    kib: usize,
    threads: usize,
    [multiprocessors, bandwidth]: [usize; 2],
) -> Gpu {
    Gpu {
        arch,
        capability,
        shared: (kib - 1) * KIB,
        shared_in_all: kib * KIB,
        threads,
        multiprocessors,
        bandwidth,
        bulk_copies: capability.0 >= 9,
        wgmma: capability.0 == 9,
    }
}

/// Those that kernels are made for, by compute capability (CUDA programming guide, table of
/// technical specifications); of each the largest common card (A100, A40, L40, H100, B200, RTX 5090).
pub const GPUS: [Gpu; 6] = [
    gpu("sm_80", (8, 0), 164, 2048, [108, 10]),
    gpu("sm_86", (8, 6), 100, 1536, [84, 6]),
    gpu("sm_89", (8, 9), 100, 1536, [128, 3]),
    gpu("sm_90a", (9, 0), 228, 2048, [132, 14]),
    gpu("sm_100a", (10, 0), 228, 2048, [148, 28]),
    gpu("sm_120", (12, 0), 100, 1536, [170, 4]),
];

impl Gpu {
    /// The one of this name.
    pub fn named(arch: &str) -> Option<Gpu> {
        GPUS.into_iter().find(|gpu| gpu.arch == arch)
    }

    /// Blocks that a multiprocessor holds at a time, by shared memory and threads. Of the memory 1 KiB
    /// a block is the system's.
    pub fn blocks(&self, shared: usize, threads: usize) -> usize {
        (self.shared_in_all / (shared + KIB)).min(self.threads / threads.max(1))
    }
}

/// The kind of a GPU by its compute capability.
pub fn of_capability(capability: (i32, i32)) -> Option<Gpu> {
    GPUS.into_iter().find(|gpu| gpu.capability == capability)
}
