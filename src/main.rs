//! The `lrc` command.

mod args;
mod commands;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

/// Expressions are trees: deep ones need a deep stack, which the main thread does not promise.
const STACK: usize = 512 << 20;

fn main() -> ExitCode {
    let worker = std::thread::Builder::new().stack_size(STACK).spawn(|| {
        let args = args::Args::parse();
        commands::run(args)
    });
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(status)) => status,
        _ => ExitCode::FAILURE,
    }
}
