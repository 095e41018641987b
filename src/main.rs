//! The `lrc` command.

mod args;
mod commands;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use lrc_runtime::tell;

/// Planning and interpreting make and drop many small things.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Expressions are trees: deep ones need a deep stack, which the main thread does not promise.
const STACK: usize = 512 << 20;

fn main() -> ExitCode {
    let args = match commands::Args::try_parse() {
        Ok(args) => args,
        Err(help) => return said_by_clap(&help),
    };
    match std::thread::Builder::new().stack_size(STACK).spawn(|| commands::run(args)) {
        Ok(worker) => worker.join().map_or(ExitCode::FAILURE, terminal::status),
        Err(why) => {
            tell!("error: cannot reserve {} MiB of stack: {why}", STACK >> 20);
            ExitCode::FAILURE
        }
    }
}

/// Help and the version are results; everything else is about what was typed.
fn said_by_clap(said: &clap::Error) -> ExitCode {
    let text = said.render();
    if said.use_stderr() {
        tell!("{}", text.to_string().trim_end());
        return ExitCode::from(2);
    }
    if terminal::colour_on_stdout() {
        terminal::write(&text.ansi().to_string());
    } else {
        terminal::write(&text.to_string());
    }
    terminal::status(0)
}
