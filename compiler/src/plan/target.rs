//! What the GPUs that kernels are made for can hold.

/// A kind of GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gpu {
    /// As NVRTC names it.
    pub arch: &'static str,
    /// Bytes of shared memory that one block may have.
    pub shared: usize,
}

/// Those that kernels are made for, by compute capability (CUDA programming guide, table of
/// technical specifications).
pub const GPUS: [Gpu; 6] = [
    Gpu { arch: "sm_80", shared: 163 * 1024 },
    Gpu { arch: "sm_86", shared: 99 * 1024 },
    Gpu { arch: "sm_89", shared: 99 * 1024 },
    Gpu { arch: "sm_90a", shared: 227 * 1024 },
    Gpu { arch: "sm_100a", shared: 227 * 1024 },
    Gpu { arch: "sm_120", shared: 99 * 1024 },
];

impl Gpu {
    /// The one of this name.
    pub fn named(arch: &str) -> Option<Gpu> {
        GPUS.into_iter().find(|gpu| gpu.arch == arch)
    }
}

/// The kind of a GPU by its compute capability.
pub fn of_capability(capability: (i32, i32)) -> Option<Gpu> {
    let arch = match capability {
        (8, 0) => "sm_80",
        (8, 6) => "sm_86",
        (8, 9) => "sm_89",
        (9, 0) => "sm_90a",
        (10, 0) => "sm_100a",
        (12, 0) => "sm_120",
        _ => return None,
    };
    Gpu::named(arch)
}
