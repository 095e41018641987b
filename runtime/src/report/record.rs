//! What a run writes down: `metrics.jsonl`, `summary.json`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::tensorboard::Events;
use crate::ground::atomic;
use crate::ground::error::{Failure, at_path};
use crate::model::measure::Measured;
use crate::monitor::Event;

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

/// One optimiser step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Mean cross-entropy of the batch, in nats; null where it was no number.
    #[serde(deserialize_with = "maybe")]
    pub loss: f64,
    /// What the model's mixers add to it in training, where they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auxiliary: Option<f64>,
    /// Learning rate of the step.
    pub lr: f64,
    /// Norm of the whole gradient before clipping; null where it was no number.
    #[serde(deserialize_with = "maybe")]
    pub grad_norm: f64,
    /// Tokens of a sequence.
    pub seq_len: usize,
    /// Share of asked tokens that were right in the batch.
    pub accuracy: f64,
    /// The batch was left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// Since this process started.
    pub tokens_per_second: f64,
}

/// JSON writes null for what is no number.
fn maybe<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
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

/// Measures of layers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Layers {
    /// Steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Measures by layer and name.
    pub layers: Measured,
}

/// Something that happened, and what was done about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Happened {
    /// Steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// What.
    pub event: Event,
}

/// Everything that a run has written.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Steps.
    pub lines: Vec<Line>,
    /// Evaluations.
    pub evals: Vec<Eval>,
    /// Measures of layers.
    pub layers: Vec<Layers>,
    /// Events.
    pub events: Vec<Happened>,
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
    /// How many processes trained, where there were several.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub processes: Option<usize>,
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
    /// Operations a second that the model needed, by the published formulas and the graph: three times those of the forward
    /// pass, and nothing for what is computed again. Of this process, without its evaluations.
    #[serde(default)]
    pub model_flops_per_second: f64,
    /// That as a share of what dense products reach (MFU): what a GPU's data sheet states for bf16, what was measured on the
    /// processor. Nothing where neither is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub utilisation: Option<f64>,
    /// The checkpoints that the run was branched off.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lineage: Vec<Lineage>,
    /// Whether the run came to its end; else it was stopped, and can go on.
    #[serde(default)]
    pub finished: bool,
}

impl Summary {
    /// What a run's folder holds, where it holds a sound one.
    pub fn of(folder: &Path) -> Option<Summary> {
        serde_json::from_slice(&fs::read(folder.join("summary.json")).ok()?).ok()
    }
}

/// The open record of a run.
#[derive(Default)]
pub struct Record {
    file: Option<BufWriter<File>>,
    path: PathBuf,
    lines: u64,
    last: Option<f64>,
    evals: Evals,
    events: Option<Events>,
    log: Option<File>,
}

impl Record {
    /// Starts a record.
    pub fn create(folder: &Path) -> Result<Record, Failure> {
        let path = folder.join("metrics.jsonl");
        let file = File::create(&path).map_err(at_path("write", &path))?;
        let mut record = Record { file: Some(BufWriter::new(file)), path, ..Record::default() };
        record.others(folder)?;
        Ok(record)
    }

    /// Opens what people and other programs read besides.
    fn others(&mut self, folder: &Path) -> Result<(), Failure> {
        let log = folder.join("log.txt");
        let file = File::options().create(true).append(true).open(&log);
        self.log = Some(file.map_err(at_path("write", &log))?);
        self.events = Some(Events::create(folder)?);
        Ok(())
    }

    /// Writes a line of the log.
    pub fn log(&mut self, text: &str) -> Result<(), Failure> {
        match &mut self.log {
            Some(log) => writeln!(log, "{text}")
                .map_err(at_path("write", &self.path.with_file_name("log.txt"))),
            None => Ok(()),
        }
    }

    /// Goes on with a record: only its first `lines` lines are kept, those before the checkpoint. Also gives how many of
    /// these are lost: behind a line that is damaged nothing is known.
    pub fn resume(folder: &Path, lines: u64) -> Result<(Record, u64), Failure> {
        let path = folder.join("metrics.jsonl");
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => vec![],
            other => other.map_err(at_path("read", &path))?,
        };
        let mut record = Record { path: path.clone(), ..Record::default() };
        let mut kept = String::new();
        for line in String::from_utf8_lossy(&bytes).lines().take(lines as usize) {
            let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { break };
            kept.push_str(line);
            kept.push('\n');
            record.lines += 1;
            if let Ok(eval) = serde_json::from_value::<Eval>(value.clone()) {
                record.see(&eval);
            } else if let Some(loss) = value.get("loss").and_then(serde_json::Value::as_f64) {
                record.last = Some(loss);
            }
        }
        atomic::write(&path, kept.as_bytes())?;
        let file = File::options().append(true).open(&path).map_err(at_path("write", &path))?;
        record.file = Some(BufWriter::new(file));
        record.others(folder)?;
        record.log(&format!("goes on behind line {} of metrics.jsonl", record.lines))?;
        let lost = lines - record.lines;
        Ok((record, lost))
    }

    /// Lines so far.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    fn see(&mut self, eval: &Eval) {
        for (task, metrics) in &eval.eval {
            self.evals.insert(task.clone(), metrics.clone());
        }
    }

    /// Newest metrics of the evaluations so far.
    pub fn known(&self) -> Evals {
        self.evals.clone()
    }

    /// Loss of the last step.
    pub fn last_loss(&self) -> Option<f64> {
        self.last
    }

    /// Adds a step.
    pub fn line(&mut self, line: &Line) -> Result<(), Failure> {
        self.last = Some(line.loss);
        let scalars = [
            ("train/loss", line.loss),
            ("train/accuracy", line.accuracy),
            ("train/lr", line.lr),
            ("train/grad_norm", line.grad_norm),
            ("train/seq_len", line.seq_len as f64),
            ("train/tokens_per_second", line.tokens_per_second),
            ("train/tokens", line.tokens as f64),
        ];
        self.scalars(line.step, scalars.iter().map(|(name, x)| ((*name).to_string(), *x)))?;
        self.put(line)
    }

    /// Adds an evaluation.
    pub fn eval(&mut self, eval: &Eval) -> Result<(), Failure> {
        let each = eval.eval.iter().flat_map(|(set, metrics)| {
            metrics.iter().map(move |(metric, x)| (format!("eval/{set}/{metric}"), *x))
        });
        self.scalars(eval.step, each)?;
        self.put(eval)?;
        self.flush()
    }

    /// Adds measures of layers.
    pub fn layers(&mut self, layers: &Layers) -> Result<(), Failure> {
        let each = layers.layers.iter().flat_map(|(layer, measures)| {
            measures.iter().map(move |(measure, x)| (format!("{measure}/{layer}"), *x))
        });
        self.scalars(layers.step, each)?;
        self.put(layers)
    }

    fn scalars(
        &mut self,
        step: u64,
        scalars: impl Iterator<Item = (String, f64)>,
    ) -> Result<(), Failure> {
        match &mut self.events {
            Some(events) => events.scalars(step, &scalars.collect::<Vec<_>>()),
            None => Ok(()),
        }
    }

    /// Adds something else.
    pub fn put(&mut self, what: &impl Serialize) -> Result<(), Failure> {
        self.lines += 1;
        let text = serde_json::to_string(what).map_err(|e| Failure::World(e.to_string()))?;
        let path = self.path.clone();
        match &mut self.file {
            Some(file) => writeln!(file, "{text}").map_err(at_path("write", &path)),
            None => Ok(()),
        }
    }

    /// Hands everything to the system.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if let Some(events) = &mut self.events {
            events.flush()?;
        }
        let path = self.path.clone();
        match &mut self.file {
            Some(file) => file.flush().map_err(at_path("write", &path)),
            None => Ok(()),
        }
    }

    /// Hands everything to the system, and its lines to the disk: a checkpoint counts on them.
    pub fn sync(&mut self) -> Result<(), Failure> {
        self.flush()?;
        match &self.file {
            Some(file) => file.get_ref().sync_all().map_err(at_path("write", &self.path)),
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

/// What a run has written.
pub fn read(folder: &Path) -> Result<Written, Failure> {
    let path = folder.join("metrics.jsonl");
    let text = fs::read_to_string(&path).map_err(at_path("read", &path))?;
    let mut written = Written::default();
    for line in text.lines() {
        let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let has = |name: &str| value.get(name).is_some();
        if has("eval") {
            written.evals.extend(serde_json::from_value(value));
        } else if has("layers") {
            written.layers.extend(serde_json::from_value(value));
        } else if has("event") {
            written.events.extend(serde_json::from_value(value));
        } else {
            written.lines.extend(serde_json::from_value(value));
        }
    }
    Ok(written)
}
