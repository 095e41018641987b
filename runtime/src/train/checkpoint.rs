//! Checkpoints: whole or not there. A folder gets its last name only when everything in it is on
//! the disk, and `DONE` is the last file in it.

use std::fs;
use std::path::{Path, PathBuf};

use lrc_compiler::graph::Param;
use serde::{Deserialize, Serialize};

use super::engine::Numbers;
use crate::atomic;
use crate::error::{Failure, at_path};
use crate::monitor::Memory;
use crate::optim::Moments;
use crate::schedule::levels::Stage;
use crate::tensors::{self, Data, Tensor, Tensors};

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Seconds of training so far, in all processes.
    #[serde(default)]
    pub seconds: f64,
    /// Stretches of steps `[from, to)` that were run; with the spec, the position in the data. More
    /// than one where the run was rolled back.
    #[serde(default)]
    pub stretches: Vec<[u64; 2]>,
    /// A fingerprint of the data.
    pub fingerprint: String,
    /// Lines of `metrics.jsonl`.
    #[serde(default)]
    pub lines: u64,
    /// What the monitor remembers.
    #[serde(default)]
    pub monitor: Memory,
    /// Lowest loss of an evaluation so far.
    #[serde(default)]
    pub best: Option<f64>,
    /// Where the run stands among the levels of its task.
    #[serde(default)]
    pub stage: Stage,
    /// The checkpoints that the run was branched off, oldest first.
    #[serde(default)]
    pub lineage: Vec<Lineage>,
    /// The version of this program.
    #[serde(default)]
    pub version: String,
}

/// Where a run was branched off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The run's name.
    pub run: String,
    /// Steps done there.
    pub step: u64,
    /// Fingerprint of the parameters.
    pub blake3: String,
}

fn named(params: &[Param], values: &[Vec<f32>], prefix: &str) -> Tensors {
    params
        .iter()
        .zip(values)
        // A rule without a running mean leaves nothing to keep.
        .filter(|(_, data)| !data.is_empty())
        .map(|(param, data)| {
            (format!("{prefix}{}", param.name), Tensor::f32(param.shape.clone(), data.clone()))
        })
        .collect()
}

/// Writes a checkpoint.
pub fn save(run: &Path, state: &State, params: &[Param], numbers: &Numbers) -> Result<(), Failure> {
    let Numbers { params: values, moments } = numbers;
    let folder = run.join("checkpoints");
    let last = folder.join(format!("step-{:08}", state.step));
    if last.join("DONE").exists() {
        return Ok(());
    }
    let partial = folder.join(format!(".step-{:08}.partial", state.step));
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(at_path("make", &partial))?;
    let written = (|| {
        tensors::write(&partial.join("model.safetensors"), &named(params, values, ""))?;
        let mut both = named(params, &moments.first, "first.");
        both.extend(named(params, &moments.second, "second."));
        tensors::write(&partial.join("optimizer.safetensors"), &both)?;
        write_state(&partial, state)?;
        atomic::write(&partial.join("DONE"), b"")?;
        let _ = fs::remove_dir_all(&last);
        fs::rename(&partial, &last).map_err(at_path("write", &last))
    })();
    if written.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    written
}

/// Writes where a run stands into a checkpoint's folder.
pub fn write_state(folder: &Path, state: &State) -> Result<(), Failure> {
    let text = serde_json::to_string(state).map_err(|e| Failure::World(e.to_string()))?;
    atomic::write(&folder.join("state.json"), text.as_bytes())
}

/// Complete checkpoints of a run, oldest first.
pub fn list(run: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(run.join("checkpoints")) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
            name.is_some_and(|n| n.starts_with("step-")) && path.join("DONE").exists()
        })
        .collect();
    found.sort();
    found
}

/// Removes all but the newest checkpoints.
pub fn prune(run: &Path, keep: usize) -> Result<(), Failure> {
    let all = list(run);
    for old in &all[..all.len().saturating_sub(keep)] {
        fs::remove_dir_all(old).map_err(at_path("remove", old))?;
    }
    Ok(())
}

/// The folder of the newest checkpoint of a run.
pub fn newest(run: &Path) -> Result<PathBuf, Failure> {
    list(run).pop().ok_or_else(|| {
        Failure::World(format!("{} holds no complete checkpoint to go on from", run.display()))
    })
}

/// Reads a checkpoint; `remembered` says which running means each parameter has.
pub fn read(
    folder: &Path,
    params: &[Param],
    remembered: &[[bool; 2]],
) -> Result<(State, Numbers), Failure> {
    let state = read_state(folder)?;
    let values = read_model(folder, params)?;
    let both = tensors::read(&folder.join("optimizer.safetensors"))?;
    let mean = |which: usize, prefix: &str| {
        params
            .iter()
            .zip(remembered)
            .map(
                |(param, has)| {
                    if has[which] { pick_one(&both, param, prefix, folder) } else { Ok(vec![]) }
                },
            )
            .collect::<Result<Vec<Vec<f32>>, Failure>>()
    };
    let moments = Moments { first: mean(0, "first.")?, second: mean(1, "second.")? };
    Ok((state, Numbers { params: values, moments }))
}

/// The parameters of one checkpoint.
pub fn read_model(folder: &Path, params: &[Param]) -> Result<Vec<Vec<f32>>, Failure> {
    let tensors = tensors::read(&folder.join("model.safetensors"))?;
    pick(&tensors, params, "", folder)
}

/// The parameters of a run's newest checkpoint.
pub fn newest_model(run: &Path, params: &[Param]) -> Result<Vec<Vec<f32>>, Failure> {
    read_model(&newest(run)?, params)
}

/// Where the run stood that wrote a checkpoint.
pub fn read_state(folder: &Path) -> Result<State, Failure> {
    let path = folder.join("state.json");
    let bytes = fs::read(&path).map_err(at_path("read", &path))?;
    serde_json::from_slice(&bytes).map_err(|_| {
        Failure::invalid("E0307", format!("{} is not a sound checkpoint state", path.display()))
    })
}

fn pick(
    tensors: &Tensors,
    params: &[Param],
    prefix: &str,
    folder: &Path,
) -> Result<Vec<Vec<f32>>, Failure> {
    params.iter().map(|param| pick_one(tensors, param, prefix, folder)).collect()
}

fn pick_one(
    tensors: &Tensors,
    param: &Param,
    prefix: &str,
    folder: &Path,
) -> Result<Vec<f32>, Failure> {
    let name = format!("{prefix}{}", param.name);
    let why = match tensors.get(&name) {
        Some(Tensor { shape, data: Data::F32(values) }) if *shape == param.shape => {
            return Ok(values.clone());
        }
        Some(other) => {
            format!("`{name}` has shape {:?}, the model needs {:?}", other.shape, param.shape)
        }
        None if prefix.is_empty() => {
            format!("`{name}` is missing: the checkpoint is of another model")
        }
        None => format!("`{name}` is missing: the checkpoint is of another model or optimiser"),
    };
    Err(Failure::invalid("E0307", format!("{}: {why}", folder.display())))
}
