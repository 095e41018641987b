//! One process at a time writes into a folder.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;

use crate::ground::error::{Failure, at_path};
use crate::ground::terminal::tell;

/// The file that is locked; it stays, and holds the number of the process that locked it last.
const NAME: &str = ".lock";

/// A folder that is this process's to write. The system gives it free when the process ends, however it ends: a lock of a
/// process that was killed is none.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes a folder that exists; fails where another process has it. `doing` says what that one does there.
    pub fn take(folder: &Path, doing: &str) -> Result<Lock, Failure> {
        let path = folder.join(NAME);
        if let Some(lock) = Lock::of_file(&path)? {
            return Ok(lock);
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        // It may be writing its number just now.
        let who = match text.trim() {
            "" => "another process".into(),
            number => format!("process {number}"),
        };
        Err(Failure::Usage(format!(
            "{who} is {doing} in {}: wait for its end, or choose another folder with --out",
            folder.display()
        )))
    }

    /// Takes a file that is locked, and made where there is none; nothing where another process has it.
    pub fn of_file(path: &Path) -> Result<Option<Lock>, Failure> {
        let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(at_path("write", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            // Some file systems over a network know no locks: that is no reason not to work there.
            Err(TryLockError::Error(error)) => tell!(
                "warning: {} cannot be locked ({error}): see to it that no other process writes there",
                path.display()
            ),
        }
        file.set_len(0).map_err(at_path("write", path))?;
        writeln!(file, "{}", std::process::id()).map_err(at_path("write", path))?;
        Ok(Some(Lock { _file: file }))
    }
}
