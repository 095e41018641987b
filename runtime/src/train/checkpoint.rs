//! Checkpoints: whole or not there. A folder gets its last name only when everything in it is on
//! the disk, and `DONE` is the last file in it.

use std::fs;
use std::path::{Path, PathBuf};

use lrc_compiler::graph::Param;
use serde_json::json;

use super::adamw::Moments;
use super::engine::Numbers;
use crate::atomic;
use crate::error::{Failure, at_path};
use crate::tensors::{self, Data, Tensor, Tensors};

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// Tokens seen; with the seed, this is the position in the data.
    pub tokens: u64,
    /// A fingerprint of the data.
    pub fingerprint: String,
}

fn named(params: &[Param], values: &[Vec<f32>], prefix: &str) -> Tensors {
    params
        .iter()
        .zip(values)
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
        let text = json!({
            "step": state.step, "tokens": state.tokens, "fingerprint": state.fingerprint,
            "version": env!("CARGO_PKG_VERSION"),
        });
        atomic::write(&partial.join("state.json"), text.to_string().as_bytes())?;
        atomic::write(&partial.join("DONE"), b"")?;
        let _ = fs::remove_dir_all(&last);
        fs::rename(&partial, &last).map_err(at_path("write", &last))
    })();
    if written.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    written
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

/// Reads the newest checkpoint of a run.
pub fn newest(run: &Path, params: &[Param]) -> Result<(State, Numbers), Failure> {
    let all = list(run);
    let Some(folder) = all.last() else {
        return Err(Failure::World(format!(
            "{} holds no complete checkpoint to go on from",
            run.display()
        )));
    };
    let state = read_state(folder)?;
    let values = read_model(folder, params)?;
    let both = tensors::read(&folder.join("optimizer.safetensors"))?;
    let moments = Moments {
        first: pick(&both, params, "first.", folder)?,
        second: pick(&both, params, "second.", folder)?,
    };
    Ok((state, Numbers { params: values, moments }))
}

/// The parameters of one checkpoint.
pub fn read_model(folder: &Path, params: &[Param]) -> Result<Vec<Vec<f32>>, Failure> {
    let tensors = tensors::read(&folder.join("model.safetensors"))?;
    pick(&tensors, params, "", folder)
}

fn read_state(folder: &Path) -> Result<State, Failure> {
    let path = folder.join("state.json");
    let bytes = fs::read(&path).map_err(at_path("read", &path))?;
    let parsed: Option<State> =
        serde_json::from_slice::<serde_json::Value>(&bytes).ok().and_then(|v| {
            Some(State {
                step: v.get("step")?.as_u64()?,
                tokens: v.get("tokens")?.as_u64()?,
                fingerprint: v.get("fingerprint")?.as_str()?.to_string(),
            })
        });
    parsed.ok_or_else(|| {
        Failure::invalid("E0307", format!("{} is not a sound checkpoint state", path.display()))
    })
}

fn pick(
    tensors: &Tensors,
    params: &[Param],
    prefix: &str,
    folder: &Path,
) -> Result<Vec<Vec<f32>>, Failure> {
    params
        .iter()
        .map(|param| {
            let name = format!("{prefix}{}", param.name);
            match tensors.get(&name) {
                Some(Tensor { shape, data: Data::F32(values) }) if *shape == param.shape => {
                    Ok(values.clone())
                }
                Some(other) => Err(Failure::invalid(
                    "E0307",
                    format!(
                        "{}: `{name}` has shape {:?}, the model needs {:?}",
                        folder.display(),
                        other.shape,
                        param.shape
                    ),
                )),
                None => Err(Failure::invalid(
                    "E0307",
                    format!(
                        "{}: `{name}` is missing: the checkpoint is of another model",
                        folder.display()
                    ),
                )),
            }
        })
        .collect()
}
