//! What computes the steps of a run, wherever it runs.

use lrc_compiler::graph::{Model, Param, Prepared};

use super::estimate::rows;
use super::shared::{Places, Shared};
use crate::config::Spec;
use crate::device::Device;
use crate::device::store::Traffic;
use crate::ground::error::Failure;
use crate::ground::random::{Purpose, Stream};
use crate::model::measure::{self, Measured};
use crate::model::promises::Broken;
use crate::model::stability::Seen;
use crate::model::transforms::Transforms;
use crate::model::{Trained, Walk};
use crate::ops::batch::Batch;
use crate::ops::dense;
use crate::ops::loss::{Predictions, Score};
use crate::optim::state::{Grouping, State};
use crate::optim::{Moments, Optimizer, ParamGroup, Rates};
use crate::parallel::{Group, devices};
use crate::schedule::run::RunSchedule;
use std::sync::Arc;

/// A model, its parameters and what the optimiser remembers of them.
pub struct Engine {
    pub(super) walk: Walk,
    /// Nothing where the model is asked only.
    pub(super) optimizer: Option<State>,
    /// Where several processes train it.
    pub(super) shared: Option<Shared>,
    seed: u64,
    /// Of the last gradient whose layers were measured.
    noise: Option<Noise>,
    /// Kernels and dense products of the last step so far.
    started: Option<[u64; 2]>,
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
    /// Processes that hold a segment each of every sequence, where several train.
    pub segments: usize,
}

impl<'t> Training<'t> {
    /// As a spec says. The walk that finds the largest part is for a budget of memory only.
    pub fn of(
        spec: &'t Spec,
        run_schedule: &RunSchedule,
        seed: u64,
        segments: usize,
    ) -> Training<'t> {
        let transforms = &spec.transforms;
        let rows =
            transforms.activations.map_or(1, |_| rows(spec, run_schedule).div_ceil(segments));
        Training { optimizer: &spec.optimizer, transforms, rows, seed, segments }
    }

    /// With nothing but an optimiser.
    pub fn plain(optimizer: &'t Optimizer) -> Training<'t> {
        const NONE: &Transforms = &Transforms {
            dropout: 0.0,
            z_loss: 0.0,
            activations: None,
            precision: Vec::new(),
            bf16_values: false,
        };
        Training { optimizer, transforms: NONE, rows: 1, seed: 0, segments: 1 }
    }
}

/// What the gradient of a step says, before the update.
#[derive(Clone, Copy, Debug)]
pub struct Stepped {
    /// Of the whole step.
    pub score: Score,
    /// Norm of the whole gradient before clipping; no number where the loss is none.
    pub norm: f64,
}

/// What the parts of a step have said.
pub(super) struct Found {
    /// Of each part.
    pub scores: Vec<Score>,
    /// Norms of the gradients of the parts that ask something, where they were asked for.
    pub norms: Vec<f64>,
    /// Of the whole gradient.
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
        Engine::of(TrainingPlan::new(model, training)?, &params, device, training, None)
    }

    /// A model that is to be trained, by several processes where there is a group; opens the device.
    pub fn of(
        plan: TrainingPlan,
        params: &[Vec<f32>],
        device: Device,
        training: &Training,
        group: Option<Arc<Group>>,
    ) -> Result<Engine, Failure> {
        let TrainingPlan { prepared, param_groups } = plan;
        let Training { optimizer, transforms, seed, segments, .. } = *training;
        let numbers = prepared.model.graph.params.iter().map(|param| param.number);
        let grouping = Grouping::new(&param_groups, &numbers.collect::<Vec<_>>());
        let machine = device.machine()?;
        let mut walk = Walk::on(machine.as_ref(), prepared, params, &grouping.of)?;
        walk.z_loss = transforms.z_loss as f32;
        if let (Some(group), Some(machine)) = (&group, &machine) {
            walk.parameters.backend.join(devices::meet(group, machine)?);
        }
        let shared = match group {
            Some(group) => {
                let places = Places { segments, on_devices: machine.is_some() };
                walk.segments = places.segments(&group)?;
                Some(Shared::new(group, &walk, &param_groups, places))
            }
            None => None,
        };
        let own = match &shared {
            Some(shared) => shared.own(),
            None => walk.parameters.layout.whole(),
        };
        let model = &mut walk.parameters;
        let state = State::new(optimizer, param_groups, grouping, model, own, params)?;
        Ok(Engine { walk, optimizer: Some(state), shared, seed, noise: None, started: None })
    }

    /// A model that is asked only.
    pub fn asked(
        prepared: Prepared,
        params: &[Vec<f32>],
        device: Device,
    ) -> Result<Engine, Failure> {
        let walk = Walk::of(device, prepared, params)?;
        Ok(Engine { walk, optimizer: None, shared: None, seed: 0, noise: None, started: None })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        self.walk.model()
    }

    /// The parameters as the model declares them.
    pub fn declared(&self) -> &[Param] {
        &self.model().graph.params
    }

    /// Whether something adds to the loss.
    pub fn adds_to_loss(&self) -> bool {
        self.walk.z_loss > 0.0 || !self.model().losses.is_empty()
    }

    /// The gradient of the mean loss over all asked rows of the parts of a step; dropout draws by
    /// the number of the step.
    pub fn gradient(&mut self, parts: &[Batch], step: u64) -> Result<Stepped, Failure> {
        let asked: Vec<usize> = parts.iter().map(Batch::asked).collect();
        let whole: usize = asked.iter().sum();
        // Gradients of segments say nothing of the noise of whole parts.
        let watched = self.walk.watch.is_some() && parts.len() > 1 && self.walk.segments.is_none();
        self.walk.count();
        let Found { scores, norms, norm } = if self.shared.is_some() {
            self.found_by_all(parts, step, watched)?
        } else {
            self.found(parts, &asked, step, watched)?
        };
        let mut score = Score::default();
        for one in &scores {
            score.loss += one.loss * share(one.targets, whole);
            score.auxiliary += one.auxiliary * share(one.targets, whole);
            score.targets += one.targets;
            score.right += one.right;
        }
        let norm = if score.loss.is_finite() { norm } else { f64::NAN };
        self.noise = None;
        if watched && !norms.is_empty() {
            // Parts differ in size: the noise of a gradient goes with one over its tokens.
            let count = norms.len() as f64;
            let inverse: f64 =
                asked.iter().filter(|own| **own > 0).map(|own| 1.0 / *own as f64).sum();
            let squares: f64 = norms.iter().map(|norm| norm.powi(2)).sum();
            self.noise =
                Noise::new([count / inverse, squares / count], [whole as f64, norm * norm]);
        }
        self.started = self.walk.started();
        Ok(Stepped { score, norm })
    }

    /// The gradient by this process alone.
    fn found(
        &mut self,
        parts: &[Batch],
        asked: &[usize],
        step: u64,
        watched: bool,
    ) -> Result<Found, Failure> {
        let whole = asked.iter().sum();
        self.walk.open();
        for (at, (batch, own)) in parts.iter().zip(asked).enumerate() {
            self.draws(step, at);
            self.walk.start(batch)?;
            if watched && *own > 0 {
                self.squares()?;
            }
            if let Some(state) = &mut self.optimizer {
                let place = [at, parts.len()];
                state.accumulate(&mut self.walk.parameters, place, share(*own, whole))?;
            }
        }
        self.squares()?;
        let Trained { scores, mut norms } = self.walk.trained(asked)?;
        let norm = norms.pop().unwrap_or(f64::NAN);
        Ok(Found { scores, norms, norm })
    }

    /// Says what dropout draws from in a part of a step.
    pub(super) fn draws(&mut self, step: u64, part: usize) {
        let item = step << 16 | part as u64;
        self.walk.draws = Stream::new(self.seed, Purpose::Dropout, item).wide();
    }

    /// Asks for the norm of the gradients.
    pub(super) fn squares(&mut self) -> Result<(), Failure> {
        let parameters = &mut self.walk.parameters;
        parameters.backend.squares(&parameters.grads)
    }

    /// What the parts of the last gradient say of its noise, where layers were measured.
    pub fn noise(&self) -> Option<Noise> {
        self.noise
    }

    /// Measures layers in the next gradient.
    pub fn watch(&mut self) {
        self.walk.watch = Some(Measured::new());
    }

    /// What was measured in the last gradient, with the gradients of the layers.
    pub fn measured(&mut self) -> Result<Option<Measured>, Failure> {
        let Some(mut measured) = self.walk.watch.take() else { return Ok(None) };
        if let Some(shared) = &self.shared {
            measured = shared.largest(measured)?;
        }
        measure::gradients(&mut measured, self.declared(), &self.walk.grads()?);
        Ok(Some(measured))
    }

    /// The promises that recurrences' inputs break on the parts of a step, in the order of the model.
    pub fn broken(&mut self, parts: &[Batch]) -> Result<Vec<Broken>, Failure> {
        self.walk.seen = Some(Seen::default());
        let walked = parts.iter().try_for_each(|part| self.walk.hidden(part).map(|_| ()));
        let seen = self.walk.seen.take().unwrap_or_default();
        walked.map(|()| seen.broken)
    }

    /// Updates all parameters by the gradient, whose norm is known.
    pub fn update(&mut self, rates: &Rates, norm: f64) -> Result<(), Failure> {
        let Engine { optimizer, walk, shared, .. } = self;
        let Some(state) = optimizer else {
            return Err(Failure::Usage("a model that is asked only has no optimiser".into()));
        };
        match shared {
            Some(shared) => shared.update(state, &mut walk.parameters, rates, norm)?,
            None => {
                walk.parameters.backend.open();
                state.step(&mut walk.parameters, rates, norm)?;
                walk.parameters.backend.close()?;
            }
        }
        self.started = self.walk.started();
        Ok(())
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
        self.walk.evaluate(batch)
    }

    /// How many processes answer at a time.
    pub fn processes(&self) -> usize {
        self.shared.as_ref().map_or(1, |shared| shared.place().size)
    }

    /// What the model says of batches, as many as there are processes at most; each process answers one.
    pub fn answers(&mut self, turn: &[Batch]) -> Result<Vec<Predictions>, Failure> {
        let Some(rank) = self.shared.as_ref().map(|shared| shared.place().rank) else {
            return turn.iter().map(|batch| self.evaluate(batch)).collect();
        };
        let own = turn.get(rank).map(|batch| self.evaluate(batch)).transpose()?;
        match &self.shared {
            Some(shared) => shared.predictions(own.as_slice()),
            None => Ok(vec![]),
        }
    }

    /// All numbers, as a checkpoint holds them. Where several processes train, the first one gets them; the others have no use
    /// for what they get.
    pub fn numbers(&self) -> Result<Numbers, Failure> {
        self.gathered(false)
    }

    /// The same for every process.
    pub fn numbers_everywhere(&self) -> Result<Numbers, Failure> {
        self.gathered(true)
    }

    fn gathered(&self, to_all: bool) -> Result<Numbers, Failure> {
        let model = &self.walk.parameters;
        let Some(state) = &self.optimizer else {
            return Ok(Numbers { params: model.read()?, moments: Moments::default() });
        };
        let (params, moments) = state.numbers(model, &|what| match &self.shared {
            Some(shared) => shared.collect(state, model, what, to_all),
            None => state.held(model, what),
        })?;
        Ok(Numbers { params, moments })
    }

    /// How much each parameter's running means hold: the shape of what a checkpoint has of them.
    pub fn remembered(&self) -> Vec<[bool; 2]> {
        let param_groups = self.optimizer.as_ref().map_or(&[][..], State::param_groups);
        param_groups.iter().map(ParamGroup::remembered).collect()
    }

    /// Takes the numbers of a checkpoint.
    pub fn restore(&mut self, numbers: &Numbers) -> Result<(), Failure> {
        let Numbers { params, moments } = numbers;
        match &mut self.optimizer {
            Some(state) => state.restore(&mut self.walk.parameters, params, moments),
            None => self.walk.parameters.write(params),
        }
    }

    /// Operations a second of dense products, of all processes: what the device's maker states, what the processor is measured
    /// to do; nothing where neither is known.
    pub fn peak(&self) -> Option<f64> {
        let backend = &self.walk.parameters.backend;
        let own = match backend.traffic() {
            None => Some(dense::speed(self.model().width)),
            Some(_) => backend.stated_peak(),
        };
        own.map(|own| own * self.processes() as f64)
    }

    /// What went between the host and the device so far; nothing on the processor.
    pub fn traffic(&self) -> Option<Traffic> {
        self.walk.parameters.backend.traffic()
    }

    /// Why steps are not started as a whole on the device, each reason once.
    pub fn refusals(&self) -> &[String] {
        self.walk.parameters.backend.refusals()
    }

    /// Kernels and dense products that the last step has started; nothing on the processor.
    pub fn started(&self) -> Option<[u64; 2]> {
        self.started
    }
}

/// The share of a part in a step.
pub(super) fn share(own: usize, whole: usize) -> f64 {
    own as f64 / whole.max(1) as f64
}

/// What training needs of a model, before any number of it exists.
#[derive(Clone, Debug)]
pub struct TrainingPlan {
    /// The model as training runs it.
    pub prepared: Prepared,
    /// How each parameter is updated.
    param_groups: Vec<ParamGroup>,
}

impl TrainingPlan {
    /// Works it out; refuses what cannot be.
    pub fn new(model: Model, training: &Training) -> Result<TrainingPlan, Failure> {
        let Training { optimizer, transforms, rows, .. } = *training;
        let param_groups = optimizer.param_groups(&model)?;
        let frozen = param_groups.iter().map(ParamGroup::frozen).collect();
        Ok(TrainingPlan { prepared: transforms.prepare(model, rows, frozen)?, param_groups })
    }
}
