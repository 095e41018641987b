//! Shards: tokens of many documents one after the other, in files that other tools read too.
//!
//! * llm.c: 256 numbers of 32 bits (magic, version, count), then tokens of 16 or 32 bits;
//! * nanoGPT: tokens of 16 bits and nothing else;
//! * a data folder of ours: shards as llm.c writes them; beside each an index with the places of the
//!   documents; `data.json` with the tokenizer, sizes and checksums ([`Manifest`]).
//!
//! Tokens are read where they lie, with positioned reads rather than a mapped file: a file that
//! shrinks while it is used is then an error, not the end of the process.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::ground::error::{Failure, at_path};
use crate::ground::tensors::{self, Data, Tensor};
use crate::ground::{atomic, bounded};

/// Bytes before the tokens of an llm.c shard.
const HEADER: u64 = 1024;
/// Magic number and version of shards with tokens of 16 bits, and of 32.
const MAGIC: [(u32, u32); 2] = [(20_240_520, 1), (20_240_801, 7)];

/// What a data folder holds; `data.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// `bytes`, or the tokenizer's file in the folder.
    pub tokenizer: String,
    /// Fingerprint of the tokenizer.
    pub tokenizer_blake3: String,
    /// Tokens there are.
    pub vocab: usize,
    /// The token before every document, and behind the last.
    pub end: u32,
    /// What a text begins with that nothing comes before, where it is not that token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin: Option<Vec<u32>>,
    /// Shards for training.
    pub train: Vec<Written>,
    /// Shards of documents that training never sees.
    pub held_out: Vec<Written>,
}

/// A shard as it was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// Its file in the folder.
    pub file: String,
    /// Tokens.
    pub tokens: u64,
    /// Documents.
    pub documents: u64,
    /// Bytes of text.
    pub bytes: u64,
    /// Fingerprint of the file.
    pub blake3: String,
    /// Fingerprint of its index; older versions wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_blake3: Option<String>,
}

/// Refuses a folder that holds data, or the rest of what was stopped: nothing is written over.
pub fn refuse_old(folder: &Path) -> Result<(), Failure> {
    let shard = |name: &str| {
        let rest = name.strip_prefix("train-").or_else(|| name.strip_prefix("held-"));
        rest.is_some_and(|rest| rest.ends_with(".bin") || rest.ends_with(".index"))
    };
    let there = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        there.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let old = names.iter().find(|name| *name == "data.json").or(names.iter().find(|n| shard(n)));
    match old {
        Some(name) => Err(Failure::Usage(format!(
            "{} holds {name} already: choose another folder with --out, or remove what is there",
            folder.display()
        ))),
        None => Ok(()),
    }
}

impl Manifest {
    /// Reads the manifest of a folder.
    pub fn read(folder: &Path) -> Result<Manifest, Failure> {
        let path = folder.join("data.json");
        let text = bounded::whole_text(&path)?;
        let manifest: Manifest = serde_json::from_str(&text).map_err(|error| {
            Failure::World(format!("{} is not a sound manifest: {error}", path.display()))
        })?;
        manifest.check().map_err(|why| Failure::World(format!("{}: {why}", path.display())))?;
        // A name with a path in it would lead out of the folder.
        let files = manifest.train.iter().chain(&manifest.held_out).map(|shard| &shard.file);
        for name in files.chain([&manifest.tokenizer]) {
            if Path::new(name).file_name().is_none_or(|last| last != name.as_str()) {
                let why = format!("{}: `{name}` is not the name of a file", path.display());
                return Err(Failure::World(why));
            }
        }
        Ok(manifest)
    }

    /// Whether the numbers fit each other.
    fn check(&self) -> Result<(), String> {
        if self.end as usize >= self.vocab {
            let (end, vocab) = (self.end, self.vocab);
            return Err(format!("`end` is token {end}, and `vocab` says that there are {vocab}"));
        }
        if let Some(token) = self.begin.iter().flatten().find(|t| **t as usize >= self.vocab) {
            let vocab = self.vocab;
            return Err(format!(
                "`begin` has token {token}, and `vocab` says that there are {vocab}"
            ));
        }
        let bytes = (257, 256, fingerprint(b"bytes"));
        if self.tokenizer == "bytes"
            && (self.vocab, self.end, self.tokenizer_blake3.clone()) != bytes
        {
            return Err("with the tokenizer `bytes`, `vocab` is 257, `end` 256, and the checksum that of the word".into());
        }
        Ok(())
    }
}

/// Fingerprint of bytes.
pub fn fingerprint(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Writes documents into shards of a folder.
pub struct Writer<'f> {
    folder: &'f Path,
    part: &'static str,
    limit: u64,
    wide: bool,
    open: Option<OpenShard>,
    done: Vec<Written>,
}

struct OpenShard {
    file: BufWriter<File>,
    partial: PathBuf,
    offsets: Vec<i64>,
    bytes: Vec<i64>,
}

impl<'f> Writer<'f> {
    /// A writer of `PART-00000.bin` and so on, each of about `limit` tokens.
    pub fn new(folder: &'f Path, part: &'static str, limit: u64, vocab: usize) -> Writer<'f> {
        Writer { folder, part, limit, wide: vocab > 1 << 16, open: None, done: vec![] }
    }

    /// Adds a document: its tokens with the first one before it, and the bytes of its text.
    pub fn push(&mut self, tokens: &[u32], bytes: usize) -> Result<(), Failure> {
        let shard = match &mut self.open {
            Some(shard) => shard,
            None => {
                let name = format!(".{}-{:05}.partial", self.part, self.done.len());
                let partial = self.folder.join(name);
                let file = File::create(&partial).map_err(at_path("write", &partial))?;
                let mut file = BufWriter::new(file);
                file.write_all(&[0; HEADER as usize]).map_err(at_path("write", &partial))?;
                self.open.insert(OpenShard { file, partial, offsets: vec![0], bytes: vec![] })
            }
        };
        for token in tokens {
            let written = match self.wide {
                true => shard.file.write_all(&token.to_le_bytes()),
                false => shard.file.write_all(&(*token as u16).to_le_bytes()),
            };
            written.map_err(at_path("write", &shard.partial))?;
        }
        let at = shard.offsets.last().copied().unwrap_or(0) + tokens.len() as i64;
        shard.offsets.push(at);
        shard.bytes.push(bytes as i64);
        if at as u64 >= self.limit { self.close() } else { Ok(()) }
    }

    /// Closes the shard at hand: its header gets the count, and it its name.
    fn close(&mut self) -> Result<(), Failure> {
        let Some(shard) = self.open.take() else { return Ok(()) };
        let OpenShard { file, partial, offsets, bytes } = shard;
        let tokens = offsets.last().copied().unwrap_or(0) as u64;
        let (magic, version) = MAGIC[usize::from(self.wide)];
        let file =
            file.into_inner().map_err(|error| at_path("write", &partial)(error.into_error()))?;
        let header: Vec<u8> =
            [magic, version, tokens as u32].iter().flat_map(|x| x.to_le_bytes()).collect();
        write_at(&file, &header, 0).map_err(at_path("write", &partial))?;
        file.sync_all().map_err(at_path("write", &partial))?;
        let name = format!("{}-{:05}", self.part, self.done.len());
        let column = |data: Vec<i64>| Tensor { shape: vec![data.len()], data: Data::I64(data) };
        let written = Written {
            file: format!("{name}.bin"),
            tokens,
            documents: bytes.len() as u64,
            bytes: bytes.iter().sum::<i64>() as u64,
            blake3: checksum(&partial)?,
            index_blake3: None,
        };
        let index = [("offsets".into(), column(offsets)), ("bytes".into(), column(bytes))];
        let index = tensors::serialise(&index.into())?;
        let written = Written { index_blake3: Some(fingerprint(&index)), ..written };
        atomic::write(&self.folder.join(format!("{name}.index")), &index)?;
        let last = self.folder.join(&written.file);
        std::fs::rename(&partial, &last).map_err(at_path("write", &last))?;
        self.done.push(written);
        Ok(())
    }

    /// Closes the last shard.
    pub fn finish(mut self) -> Result<Vec<Written>, Failure> {
        self.close()?;
        Ok(std::mem::take(&mut self.done))
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        if let Some(shard) = &self.open {
            // Half a shard is of no use; that it cannot be removed changes nothing.
            let _ = std::fs::remove_file(&shard.partial);
        }
    }
}

fn checksum(path: &Path) -> Result<String, Failure> {
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).map_err(at_path("read", path))?;
    hasher.update_reader(file).map_err(at_path("read", path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], at: u64) -> std::io::Result<()> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    // The place in a file is shared by all who read it.
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock();
    let mut file = file;
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}

/// How the tokens of a file that is not in a data folder are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// With a header.
    Llmc,
    /// Without one.
    Nanogpt,
}

/// Shards whose files stay open; a process may have some 1000 files.
const KEPT: usize = 64;

/// Files of shards that are open now.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// An open file that counts.
#[derive(Debug)]
struct Kept {
    file: File,
    /// How many were open when it was opened.
    before: usize,
}

impl Kept {
    fn new(file: File) -> Kept {
        Kept { file, before: OPEN.fetch_add(1, Ordering::Relaxed) }
    }

    /// Whether it may stay open.
    fn few(&self) -> bool {
        self.before < KEPT
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open shard.
#[derive(Debug)]
pub struct Shard {
    path: PathBuf,
    /// Unless too many are open; then it is opened for every read.
    file: Option<Kept>,
    /// Bytes before the first token.
    first: u64,
    /// Bytes of a token.
    size: u64,
    /// Tokens.
    pub tokens: u64,
    /// Where each document begins, and the number of tokens.
    pub offsets: Vec<u64>,
    /// Bytes of text of each document, where they are known.
    pub bytes: Option<Vec<u64>>,
}

impl Shard {
    /// Opens a file. The places of documents are not known yet: all is one.
    pub fn open(path: &Path, layout: Layout) -> Result<Shard, Failure> {
        let length = bounded::size(path)?;
        let file = Kept::new(File::open(path).map_err(at_path("read", path))?);
        let Kept { file: bytes, .. } = &file;
        let unsound = |why: String| Failure::World(format!("{}: {why}", path.display()));
        let (first, size, tokens) = match layout {
            Layout::Nanogpt => (0, 2, length / 2),
            Layout::Llmc => {
                let mut header = [0; 12];
                read_at(bytes, &mut header, 0)
                    .map_err(|_| unsound("too short for a shard of tokens".into()))?;
                let word = |at: usize| {
                    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
                };
                let Some(kind) = MAGIC.iter().position(|known| *known == (word(0), word(4))) else {
                    return Err(unsound(
                        "not a shard of tokens as llm.c writes them; for one as nanoGPT does, say `format: nanogpt`".into(),
                    ));
                };
                (HEADER, [2, 4][kind], u64::from(word(8)))
            }
        };
        let (needs, has) = (first + size * tokens, length);
        if needs > has {
            return Err(unsound(format!(
                "cut off: its header promises {needs} bytes, there are {has}"
            )));
        }
        if tokens == 0 {
            return Err(unsound("holds no tokens".into()));
        }
        let offsets = vec![0, tokens];
        let file = file.few().then_some(file);
        Ok(Shard { path: path.into(), file, first, size, tokens, offsets, bytes: None })
    }

    /// Opens a shard of a data folder; `verify` reads all of it and compares its checksum.
    pub fn of_folder(folder: &Path, written: &Written, verify: bool) -> Result<Shard, Failure> {
        let path = folder.join(&written.file);
        let mut shard = Shard::open(&path, Layout::Llmc)?;
        let damaged = |why: &str| {
            Failure::World(format!(
                "{} is damaged: {why}; make it again with `lrc data tokenize`",
                path.display()
            ))
        };
        if shard.tokens != written.tokens {
            return Err(damaged("it holds another number of tokens than data.json says"));
        }
        if verify && checksum(&path)? != written.blake3 {
            return Err(damaged("its checksum is not the one in data.json"));
        }
        let index = path.with_extension("index");
        let text = bounded::bytes(&index)?;
        if verify && written.index_blake3.as_ref().is_some_and(|known| *known != fingerprint(&text))
        {
            return Err(damaged("the checksum of its index is not the one in data.json"));
        }
        let columns = tensors::parse(&text)
            .map_err(|why| damaged(&format!("its index is not a sound safetensors file: {why}")))?;
        let column = |name: &str| match columns.get(name) {
            Some(Tensor { data: Data::I64(data), .. }) => {
                data.iter().map(|x| u64::try_from(*x).ok()).collect::<Option<Vec<u64>>>()
            }
            _ => None,
        };
        let (offsets, bytes) = (column("offsets"), column("bytes"));
        let sound = offsets.filter(|at| {
            at.first() == Some(&0)
                && at.last() == Some(&shard.tokens)
                && at.windows(2).all(|pair| pair[0] < pair[1])
        });
        let Some(offsets) = sound else {
            return Err(damaged("its index does not fit it"));
        };
        shard.bytes = bytes.filter(|bytes| bytes.len() + 1 == offsets.len());
        shard.offsets = offsets;
        Ok(shard)
    }

    /// Finds the documents: each begins with the token `end`.
    pub fn find_documents(&mut self, end: u32) -> Result<(), Failure> {
        const BLOCK: u64 = 1 << 20;
        let blocks: Vec<u64> = (0..self.tokens).step_by(BLOCK as usize).collect();
        let found: Result<Vec<Vec<u64>>, Failure> = blocks
            .into_par_iter()
            .map(|start| {
                let tokens = self.read(start, BLOCK.min(self.tokens - start) as usize)?;
                let ends = tokens.iter().enumerate().filter(|(_, token)| **token == end);
                Ok(ends.map(|(at, _)| start + at as u64).collect())
            })
            .collect();
        let mut offsets: Vec<u64> = found?.into_iter().flatten().filter(|at| *at > 0).collect();
        offsets.insert(0, 0);
        offsets.push(self.tokens);
        self.offsets = offsets;
        Ok(())
    }

    /// Tokens `start..start + count`.
    pub fn read(&self, start: u64, count: usize) -> Result<Vec<u32>, Failure> {
        let mut bytes = vec![0; count * self.size as usize];
        let place = self.first + start * self.size;
        match &self.file {
            Some(Kept { file, .. }) => read_at(file, &mut bytes, place),
            None => File::open(&self.path).and_then(|file| read_at(&file, &mut bytes, place)),
        }
        .map_err(at_path("read", &self.path))?;
        Ok(match self.size {
            2 => {
                let words = bytes.chunks_exact(2);
                words.map(|b| u32::from(u16::from_le_bytes([b[0], b[1]]))).collect()
            }
            _ => {
                let words = bytes.chunks_exact(4);
                words.map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("lrc-shards-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn what_is_written_is_read_back() {
        for vocab in [300, 100_000] {
            let folder = folder(&format!("back-{vocab}"));
            let top = vocab as u32 - 1;
            let documents: Vec<Vec<u32>> = (1..60)
                .map(|n| (0..n).map(|i| if i == 0 { 256 } else { top - i % 40 }).collect())
                .collect();
            let mut writer = Writer::new(&folder, "train", 500, vocab);
            for document in &documents {
                writer.push(document, document.len() - 1).unwrap();
            }
            let written = writer.finish().unwrap();
            assert!(written.len() > 2);
            let mut found = Vec::new();
            for shard in &written {
                let mut shard = Shard::of_folder(&folder, shard, true).unwrap();
                let places = shard.offsets.clone();
                for pair in places.windows(2) {
                    found.push(shard.read(pair[0], (pair[1] - pair[0]) as usize).unwrap());
                }
                shard.find_documents(256).unwrap();
                assert_eq!(shard.offsets, places, "the ends are where the index says");
            }
            assert_eq!(found, documents);
        }
    }

    #[test]
    fn a_damaged_shard_is_refused() {
        let folder = folder("damaged");
        let mut writer = Writer::new(&folder, "train", 1 << 20, 300);
        (0..100).for_each(|n| writer.push(&[256, n, n + 1], 2).unwrap());
        let written = writer.finish().unwrap().remove(0);
        let path = folder.join(&written.file);
        let whole = std::fs::read(&path).unwrap();
        let refused = |bytes: &[u8], want: &str| {
            std::fs::write(&path, bytes).unwrap();
            let said = Shard::of_folder(&folder, &written, true).unwrap_err().to_string();
            assert!(said.contains(want), "{said}");
        };
        refused(&whole[..whole.len() - 1], "cut off");
        refused(&whole[..7], "too short");
        refused(&[7; 2048], "not a shard");
        let mut bit = whole.clone();
        bit[1200] ^= 4;
        refused(&bit, "checksum");
        std::fs::write(&path, &whole).unwrap();
        let index = folder.join("train-00000.index");
        let bytes = std::fs::read(&index).unwrap();
        std::fs::write(&index, &bytes[..bytes.len() / 2]).unwrap();
        // An older version wrote no checksum of it.
        let old = Written { index_blake3: None, ..written.clone() };
        for (written, want) in [(&written, "checksum of its index"), (&old, "not a sound")] {
            let said = Shard::of_folder(&folder, written, true).unwrap_err().to_string();
            assert!(said.contains(want), "{said}");
        }
    }
}
