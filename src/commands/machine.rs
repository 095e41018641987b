//! Commands about this machine: doctor, completions.

use std::io::Write;

use clap::CommandFactory;
use lrc_runtime::error::Failure;

use crate::args::Args;
use crate::terminal::say;

/// `lrc doctor`
pub fn doctor(json: bool) -> Result<(), Failure> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let features = vector_units();
    let found = |names: &[&str]| library(names);
    let libraries = [
        (
            "NVIDIA driver (libcuda)",
            found(&["libcuda.so.1", "libcuda.so"]),
            "install the NVIDIA driver to use a GPU; the CPU needs nothing",
        ),
        ("NVRTC", found(&["libnvrtc.so.12", "libnvrtc.so"]), "pip install nvidia-cuda-nvrtc-cu12"),
        (
            "cuBLASLt",
            found(&["libcublasLt.so.12", "libcublasLt.so"]),
            "pip install nvidia-cublas-cu12",
        ),
    ];
    if json {
        let all: Vec<serde_json::Value> = libraries
            .iter()
            .map(|(name, path, _)| serde_json::json!({ "name": name, "path": path }))
            .collect();
        say!(
            "{}",
            serde_json::json!({
                "version": env!("CARGO_PKG_VERSION"), "cores": cores, "vector_units": features,
                "libraries": all, "devices": ["cpu"],
            })
        );
        return Ok(());
    }
    say!("lrc {}", env!("CARGO_PKG_VERSION"));
    say!("ok    cpu: {cores} cores, {}", features.join(", "));
    say!("ok    device cpu: everything runs on it");
    for (name, path, advice) in libraries {
        match path {
            Some(path) => say!("ok    {name}: {path}"),
            None => say!("none  {name}: {advice}"),
        }
    }
    say!("note  this version has no CUDA device yet: `--device cuda` ends with status 2");
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

/// Where a library lies, in the folders that loaders look into.
fn library(names: &[&str]) -> Option<String> {
    let mut folders: Vec<std::path::PathBuf> = std::env::var_os("LD_LIBRARY_PATH")
        .map(|paths| std::env::split_paths(&paths).collect())
        .unwrap_or_default();
    for folder in ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/cuda/lib64"] {
        folders.push(folder.into());
    }
    folders
        .iter()
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|path| path.exists())
        .map(|path| path.display().to_string())
}

/// `lrc completions`
pub fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "lrc", &mut text);
    std::io::stdout()
        .write_all(&text)
        .map_err(|error| Failure::World(format!("cannot write: {error}")))
}
