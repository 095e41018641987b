//! NVIDIA's compiler and driver. The only folder that calls into libraries of others.

pub mod blas;
pub mod gpu;
pub mod nccl;
pub mod nvrtc;

/// Loads the library by its path: later searches by name find what is loaded.
#[expect(unsafe_code, reason = "loads a library")]
fn preload(path: &std::path::Path) -> Result<(), String> {
    // SAFETY: loading runs the library's initialisers; this is NVIDIA's own file, named by the
    // user's environment.
    let library = unsafe { libloading::Library::new(path) };
    // It stays loaded until the process ends.
    std::mem::forget(library.map_err(|why| format!("cannot load {}: {why}", path.display()))?);
    Ok(())
}
