//! `lrc completions`

use clap::CommandFactory;
use lrc_runtime::ground::error::Failure;

use crate::commands::Args;
use crate::terminal;

/// `lrc completions`
pub fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "lrc", &mut text);
    terminal::write(&String::from_utf8_lossy(&text));
    Ok(())
}
