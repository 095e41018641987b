//! Notices that a process has ended: each holds a lock on a file of its own, which the system gives free however it ends.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Place, ended};
use crate::ground::error::{Failure, at_path};
use crate::ground::lock::Lock;

/// How often the others are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// The files of all processes, of which this one's is locked.
pub(super) struct Watch {
    folder: PathBuf,
    place: Place,
    own: Option<Lock>,
    looked: Instant,
    /// What to do about it.
    advice: Box<dyn Fn() -> String + Send>,
}

/// Where the files lie by which processes of a run meet and notice each other's end.
pub(super) fn folder(run: &Path) -> PathBuf {
    run.join(".processes")
}

impl Watch {
    /// Locks this process's file. Files of an earlier run may lie there: nobody holds them.
    pub(super) fn begin(
        run: &Path,
        place: Place,
        advice: Box<dyn Fn() -> String + Send>,
    ) -> Result<Watch, Failure> {
        let folder = folder(run);
        std::fs::create_dir_all(&folder).map_err(at_path("make", &folder))?;
        let mut watch = Watch { folder, place, own: None, looked: Instant::now(), advice };
        watch.own = Lock::of_file(&watch.file(place.rank))?;
        if watch.own.is_none() {
            return Err(Failure::Usage(format!(
                "another process is number {} of a run in {}: wait for its end, or choose another folder with --out",
                place.rank,
                run.display()
            )));
        }
        Ok(watch)
    }

    fn file(&self, rank: usize) -> PathBuf {
        self.folder.join(format!("{rank}"))
    }

    /// What to do about it.
    pub(super) fn advice(&self) -> String {
        (self.advice)()
    }

    /// Whether one of the others has ended.
    pub(super) fn gone(&self, rank: usize) -> bool {
        Lock::of_file(&self.file(rank)).is_ok_and(|lock| lock.is_some())
    }

    /// Fails where one of the others has ended.
    pub(super) fn look(&mut self) -> Result<(), Failure> {
        if self.looked.elapsed() < EVERY {
            return Ok(());
        }
        self.looked = Instant::now();
        for rank in (0..self.place.size).filter(|rank| *rank != self.place.rank) {
            if self.gone(rank) {
                let why = ended(rank, self.place.size);
                return Err(Failure::World(format!("{why}; {}", self.advice())));
            }
        }
        Ok(())
    }

    /// Takes the files away, when all processes are at their end.
    pub(super) fn end(self) {
        if self.place.rank == 0 {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
