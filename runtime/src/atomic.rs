//! Files appear whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Failure, at_path};

/// Writes a file under another name beside it, flushes it to the disk, and renames it.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    place(path, bytes, true)
        .and_then(|()| sync_folder(path.parent()))
        .map_err(at_path("write", path))
}

/// A folder of many files that can be made again. Each appears whole or not at all, but they reach
/// the disk together: after a failure of the power some may be missing.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder, which exists.
    pub fn new(folder: &Path) -> Folder {
        Folder(folder.to_path_buf())
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes one of its files.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.path(name);
        place(&path, bytes, false).map_err(at_path("write", &path))
    }

    /// Flushes the folder, once, behind its last file.
    pub fn done(&self) -> Result<(), Failure> {
        sync_folder(Some(&self.0)).map_err(at_path("write", &self.0))
    }
}

/// Writes a file under another name beside it, and renames it.
fn place(path: &Path, bytes: &[u8], flush: bool) -> std::io::Result<()> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    // Threads of one process may write the same file.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    let partial = path.with_file_name(format!(".{name}.{}.{write}.partial", std::process::id()));
    let result = (|| {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        if flush {
            file.sync_all()?;
        }
        drop(file);
        fs::rename(&partial, path)
    })();
    if result.is_err() {
        // The partial file holds nothing of value; a failure to remove it changes nothing.
        let _ = fs::remove_file(&partial);
    }
    result
}

fn sync_folder(folder: Option<&Path>) -> std::io::Result<()> {
    match folder.filter(|f| !f.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
