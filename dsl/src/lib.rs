//! The `.arch` language: text to a syntax tree, diagnostics for people, and a canonical printer.
//!
//! A file holds recurrences (the mathematics of one head and one token), mixers (the layer around
//! them) and models (layouts of sub-layers). Nothing here knows what a recurrence means: names,
//! shapes and the algebra are checked by the compiler, which elaborates the tree.

pub mod ast;
pub mod codes;
pub mod diag;
mod load;
mod parse;
pub mod print;
mod printable;
mod slips;
pub mod span;
pub mod text;

pub use diag::{Diag, Severity, listed, nearest, render};
pub use load::{Library, Namespace, load, load_text};
pub use parse::{parse, parse_expr};
pub use printable::printable;
pub use span::{FileId, Sources, Span};
