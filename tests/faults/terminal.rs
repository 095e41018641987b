//! What reaches the terminal.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{empty, lrc, path, said};
use crate::input;

const LRC: &str = env!("CARGO_BIN_EXE_lrc");

/// A command of the project's folder.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(LRC);
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// R11: a result that cannot be written is a failure; a reader that has gone away is none.
#[test]
fn a_result_that_is_lost_is_a_failure() {
    let model = "specs/models/quickstart.arch";
    for args in
        [&["params", model][..], &["explain", "E0203"], &["doctor"], &["--help"], &["--version"]]
    {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command(args).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(said(&output).contains("cannot write to stdout"), "{args:?}: {}", said(&output));
        let mut child =
            command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
        assert_eq!(said(&output), "", "{args:?}");
    }
}

/// R3: nothing is lost because nobody reads what a run says.
#[test]
fn a_run_goes_on_where_stderr_is_gone() {
    let run = empty("faults-stderr");
    let spec = input("break/s.yaml");
    let sizes = [
        "--set",
        "length=6 steps",
        "--set",
        "eval.every=2 steps",
        "--set",
        "checkpoint.every=3 steps",
    ];
    let [whole, cut] = ["full", "closed"].map(|name| run.join(name));
    let args = [&["train", &spec, "--out", path(&whole)][..], &sizes].concat();
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(command(&args).stderr(full).status().unwrap().code(), Some(0));
    let args = [&["train", &spec, "--out", path(&cut)][..], &sizes].concat();
    let mut child = command(&args).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    for name in ["full", "closed"] {
        assert!(run.join(name).join("checkpoints/step-00000006/DONE").exists(), "{name}");
    }
    // A failure keeps its status.
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(command(&["check", "nowhere.arch"]).stderr(full).status().unwrap().code(), Some(1));
}

/// R9: too little memory for the stack is said.
#[test]
fn no_room_for_the_stack_is_said() {
    let limited = format!("ulimit -v 400000; exec {LRC} doctor");
    let output = Command::new("bash").args(["-c", &limited]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("cannot reserve 512 MiB of stack"), "{}", said(&output));
    let limited = format!("ulimit -v 400000; exec {LRC} --version");
    let output = Command::new("bash").args(["-c", &limited]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

/// Everything that a command wrote, as text.
fn all(args: &[&str]) -> String {
    let output = lrc(args);
    String::from_utf8_lossy(&output.stdout).into_owned() + &said(&output)
}

/// S4: names and comments of strangers do nothing to a terminal.
#[test]
fn control_characters_are_written_out() {
    const TITLE: &str = "\u{1b}]0;pwned\u{7}";
    let folder = empty("faults-escape");
    let arch = folder.join(format!("{TITLE}.arch"));
    std::fs::write(&arch, "recurrence r { in x : [d]; out o = y }").unwrap();
    let spec = folder.join("spec.yaml");
    std::fs::write(
        &spec,
        "model: {file: \"\\e[31m.arch\"}\ntask: {mqar: {vocab: 64, length: 32, pairs: 4}}\n",
    )
    .unwrap();
    let tensors = folder.join("in.safetensors");
    let header =
        r#"{"\u001b[2J\u001b]0;pwned\u0007":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&[0; 4]);
    std::fs::write(&tensors, bytes).unwrap();
    let recurrence = "specs/recurrences/linear_attn.arch";
    let out = folder.join("out.safetensors");
    let exec = ["exec", recurrence, "linear_attn", "--inputs", path(&tensors), "--out", path(&out)];
    let turned = folder.join("turned.arch");
    std::fs::write(&turned, "recurrence r { in x : [d]; out o = \"\u{202e}\" }").unwrap();
    for args in [
        &["explain", &input("break/escape_doc.arch")][..],
        &["check", path(&arch)],
        &["check", path(&spec)],
        &["check", path(&turned)],
        &["train", "specs/quickstart.yaml", "--dry-run", "--set", TITLE],
        &["train", "specs/quickstart.yaml", "--dry-run", "--set", &format!("{TITLE}=1")],
        &["check", TITLE, TITLE, TITLE],
        &exec,
    ] {
        let text = all(args);
        assert!(!text.is_empty(), "{args:?}");
        let odd =
            text.chars().find(|c| (c.is_control() && *c != '\n' && *c != '\t') || *c == '\u{202e}');
        assert_eq!(odd, None, "{args:?}: {text:?}");
    }
    assert!(Path::new(&arch).exists());
}
