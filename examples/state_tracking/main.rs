//! Which recurrences can count modulo two? (Grazzi et al. 2024, table 1; Sarrof et al. 2024.)
//!
//!     cargo run --release --example state_tracking
//!
//! One layer of each kind learns the parity of 40 bits and is then asked about 80. A transition
//! with a negative eigenvalue can flip a sign at every one; without one, the state can only fade,
//! and what is learned for 40 bits says nothing about the 41st. Takes about three minutes on two
//! cores; the runs with their reports stay under `runs/state_tracking`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own, at a terminal"
)]

use std::path::Path;
use std::process::ExitCode;

use lrc_dsl::Sources;
use lrc_runtime::config::Spec;
use lrc_runtime::config::open::{Opened, open};
use lrc_runtime::data::{Dataset, EvalSets};
use lrc_runtime::device::Device;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::model::Walk;
use lrc_runtime::ops::loss::NONE;
use lrc_runtime::train::{Options, checkpoint, train};

/// What is compared: a name, and the parameters of the model.
const KINDS: [(&str, &[(&str, &str)]); 3] = [
    ("delta rule, beta in (0, 2)", &[("reach", "2")]),
    ("delta rule, beta in (0, 1)", &[("reach", "1")]),
    ("diagonal decay in (0, 1)", &[("diag", "true")]),
];

const SEEDS: [u64; 3] = [1, 2, 3];

/// Unseen sequences of a measurement.
const SEQUENCES: usize = 512;

fn main() -> ExitCode {
    let mut sources = Sources::default();
    match table(&mut sources) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Invalid(diags)) => {
            eprintln!("{}", lrc_dsl::render(&sources, &diags, false));
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn table(sources: &mut Sources) -> Result<(), Failure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/state_tracking");
    println!("parity, trained on 40 bits: share of right answers on unseen sequences");
    println!(
        "{:<28} {:>4} {:>10} {:>10} {:>13}",
        "", "seed", "40 bits", "80 bits", "bits 41 to 80"
    );
    for (at, (kind, settings)) in KINDS.iter().enumerate() {
        for seed in SEEDS {
            let run = Path::new("runs/state_tracking").join(format!("{at}-{seed}"));
            let mut overrides = vec![("seed".to_string(), seed.to_string())];
            for (name, value) in *settings {
                overrides.push((format!("model.set.{name}"), value.to_string()));
            }
            if run.exists() {
                std::fs::remove_dir_all(&run)
                    .map_err(lrc_runtime::ground::error::at_path("empty", &run))?;
            }
            let Opened { spec, model, arch, .. } =
                open(&folder.join("spec.yaml"), &overrides, sources)?;
            let options = Options {
                folder: run.clone(),
                resume: false,
                from_step: None,
                allow_changes: false,
                from: None,
                device: Device::Cpu,
                progress: false,
                quiet: true,
                again: "the same command goes",
                stop_after: None,
                pause: None,
                inject: vec![],
                group: None,
            };
            train(&spec, model.clone(), &arch, &options)?;
            let params = checkpoint::parameters(&run, None, &model.graph.params)?;
            let mut executor = Walk::new(model, &params)?;
            let trained = spec.task.length();
            println!(
                "{kind:<28} {seed:>4} {:>10.4} {:>10.4} {:>13.4}",
                accuracy(&mut executor, &spec, trained, 0)?,
                accuracy(&mut executor, &spec, 2 * trained, 0)?,
                accuracy(&mut executor, &spec, 2 * trained, trained)?,
            );
        }
    }
    Ok(())
}

/// Share of right answers on sequences of `length` bits, counted from bit `from` on.
fn accuracy(executor: &mut Walk, spec: &Spec, length: usize, from: usize) -> Result<f64, Failure> {
    let asked = EvalSets { lengths: vec![length], levels: None };
    let source = Dataset::open(&spec.task, spec.seed, &asked)?;
    let set = &source.held_out(Some(SEQUENCES))[1];
    let mut batch = source.held_out_batch(set, 0, SEQUENCES)?;
    for targets in batch.targets.chunks_exact_mut(length) {
        targets[..from].fill(NONE);
    }
    Ok(executor.evaluate(&batch)?.score.accuracy())
}
