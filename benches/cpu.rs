//! `cargo bench`: the standard measurements of `lrc bench`.
//! `cargo bench -- expansion`: a training step with states of 1, 2, 4 and 8 subheads, in turns.
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
        expansion()
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

/// Rounds of the comparison; medians are shown.
const ROUNDS: usize = 5;
const SUBHEADS: [usize; 4] = [1, 2, 4, 8];
/// The model, and a batch of it.
const MODEL: [&str; 5] = ["width=256", "layers=4", "heads=4", "d=64", "hidden=704"];
const BATCH: [&str; 4] = ["--batch", "4", "--length", "512"];

/// Tokens per second and peak memory of training, each in a process of its own.
fn expansion() -> Result<(), String> {
    let mut speeds = vec![Vec::new(); SUBHEADS.len()];
    let mut memory = vec![Vec::new(); SUBHEADS.len()];
    for _ in 0..ROUNDS {
        for (at, e) in SUBHEADS.iter().enumerate() {
            let [speed, peak] = trained(*e)?;
            speeds[at].push(speed);
            memory[at].push(peak);
        }
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!("gdn_e, {}, {}: medians of {ROUNDS} rounds", MODEL.join(" "), BATCH.join(" "));
    println!(
        "{:>3} {:>12} {:>11} {:>10} {:>10}",
        "E", "tokens/s", "time, E1=1", "peak MiB", "E1=1"
    );
    let mut first = None;
    for (at, e) in SUBHEADS.iter().enumerate() {
        let (speed, peak) = (median(&mut speeds[at]), median(&mut memory[at]));
        let (speed1, peak1) = *first.get_or_insert((speed, peak));
        println!(
            "{e:>3} {speed:>12.0} {:>11.2} {:>10.0} {:>10.2}",
            speed1 / speed,
            peak / 1_048_576.0,
            peak / peak1
        );
    }
    Ok(())
}

fn trained(e: usize) -> Result<[f64; 2], String> {
    let mut command = Command::new(LRC);
    command.arg("bench").arg(format!("{ROOT}/specs/models/gdn.arch")).arg("gdn_e").args(BATCH);
    command.args(["--json", "--seconds", "3", "--set", &format!("e={e}")]);
    for set in MODEL {
        command.args(["--set", set]);
    }
    let output = command.output().map_err(|error| format!("cannot run {LRC}: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let document: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let number = |name: &str| {
        let found = document["training"][0][name].as_f64();
        found.ok_or_else(|| format!("`lrc bench` does not say {name} here"))
    };
    Ok([number("tokens_per_second")?, number("peak_memory_bytes")?])
}
