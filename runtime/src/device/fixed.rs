//! Kernels that are written by hand, since a tile program cannot say what they do.

use super::jit::Source;
use super::store::{Loaded, Machine, Store, Tensor};
use crate::error::Failure;

/// Threads of a block.
const THREADS: usize = 256;
/// Blocks of a kernel whose threads go over all elements: enough to fill a GPU.
const BLOCKS: usize = 1024;

/// The kernels.
#[derive(Clone, Debug)]
pub struct Fixed {
    fold: Loaded,
}

impl Fixed {
    /// Compiles and loads them.
    pub fn new(machine: &Machine) -> Result<Fixed, Failure> {
        let texts = [("fold", include_str!("../../../templates/kernels/fold.cu"))];
        let arch = machine.kind().arch;
        let sources: Vec<Source> = texts
            .into_iter()
            .map(|(name, text)| Source { name: name.to_string(), text: text.to_string(), arch })
            .collect();
        let mut loaded = machine.load(&sources, &vec![0; sources.len()])?.into_iter();
        let mut next = || loaded.next().expect("one per text");
        Ok(Fixed { fold: next() })
    }

    /// `to[o, i] = Σ_n from[o, n, i]`.
    pub fn fold(
        &self,
        store: &mut Store,
        to: Tensor,
        from: Tensor,
        [outer, terms, inner]: [usize; 3],
    ) -> Result<(), Failure> {
        let blocks = (outer * inner).div_ceil(THREADS).min(BLOCKS);
        let arguments = [to.into(), from.into(), outer.into(), terms.into(), inner.into()];
        store.launch(&self.fold, [blocks, THREADS, 0], &arguments)
    }
}
