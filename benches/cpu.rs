//! `cargo bench`: the standard measurements of `lrc bench`.
//! `cargo bench -- peer`: the same beside the plain torch code that they are compared with, in one
//! run (`benches/peer.py`; makes a virtual environment of some gigabytes under `target/` first).

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let lrc = env!("CARGO_BIN_EXE_lrc");
    let mut command = if std::env::args().any(|arg| arg == "peer") {
        let mut python = Command::new("python3");
        python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peer.py")).arg(lrc);
        python
    } else {
        let mut own = Command::new(lrc);
        own.arg("bench");
        own
    };
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: cannot run {:?}: {error}", command.get_program());
            ExitCode::FAILURE
        }
    }
}
