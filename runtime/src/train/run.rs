//! One run: its loop over steps, and what happens between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::time::Instant;

use lrc_compiler::graph::Model;
use lrc_compiler::graph::account::Account;

use super::checkpoint::State;
use super::engine::{Engine, Stepped};
use super::estimate::operations;
use super::faults::muddled;
use super::loader::DataLoader;
use super::signals::signals;
use super::{Fault, Metrics, Options, hooks};
use crate::config::Spec;
use crate::config::base::Start;
use crate::data::HeldOut;
use crate::ground::error::Failure;
use crate::ground::lock::Lock;
use crate::ground::terminal::tell;
use crate::monitor::Action;
use crate::ops::batch::Batch;
use crate::optim::Rates;
use crate::report;
use crate::report::record::{Record, Summary};
use crate::schedule::run::StepPlan;
use crate::schedule::{Amount, Progress};
use indicatif::ProgressBar;

/// Everything of a run that a step changes.
pub(super) struct Run<'s> {
    pub(super) spec: &'s Spec,
    pub(super) options: &'s Options,
    /// The weights that it began with here.
    pub(super) start: Option<Start>,
    pub(super) loader: DataLoader,
    pub(super) sets: Arc<[HeldOut]>,
    pub(super) engine: Engine,
    pub(super) state: State,
    pub(super) record: Record,
    /// Of the folder, as long as the run lasts.
    pub(super) lock: Option<Lock>,
    pub(super) evals: BTreeMap<String, Metrics>,
    pub(super) started: Instant,
    /// Seconds of training before this process.
    pub(super) before: f64,
    pub(super) tokens_here: u64,
    /// Operations of the steps of this process that the model needs, by the published formulas.
    pub(super) operations: f64,
    /// Seconds of this process in evaluations.
    pub(super) asking: f64,
    /// Operations a second of dense products on this machine, stated or measured.
    pub(super) peak: Option<f64>,
    pub(super) counts: Account,
    /// Of the backward pass, where something is frozen.
    pub(super) backward: Option<Account>,
    /// Reasons that were told why steps are not started as a whole.
    pub(super) refusals: usize,
    /// Seconds that the run has taken, as all processes agree, where several train.
    pub(super) agreed: Option<f64>,
    pub(super) bar: ProgressBar,
}

/// Trains a model. Gives the summary that is also written to the run's folder.
pub fn train(spec: &Spec, model: Model, arch: &str, options: &Options) -> Result<Summary, Failure> {
    let stop = signals()?;
    let mut run = Run::open(spec, model, arch, options)?;
    let result = run.go(&stop);
    run.bar.finish_and_clear();
    let reached = result?;
    run.record.flush()?;
    let summary = run.summary(matches!(reached, Reached::End));
    if run.writes() {
        run.record.finish(&options.folder, &summary)?;
        report::run::write(&options.folder)?;
    }
    run.part()?;
    if let Reached::Signal(signal) = reached {
        let (step, folder) = (run.state.step, options.folder.display());
        let again = options.again;
        let text = format!(
            "stopped by signal {signal}: saved at step {step} in {folder}; {again} on from there"
        );
        tell!("{text}");
        run.record.log(&text)?;
    }
    match reached {
        Reached::End | Reached::Pause => Ok(summary),
        Reached::Signal(signal) => Err(Failure::Stopped(signal)),
    }
}

/// How a run ended.
pub(super) enum Reached {
    /// As its spec wants.
    End,
    /// By a signal; it is saved.
    Signal(i32),
    /// Where it was to pause; it is saved.
    Pause,
}

/// What the run does next.
pub(super) enum Then {
    /// What comes behind it.
    On,
    /// The next step, from an older checkpoint.
    Back,
    /// Nothing more.
    End(Reached),
}

/// A step that was done, as hooks see it.
pub(super) struct Done {
    /// What it was made of.
    pub next: StepPlan,
    /// Where the run stood before and stands now.
    pub span: [Progress; 2],
    /// What its gradient said.
    pub stepped: Stepped,
    /// The rate of its update.
    pub lr: f64,
    /// Whether a policy left the update out.
    pub skipped: bool,
    /// Whether its layers were measured.
    pub measured: bool,
    /// Whether the run has learned enough.
    pub enough: bool,
}

impl Done {
    /// Whether something that happens every so often is due.
    pub fn due(&self, every: Amount) -> bool {
        let [before, after] = &self.span;
        due(every, before, after)
    }

    /// Whether it was the last one.
    pub fn last(&self) -> bool {
        self.span[1].ended()
    }
}

/// Whether something that happens every so often is due between two places of a run.
pub fn due(every: Amount, before: &Progress, after: &Progress) -> bool {
    every.number() > 0.0 && after.times(every) > before.times(every)
}

impl Run<'_> {
    /// Seconds that the run has taken; the first process's, where several train.
    pub(super) fn seconds(&self) -> f64 {
        self.agreed.unwrap_or_else(|| self.own_seconds())
    }

    pub(super) fn own_seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    /// Step after step; behind each one what hooks do.
    fn go(&mut self, stop: &AtomicI32) -> Result<Reached, Failure> {
        if self.pauses() && self.state.step > 0 {
            return Ok(Reached::Pause);
        }
        self.agree(stop)?;
        'steps: loop {
            let seconds = self.seconds();
            let Some((next, batch)) = self.loader.next(seconds)? else { return Ok(Reached::End) };
            let before = next.before.at(seconds);
            let Some(mut done) = self.step(next, batch, before)? else { continue };
            let signal = self.agree(stop)?;
            for hook in hooks::ALL {
                match hook(self, &mut done, signal)? {
                    Then::On => {}
                    Then::Back => continue 'steps,
                    Then::End(reached) => return Ok(reached),
                }
            }
        }
    }

    /// Whether the run has seen the tokens that it is to pause behind.
    pub(super) fn pauses(&self) -> bool {
        self.options.pause.is_some_and(|tokens| self.state.tokens >= tokens)
    }

    /// One step; nothing where a policy makes the run go back instead.
    fn step(
        &mut self,
        next: StepPlan,
        batch: Batch,
        before: Progress,
    ) -> Result<Option<Done>, Failure> {
        let measured = due(self.spec.monitor.every, &before, &next.after.at(self.seconds()));
        let optimizer = &self.spec.optimizer;
        let rates = Rates {
            lr: optimizer.lr * next.lr_scale * self.state.monitor.lr_scale,
            clip: self.state.monitor.clip.unwrap_or(optimizer.clip),
            step: self.state.step + 1,
        };
        if measured {
            self.engine.watch();
        }
        let (stepped, parts) = self.gradient(batch)?;
        match self.state.segments.last_mut() {
            Some([_, to]) if *to == next.step => *to += 1,
            _ => self.state.segments.push([next.step, next.step + 1]),
        }
        let action = self.unusual(&stepped, &parts)?;
        if let Some(Action::Back(steps)) = action {
            self.back(steps)?;
            return Ok(None);
        }
        let skipped = action == Some(Action::Skip);
        if !skipped {
            let Stepped { score, norm } = stepped;
            self.engine.update(&rates, norm)?;
            let clipped = rates.clip > 0.0 && norm > rates.clip;
            self.state.monitor.stepped(&self.spec.monitor, score.loss, clipped);
        }
        self.count(&next);
        let span = [before, next.after.at(self.seconds())];
        Ok(Some(Done { next, span, stepped, lr: rates.lr, skipped, measured, enough: false }))
    }

    /// The gradient of a batch, part by part, with the fault that is put into it.
    fn gradient(&mut self, batch: Batch) -> Result<(Stepped, Vec<Batch>), Failure> {
        let micro = self.spec.micro.map_or(usize::MAX, |tokens| tokens as usize);
        let fault = self.fault();
        let batch = if fault == Some(Fault::Spike) {
            muddled(batch, self.engine.model().vocab)
        } else {
            batch
        };
        if fault == Some(Fault::Growth) {
            self.grow()?;
        }
        // Drawn by the number of gradients, so that a step that is done over drops others.
        let parts = self.parts(batch, micro);
        let mut stepped = self.engine.gradient(&parts, self.computed())?;
        if fault == Some(Fault::Nan) {
            (stepped.score.loss, stepped.norm) = (f64::NAN, f64::NAN);
        }
        Ok((stepped, parts))
    }

    /// Counts a step that was done.
    fn count(&mut self, next: &StepPlan) {
        self.state.step += 1;
        self.state.tokens += next.tokens();
        self.tokens_here += next.tokens();
        let of = |account: &Account| account.flops_per_token(next.length);
        let each = operations(&self.counts, self.backward.as_ref(), of);
        self.operations += each * next.tokens() as f64;
    }

    /// Gradients computed so far, with those of steps that were undone.
    pub(super) fn computed(&self) -> u64 {
        self.state.segments.iter().map(|[from, to]| to - from).sum()
    }
}
