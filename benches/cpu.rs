//! `cargo bench`: the standard measurements of `lrc bench`.
//! `cargo bench -- expansion`: those of `lrc bench --expansion`, a training step with states of 1, 2, 4 and 8 subheads.
//! `cargo bench -- peer`: the standard ones beside the plain torch code that they are compared with,
//! in one run (`benches/peer.py`; makes a virtual environment of some gigabytes under `target/`).

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own, at a terminal"
)]

use std::process::{Command, ExitCode};

const LRC: &str = env!("CARGO_BIN_EXE_lrc");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn main() -> ExitCode {
    let asked = |word: &str| std::env::args().any(|arg| arg == word);
    let result = if asked("expansion") {
        passed(Command::new(LRC).args(["bench", "--expansion", "--batch", "4", "--length", "512"]))
    } else if asked("peer") {
        passed(Command::new("python3").arg(format!("{ROOT}/benches/peer.py")).arg(LRC))
    } else {
        passed(Command::new(LRC).arg("bench"))
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn passed(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{:?} ended with {status}", command.get_program())),
        Err(error) => Err(format!("cannot run {:?}: {error}", command.get_program())),
    }
}
