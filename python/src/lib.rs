//! The engine of lrc as the module `lrc._lrc` of Python: declarations, recurrences, mixers and models, called on
//! arrays where they lie. What Python programs see is the package around it.

mod errors;
mod fitted;
mod graph;
mod kept;
mod numbers;
mod recurrence;
mod source;

use lrc_runtime::device::Device;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

/// Planning and interpreting make and drop many small things.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The module.
#[pymodule]
mod _lrc {
    #[pymodule_export]
    use super::fitted::Fitted;
    #[pymodule_export]
    use super::graph::Graph;
    #[pymodule_export]
    use super::kept::kept_passes;
    #[pymodule_export]
    use super::numbers::Numbers;
    #[pymodule_export]
    use super::recurrence::Recurrence;
    #[pymodule_export]
    use super::source::{check, shipped_names};
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}

/// A device by its name.
pub(crate) fn device(name: &str) -> PyResult<Device> {
    match name {
        "cpu" => Ok(Device::Cpu),
        "sim" => Ok(Device::Sim),
        other => {
            let message = format!("there is no device `{other}` here: \"cpu\" or \"sim\"");
            Err(PyTypeError::new_err(message))
        }
    }
}

/// Expressions are trees: deep ones need a deep stack, which Python's threads do not promise.
pub(crate) const STACK: usize = 512 << 20;

/// Runs what walks over trees, on a stack of its own and without Python's lock.
pub(crate) fn deep<T: Send>(py: Python, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    py.detach(|| {
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().stack_size(STACK);
            let worker = builder.spawn_scoped(scope, work).map_err(|why| why.to_string())?;
            worker.join().map_err(|_| "the engine has failed: please report the text".to_string())
        })
    })
    .map_err(pyo3::exceptions::PyRuntimeError::new_err)
}
