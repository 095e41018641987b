//! What a run writes down: `metrics.jsonl`, `summary.json`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checkpoint::Lineage;
use crate::atomic;
use crate::error::{Failure, at_path};

/// One optimiser step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Mean cross-entropy of the batch, in nats.
    pub loss: f64,
    /// What the model's mixers add to it in training, where they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auxiliary: Option<f64>,
    /// Learning rate of the step.
    pub lr: f64,
    /// Norm of the whole gradient before clipping.
    pub grad_norm: f64,
    /// Tokens of a sequence.
    pub seq_len: usize,
    /// Share of asked tokens that were right in the batch.
    pub accuracy: f64,
    /// Since this process started.
    pub tokens_per_second: f64,
}

/// Metrics by task and name.
pub type Evals = BTreeMap<String, BTreeMap<String, f64>>;

/// One evaluation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Eval {
    /// Steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Metrics by task and name.
    pub eval: Evals,
}

/// What is left of a run at its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Steps done.
    pub steps: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Loss of the last step.
    pub final_loss: Option<f64>,
    /// Lowest loss of an evaluation.
    pub best_val_loss: Option<f64>,
    /// Metrics of the last evaluation.
    pub eval: Evals,
    /// Of this process.
    pub seconds: f64,
    /// Of this process.
    pub tokens_per_second: f64,
    /// Where it ran.
    pub device: String,
    /// Kernels that a step starts on a device, without dense products.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kernels_per_step: Option<u64>,
    /// Dense products that a step starts on a device.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub products_per_step: Option<u64>,
    /// The seed.
    pub seed: u64,
    /// How often each source of the data was gone through.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub epochs: BTreeMap<String, f64>,
    /// The checkpoints that the run was branched off.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lineage: Vec<Lineage>,
    /// Whether the run came to its end; else it was stopped, and can go on.
    #[serde(default)]
    pub finished: bool,
}

/// The open record of a run.
#[derive(Default)]
pub struct Record {
    file: Option<BufWriter<File>>,
    path: PathBuf,
    last: Option<f64>,
    best: Option<f64>,
    evals: Evals,
}

impl Record {
    /// Starts a record.
    pub fn create(folder: &Path) -> Result<Record, Failure> {
        let path = folder.join("metrics.jsonl");
        let file = File::create(&path).map_err(at_path("write", &path))?;
        Ok(Record { file: Some(BufWriter::new(file)), path, ..Record::default() })
    }

    /// Goes on with a record: lines after `step` are removed, so that each step appears once.
    pub fn resume(folder: &Path, step: u64) -> Result<Record, Failure> {
        let path = folder.join("metrics.jsonl");
        let text = fs::read_to_string(&path).map_err(at_path("read", &path))?;
        let mut record = Record { path: path.clone(), ..Record::default() };
        let mut kept = String::new();
        for line in text.lines() {
            let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { continue };
            if value.get("step").and_then(serde_json::Value::as_u64).is_none_or(|s| s > step) {
                continue;
            }
            kept.push_str(line);
            kept.push('\n');
            if let Ok(eval) = serde_json::from_value::<Eval>(value.clone()) {
                record.see(&eval);
            } else if let Some(loss) = value.get("loss").and_then(serde_json::Value::as_f64) {
                record.last = Some(loss);
            }
        }
        atomic::write(&path, kept.as_bytes())?;
        let file = File::options().append(true).open(&path).map_err(at_path("write", &path))?;
        record.file = Some(BufWriter::new(file));
        Ok(record)
    }

    fn see(&mut self, eval: &Eval) {
        for (task, metrics) in &eval.eval {
            if let Some(loss) = metrics.get("loss") {
                self.best = Some(self.best.map_or(*loss, |best| best.min(*loss)));
            }
            self.evals.insert(task.clone(), metrics.clone());
        }
    }

    /// Best loss and newest metrics of the evaluations so far.
    pub fn known(&self) -> (Option<f64>, Evals) {
        (self.best, self.evals.clone())
    }

    /// Loss of the last step.
    pub fn last_loss(&self) -> Option<f64> {
        self.last
    }

    /// Adds a step.
    pub fn line(&mut self, line: &Line) -> Result<(), Failure> {
        self.last = Some(line.loss);
        self.put(line)
    }

    /// Adds an evaluation.
    pub fn eval(&mut self, eval: &Eval) -> Result<(), Failure> {
        self.put(eval)?;
        self.flush()
    }

    fn put(&mut self, what: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(what).map_err(|e| Failure::World(e.to_string()))?;
        let path = self.path.clone();
        match &mut self.file {
            Some(file) => writeln!(file, "{text}").map_err(at_path("write", &path)),
            None => Ok(()),
        }
    }

    /// Hands everything to the system.
    pub fn flush(&mut self) -> Result<(), Failure> {
        let path = self.path.clone();
        match &mut self.file {
            Some(file) => file.flush().map_err(at_path("write", &path)),
            None => Ok(()),
        }
    }

    /// Writes the summary.
    pub fn finish(&mut self, folder: &Path, summary: &Summary) -> Result<(), Failure> {
        let text =
            serde_json::to_string_pretty(summary).map_err(|e| Failure::World(e.to_string()))?;
        atomic::write(&folder.join("summary.json"), text.as_bytes())
    }
}

/// Steps and evaluations of a run, as written.
pub fn read(folder: &Path) -> Result<(Vec<Line>, Vec<Eval>), Failure> {
    let path = folder.join("metrics.jsonl");
    let text = fs::read_to_string(&path).map_err(at_path("read", &path))?;
    let (mut lines, mut evals) = (Vec::new(), Vec::new());
    for line in text.lines() {
        if let Ok(eval) = serde_json::from_str(line) {
            evals.push(eval);
        } else if let Ok(step) = serde_json::from_str(line) {
            lines.push(step);
        }
    }
    Ok((lines, evals))
}
