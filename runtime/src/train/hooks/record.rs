//! A line for each step.

use crate::ground::error::Failure;
use crate::ground::terminal::tell;
use crate::report::record::Line;
use crate::train::engine::Stepped;
use crate::train::run::{Done, Run, Then};

/// Writes a line about the step.
pub(super) fn after(run: &mut Run, done: &mut Done, _: i32) -> Result<Then, Failure> {
    run.write(done)?;
    run.tell_refusals()?;
    run.bar.set_position(run.state.step);
    Ok(Then::On)
}

impl Run<'_> {
    fn write(&mut self, done: &Done) -> Result<(), Failure> {
        let Done { next, stepped: Stepped { score, norm }, .. } = done;
        let seconds = self.started.elapsed().as_secs_f64();
        let line = Line {
            step: self.state.step,
            tokens: self.state.tokens,
            loss: score.loss,
            auxiliary: self.engine.adds_to_loss().then_some(score.auxiliary),
            lr: done.lr,
            grad_norm: *norm,
            seq_len: next.length,
            accuracy: score.accuracy(),
            skipped: done.skipped,
            tokens_per_second: self.tokens_here as f64 / seconds.max(1e-9),
        };
        self.bar.set_message(format!(
            "loss {:.4}  {:.0} tokens/s{}",
            score.loss,
            line.tokens_per_second,
            self.pace()
        ));
        self.record.line(&line)
    }

    /// Says why steps are not started as a whole on a device, each reason once.
    fn tell_refusals(&mut self) -> Result<(), Failure> {
        let new = self.engine.refusals()[self.refusals..].to_vec();
        self.refusals += new.len();
        new.iter().try_for_each(|why| {
            self.say(&format!("steps are started kernel by kernel, not as one graph: {why}"))
        })
    }

    /// Says something to who watches, and to the log.
    pub(in crate::train) fn say(&mut self, text: &str) -> Result<(), Failure> {
        match (self.options.quiet || !self.writes(), self.options.progress) {
            (true, _) => {}
            (false, true) => self.bar.println(text),
            (false, false) => tell!("{text}"),
        }
        self.record.log(text)
    }
}
