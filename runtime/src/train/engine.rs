//! What computes the steps of a run: the processor, or kernels on a device.

use lrc_compiler::graph::{Model, Param};
use lrc_dsl::Diag;

use crate::device::Device;
use crate::device::fixed::Update;
use crate::error::Failure;
use crate::execute::device::OnDevice;
use crate::execute::measure::{self, Measured};
use crate::execute::{Batch, Executor};
use crate::loss::{NONE, Score};
use crate::optim::{self, Method, Moments, Optimizer, Rates, Way};

/// A model, its parameters and what the optimiser remembers of them.
pub struct Engine {
    place: Place,
    optimizer: Option<Optimizer>,
    ways: Vec<Way>,
}

/// Where it runs.
enum Place {
    /// On the processor.
    Cpu(Box<OnCpu>),
    /// By kernels.
    Kernels(Box<OnDevice>),
}

impl Place {
    fn open(
        model: Model,
        params: Vec<Vec<f32>>,
        device: Device,
        moments: Moments,
    ) -> Result<Place, Failure> {
        Ok(match device.machine()? {
            None => {
                let executor = Executor::new(model, params);
                Place::Cpu(Box::new(OnCpu { executor, moments, sum: vec![] }))
            }
            Some(machine) => Place::Kernels(Box::new(OnDevice::new(model, &params, &machine)?)),
        })
    }
}

struct OnCpu {
    executor: Executor,
    moments: Moments,
    /// Gradients of the parts of a step so far.
    sum: Vec<Vec<f32>>,
}

/// What the gradient of a step says, before the update.
#[derive(Clone, Copy, Debug)]
pub struct Stepped {
    /// Of the whole step.
    pub score: Score,
    /// Norm of the whole gradient before clipping; no number where the loss is none.
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
    /// Prepares a model to be trained; opens the device.
    pub fn new(
        model: Model,
        params: Vec<Vec<f32>>,
        device: Device,
        optimizer: &Optimizer,
    ) -> Result<Engine, Failure> {
        let ways = optimizer.ways(&model).map_err(|why| Failure::invalid("E0406", why))?;
        if device != Device::Cpu {
            refuse(optimizer)?;
        }
        let moments = Moments::new(&params, &ways);
        let place = Place::open(model, params, device, moments)?;
        Ok(Engine { place, optimizer: Some(optimizer.clone()), ways })
    }

    /// Prepares a model to be asked only.
    pub fn asked(model: Model, params: Vec<Vec<f32>>, device: Device) -> Result<Engine, Failure> {
        let place = Place::open(model, params, device, Moments::default())?;
        Ok(Engine { place, optimizer: None, ways: vec![] })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        match &self.place {
            Place::Cpu(cpu) => &cpu.executor.model,
            Place::Kernels(device) => &device.model,
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

    /// The gradient of the mean loss over all asked rows of the parts of a step.
    pub fn gradient(&mut self, parts: &[Batch]) -> Result<Stepped, Failure> {
        let asked = |batch: &Batch| batch.targets.iter().filter(|t| **t != NONE).count();
        let whole: usize = parts.iter().map(asked).sum();
        let mut score = Score::default();
        for (at, batch) in parts.iter().enumerate() {
            let share = asked(batch) as f64 / whole.max(1) as f64;
            let one = match &mut self.place {
                Place::Cpu(cpu) => cpu.gradient(batch, at, parts.len(), share),
                Place::Kernels(device) => device.train(batch, whole, at == 0)?,
            };
            score.loss += one.loss * share;
            score.auxiliary += one.auxiliary * share;
            score.asked += one.asked;
            score.right += one.right;
        }
        let norm = match &mut self.place {
            _ if !score.loss.is_finite() => f64::NAN,
            Place::Cpu(cpu) => optim::norm(&cpu.executor.grads),
            Place::Kernels(device) => device.norm()?,
        };
        Ok(Stepped { score, norm })
    }

    /// Measures layers in the next gradient. Kernels cannot be looked into.
    pub fn watch(&mut self) {
        if let Place::Cpu(cpu) = &mut self.place {
            cpu.executor.watch = Some(Measured::new());
        }
    }

    /// What was measured in the last gradient, with the gradients of the layers.
    pub fn measured(&mut self) -> Option<Measured> {
        let Place::Cpu(cpu) = &mut self.place else { return None };
        let mut measured = cpu.executor.watch.take()?;
        let Executor { model, grads, .. } = &cpu.executor;
        measure::gradients(&mut measured, &model.graph.params, grads);
        Some(measured)
    }

    /// Whether layers can be measured.
    pub fn can_watch(&self) -> bool {
        matches!(self.place, Place::Cpu(_))
    }

    /// Updates all parameters by the gradient, whose norm is known.
    pub fn update(&mut self, rates: &Rates, norm: f64) -> Result<(), Failure> {
        let Some(optimizer) = &self.optimizer else {
            unreachable!("only an engine made to train updates")
        };
        match &mut self.place {
            Place::Cpu(cpu) => {
                let OnCpu { executor, moments, .. } = &mut **cpu;
                let Executor { params, grads, .. } = executor;
                optim::step(optimizer, &self.ways, rates, norm, params, grads, moments);
                Ok(())
            }
            Place::Kernels(device) => device.update(Update::new(optimizer, rates)),
        }
    }

    /// Gradient and update in one, for a step of one part.
    pub fn step(&mut self, batch: &Batch, rates: &Rates) -> Result<Stepped, Failure> {
        let stepped = self.gradient(std::slice::from_ref(batch))?;
        if stepped.norm.is_finite() {
            self.update(rates, stepped.norm)?;
        }
        Ok(stepped)
    }

    /// Loss of a batch, and the best guess at each asked row, in order.
    pub fn evaluate(&mut self, batch: &Batch) -> Result<(Score, Vec<u32>), Failure> {
        match &mut self.place {
            Place::Cpu(cpu) => Ok(cpu.executor.evaluate(batch)),
            Place::Kernels(device) => device.evaluate(batch),
        }
    }

    /// All numbers, as a checkpoint holds them.
    pub fn numbers(&self) -> Result<Numbers, Failure> {
        Ok(match &self.place {
            Place::Cpu(cpu) => {
                Numbers { params: cpu.executor.params.clone(), moments: cpu.moments.clone() }
            }
            Place::Kernels(device) => {
                let [params, first, second] = device.state()?;
                Numbers { params, moments: Moments { first, second } }
            }
        })
    }

    /// How much each parameter's running means hold: the shape of what a checkpoint has of them.
    pub fn remembered(&self) -> Vec<[bool; 2]> {
        self.ways.iter().map(|way| [true, way.second()]).collect()
    }

    /// Takes the numbers of a checkpoint.
    pub fn restore(&mut self, numbers: Numbers) -> Result<(), Failure> {
        let Numbers { params, moments } = numbers;
        match &mut self.place {
            Place::Cpu(cpu) => {
                cpu.executor.params = params;
                cpu.moments = moments;
                Ok(())
            }
            Place::Kernels(device) => device.restore([&params, &moments.first, &moments.second]),
        }
    }

    /// Kernels and dense products that the last step has started; nothing on the processor.
    pub fn started(&self) -> Option<[u64; 2]> {
        match &self.place {
            Place::Cpu(_) => None,
            Place::Kernels(device) => Some(device.started),
        }
    }
}

/// What devices have no kernels for.
fn refuse(optimizer: &Optimizer) -> Result<(), Failure> {
    let what = if !matches!(optimizer.method, Method::AdamW { .. }) {
        format!("the optimiser `{}`", optimizer.method.name())
    } else if !optimizer.groups.is_empty() {
        "groups of parameters".into()
    } else {
        return Ok(());
    };
    let diag = Diag::global("E0501", format!("there are no kernels for {what}"));
    Err(Failure::Invalid(vec![diag.help("it runs with `--device cpu`")]))
}

impl OnCpu {
    /// The gradient of part `at` of `count`, weighted by its share and added to those before.
    fn gradient(&mut self, batch: &Batch, at: usize, count: usize, share: f64) -> Score {
        let score = self.executor.train(batch);
        if count == 1 {
            return score;
        }
        let share = share as f32;
        let grads = &mut self.executor.grads;
        if at == 0 {
            self.sum.resize_with(grads.len(), Vec::new);
            for (sum, grad) in self.sum.iter_mut().zip(&*grads) {
                sum.clear();
                sum.extend(grad.iter().map(|g| g * share));
            }
        } else {
            for (sum, grad) in self.sum.iter_mut().zip(&*grads) {
                sum.iter_mut().zip(grad).for_each(|(sum, g)| *sum += g * share);
            }
        }
        if at + 1 == count {
            std::mem::swap(&mut self.sum, grads);
        }
        score
    }
}
