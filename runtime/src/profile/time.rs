//! How long a kernel takes, given what its blocks do.

use lrc_compiler::plan::target::Gpu;

use super::Assembled;
use crate::device::sim::Launch;
use crate::device::sim::count::Counts;
use crate::device::sim::hardware::Hardware;

/// Registers of a multiprocessor; a thread gets them eight at a time.
const REGISTERS: usize = 65536;
const REGISTERS_TOGETHER: usize = 8;

/// Blocks that a multiprocessor holds at a time, by memory, threads and registers.
pub fn resident(gpu: Gpu, launch: Launch, assembled: Option<Assembled>) -> usize {
    let registers = assembled.map_or(0, |made| made.registers.next_multiple_of(REGISTERS_TOGETHER));
    let by_registers = REGISTERS / (registers * launch.threads).max(1);
    gpu.blocks(launch.shared, launch.threads).min(by_registers).max(1)
}

/// Seconds. A multiprocessor works through its blocks, so many at a time; it cannot be faster than its busiest unit, nor
/// than the longest block; and all of them together not faster than the device's memory.
pub fn seconds(hardware: &Hardware, resident: usize, blocks: f64, counts: &Counts) -> f64 {
    if blocks < 1.0 {
        return 0.0;
    }
    let all = counts.all();
    let own = (blocks / hardware.multiprocessors as f64).ceil();
    let rounds = (own / resident as f64).ceil();
    let chain = if rounds <= 1.0 { counts.longest } else { rounds * all.time() / blocks };
    let busy = counts.busy.into_iter().fold(0.0, f64::max) / blocks * own;
    let moved: f64 = all.moved.iter().sum();
    (chain.max(counts.longest).max(busy) / hardware.clock).max(moved / hardware.bandwidth)
}
