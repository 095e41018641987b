//! Files appear whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ground::error::{Failure, at_path};

/// Writes a file under another name beside it, flushes it to the disk, and renames it. Where a path leads to something else
/// than a file (a terminal, a pipe, a device), the bytes are written into that.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let done = match target(path)? {
        Leads::File(file) => place(&file, bytes, true).and_then(|()| sync_folder(file.parent())),
        Leads::Stream(stream) => into(stream, bytes),
    };
    done.map_err(at_path("write", path))
}

/// Refuses what cannot be written, before the work for it is done: a folder that is not there, or a folder itself.
pub fn writable(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let why = if !folder.is_dir() {
        format!("there is no folder {}: make it first", folder.display())
    } else if path.is_dir() {
        "it is a folder: name a file in it".to_string()
    } else {
        return Ok(());
    };
    Err(Failure::World(format!("cannot write {}: {why}", path.display())))
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
        let done = match target(&path)? {
            Leads::File(file) => place(&file, bytes, false),
            Leads::Stream(stream) => into(stream, bytes),
        };
        done.map_err(at_path("write", &path))
    }

    /// Flushes the folder, once, behind its last file.
    pub fn done(&self) -> Result<(), Failure> {
        sync_folder(Some(&self.0)).map_err(at_path("write", &self.0))
    }
}

/// What a path leads to.
enum Leads {
    /// A file, or a name that is free.
    File(PathBuf),
    /// What takes bytes one after the other.
    Stream(std::io::Result<Box<dyn Write>>),
}

fn into(stream: std::io::Result<Box<dyn Write>>, bytes: &[u8]) -> std::io::Result<()> {
    let mut stream = stream?;
    stream.write_all(bytes)?;
    stream.flush()
}

/// Follows the links of a path: they stay, and what they lead to is written.
fn target(path: &Path) -> Result<Leads, Failure> {
    let mut at = path.to_path_buf();
    // As many links as the system follows.
    for _ in 0..40 {
        let Ok(found) = fs::symlink_metadata(&at) else { return Ok(Leads::File(at)) };
        let folder = at.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if found.is_symlink() && open_files(folder) {
            return Ok(Leads::Stream(stream(&at)));
        } else if found.is_symlink() {
            at = folder.join(fs::read_link(&at).map_err(at_path("read", &at))?);
        } else if found.is_file() || found.is_dir() {
            return Ok(Leads::File(at));
        } else {
            return Ok(Leads::Stream(stream(&at)));
        }
    }
    Err(Failure::World(format!("cannot write {}: too many links", path.display())))
}

/// Whether a folder holds the open files of a process, `/dev/fd` and the like: what is there is written into, not replaced.
fn open_files(folder: &Path) -> bool {
    fs::canonicalize(folder).is_ok_and(|folder| folder.starts_with("/proc"))
}

/// Opens what is no file. This process's own output is the one that it writes its results to.
fn stream(path: &Path) -> std::io::Result<Box<dyn Write>> {
    let folder = path.parent().and_then(|folder| fs::canonicalize(folder).ok());
    let own = folder.is_some_and(|f| f == Path::new(&format!("/proc/{}/fd", std::process::id())));
    match path.file_name().and_then(|name| name.to_str()) {
        Some("1") if own => Ok(Box::new(std::io::stdout())),
        Some("2") if own => Ok(Box::new(std::io::stderr())),
        _ => Ok(Box::new(File::options().append(true).open(path)?)),
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
