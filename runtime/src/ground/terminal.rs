//! Lines for who watches, on stderr.

use std::fmt::Arguments;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use lrc_dsl::printable;

/// Whether this process says nothing: another one of several speaks for all.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Says nothing from here on, or speaks again.
pub fn silence(silent: bool) {
    SILENT.store(silent, Ordering::Relaxed);
}

/// Whether nothing is said.
pub fn silent() -> bool {
    SILENT.load(Ordering::Relaxed)
}

/// Writes a line on stderr, control characters of foreign names written out. A terminal or logger that has gone away is no
/// reason to end a run: what cannot be written is dropped.
pub fn write(text: Arguments) {
    if silent() {
        return;
    }
    let line = format!("{text}\n");
    let _ = std::io::stderr().write_all(printable(&line).as_bytes());
}

/// Writes what counts documents or bytes while a command works: each call goes over the one before.
pub fn count(text: Arguments) {
    let _ = write!(std::io::stderr(), "\r{text}");
}

/// As `eprintln!`, without its panic where nobody reads any more.
#[macro_export]
macro_rules! tell {
    ($($text:tt)*) => { $crate::ground::terminal::write(format_args!($($text)*)) };
}
pub use tell;
