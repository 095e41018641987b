//! What a forward pass keeps for its gradient, behind a number that Python can hold in a tensor.
//!
//! An operation of PyTorch gives tensors. The last that a recurrence gives is one number whose memory belongs to what
//! the pass has kept: it lives as long as that tensor's memory, and is found again by the address. A tensor that was
//! copied elsewhere in between is not found; then the pass runs again, and the result is the same.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use lrc_compiler::form::Kept;
use pyo3::prelude::*;

use crate::numbers::{Handed, Numbers};

/// Kept numbers of either precision.
pub enum Either {
    /// Of f32.
    F32(Kept<f32>),
    /// Of f64.
    F64(Kept<f64>),
}

/// What was kept, and of which call.
pub struct Pass {
    /// What was kept.
    pub kept: Either,
    /// Of which recurrence at its sizes.
    pub of: usize,
    /// Where its sequences start.
    pub bounds: Vec<usize>,
}

static PASSES: LazyLock<Mutex<HashMap<usize, Weak<Pass>>>> = LazyLock::new(Mutex::default);

fn passes() -> MutexGuard<'static, HashMap<usize, Weak<Pass>>> {
    PASSES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a pass with this address has kept, if it is still there.
pub fn find(address: usize) -> Option<Arc<Pass>> {
    passes().get(&address)?.upgrade()
}

/// Holds what a pass has kept, as long as the number lives that it stands behind.
pub struct Behind {
    address: usize,
    _pass: Arc<Pass>,
}

impl Drop for Behind {
    fn drop(&mut self) {
        passes().remove(&self.address);
    }
}

/// One number, 0, behind which a pass can be found.
pub fn hold(pass: Pass) -> Numbers {
    let (number, pass) = (f32::hand(vec![0.0]), Arc::new(pass));
    let address = number.address();
    passes().insert(address, Arc::downgrade(&pass));
    number.with(Behind { address, _pass: pass })
}

/// Passes of which anything is kept at present.
#[pyfunction]
pub fn kept_passes() -> usize {
    passes().len()
}
