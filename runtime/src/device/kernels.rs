//! A recurrence by its kernels, on a GPU or on the sim device.

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::emit::{is_read, is_shared};
use lrc_compiler::form::{Cotangents, Gradients, Outputs, Problem, gather};
use lrc_compiler::normal::{self, Refusal};
use lrc_compiler::plan::target::Gpu as Kind;
use lrc_compiler::plan::{Buffer, Kernel, Pass, chunk};
use lrc_compiler::tile::size;

use super::cuda::gpu::{self, Function, Gpu, Words};
use super::cuda::nvrtc::Code;
use super::jit;
use super::sim::memory::Memory;
use super::sim::{self, Entry, Launch, launch, parse};
use crate::error::Failure;

/// The kind of GPU whose PTX the sim device executes: the oldest that kernels are made for.
pub const SIM_ARCH: &str = "sm_80";

/// Where kernels run.
#[derive(Clone, Debug)]
pub enum Machine {
    /// On the processor, with checks.
    Sim,
    /// On a GPU.
    Cuda(Gpu),
}

impl Machine {
    /// The kind of GPU that kernels are planned for.
    fn kind(&self) -> Kind {
        match self {
            Machine::Sim => Kind::named(SIM_ARCH).expect("a known kind of GPU"),
            Machine::Cuda(gpu) => gpu.kind,
        }
    }

    fn load(&self, kernel: &Kernel, code: &[u8]) -> Result<Loaded, Failure> {
        match self {
            Machine::Sim => {
                let entry = parse(&String::from_utf8_lossy(code)).map_err(|why| {
                    let name = &kernel.name;
                    Failure::Compile(format!("the sim device cannot read {name}: {why}"))
                })?;
                Ok(Loaded::Sim(entry))
            }
            Machine::Cuda(gpu) => {
                let function = gpu.load(code, &kernel.name, kernel.shared)?;
                Ok(Loaded::Cuda(gpu.clone(), function))
            }
        }
    }
}

/// A kernel where it runs.
#[derive(Clone, Debug)]
enum Loaded {
    Sim(Entry),
    Cuda(Gpu, Function),
}

/// A compiled kernel and its plan.
#[derive(Clone, Debug)]
struct Ready {
    kernel: Kernel,
    loaded: Loaded,
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
    pub fn new(
        r: &Recurrence,
        wanted: Wanted,
        tokens: Option<usize>,
        machine: &Machine,
    ) -> Result<Kernels, Unready> {
        let gpu = machine.kind();
        let normal = normal::extract(r).map_err(Unready::Refused)?;
        let plan = |pass, tokens| {
            let kernel = chunk::kernel(r, &normal, pass, gpu, tokens).map_err(Unready::Refused)?;
            Ok((kernel, gpu.arch))
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
        let code = if matches!(machine, Machine::Sim) { Code::Ptx } else { Code::Cubin };
        let built = jit::build(&kernels, code).map_err(Unready::Failed)?;
        let mut ready = Vec::new();
        for ((kernel, _), built) in kernels.into_iter().zip(built) {
            let loaded = machine.load(&kernel, &built.code).map_err(Unready::Failed)?;
            ready.push(Ready { kernel, loaded });
        }
        let mut ready = ready.into_iter();
        let forward = ready.next().expect("one kernel at least");
        Ok(Kernels { forward, backward: ready.next() })
    }

    /// Runs forward; with a way back also gives the states that entered each chunk.
    pub fn forward(&self, problem: &Problem<f32>) -> Result<(Outputs<f32>, Entered), Failure> {
        let cotangents = Cotangents::default();
        let mut done = Run::new(&self.forward, problem, &[], &cotangents).launch()?;
        let r = problem.recurrence;
        let mut all = |buffer: fn(usize) -> Buffer, n: usize| -> Result<Vec<Vec<f32>>, Failure> {
            (0..n).map(|k| done.floats(buffer(k))).collect()
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
        let mut done = Run::new(ready, problem, entered, cotangents).launch()?;
        let inputs = (0..r.inputs.len())
            .map(|i| {
                Ok(folded(done.floats(Buffer::InputGrad(i))?, done.slabs(Buffer::InputGrad(i))))
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let params = (0..r.params.len())
            .map(|i| {
                let parts = done.slabs(Buffer::ParamGrad(i)) * problem.sequences();
                let heads = folded(done.floats(Buffer::ParamGrad(i))?, parts);
                let own = problem.params[i].heads;
                Ok(shared(&heads, own, problem.heads))
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let initial = (0..r.states.len())
            .map(|k| {
                Ok(folded(done.floats(Buffer::InitialGrad(k))?, done.slabs(Buffer::InitialGrad(k))))
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

/// A tensor of a run.
struct Tensor<'a> {
    name: String,
    holds: Holds<'a>,
}

/// What a tensor holds before the run.
enum Holds<'a> {
    /// Nothing: there is no such tensor.
    Absent,
    /// Whole numbers.
    Numbers(Vec<u32>),
    /// Floats.
    Floats(&'a [f32]),
    /// As many zeros.
    Zeros(usize),
    /// As many numbers that the kernel writes before it reads them.
    Room(usize),
}

/// An argument of a run: one of its tensors, or a number.
#[derive(Clone, Copy)]
enum Given {
    Tensor(usize),
    Number(i32),
}

/// A kernel with its tensors.
struct Run<'a> {
    ready: &'a Ready,
    tensors: Vec<Tensor<'a>>,
    arguments: Vec<Given>,
    blocks: usize,
}

/// Tensors after a run.
struct Done<'a> {
    ready: &'a Ready,
    /// The argument's tensors, by the order of the plan's buffers.
    outputs: Vec<Option<Vec<f32>>>,
}

impl Done<'_> {
    fn floats(&mut self, buffer: Buffer) -> Result<Vec<f32>, Failure> {
        let at = self.ready.kernel.buffers.iter().position(|b| *b == buffer);
        let found = at.and_then(|at| self.outputs[at].take());
        found.ok_or_else(|| Failure::Verification(format!("the kernel has no {buffer:?}")))
    }

    fn slabs(&self, buffer: Buffer) -> usize {
        self.ready.kernel.slabs(buffer)
    }
}

/// Arguments before those of the plan's buffers.
const FIRST_BUFFER: usize = 3;

impl<'a> Run<'a> {
    fn new(
        ready: &'a Ready,
        problem: &Problem<'a, f32>,
        entered: &'a [Vec<f32>],
        cotangents: &Cotangents<'a, f32>,
    ) -> Run<'a> {
        let kernel = &ready.kernel;
        let mut chunks = vec![0];
        for w in problem.bounds.windows(2) {
            chunks.push(chunks[chunks.len() - 1] + (w[1] - w[0]).div_ceil(kernel.chunk));
        }
        let blocks = problem.sequences() * problem.heads * kernel.parts;
        let numbers = |all: &[usize]| Holds::Numbers(all.iter().map(|x| *x as u32).collect());
        let named = |name: &str, holds| Tensor { name: name.into(), holds };
        let mut tensors = vec![
            named("bounds", numbers(&problem.bounds)),
            named("chunks", numbers(&chunks)),
            named("working memory", Holds::Room(blocks * kernel.working / 4)),
        ];
        let mut arguments = vec![
            Given::Tensor(0),
            Given::Tensor(1),
            Given::Number(problem.sequences() as i32),
            Given::Number(problem.heads as i32),
            Given::Tensor(2),
        ];
        for buffer in &kernel.buffers {
            let slabs = kernel.slabs(*buffer);
            let sizes = Sizes { problem, chunks: chunks[chunks.len() - 1], slabs };
            arguments.push(Given::Tensor(tensors.len()));
            let holds = sizes.holds(*buffer, kernel, entered, cotangents);
            tensors.push(Tensor { name: format!("{buffer:?}"), holds });
            if is_shared(*buffer) {
                let heads = match buffer {
                    Buffer::Input(i) => problem.inputs[*i].heads,
                    Buffer::Param(i) => problem.params[*i].heads,
                    other => unreachable!("{other:?} belongs to every head"),
                };
                arguments.push(Given::Number(heads as i32));
            }
        }
        Run { ready, tensors, arguments, blocks }
    }

    fn launch(self) -> Result<Done<'a>, Failure> {
        let outputs = match &self.ready.loaded {
            Loaded::Sim(entry) => self.on_sim(entry)?,
            Loaded::Cuda(gpu, function) => self.on_gpu(gpu, function)?,
        };
        Ok(Done { ready: self.ready, outputs })
    }

    /// Whether a tensor comes back.
    fn is_output(&self, tensor: usize) -> bool {
        let Kernel { buffers, pass, .. } = &self.ready.kernel;
        tensor >= FIRST_BUFFER && !is_read(buffers[tensor - FIRST_BUFFER], *pass)
    }

    fn on_sim(&self, entry: &Entry) -> Result<Vec<Option<Vec<f32>>>, Failure> {
        let mut memory = Memory::default();
        let addresses: Vec<u64> = self
            .tensors
            .iter()
            .map(|Tensor { name, holds }| match holds {
                Holds::Absent => 0,
                Holds::Numbers(words) => memory.holding(name, words.iter().copied()),
                Holds::Floats(data) => memory.holding(name, data.iter().map(|x| x.to_bits())),
                Holds::Zeros(n) => memory.holding(name, std::iter::repeat_n(0, *n)),
                Holds::Room(n) => memory.reserve(name, n * 4),
            })
            .collect();
        let arguments: Vec<sim::Argument> = self
            .arguments
            .iter()
            .map(|argument| match argument {
                Given::Tensor(at) => sim::Argument::Address(addresses[*at]),
                Given::Number(x) => sim::Argument::Number(*x),
            })
            .collect();
        let Kernel { threads, shared, .. } = self.ready.kernel;
        let start = Launch { blocks: self.blocks, threads, shared };
        launch(entry, start, &arguments, &memory)
            .map_err(|fault| Failure::Verification(fault.to_string()))?;
        (FIRST_BUFFER..self.tensors.len())
            .map(|at| {
                let data = self.is_output(at).then(|| memory.floats(addresses[at]));
                data.transpose().map_err(Failure::Verification)
            })
            .collect()
    }

    fn on_gpu(&self, gpu: &Gpu, function: &Function) -> Result<Vec<Option<Vec<f32>>>, Failure> {
        let words = self
            .tensors
            .iter()
            .map(|tensor| match &tensor.holds {
                Holds::Absent | Holds::Zeros(0) | Holds::Room(0) => Ok(None),
                Holds::Numbers(words) => gpu.send(words).map(Some),
                Holds::Floats(data) => {
                    let bits: Vec<u32> = data.iter().map(|x| x.to_bits()).collect();
                    if bits.is_empty() { Ok(None) } else { gpu.send(&bits).map(Some) }
                }
                Holds::Zeros(n) | Holds::Room(n) => gpu.zeros(*n).map(Some),
            })
            .collect::<Result<Vec<Option<Words>>, Failure>>()?;
        let arguments: Vec<gpu::Argument> = self
            .arguments
            .iter()
            .map(|argument| match argument {
                Given::Tensor(at) => gpu::Argument::Words(words[*at].as_ref()),
                Given::Number(x) => gpu::Argument::Number(*x),
            })
            .collect();
        let Kernel { threads, shared, .. } = self.ready.kernel;
        if self.blocks > 0 {
            gpu.launch(function, [self.blocks, threads, shared], &arguments)?;
        }
        (FIRST_BUFFER..self.tensors.len())
            .map(|at| match (&words[at], self.is_output(at)) {
                (_, false) => Ok(None),
                (None, true) => Ok(Some(vec![])),
                (Some(words), true) => {
                    let bits = gpu.fetch(words)?;
                    Ok(Some(bits.into_iter().map(f32::from_bits).collect()))
                }
            })
            .collect()
    }
}

/// What decides how large a buffer is.
struct Sizes<'p, 'a> {
    problem: &'p Problem<'a, f32>,
    chunks: usize,
    slabs: usize,
}

impl<'a> Sizes<'_, 'a> {
    fn holds(
        &self,
        buffer: Buffer,
        kernel: &Kernel,
        entered: &'a [Vec<f32>],
        cotangents: &Cotangents<'a, f32>,
    ) -> Holds<'a> {
        let (p, r) = (self.problem, self.problem.recurrence);
        let given = |data: Option<&'a [f32]>| data.map_or(Holds::Absent, Holds::Floats);
        let rows = |slot: &Slot| p.rows() * p.heads * size(&slot.shape);
        let states = |k: usize| p.sequences() * p.heads * size(&r.states[k].shape);
        let floats = match buffer {
            Buffer::Input(i) => return given(Some(p.inputs[i].data)),
            Buffer::Param(i) => return given(Some(p.params[i].data)),
            Buffer::Initial(k) => return given(p.initial[k]),
            Buffer::Entered(k) if kernel.pass == Pass::Backward => return given(Some(&entered[k])),
            Buffer::OutGrad(k) => return given(cotangents.outs.get(k).copied().flatten()),
            Buffer::FinalGrad(k) => return given(cotangents.finals.get(k).copied().flatten()),
            Buffer::Out(k) => rows(&r.outs[k]),
            Buffer::Final(k) => states(k),
            Buffer::Entered(k) => self.chunks * p.heads * size(&r.states[k].shape),
            Buffer::InputGrad(i) => self.slabs * rows(&r.inputs[i]),
            Buffer::ParamGrad(i) => self.slabs * p.sequences() * p.heads * size(&r.params[i].shape),
            Buffer::InitialGrad(k) => self.slabs * states(k),
        };
        if kernel.starts_at_zero(buffer) { Holds::Zeros(floats) } else { Holds::Room(floats) }
    }
}
