"""What the model assumes of an H100, and three settings of it: none of the numbers is fitted to anything.

Latencies are cycles, `*_busy` are cycles that one warp instruction keeps a pipe of its scheduler, sizes are bytes.
"""

ASSUMED = {
    # Results of instructions that say when they are done (scoreboards).
    "lds": 29, "ldsm": 33, "shfl": 24, "mufu": 24, "xu": 28, "l1": 38, "l2": 270, "dram": 560, "ldc": 30, "s2r": 22,
    "redux": 24, "vote": 12, "atomic": 300, "mbarrier": 20,
    # A barrier of the block, after its last warp; one arrival at an mbarrier is seen after `mbarrier`.
    "bar": 24,
    # Cycles that a warp instruction keeps its pipe.
    "alu_busy": 2.0, "fma_busy": 1.0, "imad_busy": 2.0, "half_busy": 2.0, "xu_busy": 8.0, "uniform_busy": 2.0,
    # HMMA.16816 of a scheduler: 6.5 is 62 % of what wgmma reaches; FLOPs a cycle of wgmma, all four together.
    "hmma_busy": 6.5, "wgmma_flop": 4096.0,
    # Wavefronts that may wait before shared memory without holding up their warp.
    "queue": 24,
    # L1 and shared memory of a multiprocessor together.
    "l1_bytes": 256 << 10, "shared_in_all": 228 << 10, "registers": 65536, "warps": 64, "blocks": 32,
    # Device memory: bytes a second, shared evenly by multiprocessors with work, and the most bytes a cycle of one.
    "hbm": 3.0e12, "sm_bytes": 64.0, "clock": 1.7e9, "sms": 132,
    # From the end of a kernel to the start of the next.
    "launch": 3e-6,
}

# The middle one is what tables show; the others are the range.
SETTINGS = {
    "assumed": {},
    "quick memory": {"l1": 32, "l2": 200, "dram": 400, "lds": 23, "ldsm": 27, "bar": 16, "hbm": 3.2e12},
    "slow memory": {"l1": 42, "l2": 350, "dram": 800, "lds": 33, "ldsm": 38, "bar": 40, "hbm": 2.8e12},
}


def setting(name="assumed"):
    """The numbers of a setting."""
    return {**ASSUMED, **SETTINGS[name]}
