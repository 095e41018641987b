//! The `.arch` files that are shipped inside the binary.

use lrc_dsl::Library;

/// Every file below `specs/`, by its path there.
pub static LIBRARY: Library = include!(concat!(env!("OUT_DIR"), "/library.rs"));
