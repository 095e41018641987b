//! Checkpoints: whole or not there. A folder gets its last name only when everything in it is on the disk, and `DONE` is the
//! last file in it. `DONE` holds a checksum of every other file, and what is read is compared with it: a bit that flipped on
//! the disk is no other model.

use std::fs;
use std::path::{Path, PathBuf};

use lrc_compiler::graph::Param;
use lrc_compiler::tile::size;
use lrc_dsl::Diag;
use serde::{Deserialize, Serialize};

use super::engine::Numbers;
use crate::ground::atomic;
use crate::ground::error::{Failure, at_path};
use crate::ground::tensors::{self, Data, Tensor, Tensors};
use crate::ground::terminal::tell;
use crate::monitor::Memory;
use crate::optim::Moments;
use crate::report::record::Lineage;
use crate::schedule::levels::Stage;
use crate::schedule::run::MOST_STEPS;

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
    /// Segments of steps `[from, to)` that were run; with the spec, the position in the data. More
    /// than one where the run was rolled back.
    #[serde(default, rename = "stretches")]
    pub segments: Vec<[u64; 2]>,
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
    /// Whether `DONE` was written with checksums: an empty one beside it is damaged, not old.
    #[serde(default)]
    pub checksums: bool,
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

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
/// Its last file: without it a folder is no checkpoint.
pub const DONE: &str = "DONE";

/// Writes a checkpoint.
pub fn save(run: &Path, state: &State, params: &[Param], numbers: &Numbers) -> Result<(), Failure> {
    let Numbers { params: values, moments } = numbers;
    let folder = run.join("checkpoints");
    let last = folder.join(format!("step-{:08}", state.step));
    if last.join(DONE).exists() {
        return Ok(());
    }
    let partial = folder.join(format!(".step-{:08}.partial", state.step));
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(at_path("make", &partial))?;
    let written = (|| {
        let mut both = named(params, &moments.first, "first.");
        both.extend(named(params, &moments.second, "second."));
        let files = [
            (MODEL, tensors::serialise(&named(params, values, ""))?),
            (OPTIMIZER, tensors::serialise(&both)?),
            (STATE, text(state, true)?),
        ];
        let mut sums = Vec::new();
        for (name, bytes) in &files {
            atomic::write(&partial.join(name), bytes)?;
            sums.push((sum(bytes), (*name).to_string()));
        }
        write_sums(&partial, &sums)?;
        let _ = fs::remove_dir_all(&last);
        fs::rename(&partial, &last).map_err(at_path("write", &last))
    })();
    if written.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    written
}

fn text(state: &State, checksums: bool) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(&State { checksums, ..state.clone() })
        .map_err(|e| Failure::World(e.to_string()))
}

fn sum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// As `b3sum` writes them, so that `b3sum --check DONE` reads them.
fn write_sums(folder: &Path, sums: &[(String, String)]) -> Result<(), Failure> {
    let lines: String = sums.iter().map(|(sum, name)| format!("{sum}  {name}\n")).collect();
    atomic::write(&folder.join(DONE), lines.as_bytes())
}

/// The step of a checkpoint's folder: `step-` and digits, nothing else.
fn step(folder: &Path) -> Option<u64> {
    let digits = folder.file_name()?.to_str()?.strip_prefix("step-")?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// Complete checkpoints of a run with their steps, oldest first.
pub fn list(run: &Path) -> Vec<(u64, PathBuf)> {
    beside(&run.join("checkpoints"))
}

fn beside(folder: &Path) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.join(DONE).exists())
        .filter_map(|path| Some((step(&path)?, path)))
        .collect();
    found.sort();
    found
}

/// Removes all but the newest checkpoints.
pub fn prune(run: &Path, keep: usize) -> Result<(), Failure> {
    let all = list(run);
    for (_, old) in &all[..all.len().saturating_sub(keep)] {
        remove(old)?;
    }
    Ok(())
}

/// Removes the checkpoints behind a step: those of a past that did not happen.
pub fn remove_behind(run: &Path, step: u64) -> Result<(), Failure> {
    list(run).iter().filter(|(at, _)| *at > step).try_for_each(|(_, folder)| remove(folder))
}

fn remove(folder: &Path) -> Result<(), Failure> {
    fs::remove_dir_all(folder).map_err(at_path("remove", folder))
}

/// A complete checkpoint, to be read.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    /// Checksums and the files they are of; nothing where an earlier version wrote the checkpoint. A file that is named twice
    /// has one of two contents.
    sums: Vec<(String, String)>,
}

impl Checkpoint {
    /// The checkpoint of a run after `step` steps, or its newest one.
    pub fn of(run: &Path, step: Option<u64>) -> Result<Checkpoint, Failure> {
        let mut all = list(run);
        let Some(step) = step else {
            let newest = all.pop().ok_or_else(|| {
                Failure::World(format!(
                    "{} holds no complete checkpoint to go on from",
                    run.display()
                ))
            })?;
            return Checkpoint::open(&newest.1);
        };
        match all.iter().find(|(at, _)| *at == step) {
            Some((_, folder)) => Checkpoint::open(folder),
            None => {
                let has: Vec<String> = all.iter().map(|(at, _)| at.to_string()).collect();
                let has = if has.is_empty() { "none".into() } else { has.join(", ") };
                let run = run.display();
                Err(Failure::Usage(format!(
                    "--from-step {step}: {run} holds no complete checkpoint of it; steps of its checkpoints: {has}"
                )))
            }
        }
    }

    /// The checkpoint in a folder.
    pub fn open(folder: &Path) -> Result<Checkpoint, Failure> {
        let path = folder.join(DONE);
        if !path.exists() {
            return Err(Failure::World(format!(
                "{} is no complete checkpoint: expected a folder such as RUN/checkpoints/step-00002000",
                folder.display()
            )));
        }
        let text = fs::read(&path).map_err(at_path("read", &path))?;
        let mut found = Checkpoint { folder: folder.to_path_buf(), sums: vec![] };
        if text.is_empty() {
            let state: Option<State> =
                fs::read(folder.join(STATE)).ok().and_then(|b| serde_json::from_slice(&b).ok());
            if state.is_some_and(|state| state.checksums) {
                return Err(found.damaged(DONE, "it is empty, and was written with checksums"));
            }
            tell!("{} carries no checksums: an earlier version wrote it", folder.display());
            return Ok(found);
        }
        for line in String::from_utf8_lossy(&text).lines() {
            let Some((sum, name)) = line.split_once("  ") else {
                return Err(found.damaged(DONE, "it does not hold checksums"));
            };
            found.sums.push((sum.to_string(), name.to_string()));
        }
        Ok(found)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The bytes of a file, as they were written.
    fn bytes(&self, name: &str) -> Result<Vec<u8>, Failure> {
        let path = self.folder.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(self.damaged(name, "it is missing"));
            }
            Err(error) => return Err(at_path("read", &path)(error)),
        };
        let sum = sum(&bytes);
        if self.sums.is_empty() || self.sums.iter().any(|known| known.0 == sum && known.1 == name) {
            return Ok(bytes);
        }
        Err(self
            .damaged(name, "its bytes are not those that were written (their checksum differs)"))
    }

    fn tensors(&self, name: &str) -> Result<Tensors, Failure> {
        let parsed = tensors::parse(&self.bytes(name)?);
        parsed.map_err(|why| {
            self.damaged(name, &format!("it is not a sound safetensors file: {why}"))
        })
    }

    /// Says that a file is not as it was written, and which older checkpoint is.
    fn damaged(&self, name: &str, why: &str) -> Failure {
        let path = self.folder.join(name);
        let diag = Diag::global("E0307", format!("{} is damaged: {why}", path.display()));
        Failure::Invalid(vec![match self.sound_before() {
            Some((step, folder)) => diag.help(format!(
                "{} is sound: `train --resume`, `eval`, `generate` and `diagnose` take it with `--from-step {step}`",
                folder.display()
            )),
            None => diag.help(match self.unproven_before() {
                Some(step) => format!(
                    "of the older checkpoints beside it none is known to be sound; that of step {step} carries no \
                     checksums, and `--from-step {step}` takes it as it is"
                ),
                None => "no older checkpoint beside it is sound".into(),
            }),
        }])
    }

    /// The step of the newest checkpoint before this one that an earlier version wrote.
    fn unproven_before(&self) -> Option<u64> {
        let (own, run) = (step(&self.folder)?, self.folder.parent()?);
        let unproven =
            |folder: &Path| fs::metadata(folder.join(DONE)).is_ok_and(|about| about.len() == 0);
        let older = beside(run).into_iter().rev();
        older.filter(|(at, _)| *at < own).find(|(_, folder)| unproven(folder)).map(|(at, _)| at)
    }

    /// The newest checkpoint before this one all of whose files are as they were written.
    fn sound_before(&self) -> Option<(u64, PathBuf)> {
        let (own, run) = (step(&self.folder)?, self.folder.parent()?);
        let sound = |folder: &Path| {
            let text = fs::read_to_string(folder.join(DONE)).unwrap_or_default();
            let lines: Vec<(&str, &str)> =
                text.lines().filter_map(|l| l.split_once("  ")).collect();
            [MODEL, OPTIMIZER, STATE].iter().all(|name| {
                fs::read(folder.join(name)).is_ok_and(|bytes| {
                    let sum = sum(&bytes);
                    lines.iter().any(|known| known.0 == sum && known.1 == *name)
                })
            })
        };
        beside(run).into_iter().rev().find(|(step, folder)| *step < own && sound(folder))
    }

    /// Where the run stood that wrote it.
    pub fn state(&self) -> Result<State, Failure> {
        let state: State = serde_json::from_slice(&self.bytes(STATE)?)
            .map_err(|why| self.damaged(STATE, &format!("it is no state of a run: {why}")))?;
        match state.wrong() {
            Some(why) => Err(self.damaged(STATE, &why)),
            None => Ok(state),
        }
    }

    /// All weights, whatever model they are of.
    pub fn weights(&self) -> Result<Tensors, Failure> {
        self.tensors(MODEL)
    }

    /// The parameters.
    pub fn model(&self, params: &[Param]) -> Result<Vec<Vec<f32>>, Failure> {
        pick(&self.tensors(MODEL)?, params, "", &self.folder)
    }

    /// A fingerprint of the parameters.
    pub fn fingerprint(&self) -> Result<String, Failure> {
        Ok(crate::data::shards::fingerprint(&self.bytes(MODEL)?))
    }

    /// Everything; `remembered` says which running means each parameter has. Those of parameters that were frozen until here
    /// begin at 0.
    pub fn read(
        &self,
        params: &[Param],
        remembered: &[[bool; 2]],
    ) -> Result<(State, Numbers), Failure> {
        let state = self.state()?;
        let values = self.model(params)?;
        let both = self.tensors(OPTIMIZER)?;
        // Every rule keeps the first mean of what it updates.
        let frozen = |param: &Param| {
            !both.is_empty() && !both.contains_key(&format!("first.{}", param.name))
        };
        let mean = |which: usize, prefix: &str| {
            let each = params.iter().zip(remembered);
            let means = each.map(|(param, has)| match has[which] {
                true if frozen(param) => Ok(vec![0.0; size(&param.shape)]),
                true => pick_one(&both, param, prefix, &self.folder),
                false => Ok(vec![]),
            });
            means.collect::<Result<Vec<Vec<f32>>, Failure>>()
        };
        let thawed = params.iter().zip(remembered).filter(|(param, has)| has[0] && frozen(param));
        let thawed = thawed.count();
        if thawed > 0 {
            tell!(
                "{}: {thawed} parameters were frozen until here, and are not any more",
                self.folder.display()
            );
        }
        let moments = Moments { first: mean(0, "first.")?, second: mean(1, "second.")? };
        Ok((state, Numbers { params: values, moments }))
    }

    /// Writes where a run stands into it anew. Whenever this is interrupted, the state that is there has its checksum.
    pub fn write_state(&mut self, state: &State) -> Result<(), Failure> {
        let bytes = text(state, !self.sums.is_empty())?;
        let path = self.folder.join(STATE);
        if !self.sums.is_empty() {
            self.sums.push((sum(&bytes), STATE.to_string()));
            write_sums(&self.folder, &self.sums)?;
        }
        atomic::write(&path, &bytes)?;
        if !self.sums.is_empty() {
            let new = self.sums.pop();
            self.sums.retain(|(_, name)| name != STATE);
            self.sums.extend(new);
            write_sums(&self.folder, &self.sums)?;
        }
        Ok(())
    }
}

impl State {
    /// What contradicts itself in it.
    fn wrong(&self) -> Option<String> {
        let (mut end, mut all) = (0, 0_u64);
        for [from, to] in &self.segments {
            // A segment begins where the one before ended, or where the run was rolled back to.
            if from > to || *from > end || *to > MOST_STEPS {
                return Some(format!("its stretch of steps {from} to {to} cannot be"));
            }
            (end, all) = (*to, all + (to - from));
        }
        (end != self.step).then(|| {
            format!("it is of step {}, and its segments of {all} steps end at {end}", self.step)
        })
    }
}

/// The parameters of a run's checkpoint after `step` steps, or of its newest one.
pub fn parameters(
    run: &Path,
    step: Option<u64>,
    params: &[Param],
) -> Result<Vec<Vec<f32>>, Failure> {
    Checkpoint::of(run, step)?.model(params)
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
