//! An NVIDIA GPU: memory, kernels, launches.
#![expect(unsafe_code, reason = "asks for the driver and launches kernels")]

use std::sync::Arc;

use cudarc::driver::sys::CUfunction_attribute;
use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, DevicePtr, DriverError, LaunchConfig,
    PushKernelArg,
};
use cudarc::nvrtc::Ptx;
use lrc_compiler::plan::target::{self, Gpu as Kind};

use crate::device::library::DRIVER;
use crate::error::Failure;

/// A GPU and the stream on which everything runs.
#[derive(Clone, Debug)]
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    /// Its name.
    pub name: String,
    /// The kind that kernels are planned for.
    pub kind: Kind,
}

/// A loaded kernel.
#[derive(Clone, Debug)]
pub struct Function(CudaFunction);

/// Words in the GPU's memory.
#[derive(Debug)]
pub struct Words(CudaSlice<u32>);

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    /// A tensor; a null pointer where there is none.
    Words(Option<&'a Words>),
    /// A whole number.
    Number(i32),
}

impl Gpu {
    /// Opens the first GPU.
    pub fn open() -> Result<Gpu, Failure> {
        // SAFETY: looks for the driver's library by name and loads it; without this question
        // cudarc would panic where there is none.
        if !unsafe { cudarc::driver::sys::is_culib_present() } {
            let advice = DRIVER.advice;
            return Err(Failure::World(format!("there is no NVIDIA driver here: {advice}")));
        }
        let context = CudaContext::new(0).map_err(|why| said("cannot open the first GPU", why))?;
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
        let stream = context.default_stream();
        Ok(Gpu { context, stream, name, kind })
    }

    /// Loads the machine code of a kernel that wants this much shared memory.
    pub fn load(&self, code: &[u8], name: &str, shared: usize) -> Result<Function, Failure> {
        let failed = |why| Failure::Compile(format!("{} does not load {name}: {why}", self.name));
        let module = self.context.load_module(Ptx::from_binary(code.to_vec())).map_err(failed)?;
        let function = module.load_function(name).map_err(failed)?;
        let limit = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(limit, shared as i32).map_err(failed)?;
        Ok(Function(function))
    }

    /// Copies words to the GPU.
    pub fn send(&self, words: &[u32]) -> Result<Words, Failure> {
        self.stream.clone_htod(words).map(Words).map_err(|why| self.memory(words.len(), why))
    }

    /// Zeros on the GPU.
    pub fn zeros(&self, words: usize) -> Result<Words, Failure> {
        self.stream.alloc_zeros(words).map(Words).map_err(|why| self.memory(words, why))
    }

    /// Copies words back, after everything before has run.
    pub fn fetch(&self, words: &Words) -> Result<Vec<u32>, Failure> {
        self.stream.clone_dtoh(&words.0).map_err(|why| said("the GPU has stopped", why))
    }

    fn memory(&self, words: usize, why: DriverError) -> Failure {
        let what = format!("cannot have {} bytes on {}", 4 * words, self.name);
        said(&what, why)
    }

    /// Starts a kernel; it runs while this returns.
    pub fn launch(
        &self,
        function: &Function,
        [blocks, threads, shared]: [usize; 3],
        arguments: &[Argument],
    ) -> Result<(), Failure> {
        let pointers: Vec<u64> = arguments
            .iter()
            .map(|argument| match argument {
                Argument::Words(Some(words)) => words.0.device_ptr(&self.stream).0,
                _ => 0,
            })
            .collect();
        let mut builder = self.stream.launch_builder(&function.0);
        for (argument, pointer) in arguments.iter().zip(&pointers) {
            match argument {
                Argument::Words(_) => builder.arg(pointer),
                Argument::Number(x) => builder.arg(x),
            };
        }
        let config = LaunchConfig {
            grid_dim: (blocks as u32, 1, 1),
            block_dim: (threads as u32, 1, 1),
            shared_mem_bytes: shared as u32,
        };
        // SAFETY: the arguments have the number and the sizes of the kernel's parameters, since
        // both are made from the same plan; every tensor is as long as the plan says, stays
        // alive until the stream has run (it is freed on the same stream), and the sim device has
        // proven that the kernel stays inside.
        unsafe { builder.launch(config) }.map_err(|why| said("cannot start a kernel", why))?;
        Ok(())
    }
}

fn said(what: &str, why: DriverError) -> Failure {
    Failure::World(format!("{what}: {why}"))
}
