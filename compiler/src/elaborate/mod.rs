//! From a declaration to programs at given sizes: names, shapes and meaning.
//!
//! Checking a file and compiling it are the same walk: `lrc check` elaborates with witness sizes
//! (distinct primes), so two dimensions are equal exactly when they are the same declared size, and
//! every mistake is found with the code that would later trip over it.

mod advice;
mod complex;
mod eval;
pub(crate) mod functions;
mod names;
mod position;
pub mod recurrence;
pub mod signature;
mod value;

pub use functions::entrywise;
pub use recurrence::{Recurrence, accepted, elaborate};
pub use signature::{Signature, Variable};
pub use value::{Dim, Setting};
