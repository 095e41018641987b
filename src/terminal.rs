//! What a person sees: failures and findings.

use std::io::IsTerminal;

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
        Failure::World(why)
        | Failure::Usage(why)
        | Failure::Verification(why)
        | Failure::Diverged(why) => eprintln!("error: {why}"),
        Failure::Stopped(_) => {}
    }
    failure.status()
}
