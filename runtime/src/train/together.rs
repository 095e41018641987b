//! What the processes of a run agree on: who writes, what time it is, whether to stop. A run of one process agrees with itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use super::checkpoint;
use super::run::Run;
use super::signals::hear;
use crate::ground::error::Failure;
use crate::ground::terminal::{silence, tell};
use crate::ops::batch::Batch;
use crate::parallel::words::{Reader, Writer};

/// Where a run goes on that ends before its time.
fn newest(folder: &Path) -> String {
    match checkpoint::list(folder).last() {
        Some((_, newest)) => {
            format!("the newest checkpoint is {}: --resume goes on from it", newest.display())
        }
        None => format!("{} holds no checkpoint yet", folder.display()),
    }
}

impl Run<'_> {
    /// Whether this process writes into the run's folder: one does.
    pub(super) fn writes(&self) -> bool {
        self.options.group.as_ref().is_none_or(|group| group.first())
    }

    /// Goes on when all processes have come here.
    pub(super) fn together(&self) -> Result<(), Failure> {
        self.options.group.as_ref().map_or(Ok(()), |group| group.meet_again())
    }

    /// What the process that writes has found.
    pub(super) fn told(&self, found: Option<String>) -> Result<Option<String>, Failure> {
        let Some(group) = &self.options.group else { return Ok(found) };
        let mut said = Writer::default();
        if let Some(found) = found.filter(|_| group.first()) {
            said.text(&found);
        }
        let all = group.gather(said.0)?;
        match all.first() {
            Some(words) if !words.is_empty() => Reader(words).text().map(Some),
            _ => Ok(None),
        }
    }

    /// Agrees on the time, which is the first process's, and gives the signal that asks the run to stop, whichever process got
    /// it; 0 without one.
    pub(super) fn agree(&mut self, stop: &AtomicI32) -> Result<i32, Failure> {
        let signal = stop.load(Ordering::Relaxed);
        let Some(group) = &self.options.group else { return Ok(signal) };
        let mut said = Writer::default();
        said.whole(signal as u64);
        said.real(self.own_seconds());
        let (mut signal, mut first) = (0, None);
        for words in group.agree(said.0)? {
            let mut said = Reader(&words);
            signal = signal.max(said.whole()? as i32);
            let seconds = said.real()?;
            first.get_or_insert(seconds);
        }
        self.agreed = first;
        Ok(signal)
    }

    /// The parts of a step: as many as there are processes at least, as far as there are so many sequences.
    pub(super) fn parts(&self, batch: Batch, micro: usize) -> Vec<Batch> {
        let Some(group) = &self.options.group else { return batch.parts(micro) };
        let places = group.place().size.div_ceil(self.spec.segments);
        let longest = batch.bounds.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(1).max(1);
        let even = batch.rows().div_ceil(places).next_multiple_of(longest);
        batch.parts(micro.min(even))
    }

    /// Meets the other processes in the run's folder: all must see the same there, and train the same.
    pub(super) fn begin_together(&self, arch: &str) -> Result<(), Failure> {
        let Some(group) = &self.options.group else { return Ok(()) };
        let folder = &self.options.folder;
        let advice = |folder: PathBuf| move || newest(&folder);
        group.watch(folder, advice(folder.clone()))?;
        // Whoever ends all processes may not wait for the end of a step.
        let (weak, advice) = (Arc::downgrade(group), advice(folder.clone()));
        hear(move |signal| {
            if weak.upgrade().is_some_and(|group| group.leads()) {
                silence(false);
                tell!(
                    "signal {signal}: the run saves and stops behind this step; should it be ended before, {}",
                    advice()
                );
            }
        });
        let steps: Vec<u64> =
            checkpoint::list(&self.options.folder).iter().map(|(step, _)| *step).collect();
        let seen = [
            ("the spec", self.spec.resolved.clone()),
            ("the model", arch.to_string()),
            ("the data", self.state.fingerprint.clone()),
            ("the run's folder, which all must see", format!("{steps:?}")),
            ("the version of lrc", env!("CARGO_PKG_VERSION").into()),
        ];
        let mut said = Writer::default();
        seen.iter()
            .for_each(|(_, text)| said.text(blake3::hash(text.as_bytes()).to_hex().as_str()));
        let all = group.gather(said.0)?;
        let first = all.first().cloned().unwrap_or_default();
        for (rank, words) in all.iter().enumerate() {
            let (mut own, mut of_first) = (Reader(words), Reader(&first));
            for (what, _) in &seen {
                if own.text()? != of_first.text()? {
                    return Err(Failure::Usage(format!(
                        "process {rank} of {} has other contents of {what} than process 0",
                        all.len()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Waits for the end of all processes' work.
    pub(super) fn part(&self) -> Result<(), Failure> {
        self.options.group.as_ref().map_or(Ok(()), |group| group.part())
    }
}
