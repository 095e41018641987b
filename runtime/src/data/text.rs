//! Bytes of files as tokens.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::ground::bounded::size;
use crate::ground::error::{Failure, at_path};
use crate::ground::random::{Purpose, Stream};

/// The bytes of a file or of all files below a folder, in the order of their names; the last tenth
/// is kept for evaluation.
pub struct Text {
    bytes: Vec<u8>,
}

/// The most bytes of a text.
const MOST_BYTES: u64 = 1 << 32;

impl Text {
    /// Reads the files.
    pub fn open(path: &Path, length: usize) -> Result<Text, Failure> {
        let mut files = Vec::new();
        super::documents::collect(path, &mut files)?;
        let sizes: Vec<u64> = files.iter().map(|file| size(file)).collect::<Result<_, _>>()?;
        let whole: u64 = sizes.iter().sum();
        if whole > MOST_BYTES {
            return Err(Failure::World(format!(
                "{} holds {whole} bytes, and `text` keeps at most {MOST_BYTES} in memory: make tokens of it with `lrc data tokenize`",
                path.display()
            )));
        }
        let mut bytes = Vec::new();
        for (file, size) in files.iter().zip(sizes) {
            let opened = File::open(file).map_err(at_path("read", file))?;
            opened.take(size).read_to_end(&mut bytes).map_err(at_path("read", file))?;
        }
        let needed = 10 * (length + 1);
        if bytes.len() < needed {
            return Err(Failure::World(format!(
                "{} holds {} bytes; sequences of {length} need at least {needed}",
                path.display(),
                bytes.len()
            )));
        }
        Ok(Text { bytes })
    }

    /// A sequence at a random place of the part that the purpose may see.
    pub fn sequence(
        &self,
        seed: u64,
        purpose: Purpose,
        item: u64,
        length: usize,
    ) -> (Vec<u32>, Vec<u32>) {
        let mut random = Stream::new(seed, purpose, item);
        let split = self.bytes.len() - self.bytes.len() / 10;
        let part = match purpose {
            Purpose::Train => &self.bytes[..split],
            _ => &self.bytes[split..],
        };
        let places = part.len() - length;
        let high = u64::from(random.bits()) << 32;
        let start = ((high | u64::from(random.bits())) % places as u64) as usize;
        let window = &part[start..=start + length];
        let tokens = window[..length].iter().map(|b| u32::from(*b)).collect();
        (tokens, window[1..].iter().map(|b| u32::from(*b)).collect())
    }

    /// A fingerprint of the bytes.
    pub fn fingerprint(&self) -> String {
        blake3::hash(&self.bytes).to_hex()[..16].to_string()
    }
}
