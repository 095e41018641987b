//! What computes the steps of a run: the processor, or kernels on a device.

use lrc_compiler::graph::{Model, Param};

use super::adamw::{self, Moments};
use crate::device::Device;
use crate::device::fixed::Update;
use crate::error::Failure;
use crate::execute::device::OnDevice;
use crate::execute::{Batch, Executor};
use crate::loss::Score;
use crate::spec::AdamW;

/// A model, its parameters and what the optimiser remembers of them.
pub enum Engine {
    /// On the processor.
    Cpu(Box<Executor>, Moments),
    /// By kernels.
    Kernels(Box<OnDevice>),
}

/// What a step says.
#[derive(Clone, Copy, Debug)]
pub struct Stepped {
    /// Of the batch, before the update.
    pub score: Score,
    /// Norm of the whole gradient before clipping.
    pub norm: f64,
}

/// Parameters, and what the optimiser remembers of them.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// Per parameter.
    pub params: Vec<Vec<f32>>,
    /// Per parameter.
    pub moments: Moments,
}

impl Engine {
    /// Prepares a model; opens the device.
    pub fn new(model: Model, params: Vec<Vec<f32>>, device: Device) -> Result<Engine, Failure> {
        Ok(match device.machine()? {
            None => {
                let moments = Moments::new(&params);
                Engine::Cpu(Box::new(Executor::new(model, params)), moments)
            }
            Some(machine) => Engine::Kernels(Box::new(OnDevice::new(model, &params, &machine)?)),
        })
    }

    fn model(&self) -> &Model {
        match self {
            Engine::Cpu(executor, _) => &executor.model,
            Engine::Kernels(device) => &device.model,
        }
    }

    /// The parameters as the model declares them.
    pub fn declared(&self) -> &[Param] {
        &self.model().graph.params
    }

    /// Whether mixers of the model add to the loss.
    pub fn adds_to_loss(&self) -> bool {
        !self.model().losses.is_empty()
    }

    /// One optimiser step, `step` counted from 1. Where the loss is no number nothing is updated.
    pub fn step(
        &mut self,
        batch: &Batch,
        adamw: &AdamW,
        lr: f64,
        step: u64,
    ) -> Result<Stepped, Failure> {
        match self {
            Engine::Cpu(executor, moments) => {
                let score = executor.train(batch);
                if !score.loss.is_finite() {
                    return Ok(Stepped { score, norm: f64::NAN });
                }
                let Executor { model, params, grads, .. } = &mut **executor;
                let declared = &model.graph.params;
                let norm = adamw::step(adamw, lr, step, declared, params, grads, moments);
                Ok(Stepped { score, norm })
            }
            Engine::Kernels(device) => {
                let score = device.train(batch)?;
                if !score.loss.is_finite() {
                    return Ok(Stepped { score, norm: f64::NAN });
                }
                let norm = device.update(Update::new(adamw, lr, step))?;
                Ok(Stepped { score, norm })
            }
        }
    }

    /// Loss of a batch, and the best guess at each asked row, in order.
    pub fn evaluate(&mut self, batch: &Batch) -> Result<(Score, Vec<u32>), Failure> {
        match self {
            Engine::Cpu(executor, _) => Ok(executor.evaluate(batch)),
            Engine::Kernels(device) => device.evaluate(batch),
        }
    }

    /// All numbers, as a checkpoint holds them.
    pub fn numbers(&self) -> Result<Numbers, Failure> {
        Ok(match self {
            Engine::Cpu(executor, moments) => {
                Numbers { params: executor.params.clone(), moments: moments.clone() }
            }
            Engine::Kernels(device) => {
                let [params, first, second] = device.state()?;
                Numbers { params, moments: Moments { first, second } }
            }
        })
    }

    /// Takes the numbers of a checkpoint.
    pub fn restore(&mut self, numbers: Numbers) -> Result<(), Failure> {
        let Numbers { params, moments } = numbers;
        match self {
            Engine::Cpu(executor, known) => {
                executor.params = params;
                *known = moments;
                Ok(())
            }
            Engine::Kernels(device) => device.restore([&params, &moments.first, &moments.second]),
        }
    }

    /// Kernels and dense products that the last step has started; nothing on the processor.
    pub fn started(&self) -> Option<[u64; 2]> {
        match self {
            Engine::Cpu(..) => None,
            Engine::Kernels(device) => Some(device.started),
        }
    }
}
