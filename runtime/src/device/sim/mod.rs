//! Executes compiled kernels on the CPU, thread by thread, and checks what hardware does not:
//! accesses outside a buffer or misaligned, reads of what nobody wrote, races in shared memory,
//! copies that nobody waited for, barriers that not all threads reach.

mod arithmetic;
pub mod count;
pub mod hardware;
mod instruction;
pub mod memory;
mod ptx;
mod warp;

use std::fmt;

use count::kind::Known;
use count::{Counter, Counts, study};
use hardware::Hardware;
pub use instruction::Entry;
use memory::{Memory, Shared};
pub use ptx::parse;
use rayon::prelude::*;
use warp::{Around, LANES, Stop, Warp};

/// What a kernel has done wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The kernel.
    pub kernel: String,
    /// Lines of its CUDA text: the innermost, and the one in the kernel itself.
    pub line: [usize; 2],
    /// The block.
    pub block: usize,
    /// The thread of the block.
    pub thread: usize,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Fault { kernel, line: [inner, outer], block, thread, what } = self;
        write!(f, "{kernel}.cu:{outer}")?;
        if inner != outer {
            write!(f, " (inside line {inner})")?;
        }
        write!(f, ": block {block}, thread {thread}: {what}")
    }
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument {
    /// An address of [`Memory`], or 0.
    Address(u64),
    /// A whole number.
    Number(i32),
}

/// How a kernel is started.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// Blocks.
    pub blocks: usize,
    /// Threads of a block, a multiple of 32.
    pub threads: usize,
    /// Bytes of shared memory.
    pub shared: usize,
}

/// Instructions of a warp after which a kernel is taken to run forever.
const ENDLESS: u64 = 2_000_000_000;
/// Blocks that are counted at a time.
const TOGETHER: usize = 64;

/// Runs a kernel to its end; blocks run in parallel. Gives the instructions that warps executed.
pub fn launch(
    entry: &Entry,
    launch: Launch,
    arguments: &[Argument],
    memory: &Memory,
) -> Result<u64, Fault> {
    let params = packed(entry, arguments)?;
    (0..launch.blocks)
        .into_par_iter()
        .map(|block| run_block(entry, launch, block, &params, memory, None).map(|(steps, _)| steps))
        .try_reduce(|| 0, |a, b| Ok(a + b))
}

/// The same, counted for a kind of GPU that runs so many such launches at a time.
pub fn counted(
    entry: &Entry,
    launch: Launch,
    arguments: &[Argument],
    memory: &Memory,
    (hardware, calls): (&Hardware, usize),
) -> Result<Counts, Fault> {
    let params = packed(entry, arguments)?;
    let known: Vec<Known> = study(entry, hardware);
    let one = |block: usize| {
        let counter = Counter::new(entry, &known, launch, calls * launch.blocks, hardware);
        run_block(entry, launch, block, &params, memory, Some(counter)).map(|(_, counts)| counts)
    };
    // Cycles are no whole numbers: they are added up in the order of the blocks, some blocks at a time.
    let mut all = Counts::default();
    for first in (0..launch.blocks).step_by(TOGETHER) {
        let some = first..launch.blocks.min(first + TOGETHER);
        let counts: Vec<Counts> = some.into_par_iter().map(one).collect::<Result<_, _>>()?;
        all = counts.iter().fold(all, Counts::and);
    }
    Ok(all)
}

fn packed(entry: &Entry, arguments: &[Argument]) -> Result<Vec<u8>, Fault> {
    pack(entry, arguments).map_err(|what| Fault {
        kernel: entry.name.clone(),
        line: [0, 0],
        block: 0,
        thread: 0,
        what,
    })
}

/// The bytes of the arguments as the kernel expects them.
fn pack(entry: &Entry, arguments: &[Argument]) -> Result<Vec<u8>, String> {
    if entry.params.len() != arguments.len() {
        return Err(format!("{} arguments for {}", arguments.len(), entry.params.len()));
    }
    let mut bytes = vec![0; entry.params.last().map_or(0, |(at, size)| at + size)];
    for ((at, size), argument) in entry.params.iter().zip(arguments) {
        let value = match argument {
            Argument::Address(x) => x.to_le_bytes().to_vec(),
            Argument::Number(x) => x.to_le_bytes().to_vec(),
        };
        if value.len() != *size {
            return Err(format!("an argument of {} bytes where {size} are expected", value.len()));
        }
        bytes[*at..at + size].copy_from_slice(&value);
    }
    Ok(bytes)
}

fn run_block(
    entry: &Entry,
    launch: Launch,
    block: usize,
    params: &[u8],
    memory: &Memory,
    counter: Option<Counter>,
) -> Result<(u64, Counts), Fault> {
    let fault = |stop: Stop| Fault {
        kernel: entry.name.clone(),
        line: entry.code.get(stop.pc).map_or([0, 0], |inst| inst.line),
        block,
        thread: stop.thread,
        what: stop.wrong,
    };
    let mut shared = Shared::new(launch.shared);
    let mut around = Around {
        entry,
        params,
        memory,
        shared: &mut shared,
        block: [block as u32, launch.blocks as u32],
        threads: launch.threads as u32,
        steps: [0, ENDLESS],
        counter,
    };
    let mut warps: Vec<Warp> =
        (0..launch.threads / LANES).map(|warp| Warp::new(entry, warp * LANES)).collect();
    loop {
        for warp in &mut warps {
            warp.run(&mut around).map_err(fault)?;
        }
        if !warps.iter().any(Warp::alive) {
            let counts = around.counter.map(Counter::finish).unwrap_or_default();
            return Ok((around.steps[0], counts));
        }
        // Everybody stands at a barrier or has ended: all must stand at the same one.
        let first = warps.iter().find_map(|warp| warp.waiting.first()).map_or(0, |(pc, _)| *pc);
        for (at, warp) in warps.iter().enumerate() {
            let elsewhere = warp.waiting.iter().find(|(pc, _)| *pc != first);
            let missing = !warp.threads();
            let lane = match elsewhere {
                Some((_, mask)) => mask.trailing_zeros(),
                None if missing != 0 => missing.trailing_zeros(),
                None => continue,
            };
            let wrong = "it does not reach the barrier at which other threads wait".to_string();
            return Err(fault(Stop { pc: first, thread: at * LANES + lane as usize, wrong }));
        }
        around.shared.epoch += 1;
        around.counter.iter_mut().for_each(Counter::barrier);
        warps.iter_mut().for_each(Warp::release);
    }
}
