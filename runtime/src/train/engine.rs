//! What computes the steps of a run: the processor, or kernels on a device.

use half::bf16;
use lrc_compiler::graph::{Model, Param, Prepared};

use super::estimate::rows;
use super::lacks::of_training;
use crate::config::Spec;
use crate::device::Device;
use crate::device::fixed::Update;
use crate::ground::error::Failure;
use crate::ground::random::{Purpose, Stream};
use crate::model::Executor;
use crate::model::device::{OnDevice, none};
use crate::model::measure::{self, Measured};
use crate::model::promises::Broken;
use crate::model::stability::Seen;
use crate::model::transforms::Transforms;
use crate::ops::batch::Batch;
use crate::ops::loss::{NONE, Predictions, Score};
use crate::optim::{self, Moments, Optimizer, ParamGroup, Rates};
use crate::schedule::run::RunSchedule;

/// A model, its parameters and what the optimiser remembers of them.
pub struct Engine {
    place: Place,
    optimizer: Option<Optimizer>,
    param_groups: Vec<ParamGroup>,
    seed: u64,
    /// Of the last gradient whose layers were measured.
    noise: Option<Noise>,
}

/// What the parts of a step say about the noise of gradients, without bias (McCandlish et al. 2018,
/// appendix A): their quotient, of means over steps, is the batch in asked tokens from which on more
/// tokens help little.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// The trace of the covariance of one token's gradient.
    pub trace: f64,
    /// The square of the norm of the true gradient.
    pub signal: f64,
}

impl Noise {
    /// From the mean square norm of gradients of `small` tokens, and the square norm of `large` ones.
    fn new([small, small_square]: [f64; 2], [large, large_square]: [f64; 2]) -> Option<Noise> {
        (large > small).then(|| Noise {
            trace: (small_square - large_square) / (1.0 / small - 1.0 / large),
            signal: (large * large_square - small * small_square) / (large - small),
        })
    }
}

/// How a model is trained.
#[derive(Clone, Copy, Debug)]
pub struct Training<'t> {
    /// The optimiser.
    pub optimizer: &'t Optimizer,
    /// What else is done to the model.
    pub transforms: &'t Transforms,
    /// Tokens that run through the model at a time, at most.
    pub rows: usize,
    /// Of dropout.
    pub seed: u64,
}

impl<'t> Training<'t> {
    /// As a spec says. The walk that finds the largest part is for a budget of memory only.
    pub fn of(spec: &'t Spec, run_schedule: &RunSchedule, seed: u64) -> Training<'t> {
        let transforms = &spec.transforms;
        let rows = transforms.activations.map_or(1, |_| rows(spec, run_schedule));
        Training { optimizer: &spec.optimizer, transforms, rows, seed }
    }

    /// With nothing but an optimiser.
    pub fn plain(optimizer: &'t Optimizer) -> Training<'t> {
        const NONE: &Transforms =
            &Transforms { dropout: 0.0, z_loss: 0.0, activations: None, precision: Vec::new() };
        Training { optimizer, transforms: NONE, rows: 1, seed: 0 }
    }
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
        prepared: Prepared,
        params: Vec<Vec<f32>>,
        device: Device,
        moments: Moments,
    ) -> Result<Place, Failure> {
        Ok(match device.machine()? {
            None => Place::Cpu(Box::new(OnCpu {
                executor: Executor::of(prepared, params),
                moments,
                sum: vec![],
                master: vec![],
            })),
            Some(machine) => Place::Kernels(Box::new(OnDevice::new(prepared, &params, &machine)?)),
        })
    }
}

struct OnCpu {
    executor: Executor,
    moments: Moments,
    /// Gradients of the parts of a step so far.
    sum: Vec<Vec<f32>>,
    /// Of parameters that the model reads in bf16: what is updated. Nothing for the others.
    master: Vec<Option<Vec<f32>>>,
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
    /// A model that is to be trained, and is not prepared yet.
    pub fn new(
        model: Model,
        params: Vec<Vec<f32>>,
        device: Device,
        training: &Training,
    ) -> Result<Engine, Failure> {
        Engine::of(TrainingPlan::new(model, training)?, params, device, training)
    }

    /// A model that is to be trained; opens the device.
    pub fn of(
        plan: TrainingPlan,
        params: Vec<Vec<f32>>,
        device: Device,
        training: &Training,
    ) -> Result<Engine, Failure> {
        let TrainingPlan { prepared, param_groups, rounded } = plan;
        let Training { optimizer, transforms, seed, .. } = *training;
        if device != Device::Cpu {
            none(of_training(optimizer, transforms))?;
        }
        let moments = Moments::new(&params, &param_groups);
        let mut place = Place::open(prepared, params, device, moments)?;
        if let Place::Cpu(cpu) = &mut place {
            cpu.executor.z_loss = transforms.z_loss as f32;
            let params = cpu.executor.params.iter().zip(rounded);
            cpu.master = params.map(|(param, rounded)| rounded.then(|| param.clone())).collect();
            cpu.round();
        }
        Ok(Engine { place, optimizer: Some(optimizer.clone()), param_groups, seed, noise: None })
    }

    /// A model that is asked only.
    pub fn asked(
        prepared: Prepared,
        params: Vec<Vec<f32>>,
        device: Device,
    ) -> Result<Engine, Failure> {
        let place = Place::open(prepared, params, device, Moments::default())?;
        Ok(Engine { place, optimizer: None, param_groups: vec![], seed: 0, noise: None })
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

    /// Whether something adds to the loss.
    pub fn adds_to_loss(&self) -> bool {
        let z = match &self.place {
            Place::Cpu(cpu) => cpu.executor.z_loss > 0.0,
            Place::Kernels(_) => false,
        };
        z || !self.model().losses.is_empty()
    }

    /// The gradient of the mean loss over all asked rows of the parts of a step; dropout draws by
    /// the number of the step.
    pub fn gradient(&mut self, parts: &[Batch], step: u64) -> Result<Stepped, Failure> {
        let asked = |batch: &Batch| batch.targets.iter().filter(|t| **t != NONE).count();
        let whole: usize = parts.iter().map(asked).sum();
        let mut score = Score::default();
        let watched = matches!(&self.place, Place::Cpu(cpu) if cpu.executor.watch.is_some());
        let (mut squares, mut inverse, mut count) = (0.0, 0.0, 0.0);
        for (at, batch) in parts.iter().enumerate() {
            let share = asked(batch) as f64 / whole.max(1) as f64;
            let one = match &mut self.place {
                Place::Cpu(cpu) => {
                    let item = step << 16 | at as u64;
                    cpu.executor.draws = Stream::new(self.seed, Purpose::Dropout, item).wide();
                    let (one, square) = cpu.gradient(batch, at, parts.len(), share, watched);
                    let own = asked(batch);
                    if own > 0 {
                        squares += square;
                        inverse += 1.0 / own as f64;
                        count += 1.0;
                    }
                    one
                }
                Place::Kernels(device) => device.train(batch, whole, at == 0)?,
            };
            score.loss += one.loss * share;
            score.auxiliary += one.auxiliary * share;
            score.targets += one.targets;
            score.right += one.right;
        }
        let norm = match &mut self.place {
            _ if !score.loss.is_finite() => f64::NAN,
            Place::Cpu(cpu) => optim::norm(&cpu.executor.grads),
            Place::Kernels(device) => device.norm()?,
        };
        self.noise = None;
        if watched && count > 1.0 {
            // Parts differ in size: the noise of a gradient goes with one over its tokens.
            let small = [count / inverse, squares / count];
            self.noise = Noise::new(small, [whole as f64, norm * norm]);
        }
        Ok(Stepped { score, norm })
    }

    /// What the parts of the last gradient say of its noise, where layers were measured.
    pub fn noise(&self) -> Option<Noise> {
        self.noise
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

    /// The promises that recurrences' inputs break on the parts of a step, in the order of the model.
    pub fn broken(&mut self, parts: &[Batch]) -> Result<Vec<Broken>, Failure> {
        let find = |executor: &mut Executor| {
            executor.seen = Some(Seen::default());
            parts.iter().for_each(|part| drop(executor.hidden(part)));
            executor.seen.take().unwrap_or_default().broken
        };
        Ok(match &mut self.place {
            Place::Cpu(cpu) => find(&mut cpu.executor),
            // Kernels cannot be looked into: the processor walks the forward pass once.
            Place::Kernels(device) => {
                let mut model = device.model.clone();
                let forward = model.graph.forward;
                model.graph.nodes.retain_nodes(|_, node| node.index() < forward);
                let [params, ..] = device.state()?;
                find(&mut Executor::new(model, params))
            }
        })
    }

    /// Updates all parameters by the gradient, whose norm is known.
    pub fn update(&mut self, rates: &Rates, norm: f64) -> Result<(), Failure> {
        let Some(optimizer) = &self.optimizer else {
            unreachable!("only an engine made to train updates")
        };
        match &mut self.place {
            Place::Cpu(cpu) => {
                cpu.swap();
                let OnCpu { executor, moments, .. } = &mut **cpu;
                let Executor { params, grads, .. } = executor;
                optim::step(optimizer, &self.param_groups, rates, norm, params, grads, moments);
                cpu.swap();
                cpu.round();
                Ok(())
            }
            Place::Kernels(device) => device.update(Update::new(optimizer, rates)?),
        }
    }

    /// Gradient and update in one, for a step of one part.
    pub fn step(&mut self, batch: &Batch, rates: &Rates) -> Result<Stepped, Failure> {
        let stepped = self.gradient(std::slice::from_ref(batch), rates.step)?;
        if stepped.norm.is_finite() {
            self.update(rates, stepped.norm)?;
        }
        Ok(stepped)
    }

    /// What the model says at the asked rows of a batch.
    pub fn evaluate(&mut self, batch: &Batch) -> Result<Predictions, Failure> {
        match &mut self.place {
            Place::Cpu(cpu) => Ok(cpu.executor.evaluate(batch)),
            Place::Kernels(device) => device.evaluate(batch),
        }
    }

    /// All numbers, as a checkpoint holds them.
    pub fn numbers(&self) -> Result<Numbers, Failure> {
        Ok(match &self.place {
            Place::Cpu(cpu) => Numbers { params: cpu.params(), moments: cpu.moments.clone() },
            Place::Kernels(device) => {
                let [params, first, second] = device.state()?;
                Numbers { params, moments: Moments { first, second } }
            }
        })
    }

    /// How much each parameter's running means hold: the shape of what a checkpoint has of them.
    pub fn remembered(&self) -> Vec<[bool; 2]> {
        self.param_groups.iter().map(|group| [true, group.second()]).collect()
    }

    /// Takes the numbers of a checkpoint.
    pub fn restore(&mut self, numbers: Numbers) -> Result<(), Failure> {
        let Numbers { params, moments } = numbers;
        match &mut self.place {
            Place::Cpu(cpu) => {
                for (master, param) in cpu.master.iter_mut().zip(&params) {
                    if let Some(master) = master {
                        master.clone_from(param);
                    }
                }
                cpu.executor.params = params;
                cpu.moments = moments;
                cpu.round();
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

/// What training needs of a model, before any number of it exists.
#[derive(Clone, Debug)]
pub struct TrainingPlan {
    /// The model as training runs it.
    pub prepared: Prepared,
    /// How each parameter is updated.
    param_groups: Vec<ParamGroup>,
    /// Which parameters are read in bf16.
    rounded: Vec<bool>,
}

impl TrainingPlan {
    /// Works it out; refuses what cannot be.
    pub fn new(model: Model, training: &Training) -> Result<TrainingPlan, Failure> {
        let Training { optimizer, transforms, rows, .. } = *training;
        let param_groups =
            optimizer.param_groups(&model).map_err(|why| Failure::invalid("E0406", why))?;
        let rounded = transforms.rounded(&model)?;
        Ok(TrainingPlan { prepared: transforms.prepare(model, rows)?, param_groups, rounded })
    }
}

impl OnCpu {
    /// Exchanges what the model reads and what is updated.
    fn swap(&mut self) {
        for (master, read) in self.master.iter_mut().zip(&mut self.executor.params) {
            if let Some(master) = master {
                std::mem::swap(master, read);
            }
        }
    }

    /// Lets the model read what is updated, in bf16.
    fn round(&mut self) {
        for (master, read) in self.master.iter().zip(&mut self.executor.params) {
            if let Some(master) = master {
                let rounded = master.iter().map(|x| bf16::from_f32(*x).to_f32());
                read.iter_mut().zip(rounded).for_each(|(to, x)| *to = x);
            }
        }
    }

    /// All parameters as they are updated.
    fn params(&self) -> Vec<Vec<f32>> {
        let read = self.executor.params.iter();
        if self.master.is_empty() {
            return read.cloned().collect();
        }
        let both = read.zip(&self.master);
        both.map(|(read, master)| master.as_ref().unwrap_or(read).clone()).collect()
    }

    /// The gradient of part `at` of `count`, weighted by its share and added to those before.
    /// Also gives the square of its own norm, where that is wanted.
    fn gradient(
        &mut self,
        batch: &Batch,
        at: usize,
        count: usize,
        share: f64,
        squared: bool,
    ) -> (Score, f64) {
        let score = self.executor.train(batch);
        if count == 1 {
            return (score, 0.0);
        }
        let share = share as f32;
        let grads = &mut self.executor.grads;
        let square = if squared { optim::norm(grads).powi(2) } else { 0.0 };
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
        (score, square)
    }
}
