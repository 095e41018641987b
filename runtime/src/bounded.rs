//! Files read no further than a limit: what is named may be a device that never ends.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Failure, at_path};

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
    String::from_utf8(bytes).map_err(|_| {
        Failure::World(format!("cannot read {}: it is not UTF-8 text", path.display()))
    })
}

/// The size of a regular file in bytes; anything else is a failure.
pub fn size(path: &Path) -> Result<u64, Failure> {
    let found = std::fs::metadata(path).map_err(at_path("read", path))?;
    if !found.is_file() {
        return Err(Failure::World(format!("cannot read {}: it is no file", path.display())));
    }
    Ok(found.len())
}
