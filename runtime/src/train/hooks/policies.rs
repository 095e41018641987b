//! What is watched in each step, and what policies do about it.

use crate::ground::error::Failure;
use crate::monitor::{Action, Event, Measure, Trigger};
use crate::ops::batch::Batch;
use crate::report::record::{Happened, Layers};
use crate::train::checkpoint::{self, Checkpoint};
use crate::train::engine::{Noise, Stepped};
use crate::train::run::{Done, Run, Then};

/// Writes down what was measured of the layers, and lets policies see it.
pub(super) fn after(run: &mut Run, done: &mut Done, _: i32) -> Result<Then, Failure> {
    if done.measured
        && let Some(Action::Back(steps)) = run.measure(&done.stepped)?
    {
        run.back(steps)?;
        return Ok(Then::Back);
    }
    Ok(Then::On)
}

impl Run<'_> {
    /// What the policies want of a step whose loss is no number, or a spike.
    pub(in crate::train) fn unusual(
        &mut self,
        stepped: &Stepped,
        parts: &[Batch],
    ) -> Result<Option<Action>, Failure> {
        let Stepped { score, norm } = stepped;
        let (what, trigger) = if !norm.is_finite() || !score.loss.is_finite() {
            let promises = self.promises(parts)?;
            (
                format!("the loss is {} and the norm of the gradient {norm}{promises}", score.loss),
                Trigger::Nan,
            )
        } else if let Some(deviations) = self.state.monitor.spike(&self.spec.monitor, score.loss) {
            let what = format!(
                "the loss {:.4} lies {deviations:.1} deviations above those before",
                score.loss
            );
            (what, Trigger::Spike)
        } else {
            let measures = [(Measure::Loss, score.loss), (Measure::GradNorm, *norm)];
            let what = format!("the loss is {:.4}, the norm of the gradient {norm:.4}", score.loss);
            let policies = &self.spec.monitor.policies;
            if !policies.iter().any(|policy| policy.on.met(&measures)) {
                return Ok(None);
            }
            return self.react(&what, &|trigger| trigger.met(&measures));
        };
        let action = self.react(&what, &|on| *on == trigger)?;
        match (action, trigger) {
            // Nothing good comes of such a gradient.
            (None | Some(Action::Warn | Action::Change { .. }), Trigger::Nan) => {
                Err(Failure::Diverged(format!(
                    "{what} at step {}; {}",
                    self.state.step + 1,
                    self.advice()
                )))
            }
            (action, _) => Ok(action),
        }
    }

    /// What recurrences were promised and did not get, as a likely cause of what is no number.
    fn promises(&mut self, parts: &[Batch]) -> Result<String, Failure> {
        let broken = self.engine.broken(parts)?;
        let Some(first) = broken.first() else { return Ok(String::new()) };
        let more = match broken.len() - 1 {
            0 => String::new(),
            n => format!(", and {n} more are broken"),
        };
        Ok(format!(" (a promise is broken: {first}{more}; `lrc check` says what would keep it)"))
    }

    /// Lets the policies act, and writes down what they did.
    pub(in crate::train) fn react(
        &mut self,
        what: &str,
        happened: &dyn Fn(&Trigger) -> bool,
    ) -> Result<Option<Action>, Failure> {
        let action = match self.state.monitor.react(&self.spec.monitor, happened) {
            Ok(action) => action,
            Err(why) => {
                self.event(what, "the run ends")?;
                return Err(Failure::Diverged(format!("{what}; {why}")));
            }
        };
        let did = action.map_or("nothing: no policy is for it".to_string(), |a| a.to_string());
        self.event(what, &did)?;
        if action == Some(Action::Stop) {
            return Err(Failure::Diverged(format!("{what}; a policy ends the run")));
        }
        Ok(action)
    }

    pub(in crate::train) fn event(&mut self, what: &str, did: &str) -> Result<(), Failure> {
        let event = Event { what: what.into(), did: did.into() };
        let (step, tokens) = (self.state.step, self.state.tokens);
        self.say(&format!("step {step:>6}  {what}: {did}"))?;
        self.record.put(&Happened { step, tokens, event })?;
        self.record.flush()
    }

    /// Writes down the measures of the layers, and lets policies see them.
    fn measure(&mut self, stepped: &Stepped) -> Result<Option<Action>, Failure> {
        let mut layers = self.engine.measured()?.unwrap_or_default();
        if let Some(Noise { trace, signal }) = self.engine.noise()
            && let Some(scale) = self.state.monitor.noise(trace, signal)
        {
            layers.entry("model".into()).or_default().insert("noise_scale".into(), scale);
        }
        let measures = self.state.monitor.measures(&layers);
        let (step, tokens) = (self.state.step, self.state.tokens);
        if !layers.is_empty() {
            self.record.layers(&Layers { step, tokens, layers })?;
        }
        let policies = &self.spec.monitor.policies;
        let Some(policy) = policies.iter().find(|policy| policy.on.met(&measures)) else {
            return Ok(None);
        };
        let (on, loss) = (policy.on.clone(), stepped.score.loss);
        let what = format!("{on} (loss {loss:.4})");
        self.react(&what, &|trigger| *trigger == on)
    }

    /// Goes back to a checkpoint; what the policies changed stays, and the data since is used up.
    pub(in crate::train) fn back(&mut self, steps: u64) -> Result<(), Failure> {
        let target = self.state.step.saturating_sub(steps);
        let all = checkpoint::list(&self.options.folder);
        let Some((step, _)) = all.iter().rev().find(|(step, _)| *step <= target) else {
            return Err(Failure::Diverged(format!(
                "a policy goes back {steps} steps from step {}, and no checkpoint is so old",
                self.state.step
            )));
        };
        let checkpoint = Checkpoint::of(&self.options.folder, Some(*step))?;
        let (state, numbers) =
            checkpoint.read(self.engine.declared(), &self.engine.remembered())?;
        self.engine.restore(&numbers)?;
        self.loader.back_to(state.step);
        // A segment that is empty says where the next one begins.
        self.state.segments.push([state.step, state.step]);
        self.state.monitor = self.state.monitor.kept(state.monitor);
        (self.state.step, self.state.tokens) = (state.step, state.tokens);
        self.together()?;
        if self.writes() {
            checkpoint::remove_behind(&self.options.folder, *step)?;
        }
        self.save_again(checkpoint)?;
        self.together()
    }

    /// Writes a checkpoint anew, so that a run that is taken up there knows what was gone through.
    pub(in crate::train) fn save_again(
        &mut self,
        mut checkpoint: Checkpoint,
    ) -> Result<(), Failure> {
        self.record.sync()?;
        self.state.lines = self.record.lines();
        if self.writes() { checkpoint.write_state(&self.state) } else { Ok(()) }
    }

    /// What to do about a run that diverged.
    pub(in crate::train) fn advice(&self) -> String {
        let all = checkpoint::list(&self.options.folder);
        let Some((step, _)) = all.last() else {
            return "no checkpoint was written yet: lower the learning rate and begin again".into();
        };
        let older = if all.len() > 1 { ", or from an older one with --from-step" } else { "" };
        format!(
            "lower the learning rate and go on with --resume from the checkpoint of step {step}{older}"
        )
    }
}
