//! Evaluations between steps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::ground::error::Failure;
use crate::monitor::Trigger;
use crate::report::record::Eval;
use crate::train::evaluate::held_out;
use crate::train::run::{Done, Run, Then};

/// Asks the model what training has not seen, where that is due.
pub(super) fn after(run: &mut Run, done: &mut Done, _: i32) -> Result<Then, Failure> {
    if done.last() || run.pauses() || done.due(run.spec.eval.every) {
        let begun = Instant::now();
        let accuracy = run.evaluate()?;
        run.asking += begun.elapsed().as_secs_f64();
        done.enough = run.spec.stop_at.is_some_and(|at| accuracy.is_some_and(|x| x >= at));
    }
    Ok(Then::On)
}

impl Run<'_> {
    /// Measures what training has not seen; gives the accuracy on the first set.
    fn evaluate(&mut self) -> Result<Option<f64>, Failure> {
        let mut eval = BTreeMap::new();
        let (mut first, mut loss_on_unseen) = (None, None);
        let mut right = Vec::new();
        for set in Arc::clone(&self.sets).iter() {
            let batch = self.spec.batch(set.length);
            let answers = held_out(&mut self.engine, self.loader.source(), set, batch)?;
            let (loss, accuracy) = (answers.score.loss, answers.score.accuracy());
            if set.level.is_some() {
                right.push([answers.whole, answers.sequences]);
            }
            if first.is_none() {
                self.state.best = Some(self.state.best.map_or(loss, |best: f64| best.min(loss)));
                first = Some(accuracy);
                loss_on_unseen = Some(loss);
            }
            let metrics = answers.metrics(set, self.loader.source());
            let bits = metrics.get("bits_per_byte");
            let bits = bits.map_or(String::new(), |bits| format!(", {bits:.4} bits per byte"));
            let said = format!(
                "step {:>6}  {}: accuracy {accuracy:.4}, loss {loss:.4}{bits}",
                self.state.step, set.name
            );
            self.say(&said)?;
            self.evals.insert(set.name.clone(), metrics.clone());
            eval.insert(set.name.clone(), metrics);
        }
        if !eval.is_empty() {
            self.record.eval(&Eval { step: self.state.step, tokens: self.state.tokens, eval })?;
        }
        self.go_up(&right)?;
        if let Some(loss) = loss_on_unseen
            && self.state.monitor.underfits(loss)
        {
            let what = "the loss on unseen data stalls while that of training falls";
            self.react(what, &|trigger| *trigger == Trigger::Underfitting)?;
        }
        Ok(first)
    }

    /// Weighs the levels of the task by the sequences of each that were wholly right.
    fn go_up(&mut self, right: &[[usize; 2]]) -> Result<(), Failure> {
        let Some(levels) = &self.spec.levels else { return Ok(()) };
        let stage = levels.after(&self.state.stage, right);
        if stage.level != self.state.stage.level {
            let what = format!("the task goes on to {} {}", levels.of, levels.values[stage.level]);
            let shares: Vec<String> =
                right.iter().map(|[right, of]| format!("{right} of {of}")).collect();
            self.event(&what, &format!("right were {}", shares.join(", ")))?;
        }
        self.loader.weigh(&stage.odds);
        self.state.stage = stage;
        Ok(())
    }
}
