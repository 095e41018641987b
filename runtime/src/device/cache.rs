//! Compiled kernels on disk, by everything that they depend on.
//!
//! An entry is a hash, the length of the compiler's log, the log, the code. The hash is of the entry's
//! key and of all that follows: an entry under another's name is as damaged as one that has lost a
//! byte, and is compiled again. It is written whole or not at all, so several processes may share the
//! folder.

use std::path::PathBuf;
use std::sync::Once;

use super::cuda::nvrtc::{Code, Compiled, Nvrtc, OPTIONS};
use crate::ground::atomic;
use crate::ground::terminal::tell;

/// Bytes of a hash.
const HASH: usize = 32;
/// Bytes before the log.
const HEAD: usize = HASH + 8;

/// A folder of compiled kernels.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
}

impl Cache {
    /// The user's: `LRC_CACHE_DIR`, else `lrc` in `XDG_CACHE_HOME` or `~/.cache`. An empty variable is
    /// as none.
    pub fn of_user() -> Cache {
        Cache { folder: Cache::folder_of_user().map(|folder| folder.join("kernels")) }
    }

    /// The folder of all that is kept for a user between runs.
    pub fn folder_of_user() -> Option<PathBuf> {
        let folder = |name: &str| {
            std::env::var_os(name).filter(|folder| !folder.is_empty()).map(PathBuf::from)
        };
        let own = folder("LRC_CACHE_DIR");
        let shared = folder("XDG_CACHE_HOME")
            .or_else(|| folder("HOME").map(|home| home.join(".cache")))
            .map(|folder| folder.join("lrc"));
        own.or(shared)
    }

    /// In a folder of its own.
    pub fn inside(folder: PathBuf) -> Cache {
        Cache { folder: Some(folder) }
    }

    /// The name under which a kernel is kept.
    pub fn key(nvrtc: &Nvrtc, source: &str, arch: &str, code: Code) -> String {
        let mut hash = blake3::Hasher::new();
        let version = format!("{}.{}", nvrtc.version.0, nvrtc.version.1);
        let kind = format!("{code:?}");
        for part in
            [version.as_str(), arch, kind.as_str()].into_iter().chain(OPTIONS).chain([source])
        {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().to_hex().to_string()
    }

    /// A kernel that was compiled before; `None` also where its entry is damaged.
    pub fn get(&self, key: &str) -> Option<Compiled> {
        let bytes = std::fs::read(self.folder.as_ref()?.join(key)).ok()?;
        let (hash, rest) = bytes.split_at_checked(HASH)?;
        if seal(key, rest).as_bytes() != hash {
            return None;
        }
        let (length, rest) = rest.split_at_checked(HEAD - HASH)?;
        let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
        let (log, code) = rest.split_at_checked(length)?;
        Some(Compiled { code: code.to_vec(), log: String::from_utf8_lossy(log).into_owned() })
    }

    /// Keeps a kernel. A folder that cannot be written costs time, not results: it is said once.
    pub fn put(&self, key: &str, compiled: &Compiled) {
        let Some(folder) = &self.folder else { return };
        let mut rest = (compiled.log.len() as u64).to_le_bytes().to_vec();
        rest.extend_from_slice(compiled.log.as_bytes());
        rest.extend_from_slice(&compiled.code);
        let bytes = [seal(key, &rest).as_bytes().as_slice(), &rest].concat();
        let done = std::fs::create_dir_all(folder)
            .map_err(|why| why.to_string())
            .and_then(|()| atomic::write(&folder.join(key), &bytes).map_err(|why| why.to_string()));
        if let Err(why) = done {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                let folder = folder.display();
                tell!("warning: kernels are not kept in {folder}: {why}; set LRC_CACHE_DIR");
            });
        }
    }
}

/// The hash of an entry and of the key under which it stands.
fn seal(key: &str, rest: &[u8]) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    hash.update(&(key.len() as u64).to_le_bytes());
    hash.update(key.as_bytes());
    hash.update(rest);
    hash.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(name: &str) -> (Cache, PathBuf) {
        let folder = std::env::temp_dir().join(format!("lrc-cache-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        (Cache::inside(folder.clone()), folder)
    }

    #[test]
    fn what_is_kept_comes_back_and_damage_is_noticed() {
        let (cache, folder) = fresh("damage");
        let kernel = Compiled { code: vec![7; 1000], log: "Used 3 registers".into() };
        assert_eq!(cache.get("a"), None);
        cache.put("a", &kernel);
        assert_eq!(cache.get("a"), Some(kernel));
        let whole = std::fs::read(folder.join("a")).expect("kept");
        // J1: an entry under the name of another is none.
        std::fs::write(folder.join("b"), &whole).expect("writable");
        assert_eq!(cache.get("b"), None);
        for damaged in [&whole[..0], &whole[..31], &whole[..39], &whole[..100]] {
            std::fs::write(folder.join("a"), damaged).expect("writable");
            assert_eq!(cache.get("a"), None, "{} bytes", damaged.len());
        }
        for at in [0, 33, 45, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(folder.join("a"), damaged).expect("writable");
            assert_eq!(cache.get("a"), None, "byte {at}");
        }
        std::fs::remove_dir_all(folder).expect("removable");
    }

    #[test]
    fn a_folder_that_cannot_be_written_costs_nothing() {
        // A file stands where the folder should be.
        let (_, file) = fresh("file");
        std::fs::write(&file, "").expect("writable");
        let cache = Cache::inside(file.join("below"));
        let kernel = Compiled { code: vec![1], log: String::new() };
        cache.put("a", &kernel);
        assert_eq!(cache.get("a"), None);
        std::fs::remove_file(file).expect("removable");
    }

    #[test]
    fn keys_differ_by_everything_a_kernel_depends_on() {
        let old = Nvrtc { version: (12, 8) };
        let new = Nvrtc { version: (12, 9) };
        let keys = [
            Cache::key(&old, "a", "sm_80", Code::Ptx),
            Cache::key(&new, "a", "sm_80", Code::Ptx),
            Cache::key(&new, "b", "sm_80", Code::Ptx),
            Cache::key(&new, "a", "sm_90a", Code::Ptx),
            Cache::key(&new, "a", "sm_80", Code::Cubin),
        ];
        let distinct: std::collections::BTreeSet<&String> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
