//! What tests of the binary share.

#![allow(dead_code, reason = "each test file uses some of it")]

pub mod small;
pub mod study;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs the binary in the project's folder.
pub fn lrc(args: &[&str]) -> Output {
    let root = env!("CARGO_MANIFEST_DIR");
    Command::new(env!("CARGO_BIN_EXE_lrc")).args(args).current_dir(root).output().unwrap()
}

/// What it wrote to stderr.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A path as an argument.
pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An empty folder for a test.
pub fn empty(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The Python that has transformers.
pub fn python() -> PathBuf {
    let [python, _] = environment();
    python
}

/// That Python, and the folder of what lm-evaluation-harness wants beside.
pub fn environment() -> [PathBuf; 2] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/venv");
    let mut make = Command::new(root.join("make.sh"));
    let made = make.args([root.join("torch.txt"), root.join("harness.txt")]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = String::from_utf8(made.stdout).unwrap();
    let mut lines = said.lines();
    [Path::new(lines.next().unwrap()).join("bin/python"), lines.next().unwrap().into()]
}
