//! Files appear whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Failure, at_path};

/// Writes a file under another name beside it, flushes it to the disk, and renames it.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    // Threads of one process may write the same file.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    let partial = path.with_file_name(format!(".{name}.{}.{write}.partial", std::process::id()));
    let result = (|| {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&partial, path)?;
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    })();
    if result.is_err() {
        // The partial file holds nothing of value; a failure to remove it changes nothing.
        let _ = fs::remove_file(&partial);
    }
    result.map_err(at_path("write", path))
}
