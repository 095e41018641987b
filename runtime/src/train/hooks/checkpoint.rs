//! Checkpoints between steps.

use crate::ground::error::Failure;
use crate::monitor::{Action, Trigger};
use crate::train::checkpoint;
use crate::train::engine::Numbers;
use crate::train::run::{Done, Reached, Run, Then};

/// Saves where that is due or the run ends here, and ends it.
pub(super) fn after(run: &mut Run, done: &mut Done, signal: i32) -> Result<Then, Failure> {
    let interrupted = signal != 0 || run.options.stop_after == Some(run.state.step);
    let due = done.due(run.spec.checkpoint.every);
    if (done.last() || done.enough || interrupted || run.pauses() || due) && !run.save()? {
        return Ok(Then::Back);
    }
    if interrupted && !done.last() {
        return Ok(Then::End(Reached::Signal(if signal == 0 { 2 } else { signal })));
    }
    Ok(match (done.enough, run.pauses() && !done.last()) {
        (true, _) => Then::End(Reached::End),
        (false, true) => Then::End(Reached::Pause),
        (false, false) => Then::On,
    })
}

impl Run<'_> {
    /// Writes a checkpoint, unless the parameters are no numbers: what was saved before is not given up for that, and a
    /// policy may go back. Says whether the run goes on from here.
    fn save(&mut self) -> Result<bool, Failure> {
        let numbers = self.engine.numbers()?;
        // Only who writes has all of them.
        let found = if self.writes() { self.unsound(&numbers) } else { None };
        if let Some(name) = self.told(found)? {
            return self.unsaved(&format!("the update made numbers of `{name}` infinite or none"));
        }
        let folder = &self.options.folder;
        self.record.sync()?;
        self.state.seconds = self.seconds();
        self.state.lines = self.record.lines();
        if self.writes() {
            checkpoint::save(folder, &self.state, self.engine.declared(), &numbers)?;
            checkpoint::prune(folder, self.spec.checkpoint.keep)?;
        }
        self.together()?;
        Ok(true)
    }

    /// The first parameter that holds something that is no number, or whose running means do: such a mean keeps it from
    /// ever moving again.
    fn unsound(&self, numbers: &Numbers) -> Option<String> {
        let Numbers { params, moments } = numbers;
        let odd = |values: &Vec<f32>| values.iter().any(|x| !x.is_finite());
        let found = (0..params.len()).find(|at| {
            let of = |all: &[Vec<f32>]| all.get(*at).is_some_and(odd);
            of(params) || of(&moments.first) || of(&moments.second)
        });
        found.map(|at| self.engine.declared()[at].name.clone())
    }

    /// Lets a policy go back; nothing else mends parameters.
    fn unsaved(&mut self, what: &str) -> Result<bool, Failure> {
        if let Some(Action::Back(steps)) = self.react(what, &|on| *on == Trigger::Nan)? {
            self.back(steps)?;
            return Ok(false);
        }
        Err(Failure::Diverged(format!("{what} at step {}; {}", self.state.step, self.advice())))
    }
}
