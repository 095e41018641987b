//! The run of a supernet: a step of one path after the other on the weights that all share.

use std::collections::{BTreeMap, HashMap};
use std::path::Path as File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lrc_compiler::graph::Prepared;

use super::Net;
use super::weights::{of_path, put};
use crate::config::Spec;
use crate::data::{Dataset, HeldOut};
use crate::device::Device;
use crate::ground::error::Failure;
use crate::ground::terminal::tell;
use crate::optim::Rates;
use crate::report::record::Evals;
use crate::train::checkpoint::{self, Checkpoint, State};
use crate::train::due;
use crate::train::engine::{Engine, Numbers, Training as Way};
use crate::train::evaluate::held_out;
use crate::train::loader::DataLoader;
use crate::train::ready::{Data, Ready, ready};
use crate::train::signals::signals;

/// Engines that are kept for the next step of their path.
const KEPT: usize = 64;

/// A supernet's run.
pub(super) struct Training<'n> {
    net: &'n Net<'n>,
    folder: &'n File,
    device: Device,
    spec: Spec,
    loader: DataLoader,
    source: Arc<Dataset>,
    sets: Vec<HeldOut>,
    state: State,
    numbers: Numbers,
    engines: HashMap<usize, Engine>,
}

impl<'n> Training<'n> {
    /// Begins, or goes on from the newest checkpoint.
    pub(super) fn open(
        net: &'n Net<'n>,
        fingerprint: &str,
        folder: &'n File,
        device: Device,
    ) -> Result<Training<'n>, Failure> {
        let opened = net.open(&net.paths[0])?;
        if opened.spec.from.is_some() {
            let why = "the paths of a supernet share weights that are drawn: leave `from` out of the spec's `model`";
            return Err(Failure::Usage(why.into()));
        }
        let Ready { source, run_schedule, .. } =
            ready(&opened.spec, &opened.model, device, Data::Needed)?;
        let source = source.ok_or_else(|| Failure::World("the data was not opened".into()))?;
        let source = Arc::new(source);
        let fingerprint = format!("{fingerprint} {}", source.fingerprint());
        let sets = source.held_out(Some(opened.spec.eval.sequences));
        let loader = DataLoader::new(Arc::clone(&source), run_schedule, opened.spec.workers);
        let mut run = Training {
            net,
            folder,
            device,
            numbers: net.shared.fresh(opened.spec.seed),
            spec: opened.spec,
            loader,
            source,
            sets,
            state: State { fingerprint, ..State::default() },
            engines: HashMap::new(),
        };
        run.go_on()?;
        Ok(run)
    }

    fn go_on(&mut self) -> Result<(), Failure> {
        if checkpoint::list(self.folder).is_empty() {
            return Ok(());
        }
        let newest = Checkpoint::of(self.folder, None)?;
        let (state, numbers) = newest.read(&self.net.shared.params, &self.net.shared.remembered)?;
        if state.fingerprint != self.state.fingerprint {
            return Err(Failure::Usage(format!(
                "{} was trained on other data, or for another space, spec or seed: remove {}",
                newest.folder().display(),
                self.folder.display()
            )));
        }
        self.loader.walk(&state.segments);
        (self.state, self.numbers) = (state, numbers);
        Ok(())
    }

    /// Steps and tokens done.
    pub(super) fn done(&self) -> [u64; 2] {
        [self.state.step, self.state.tokens]
    }

    /// Trains to the end. A signal saves and stops.
    pub(super) fn train(&mut self) -> Result<(), Failure> {
        let stop = signals()?;
        let micro = self.spec.micro.map_or(usize::MAX, |tokens| tokens as usize);
        while let Some((next, batch)) = self.loader.next(0.0)? {
            let path = self.net.drawn(self.state.step);
            let at = &self.net.paths[path].at;
            let optimizer = &self.spec.optimizer;
            let step = self.state.step;
            let rates =
                Rates { lr: optimizer.lr * next.lr_scale, clip: optimizer.clip, step: step + 1 };
            let mut engine = self.engine(path)?;
            engine.restore(&of_path(&self.numbers, at))?;
            let stepped = engine.gradient(&batch.parts(micro), step)?;
            let loss = stepped.score.loss;
            if !(stepped.norm.is_finite() && loss.is_finite()) {
                return Err(Failure::Diverged(format!(
                    "the supernet's loss is {loss} at step {} ({}): a smaller rate, or fewer kinds of layers",
                    step + 1,
                    super::super::run::words(self.net.study, &self.net.paths[path].point)
                )));
            }
            engine.update(&rates, stepped.norm)?;
            put(&mut self.numbers, at, engine.numbers()?);
            if self.engines.len() >= KEPT {
                self.engines.clear();
            }
            self.engines.insert(path, engine);
            self.state.step += 1;
            self.state.tokens += next.tokens();
            self.state.segments = vec![[0, self.state.step]];
            let (before, after) = (next.before.at(0.0), next.after.at(0.0));
            let signal = stop.load(Ordering::Relaxed);
            if after.ended() || signal != 0 || due(self.spec.checkpoint.every, &before, &after) {
                checkpoint::save(self.folder, &self.state, &self.net.shared.params, &self.numbers)?;
                checkpoint::prune(self.folder, self.spec.checkpoint.keep)?;
                tell!("supernet: step {}, loss {loss:.4}", self.state.step);
            }
            if signal != 0 {
                let (step, folder) = (self.state.step, self.folder.display());
                tell!(
                    "stopped by signal {signal}: the supernet is saved at step {step} in {folder}; `--resume` goes on from there"
                );
                return Err(Failure::Stopped(signal));
            }
        }
        Ok(())
    }

    /// What trains a path: that of its last step, or a new one.
    fn engine(&mut self, path: usize) -> Result<Engine, Failure> {
        if let Some(engine) = self.engines.remove(&path) {
            return Ok(engine);
        }
        let opened = self.net.open(&self.net.paths[path])?;
        let Ready { plan, run_schedule, needs, .. } =
            ready(&opened.spec, &opened.model, self.device, Data::Elsewhere)?;
        needs.fits(self.device)?;
        let own = of_path(&self.numbers, &self.net.paths[path].at);
        let way = Way::of(&opened.spec, &run_schedule, opened.spec.seed, 1);
        Engine::of(plan, &own.params, self.device, &way, None)
    }

    /// What a path makes of the shared weights, on sequences that training never saw.
    pub(super) fn ask(&self, path: usize) -> Result<Vec<f64>, Failure> {
        let path = &self.net.paths[path];
        let opened = self.net.open(path)?;
        let own = of_path(&self.numbers, &path.at);
        let prepared = Prepared::plain(opened.model);
        let mut engine = Engine::asked(prepared, &own.params, self.device)?;
        let mut eval: Evals = BTreeMap::new();
        for set in &self.sets {
            let batch = opened.spec.batch(set.length);
            let answers = held_out(&mut engine, &self.source, set, batch)?;
            eval.insert(set.name.clone(), answers.metrics(set, &self.source));
        }
        self.net.values(path, &eval)
    }
}
