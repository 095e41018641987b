//! A study's journal, in the format of Optuna's `JournalFileBackend`: a line of JSON for each operation, appended under a lock
//! that both programs keep.
//!
//! It is read tolerantly. A last line that a killed process left torn is set aside; blank lines and records that nobody knows
//! are skipped and told. Optuna itself stops at such lines, so what can be mended (the torn end) is mended.

mod lock;
mod replay;
pub mod time;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::ground::error::{Failure, at_path};
use crate::ground::terminal::tell;
pub use replay::{Operation, Replay, State, StoredStudy, StoredTrial};

/// How long a lock may stay without a sign of life: as long as Optuna waits.
pub const GRACE: Duration = Duration::from_secs(30);

/// The most bytes of a journal that are read.
const MOST_BYTES: u64 = 1 << 30;

/// A journal, and all that this process has read of it.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    grace: Duration,
    worker: String,
    /// Bytes and lines read.
    read: (u64, usize),
    /// What they say.
    pub said: Replay,
}

impl Journal {
    /// A journal, which need not be there yet. A lock without a sign of life is broken after `grace`.
    pub fn open(path: &Path, grace: Duration) -> Result<Journal, Failure> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(at_path("make", folder))?;
        }
        let open = File::options().append(true).create(true).open(path);
        open.map_err(at_path("write", path))?;
        // Locks are links to the whole path: one from another folder leads to the same file.
        let path = std::fs::canonicalize(path).map_err(at_path("read", path))?;
        let worker = format!("lrc-{}-{}", std::process::id(), time::now().as_micros());
        Ok(Journal { path, grace, worker, read: (0, 0), said: Replay::default() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what has been added, and lets `work` add records; nobody else writes meanwhile, however long it takes. What `work` adds is on the disk when
    /// it returns.
    pub fn locked<T>(
        &mut self,
        work: impl FnOnce(&mut Writer) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let _lock = lock::Held::take(&self.path, self.grace)?;
        self.mend()?;
        self.sync()?;
        work(&mut Writer { journal: self })
    }

    /// Reads what has been added.
    pub fn sync(&mut self) -> Result<(), Failure> {
        let failed = || at_path("read", &self.path);
        let mut file = File::open(&self.path).map_err(failed())?;
        let size = file.metadata().map_err(failed())?.len();
        if size < self.read.0 || size > MOST_BYTES {
            let why = if size > MOST_BYTES { "has become too long" } else { "has become shorter" };
            return Err(Failure::World(format!("{} {why} while it was read", self.path.display())));
        }
        file.seek(SeekFrom::Start(self.read.0)).map_err(failed())?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed())?;
        // The last line may be in the making.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
            self.read.0 += line.len() as u64;
            self.read.1 += 1;
            let text = String::from_utf8_lossy(line);
            if let Err(why) = self.said.line(text.trim()) {
                let (path, at) = (self.path.display(), self.read.1);
                tell!("warning: {path}, line {at} is skipped: {why}");
            }
        }
        Ok(())
    }

    /// Sets aside what a killed writer left of a line; the lock is held, so nobody is writing it.
    fn mend(&self) -> Result<(), Failure> {
        let failed = || at_path("write", &self.path);
        let open = File::options().read(true).write(true).open(&self.path);
        let mut file = open.map_err(failed())?;
        let size = file.metadata().map_err(failed())?.len();
        file.seek(SeekFrom::Start(self.read.0.min(size))).map_err(failed())?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed())?;
        if bytes.last().is_none_or(|last| *last == b'\n') {
            return Ok(());
        }
        let start = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let torn = &bytes[start..];
        if serde_json::from_slice::<Value>(torn).is_ok_and(|value| value.is_object()) {
            // Whole but for its end.
            file.seek(SeekFrom::End(0)).map_err(failed())?;
            return file.write_all(b"\n").map_err(failed());
        }
        let mut name = self.path.clone().into_os_string();
        name.push(".quarantine");
        let aside = PathBuf::from(name);
        let open = File::options().append(true).create(true).open(&aside);
        let mut kept = open.map_err(at_path("write", &aside))?;
        kept.write_all(torn)
            .and_then(|()| kept.write_all(b"\n"))
            .map_err(at_path("write", &aside))?;
        file.set_len(self.read.0.min(size) + start as u64).map_err(failed())?;
        tell!(
            "warning: the last line of {} was torn, and stands in {} now",
            self.path.display(),
            aside.display()
        );
        Ok(())
    }
}

/// Adds records to a journal whose lock is held.
#[derive(Debug)]
pub struct Writer<'j> {
    journal: &'j mut Journal,
}

impl Writer<'_> {
    /// What the journal says.
    pub fn said(&self) -> &Replay {
        &self.journal.said
    }

    /// Adds records, all at once, and takes them in.
    pub fn add(&mut self, operations: &[Operation]) -> Result<(), Failure> {
        let journal = &mut *self.journal;
        let mut text = String::new();
        for operation in operations {
            let mut record = operation.to_json();
            if let Value::Object(fields) = &mut record {
                fields.insert("worker_id".into(), json!(journal.worker));
            }
            text += &record.to_string();
            text.push('\n');
        }
        let failed = || at_path("write", &journal.path);
        let open = File::options().append(true).open(&journal.path);
        let mut file = open.map_err(failed())?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed())?;
        journal.sync()
    }
}

#[cfg(test)]
mod tests;
