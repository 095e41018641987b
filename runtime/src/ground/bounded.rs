//! Files read no further than a limit: what is named may be a device that never ends.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use lrc_dsl::text::plain;

use crate::ground::error::{Failure, at_path};

/// The most bytes of a text that a person writes: a spec, an experiment.
pub const WRITTEN: u64 = 1 << 20;

/// A text of at most so many bytes.
pub fn text(path: &Path, most: u64) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(at_path("read", path))?.take(most + 1);
    file.read_to_end(&mut bytes).map_err(at_path("read", path))?;
    if bytes.len() as u64 > most {
        let why = format!("cannot read {}: it has more than {most} bytes", path.display());
        return Err(Failure::World(why));
    }
    plain(bytes).map_err(unreadable(path))
}

fn unreadable(path: &Path) -> impl FnOnce(&'static str) -> Failure + '_ {
    move |why| Failure::World(format!("cannot read {}: it is {why}", path.display()))
}

/// All bytes of a regular file, however many; anything else (a device, a pipe) is a failure, for it may never end.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    size(path)?;
    std::fs::read(path).map_err(at_path("read", path))
}

/// The text of a regular file, however long, without a byte order mark.
pub fn whole_text(path: &Path) -> Result<String, Failure> {
    plain(bytes(path)?).map_err(unreadable(path))
}

/// The size of a regular file in bytes; anything else is a failure.
pub fn size(path: &Path) -> Result<u64, Failure> {
    let found = std::fs::metadata(path).map_err(at_path("read", path))?;
    if !found.is_file() {
        return Err(Failure::World(format!("cannot read {}: it is no file", path.display())));
    }
    Ok(found.len())
}
