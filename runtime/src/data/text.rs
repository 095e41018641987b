//! Bytes of files as tokens.

use std::path::{Path, PathBuf};

use crate::error::{Failure, at_path};
use crate::random::{Purpose, Stream};

/// The bytes of a file or of all files below a folder, in the order of their names; the last tenth
/// is kept for evaluation.
pub struct Corpus {
    bytes: Vec<u8>,
    length: usize,
}

impl Corpus {
    /// Reads the files.
    pub fn open(path: &Path, length: usize) -> Result<Corpus, Failure> {
        let mut files = Vec::new();
        collect(path, &mut files)?;
        files.sort();
        let mut bytes = Vec::new();
        for file in &files {
            bytes.extend(std::fs::read(file).map_err(at_path("read", file))?);
        }
        let needed = 10 * (length + 1);
        if bytes.len() < needed {
            return Err(Failure::World(format!(
                "{} holds {} bytes; sequences of {length} need at least {needed}",
                path.display(),
                bytes.len()
            )));
        }
        Ok(Corpus { bytes, length })
    }

    /// A sequence at a random place of the part that the purpose may see.
    pub fn sequence(&self, seed: u64, purpose: Purpose, item: u64) -> (Vec<u32>, Vec<u32>) {
        let mut random = Stream::new(seed, purpose, item);
        let split = self.bytes.len() - self.bytes.len() / 10;
        let part = match purpose {
            Purpose::Train => &self.bytes[..split],
            _ => &self.bytes[split..],
        };
        let places = part.len() - self.length;
        let high = u64::from(random.bits()) << 32;
        let start = ((high | u64::from(random.bits())) % places as u64) as usize;
        let window = &part[start..=start + self.length];
        let tokens = window[..self.length].iter().map(|b| u32::from(*b)).collect();
        (tokens, window[1..].iter().map(|b| u32::from(*b)).collect())
    }

    /// A fingerprint of the bytes.
    pub fn fingerprint(&self) -> String {
        blake3::hash(&self.bytes).to_hex()[..16].to_string()
    }
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if !path.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(at_path("read", path))? {
        collect(&entry.map_err(at_path("read", path))?.path(), files)?;
    }
    Ok(())
}
