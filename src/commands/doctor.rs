//! `lrc doctor`: what this machine has.

use lrc_compiler::plan::target::GPUS;
use lrc_runtime::device::cuda::gpu::Gpu;
use lrc_runtime::device::cuda::nvrtc::{Code, Nvrtc};
use lrc_runtime::device::library::{CUBLASLT, DRIVER, NCCL, NVRTC};
use lrc_runtime::ground::error::Failure;
use lrc_runtime::parallel;

use crate::terminal::say;

/// `lrc doctor`
pub fn doctor(json: bool) -> Result<(), Failure> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let features = vector_units();
    let libraries = [DRIVER, NVRTC, CUBLASLT, NCCL].map(|library| (library, library.find()));
    let (compiler, gpu) = (compiler(), Gpu::open());
    let mut devices = vec!["cpu"];
    if compiler.is_ok() {
        devices.push("sim");
        devices.extend(gpu.is_ok().then_some("cuda"));
    }
    if json {
        let all: Vec<serde_json::Value> = libraries
            .iter()
            .map(|(library, path)| serde_json::json!({ "name": library.name, "path": path }))
            .collect();
        say!(
            "{}",
            serde_json::json!({
                "version": env!("CARGO_PKG_VERSION"), "cores": cores, "vector_units": features,
                "libraries": all, "compiler": compiler.as_ref().ok(),
                "devices": devices, "gpu": gpu.as_ref().ok().map(|gpu| &gpu.name),
                "mpi": parallel::MPI,
            })
        );
        return Ok(());
    }
    say!("lrc {}", env!("CARGO_PKG_VERSION"));
    say!("ok    cpu: {cores} cores, {}", features.join(", "));
    say!("ok    device cpu: everything runs on it");
    for (library, path) in libraries {
        match path {
            Some(path) => say!("ok    {}: {}", library.name, path.display()),
            None => say!("none  {}: {}", library.name, library.advice),
        }
    }
    let by =
        if parallel::MPI { "by MPI, or sockets" } else { "by sockets; by MPI with --features mpi" };
    say!("ok    several processes: {by}");
    match compiler {
        Ok(what) => say!("ok    device sim: {what}"),
        Err(why) => say!("none  device sim: {why}"),
    }
    match gpu {
        Ok(gpu) => say!("ok    device cuda: {}, {}", gpu.name, gpu.kind.arch),
        Err(why) => say!("none  device cuda: {why}"),
    }
    Ok(())
}

fn vector_units() -> Vec<&'static str> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let known = [
            ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
            ("FMA", std::arch::is_x86_feature_detected!("fma")),
            ("AVX-512", std::arch::is_x86_feature_detected!("avx512f")),
        ];
        found.extend(known.iter().filter(|(_, has)| *has).map(|(name, _)| *name));
    }
    if found.is_empty() {
        found.push("no wide vector unit: slow, but right");
    }
    found
}

/// Compiles a kernel, to see that it works.
fn compiler() -> Result<String, Failure> {
    let nvrtc = Nvrtc::load()?;
    let source = "extern \"C\" __global__ void nothing() {}";
    let (major, minor) = nvrtc.version;
    let arch = GPUS[0].arch;
    nvrtc.compile(source, "nothing", arch, Code::Cubin)?;
    Ok(format!("NVRTC {major}.{minor} compiles for {arch}"))
}
