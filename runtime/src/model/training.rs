//! A training step of a walk: what is started, and what the host reads of it once that has run.

use super::walk::Walk;
use crate::device::parameters::Parameters;
use crate::ground::error::Failure;
use crate::ops::batch::Batch;
use crate::ops::loss::{Predictions, Score};

/// What batches have said.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Of each batch.
    pub scores: Vec<Score>,
    /// Norms that were asked for.
    pub norms: Vec<f64>,
}

impl Walk {
    /// Kernels and dense products that the last training step has started; nothing on the processor.
    pub fn started(&self) -> Option<[u64; 2]> {
        let (before, now) = (self.started?, self.parameters.backend.started()?);
        Some([now[0] - before[0], now[1] - before[1]])
    }

    /// Begins to count what a step starts.
    pub fn count(&mut self) {
        self.started = self.parameters.backend.started();
    }

    /// Loss of a batch; the gradients of all parameters are there afterwards.
    pub fn train(&mut self, batch: &Batch) -> Result<Score, Failure> {
        self.start(batch)?;
        let Trained { scores, .. } = self.trained(&[batch.asked()])?;
        Ok(scores[0])
    }

    /// Starts the same; the host reads nothing until [`Walk::trained`], unless layers are measured.
    pub fn start(&mut self, batch: &Batch) -> Result<(), Failure> {
        self.start_with(batch, &mut |_, _| Ok(()))
    }

    /// The same; behind every node, `behind` is told its number.
    pub fn start_with(
        &mut self,
        batch: &Batch,
        behind: &mut dyn FnMut(usize, &Parameters) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.parameters.clear_grads()?;
        let mut pass = self.begin(batch, true)?;
        for at in 0..self.nodes.len() {
            self.node(at, &mut pass)?;
            behind(at, &self.parameters)?;
        }
        let losses = &self.prepared.model.losses;
        losses.iter().try_for_each(|value| self.parameters.backend.keep(pass.values[value]))
    }

    /// Begins a step that is started as a whole, if it can be: not where layers are looked at in between.
    pub fn open(&mut self) {
        if self.watch.is_none() && self.seen.is_none() {
            self.parameters.backend.open();
        }
    }

    /// What the batches that were started since the last call have said; as many rows of each were asked.
    pub fn trained(&mut self, asked: &[usize]) -> Result<Trained, Failure> {
        self.parameters.backend.close()?;
        let said = self.parameters.backend.said()?;
        let losses = self.prepared.model.losses.len();
        let mut rows = said.rows.as_slice();
        let scores = asked.iter().enumerate().map(|(at, asked)| {
            let (own, rest) = rows.split_at(*asked);
            rows = rest;
            let mut score = Predictions::of(own).score;
            let added = &said.numbers[at * losses..(at + 1) * losses];
            let added: f64 = added.iter().map(|x| f64::from(*x)).sum();
            score.auxiliary = added + f64::from(self.z_loss) * score.log_z;
            score
        });
        Ok(Trained { scores: scores.collect(), norms: said.norms })
    }
}
