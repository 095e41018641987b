//! A recurrence by its kernels, on the sim device.

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::emit::is_shared;
use lrc_compiler::form::{Cotangents, Gradients, Outputs, Problem, gather};
use lrc_compiler::normal::{self, Refusal};
use lrc_compiler::plan::target::Gpu;
use lrc_compiler::plan::{Buffer, Kernel, Pass, chunk};
use lrc_compiler::tile::size;

use super::cuda::nvrtc::Code;
use super::jit;
use super::sim::memory::Memory;
use super::sim::{Argument, Entry, Launch, launch, parse};
use crate::error::Failure;

/// The kind of GPU whose PTX the sim device executes: the oldest that kernels are made for.
pub const SIM_ARCH: &str = "sm_80";

/// A compiled kernel and its plan.
#[derive(Clone, Debug)]
struct Ready {
    kernel: Kernel,
    entry: Entry,
}

/// The kernels of a recurrence, ready to run.
#[derive(Clone, Debug)]
pub struct Kernels {
    forward: Ready,
    backward: Option<Ready>,
}

/// The states that entered each chunk, per state.
pub type Entered = Vec<Vec<f32>>;

/// Why a recurrence has no kernels.
#[derive(Debug)]
pub enum Unready {
    /// It is not in the normal form, or no plan fits.
    Refused(Refusal),
    /// Its kernels cannot be compiled.
    Failed(Failure),
}

/// Which kernels are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Forward.
    Forward,
    /// Forward, keeping what the way back needs, and backward.
    Training,
    /// Forward, a token at a time.
    Decode,
}

impl Kernels {
    /// Plans and compiles kernels, in chunks of `tokens` if given.
    pub fn new(r: &Recurrence, wanted: Wanted, tokens: Option<usize>) -> Result<Kernels, Unready> {
        let gpu = Gpu::named(SIM_ARCH).expect("a known kind of GPU");
        let normal = normal::extract(r).map_err(Unready::Refused)?;
        let plan = |pass, tokens| {
            let kernel = chunk::kernel(r, &normal, pass, gpu, tokens).map_err(Unready::Refused)?;
            Ok((kernel, SIM_ARCH))
        };
        let kernels = match wanted {
            Wanted::Forward => vec![plan(Pass::Forward, tokens)?],
            Wanted::Decode => vec![plan(Pass::Decode, None)?],
            Wanted::Training => {
                // The way back reads the states that entered its own chunks.
                let back = plan(Pass::Backward, tokens)?;
                vec![plan(Pass::Keeping, Some(back.0.chunk))?, back]
            }
        };
        let built = jit::build(&kernels, Code::Ptx).map_err(Unready::Failed)?;
        let mut ready = Vec::new();
        for ((kernel, _), built) in kernels.into_iter().zip(built) {
            let text = String::from_utf8_lossy(&built.code);
            let entry = parse(&text).map_err(|why| {
                let why = format!("the sim device cannot read {}: {why}", kernel.name);
                Unready::Failed(Failure::Compile(why))
            })?;
            ready.push(Ready { kernel, entry });
        }
        let mut ready = ready.into_iter();
        let forward = ready.next().expect("one kernel at least");
        Ok(Kernels { forward, backward: ready.next() })
    }

    /// Runs forward; with a way back also gives the states that entered each chunk.
    pub fn forward(&self, problem: &Problem<f32>) -> Result<(Outputs<f32>, Entered), Failure> {
        let run = Run::new(&self.forward, problem, &[], &Cotangents::default());
        let (r, memory) = (problem.recurrence, run.launch(problem)?);
        let all = |buffer: fn(usize) -> Buffer, n: usize| -> Result<Vec<Vec<f32>>, Failure> {
            (0..n).map(|k| memory.floats(buffer(k))).collect()
        };
        let outputs = Outputs {
            outs: all(Buffer::Out, r.outs.len())?,
            finals: all(Buffer::Final, r.states.len())?,
        };
        let kept = if self.backward.is_some() { r.states.len() } else { 0 };
        Ok((outputs, all(Buffer::Entered, kept)?))
    }

    /// Runs backward.
    pub fn backward(
        &self,
        problem: &Problem<f32>,
        entered: &[Vec<f32>],
        cotangents: &Cotangents<f32>,
    ) -> Result<Gradients<f32>, Failure> {
        let ready = self.backward.as_ref().expect("prepared for the way back");
        let r = problem.recurrence;
        let memory = Run::new(ready, problem, entered, cotangents).launch(problem)?;
        let inputs = (0..r.inputs.len())
            .map(|i| {
                Ok(folded(memory.floats(Buffer::InputGrad(i))?, memory.slabs(Buffer::InputGrad(i))))
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let params = (0..r.params.len())
            .map(|i| {
                let parts = memory.slabs(Buffer::ParamGrad(i)) * problem.sequences();
                let heads = folded(memory.floats(Buffer::ParamGrad(i))?, parts);
                let own = problem.params[i].heads;
                Ok(shared(&heads, own, problem.heads))
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let initial = (0..r.states.len())
            .map(|k| {
                Ok(folded(
                    memory.floats(Buffer::InitialGrad(k))?,
                    memory.slabs(Buffer::InitialGrad(k)),
                ))
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        Ok(Gradients { inputs: gather(problem, inputs), params, initial })
    }
}

/// The sum of equal pieces that lie one after the other.
fn folded(all: Vec<f32>, pieces: usize) -> Vec<f32> {
    if pieces <= 1 {
        return all;
    }
    let (first, rest) = all.split_at(all.len() / pieces);
    let mut sum = first.to_vec();
    for piece in rest.chunks_exact(sum.len().max(1)) {
        sum.iter_mut().zip(piece).for_each(|(x, d)| *x += d);
    }
    sum
}

/// The gradient of a parameter that several heads share.
fn shared(heads: &[f32], own: usize, all: usize) -> Vec<f32> {
    let one = heads.len() / all;
    heads
        .chunks_exact(one * (all / own))
        .flat_map(|group| folded(group.to_vec(), all / own))
        .collect()
}

/// A kernel with its tensors in the memory of the sim device.
struct Run<'a> {
    ready: &'a Ready,
    memory: Memory,
    addresses: Vec<u64>,
    arguments: Vec<Argument>,
    blocks: usize,
}

/// Memory after a run.
struct Done<'a> {
    ready: &'a Ready,
    memory: Memory,
    addresses: Vec<u64>,
}

impl Done<'_> {
    fn floats(&self, buffer: Buffer) -> Result<Vec<f32>, Failure> {
        let at = self.ready.kernel.buffers.iter().position(|b| *b == buffer);
        let address = at.map_or(0, |at| self.addresses[at]);
        self.memory.floats(address).map_err(Failure::Verification)
    }

    fn slabs(&self, buffer: Buffer) -> usize {
        self.ready.kernel.slabs(buffer)
    }
}

impl<'a> Run<'a> {
    fn new(
        ready: &'a Ready,
        problem: &Problem<f32>,
        entered: &[Vec<f32>],
        cotangents: &Cotangents<f32>,
    ) -> Run<'a> {
        let kernel = &ready.kernel;
        let mut memory = Memory::default();
        let words = |bounds: &[usize]| bounds.iter().map(|x| *x as u32).collect::<Vec<u32>>();
        let mut chunks = vec![0];
        for w in problem.bounds.windows(2) {
            chunks.push(chunks[chunks.len() - 1] + (w[1] - w[0]).div_ceil(kernel.chunk));
        }
        let blocks = problem.sequences() * problem.heads * kernel.parts;
        let mut arguments = vec![
            Argument::Address(memory.holding("bounds", words(&problem.bounds).into_iter())),
            Argument::Address(memory.holding("chunks", words(&chunks).into_iter())),
            Argument::Number(problem.sequences() as i32),
            Argument::Number(problem.heads as i32),
            Argument::Address(memory.reserve("working memory", blocks * kernel.working)),
        ];
        let mut addresses = Vec::new();
        for buffer in &kernel.buffers {
            let sizes =
                Sizes { problem, chunks: chunks[chunks.len() - 1], slabs: kernel.slabs(*buffer) };
            let address = sizes.place(&mut memory, *buffer, kernel, entered, cotangents);
            addresses.push(address);
            arguments.push(Argument::Address(address));
            if is_shared(*buffer) {
                let heads = match buffer {
                    Buffer::Input(i) => problem.inputs[*i].heads,
                    Buffer::Param(i) => problem.params[*i].heads,
                    other => unreachable!("{other:?} belongs to every head"),
                };
                arguments.push(Argument::Number(heads as i32));
            }
        }
        Run { ready, memory, addresses, arguments, blocks }
    }

    fn launch(self, problem: &Problem<f32>) -> Result<Done<'a>, Failure> {
        let Kernel { threads, shared, .. } = self.ready.kernel;
        if problem.rows() > 0 || self.blocks > 0 {
            let start = Launch { blocks: self.blocks, threads, shared };
            launch(&self.ready.entry, start, &self.arguments, &self.memory)
                .map_err(|fault| Failure::Verification(fault.to_string()))?;
        }
        Ok(Done { ready: self.ready, memory: self.memory, addresses: self.addresses })
    }
}

/// What decides how large a buffer is.
struct Sizes<'a, 'p> {
    problem: &'a Problem<'p, f32>,
    chunks: usize,
    slabs: usize,
}

impl Sizes<'_, '_> {
    fn place(
        &self,
        memory: &mut Memory,
        buffer: Buffer,
        kernel: &Kernel,
        entered: &[Vec<f32>],
        cotangents: &Cotangents<f32>,
    ) -> u64 {
        let (p, r) = (self.problem, self.problem.recurrence);
        let name = format!("{buffer:?}");
        let given = |memory: &mut Memory, data: Option<&[f32]>| match data {
            Some(data) => memory.holding(&name, data.iter().map(|x| x.to_bits())),
            None => 0,
        };
        let rows = |slot: &Slot| p.rows() * p.heads * size(&slot.shape);
        let states = |k: usize| p.sequences() * p.heads * size(&r.states[k].shape);
        let floats = match buffer {
            Buffer::Input(i) => return given(memory, Some(p.inputs[i].data)),
            Buffer::Param(i) => return given(memory, Some(p.params[i].data)),
            Buffer::Initial(k) => return given(memory, p.initial[k]),
            Buffer::Entered(k) if kernel.pass == Pass::Backward => {
                return given(memory, Some(&entered[k]));
            }
            Buffer::OutGrad(k) => return given(memory, cotangents.outs.get(k).copied().flatten()),
            Buffer::FinalGrad(k) => {
                return given(memory, cotangents.finals.get(k).copied().flatten());
            }
            Buffer::Out(k) => rows(&r.outs[k]),
            Buffer::Final(k) => states(k),
            Buffer::Entered(k) => self.chunks * p.heads * size(&r.states[k].shape),
            Buffer::InputGrad(i) => self.slabs * rows(&r.inputs[i]),
            Buffer::ParamGrad(i) => self.slabs * p.sequences() * p.heads * size(&r.params[i].shape),
            Buffer::InitialGrad(k) => self.slabs * states(k),
        };
        if kernel.starts_at_zero(buffer) {
            return memory.holding(&name, std::iter::repeat_n(0, floats));
        }
        memory.reserve(&name, floats * 4)
    }
}
