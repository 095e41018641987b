//! An NVIDIA GPU: memory, kernels, launches.
#![expect(unsafe_code, reason = "asks for the driver and launches kernels")]

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use cudarc::driver::result::memset_d8_async;
use cudarc::driver::sys::{
    CUevent_flags, CUfunction_attribute, CUgraphInstantiate_flags, CUstreamCaptureMode,
};
use cudarc::driver::{
    CudaContext, CudaEvent, CudaFunction, CudaGraph, CudaSlice, CudaStream, DevicePtr, DriverError,
    LaunchConfig, PinnedHostSlice, PushKernelArg,
};
use cudarc::nvrtc::Ptx;
use lrc_compiler::plan::target::{self, Gpu as Kind};
use lrc_compiler::tile::Number;

use super::blas::{Blas, WORKSPACE};
use crate::device::library::DRIVER;
use crate::ground::error::Failure;
use crate::ops::dense::{Dense, Sizes};

/// A GPU and the stream on which everything runs.
#[derive(Clone, Debug)]
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    /// Loaded for the first dense product, with the memory that it may use.
    blas: Arc<OnceLock<(Blas, Words)>>,
    /// Its name.
    pub name: String,
    /// The kind that kernels are planned for.
    pub kind: Kind,
    /// The version of its driver: `12.4`.
    pub driver: String,
}

/// A loaded kernel.
#[derive(Clone, Debug)]
pub struct Function {
    code: CudaFunction,
    /// Its name.
    pub name: String,
}

/// A moment on the GPU's clock.
#[derive(Debug)]
pub struct Mark(CudaEvent);

impl Mark {
    /// Seconds until another, once that has come.
    pub fn until(&self, later: &Mark) -> Result<f64, Failure> {
        let milliseconds = self.0.elapsed_ms(&later.0).map_err(|why| said(STOPPED, why))?;
        Ok(f64::from(milliseconds) * 1e-3)
    }
}

/// Words in the GPU's memory.
#[derive(Debug)]
pub struct Words(CudaSlice<u32>);

/// Words in the processor's memory that the GPU reads by itself.
#[derive(Debug)]
pub struct Staging(PinnedHostSlice<u32>);

/// What was started as one.
pub struct Graph(CudaGraph);

impl Graph {
    /// Starts it; it runs while this returns.
    pub fn launch(&self) -> Result<(), Failure> {
        self.0.launch().map_err(|why| said(STOPPED, why))
    }
}

/// What is wrong when nothing works any more.
const STOPPED: &str = "the GPU has stopped";

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    /// Words from one of them on.
    Words(&'a Words, usize),
    /// A null pointer.
    Null,
    /// A whole number.
    Number(i32),
}

/// The GPU that this process opens.
static CHOSEN: AtomicUsize = AtomicUsize::new(0);

/// Opens this GPU of the machine from here on: processes side by side take one each.
pub fn choose(gpu: usize) {
    CHOSEN.store(gpu, Ordering::Relaxed);
}

impl Gpu {
    /// Opens a GPU: the first one, unless another was chosen.
    pub fn open() -> Result<Gpu, Failure> {
        // SAFETY: looks for the driver's library by name and loads it; without this question
        // cudarc would panic where there is none.
        if !unsafe { cudarc::driver::sys::is_culib_present() } {
            let advice = DRIVER.advice;
            return Err(Failure::World(format!("there is no NVIDIA driver here: {advice}")));
        }
        let mut version = 0;
        // SAFETY: the library is there, and the pointer is to a live integer. The function needs no
        // initialised driver, and leaves the number as it is where it fails.
        let _ = unsafe { cudarc::driver::sys::cuDriverGetVersion(&raw mut version) };
        recent(version)?;
        let at = CHOSEN.load(Ordering::Relaxed);
        let count = CudaContext::device_count().map_err(|why| said("cannot count GPUs", why))?;
        // A launcher may show each process a GPU of its own.
        let context = CudaContext::new(at % count.max(1) as usize)
            .map_err(|why| said(&format!("cannot open GPU {at}"), why))?;
        let name = context.name().map_err(|why| said("cannot ask for its name", why))?;
        let capability =
            context.compute_capability().map_err(|why| said("cannot ask for its kind", why))?;
        let kind = target::of_capability(capability).ok_or_else(|| {
            let (major, minor) = capability;
            let known: Vec<&str> = target::GPUS.iter().map(|gpu| gpu.arch).collect();
            let known = known.join(", ");
            Failure::World(format!(
                "{name} has compute capability {major}.{minor}; kernels are made for {known}"
            ))
        })?;
        // SAFETY: everything runs on the one stream made here, in its order, so that nothing has to be kept from
        // running beside something else; events of other streams could not be waited for in a capture.
        unsafe { context.disable_event_tracking() };
        // The default stream cannot be captured.
        let stream = context.new_stream().map_err(|why| said("cannot make a stream", why))?;
        let driver = format!("{}.{}", version / 1000, version % 1000 / 10);
        Ok(Gpu { context, stream, blas: Arc::default(), name, kind, driver })
    }

    /// Loads the machine code of a kernel that wants this much shared memory.
    pub fn load(&self, code: &[u8], name: &str, shared: usize) -> Result<Function, Failure> {
        let failed = |why| Failure::Compile(format!("{} does not load {name}: {why}", self.name));
        let module = self.context.load_module(Ptx::from_binary(code.to_vec())).map_err(failed)?;
        let function = module.load_function(name).map_err(failed)?;
        // What every kernel may have without asking.
        if shared > 48 * 1024 {
            let limit = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let shared = i32::try_from(shared).map_err(|_| too_large(name, "bytes", shared))?;
            function.set_attribute(limit, shared).map_err(failed)?;
        }
        Ok(Function { code: function, name: name.to_string() })
    }

    /// Words with zeros in them; the error says why there is no room.
    pub fn reserve(&self, words: usize) -> Result<Words, String> {
        self.stream.alloc_zeros(words).map(Words).map_err(|why| why.to_string())
    }

    /// Makes it the GPU of this thread, for libraries that ask for that.
    pub(super) fn bind(&self) -> Result<(), Failure> {
        self.context.bind_to_thread().map_err(|why| said(STOPPED, why))
    }

    /// The stream on which everything runs.
    pub(super) fn stream(&self) -> cudarc::driver::sys::CUstream {
        self.stream.cu_stream()
    }

    /// Waits until everything has run.
    pub fn wait(&self) -> Result<(), Failure> {
        self.stream.synchronize().map_err(|why| said(STOPPED, why))
    }

    /// The moment when everything so far has run.
    pub fn mark(&self) -> Result<Mark, Failure> {
        let with_time = Some(CUevent_flags::CU_EVENT_DEFAULT);
        self.stream.record_event(with_time).map(Mark).map_err(|why| said(STOPPED, why))
    }

    /// Fills bytes with zeros.
    pub fn clear(&self, words: &mut Words, at: Range<usize>) -> Result<(), Failure> {
        let first = self.address((words, at.start), at.len())?;
        self.context.bind_to_thread().map_err(|why| said(STOPPED, why))?;
        // SAFETY: the bytes lie in the words, as `address` has compared, and these live until the stream has run.
        unsafe { memset_d8_async(first, 0, at.len(), self.stream.cu_stream()) }
            .map_err(|why| said(STOPPED, why))
    }

    /// Memory of the processor that the GPU copies from while this goes on.
    pub fn staging(&self, words: usize) -> Result<Staging, Failure> {
        let failed = |why| said("no memory for what is sent", why);
        // SAFETY: all of it is written before anything else is done with it.
        let mut made = unsafe { self.context.alloc_pinned::<u32>(words) }.map_err(failed)?;
        made.as_mut_slice().map_err(failed)?.fill(0);
        Ok(Staging(made))
    }

    /// Copies words to the GPU by way of such memory, which is as long as where they go. Waits only where
    /// what was sent last is still on its way.
    pub fn send(&self, to: &mut Words, by: &mut Staging, words: &[u32]) -> Result<(), Failure> {
        let stopped = |why| said(STOPPED, why);
        by.0.as_mut_slice().map_err(stopped)?[..words.len()].copy_from_slice(words);
        self.stream.memcpy_htod(&by.0, &mut to.0).map_err(stopped)
    }

    /// Makes a graph of what `start` starts on this GPU; nothing of it runs.
    pub fn capture(&self, start: impl FnOnce() -> Result<(), Failure>) -> Result<Graph, Failure> {
        let failed =
            |why| said("the driver makes no graph of a step, which is started piece by piece", why);
        self.stream
            .begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
            .map_err(failed)?;
        let started = start();
        // Also where something has failed: the stream must leave the capture.
        let ended = self.stream.end_capture(CUgraphInstantiate_flags(0)).map_err(failed);
        started?;
        ended?.map(Graph).ok_or_else(|| Failure::World("a graph of nothing was asked for".into()))
    }

    /// Copies words to the GPU.
    pub fn put(&self, to: &mut Words, start: usize, words: &[u32]) -> Result<(), Failure> {
        let mut to = to.0.slice_mut(start..start + words.len());
        self.stream.memcpy_htod(words, &mut to).map_err(|why| said(STOPPED, why))
    }

    /// Copies words back, after everything before has run.
    pub fn get(&self, words: &Words, at: Range<usize>) -> Result<Vec<u32>, Failure> {
        self.stream.clone_dtoh(&words.0.slice(at)).map_err(|why| said(STOPPED, why))
    }

    /// Starts a dense product of tensors that begin at a byte; see [`Dense`] for the operands. `held` is how these
    /// and the result are.
    pub fn dense(
        &self,
        kind: Dense,
        to: (&Words, usize),
        from: [(&Words, usize); 2],
        sizes: Sizes,
        held: [Number; 2],
    ) -> Result<(), Failure> {
        let (blas, workspace) = match self.blas.get() {
            Some(known) => known,
            None => {
                let workspace = self.reserve(WORKSPACE / 4).map_err(Failure::Memory)?;
                let made = (Blas::load()?, workspace);
                self.blas.get_or_init(|| made)
            }
        };
        let [of_to, of_a, of_b] = kind.numbers(sizes).map(|n| n.unwrap_or(usize::MAX));
        let [operands, result] = held.map(Number::bytes);
        let (of_to, of_a) = (of_to.saturating_mul(result), of_a.saturating_mul(operands));
        let of_b = of_b.saturating_mul(operands);
        let [a, b] = from;
        let addresses = [
            self.address(to, of_to)?,
            self.address(a, of_a)?,
            self.address(b, of_b)?,
            self.address((workspace, 0), WORKSPACE)?,
        ];
        blas.run(kind, sizes, held, addresses, self.stream.cu_stream().cast())
    }

    /// The address of a byte of some words, of which so many are there.
    pub(in crate::device) fn address(
        &self,
        (words, start): (&Words, usize),
        count: usize,
    ) -> Result<u64, Failure> {
        let there = words.0.len() * 4;
        if start.checked_add(count).is_none_or(|end| end > there) {
            let what = format!("{count} bytes from {start} on of {there} were asked for");
            return Err(Failure::World(format!("a mistake of lrc: {what}")));
        }
        Ok(words.0.device_ptr(&self.stream).0 + start as u64)
    }

    /// Starts a kernel; it runs while this returns. Kernel, sizes and arguments must be of one plan:
    /// only the store starts kernels.
    pub(in crate::device) fn launch(
        &self,
        function: &Function,
        [blocks, threads, shared]: [usize; 3],
        arguments: &[Argument],
    ) -> Result<(), Failure> {
        let pointers: Vec<u64> = arguments
            .iter()
            .map(|argument| match argument {
                Argument::Words(words, start) => self.address((words, *start), 0),
                _ => Ok(0),
            })
            .collect::<Result<_, _>>()?;
        let mut builder = self.stream.launch_builder(&function.code);
        for (argument, pointer) in arguments.iter().zip(&pointers) {
            match argument {
                Argument::Words(..) | Argument::Null => builder.arg(pointer),
                Argument::Number(x) => builder.arg(x),
            };
        }
        let narrow = |what, n: usize| u32::try_from(n).map_err(|_| too_large("a kernel", what, n));
        let config = LaunchConfig {
            grid_dim: (narrow("blocks", blocks)?, 1, 1),
            block_dim: (narrow("threads", threads)?, 1, 1),
            shared_mem_bytes: narrow("bytes of shared memory", shared)?,
        };
        // SAFETY: `launch` is called by the store alone, which takes function, sizes and arguments
        // from one plan; what was loaded is what that plan was compiled to, since an entry of the
        // cache is sealed with its key. So arguments have the number and types of the parameters,
        // and each pointer lies in its words, as `address` has compared. That the kernel stays
        // inside tensors as long as the plan says is what the sim device checks of every access; no
        // check of this process does. Words live until the stream has run: they are freed on it.
        unsafe { builder.launch(config) }.map_err(|why| said("cannot start a kernel", why))?;
        Ok(())
    }
}

/// A number of a launch that the driver cannot take.
fn too_large(name: &str, what: &str, n: usize) -> Failure {
    Failure::World(format!("{name} of {n} {what} is more than a GPU takes"))
}

/// The oldest driver that loads what NVRTC 12 makes, as the driver counts: 1000 · major + 10 · minor.
const OLDEST_DRIVER: i32 = 12_000;

/// Whether the driver is new enough.
fn recent(version: i32) -> Result<(), Failure> {
    if version >= OLDEST_DRIVER {
        return Ok(());
    }
    let (major, minor) = (version / 1000, version % 1000 / 10);
    Err(Failure::World(format!(
        "the NVIDIA driver here knows CUDA {major}.{minor}, kernels need 12.0: install driver 525 or newer"
    )))
}

fn said(what: &str, why: DriverError) -> Failure {
    Failure::World(format!("{what}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_driver_is_named() {
        assert!(recent(12_000).is_ok() && recent(13_020).is_ok());
        let failure = recent(11_080).unwrap_err();
        assert_eq!(failure.status(), 1);
        assert!(failure.to_string().contains("knows CUDA 11.8, kernels need 12.0"), "{failure}");
    }
}
