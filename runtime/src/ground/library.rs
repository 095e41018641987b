//! The `.arch` files that are shipped inside the binary.

use lrc_dsl::{Diag, Library, Namespace, Sources};

/// Every file below `specs/`, by its path there.
pub static LIBRARY: Library = include!(concat!(env!("OUT_DIR"), "/library.rs"));

/// Every map of a class of Hugging Face's below `specs/`, by its path there.
pub static MAPS: Library = include!(concat!(env!("OUT_DIR"), "/maps.rs"));

/// A shipped file with what it uses, and what is wrong with it; nothing if none has this path.
pub fn load(path: &str, sources: &mut Sources) -> Option<(Namespace, Vec<Diag>)> {
    let (_, text) = LIBRARY.iter().find(|(known, _)| *known == path)?;
    Some(lrc_dsl::load_text(path, (*text).to_string(), None, LIBRARY, sources))
}
