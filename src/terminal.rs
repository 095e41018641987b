//! What a person sees: failures and findings.

use std::io::{IsTerminal, Write};

use lrc_dsl::{Diag, Sources, render};
use lrc_runtime::error::Failure;

/// Whether messages may be coloured.
pub fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Shows findings on stderr.
pub fn show(sources: &Sources, diags: &[Diag]) {
    if !diags.is_empty() {
        eprintln!("{}", render(sources, diags, colour()));
    }
}

/// Shows a failure on stderr and gives the exit status.
pub fn fail(sources: &Sources, failure: &Failure) -> u8 {
    match failure {
        Failure::Invalid(diags) => show(sources, diags),
        Failure::Stopped(_) => {}
        other => eprintln!("error: {other}"),
    }
    failure.status()
}

/// Writes a line on stdout. A reader that has gone away, such as `head`, is no failure.
pub fn write_line(text: std::fmt::Arguments) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// As `println!`, without its panic when nobody reads on.
macro_rules! say {
    ($($text:tt)*) => { $crate::terminal::write_line(format_args!($($text)*)) };
}
pub(crate) use say;
