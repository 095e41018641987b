//! Faults that a run is given on purpose, to see its policies act.

use super::Fault;
use super::run::Run;
use crate::ground::error::Failure;
use crate::ops::batch::Batch;
use crate::ops::loss::NONE;

impl Run<'_> {
    /// The fault that is put into the gradient at hand, of all that were computed.
    pub(super) fn fault(&self) -> Option<Fault> {
        let mut all = self.options.inject.iter();
        all.find(|(at, _)| *at == self.computed()).map(|(_, fault)| *fault)
    }

    /// Makes all parameters twice as large.
    pub(super) fn grow(&mut self) -> Result<(), Failure> {
        let mut numbers = self.engine.numbers_everywhere()?;
        numbers.params.iter_mut().flatten().for_each(|x| *x *= 2.0);
        self.engine.restore(&numbers)
    }
}

/// The same batch with other targets: the vocabulary upside down.
pub(super) fn muddled(mut batch: Batch, vocab: usize) -> Batch {
    for target in batch.targets.iter_mut().filter(|target| **target != NONE) {
        *target = vocab as u32 - 1 - *target;
    }
    batch
}
