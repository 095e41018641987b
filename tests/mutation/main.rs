//! Shipped texts with words and lines changed, through the commands that read them, as processes under limits of memory and
//! time: no panic, abort or signal, no hang, no undocumented status, no silence; and what `check` accepts, no other command
//! refuses.
//!
//! `LRC_MUTATION_SECONDS` says how long (180, and then at most 3200 mutants, so that every machine tries the same),
//! `LRC_MUTATION_SEED` what is drawn. A fault is kept under
//! `target/tmp/mutation` with the command that shows it.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "../common/mod.rs"]
mod common;
mod mutate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{empty, path};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const LRC: &str = env!("CARGO_BIN_EXE_lrc");

/// Limits of a command: kilobytes of address space, and seconds of a processor, which do not depend on what else runs.
const MEMORY: u64 = 4 << 20;
const SECONDS: u64 = 10;

/// Mutants that are tried where nobody asks for more.
const MOST: u64 = 3200;

/// Statuses that a command may end with, beside 0: usage, an invalid file, memory.
const REFUSALS: [i32; 3] = [2, 3, 5];

/// How the reason begins why a file that is not there ends a command with status 1.
const UNREADABLE: &str = "error: cannot read ";

/// What a command said.
struct Said {
    status: Option<i32>,
    err: String,
}

fn run(args: &[&str]) -> Said {
    let script = format!("ulimit -v {MEMORY} -t {SECONDS}; exec \"$0\" \"$@\"");
    let output = Command::new("bash")
        .args(["-c", &script, LRC])
        .args(args)
        .current_dir(ROOT)
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .unwrap();
    Said { status: output.status.code(), err: common::said(&output) }
}

/// What is wrong with how a command ended, if anything; `accepted` says that `check` had nothing against the file.
fn wrong(command: &str, said: &Said, accepted: bool) -> Option<String> {
    let Some(status) = said.status else {
        return Some("ended by a signal: a hang, an abort, or too much memory".into());
    };
    if said.err.contains("panicked at") || said.err.contains("stack overflow") {
        return Some("panicked".into());
    }
    if status == 0 {
        return None;
    }
    if said.err.trim().is_empty() {
        return Some(format!("status {status} without a word"));
    }
    let unreadable = status == 1 && said.err.starts_with(UNREADABLE);
    if !unreadable && !REFUSALS.contains(&status) {
        return Some(format!("status {status}"));
    }
    // Numbers that are not finite are found by computing, kernels may be lacking, and 2 is about what was typed, such as
    // which of several models.
    let more = match command {
        "verify" => said.err.contains("not finite"),
        "compile" => said.err.contains("error[E0501]"),
        _ => false,
    };
    (accepted && !more && status == 3).then(|| "`check` accepts what is refused here".into())
}

/// Counts and faults of all threads.
#[derive(Default)]
struct Tally {
    /// By command: runs, and those with status 0.
    counts: BTreeMap<String, [u64; 2]>,
    faults: Vec<String>,
}

/// Copies the texts of a folder and those below it: mutants of specs lie beside them and name their models.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() && entry.file_name() != "data" {
            copy(&path, &to);
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "arch") {
            std::fs::copy(&path, to).unwrap();
        }
    }
}

/// The files below a folder with an ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Texts that mutants are made of, and how each is tried.
struct Corpus {
    name: &'static str,
    files: Vec<PathBuf>,
    texts: Vec<String>,
    /// Commands after `check`; `FILE` and `OUT` are replaced.
    commands: Vec<Vec<&'static str>>,
}

impl Corpus {
    fn new(name: &'static str, files: Vec<PathBuf>, commands: &[&[&'static str]]) -> Corpus {
        let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        let commands = commands.iter().map(|command| command.to_vec()).collect();
        Corpus { name, files, texts, commands }
    }

    /// Tries one mutant, and keeps it where something is wrong.
    fn try_one(&self, seed: u64, item: u64, folder: &Path, tally: &Mutex<Tally>) {
        let (at, text) = mutate::mutant(&self.texts, seed, item);
        let ending = self.files[at].extension().unwrap().to_string_lossy();
        let file = self.files[at].with_file_name(format!("{}-{seed}-{item}.{ending}", self.name));
        std::fs::write(&file, &text).unwrap();
        let out = folder.join(format!("out-{item}"));
        let check = run(&["check", path(&file)]);
        let accepted = check.status == Some(0);
        let mut ends = vec![("check", check)];
        // What `check` refuses, the others need not all refuse.
        let others = if accepted { self.commands.len() } else { 1 };
        for command in &self.commands[..others] {
            let args: Vec<&str> = command
                .iter()
                .map(|word| match *word {
                    "FILE" => path(&file),
                    "OUT" => path(&out),
                    word => word,
                })
                .collect();
            ends.push((command[0], run(&args)));
        }
        let mut faults = Vec::new();
        for (command, said) in &ends {
            let accepted = accepted && *command != "check";
            if let Some(why) = wrong(command, said, accepted) {
                let lines: Vec<&str> = said.err.lines().take(6).collect();
                faults.push(format!(
                    "lrc {command} {}: {why}\n{}",
                    file.display(),
                    lines.join("\n")
                ));
            }
        }
        let _ = std::fs::remove_dir_all(&out);
        if faults.is_empty() {
            std::fs::remove_file(&file).unwrap();
        }
        let mut tally = tally.lock().unwrap();
        for (command, said) in &ends {
            let count = tally.counts.entry(format!("{} {command}", self.name)).or_default();
            count[0] += 1;
            count[1] += u64::from(said.status == Some(0));
        }
        tally.faults.extend(faults);
    }
}

fn corpora(folder: &Path) -> Vec<Corpus> {
    for part in ["specs", "examples"] {
        copy(&Path::new(ROOT).join(part), &folder.join(part));
    }
    let files = |part: &str, ending| files(&folder.join(part), ending);
    let arch: &[&[&str]] = &[
        &["explain", "FILE"],
        &["compile", "FILE", "--emit", "plan", "--out", "OUT"],
        &["verify", "FILE"],
    ];
    let model: &[&[&str]] = &[
        &["explain", "FILE"],
        &["params", "FILE"],
        &["compile", "FILE", "--emit", "plan", "--out", "OUT"],
    ];
    let spec: &[&[&str]] = &[&["train", "FILE", "--dry-run"], &["data", "plan", "FILE"]];
    let specs = [files("specs", "yaml"), files("examples", "yaml")].concat();
    // Experiments are read by a command of their own.
    let specs = specs.into_iter().filter(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        !name.contains("experiment") && !name.contains("study")
    });
    vec![
        Corpus::new("recurrences", files("specs/recurrences", "arch"), arch),
        Corpus::new("mixers", files("specs/mixers", "arch"), &arch[..1]),
        Corpus::new("models", files("specs/models", "arch"), model),
        Corpus::new("specs", specs.collect(), spec),
    ]
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn mutants_are_met_with_words() {
    let folder = empty("mutation");
    let seed = setting("LRC_MUTATION_SEED", 1);
    let end = Instant::now() + Duration::from_secs(setting("LRC_MUTATION_SECONDS", 180));
    let corpora = corpora(&folder);
    let most = if std::env::var_os("LRC_MUTATION_SECONDS").is_some() { u64::MAX } else { MOST };
    let (tally, next) = (Mutex::new(Tally::default()), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                while Instant::now() < end {
                    let item = next.fetch_add(1, Ordering::Relaxed);
                    if item >= most {
                        break;
                    }
                    let corpus = &corpora[item as usize % corpora.len()];
                    corpus.try_one(seed, item, &folder, &tally);
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    let mut shares = format!("mutants, seed {seed}: of runs, those that end with status 0\n");
    let (mut tried, mut passed) = (0, 0);
    for (command, [runs, fine]) in &tally.counts {
        shares +=
            &format!("  {command:<20} {runs:>7} {:>5.1} %\n", 100.0 * *fine as f64 / *runs as f64);
        if command.ends_with(" check") && !command.starts_with("specs") {
            tried += runs;
            passed += fine;
        }
    }
    let share = passed as f64 / tried as f64;
    shares += &format!("  {:.1} % of the mutated .arch texts pass check\n", 100.0 * share);
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutation.txt"), &shares).unwrap();
    let faults = &tally.faults;
    assert!(faults.is_empty(), "{shares}{} faults\n{}", faults.len(), faults.join("\n\n"));
    assert!(share >= 0.4, "{shares}");
}
