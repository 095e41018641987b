//! Trials in a file, a line of JSON each: appended whole, by any number of processes, never changed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::device::tuned::{Place, Work};
use crate::ground::bounded;
use crate::ground::error::{Failure, at_path};

/// What was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The recurrence and its sizes, for people.
    pub kernel: String,
    /// The recurrence, by what it computes.
    pub fingerprint: String,
    /// For which work.
    pub work: Work,
    /// The choice, by its text.
    pub choice: String,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Sequences, tokens of each, heads.
    pub shape: [usize; 3],
    /// Whether it was measured, or estimated by a model.
    pub how: How,
    /// Where in the search.
    pub round: Round,
    /// Median of its times in seconds; nothing where it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Half of what lies between the quartiles of its times, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
    /// Largest difference from the truth, token by token in f64, as a part of the largest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How a time came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// By a clock.
    Measured,
    /// By the sim device's counts and a table of costs.
    Modelled,
}

/// Where in a search a trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Round {
    /// All choices, one after the other.
    First,
    /// The best ones and the usual one, in turns.
    Turns,
    /// The one that won.
    Won,
}

/// A file of trials.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
}

/// Bytes of a journal at most.
const MOST_BYTES: u64 = 1 << 30;

impl Journal {
    /// A file that need not be there yet.
    pub fn at(path: PathBuf) -> Journal {
        Journal { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All trials that can be read, and how many lines cannot: the last one where a process was killed while it
    /// wrote, or lines of later versions.
    pub fn read(&self) -> Result<(Vec<Trial>, usize), Failure> {
        if !self.path.exists() {
            return Ok((vec![], 0));
        }
        let text = bounded::text(&self.path, MOST_BYTES)?;
        let (mut trials, mut unread) = (vec![], 0);
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match serde_json::from_str(line) {
                Ok(trial) => trials.push(trial),
                Err(_) => unread += 1,
            }
        }
        Ok((trials, unread))
    }

    /// Adds a line. Processes wait for each other; a torn line before it stays a line of its own.
    pub fn add(&self, trial: &Trial) -> Result<(), Failure> {
        let failed = || at_path("write", &self.path);
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(at_path("make", folder))?;
        }
        let open = File::options().read(true).append(true).create(true).open(&self.path);
        let mut file = open.map_err(failed())?;
        file.lock().map_err(failed())?;
        let line = serde_json::to_string(trial)
            .map_err(|why| Failure::World(format!("a trial cannot be written: {why}")))?;
        let before = if torn(&mut file).map_err(failed())? { "\n" } else { "" };
        file.write_all(format!("{before}{line}\n").as_bytes()).map_err(failed())
    }
}

/// Whether a file ends within a line.
fn torn(file: &mut File) -> std::io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}
