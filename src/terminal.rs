//! What a person sees: failures and findings on stderr, results on stdout.

use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use lrc_dsl::{Diag, Sources, printable, render};
use lrc_runtime::ground::error::Failure;
use lrc_runtime::ground::terminal::silent;
use lrc_runtime::tell;

/// Why a result could not be written, once that has happened.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// Whether messages may be coloured.
pub fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Whether results may be coloured.
pub fn colour_on_stdout() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Shows findings on stderr.
pub fn show(sources: &Sources, diags: &[Diag]) {
    if !diags.is_empty() && !silent() {
        // Colours are control characters of our own; what findings quote is made printable by `render`.
        let text = render(sources, diags, colour());
        let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
    }
}

/// Shows a failure on stderr and gives the exit status.
pub fn fail(sources: &Sources, failure: &Failure) -> u8 {
    match failure {
        Failure::Invalid(diags) => show(sources, diags),
        Failure::Stopped(_) => {}
        other => tell!("error: {other}"),
    }
    failure.status()
}

/// Writes to stdout; says whether anybody reads on. A reader that has gone away, such as `head`, is no failure; any other
/// error is remembered for [`status`].
pub fn write(text: &str) -> bool {
    let mut out = std::io::stdout();
    let done = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    done.map_err(|error| {
        if error.kind() != ErrorKind::BrokenPipe {
            let _ = LOST.set(error);
        }
    })
    .is_ok()
}

/// Writes a line on stdout, control characters of foreign names written out.
pub fn write_line(text: std::fmt::Arguments) {
    write(&printable(&format!("{text}\n")));
}

/// The exit status of a command that ended with `status`: a result that was lost is a failure.
pub fn status(status: u8) -> ExitCode {
    match LOST.get() {
        Some(error) if status == 0 => {
            tell!("error: cannot write to stdout: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::from(status),
    }
}

/// As `println!`, without its panic when nobody reads on.
macro_rules! say {
    ($($text:tt)*) => { $crate::terminal::write_line(format_args!($($text)*)) };
}
pub(crate) use say;
