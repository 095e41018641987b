//! Several processes train one model: the same training, however many there are.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lrc_dsl::Sources;
use lrc_runtime::config::open::{Opened, open};
use lrc_runtime::device::Device;
use lrc_runtime::parallel::threads::groups;
use lrc_runtime::train::{Options, train};

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("processes").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// Twelve steps of four parts each, with what is watched, asked and saved in between.
const SMALL: &[(&str, &str)] = &[
    ("batch", "8"),
    ("micro_batch", "128 tokens"),
    ("length", "12 steps"),
    ("eval.every", "4 steps"),
    ("eval.sequences", "24"),
    ("checkpoint.every", "3 steps"),
    ("monitor.every", "3 steps"),
];

/// A run by threads that stand for processes; by this one alone where there is one.
fn run(size: usize, out: &Path, more: &[(&str, &str)], options: impl Fn(&mut Options) + Sync) {
    run_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join(SPEC), size, out, more, options);
}

const SPEC: &str = "specs/quickstart.yaml";

fn run_of(
    spec: &Path,
    size: usize,
    out: &Path,
    more: &[(&str, &str)],
    options: impl Fn(&mut Options) + Sync,
) {
    let overrides: Vec<(String, String)> = SMALL
        .iter()
        .chain(more)
        .map(|(path, value)| ((*path).to_string(), (*value).to_string()))
        .collect();
    let one = |group| {
        let mut sources = Sources::default();
        let Opened { spec, model, arch, .. } = open(spec, &overrides, &mut sources).unwrap();
        let mut own = Options::of_many(out.to_path_buf(), Device::Cpu, false, "");
        own.group = group;
        options(&mut own);
        let done = train(&spec, model, &arch, &own);
        // The others would wait for it.
        if let Err(failure) = done {
            let _ = writeln!(std::io::stderr(), "{failure}");
            std::process::exit(1);
        }
    };
    if size == 1 {
        one(None);
        return;
    }
    let groups = groups(size).unwrap();
    std::thread::scope(|scope| {
        let one = &one;
        let all: Vec<_> = groups
            .into_iter()
            .map(|group| scope.spawn(move || one(Some(Arc::new(group)))))
            .collect();
        all.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// What a run leaves: its record without what the clock says, and the bytes of its last checkpoint's tensors.
fn left(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("tokens_per_second");
        value.to_string() + "\n"
    });
    let lines: String = lines.collect();
    assert!(lines.contains("layers") && lines.contains("eval"), "{lines}");
    let mut left = BTreeMap::from([("metrics.jsonl".to_string(), lines.into_bytes())]);
    // What is measured of the noise of gradients is among what the monitor remembers.
    let path = out.join("checkpoints/step-00000012/state.json");
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(state["monitor"]["noise"].is_array(), "{state}");
    left.insert("monitor".into(), state["monitor"].to_string().into_bytes());
    for name in ["model.safetensors", "optimizer.safetensors"] {
        let path = out.join("checkpoints/step-00000012").join(name);
        left.insert(name.into(), std::fs::read(path).unwrap());
    }
    left
}

fn assert_same(wanted: &BTreeMap<String, Vec<u8>>, found: &BTreeMap<String, Vec<u8>>, who: &str) {
    for (name, bytes) in wanted {
        if name.ends_with("jsonl") {
            let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert_eq!(lines(bytes), lines(&found[name]), "{who}: {name}");
        }
        assert!(*bytes == found[name], "{who}: {name} differs");
    }
}

/// The same for any optimiser; Muon needs whole matrices, and dropout draws by the part.
#[test]
fn training_is_the_same_to_the_bit_however_many_processes_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(SPEC)).unwrap();
    let model = root.join("specs/models/quickstart.arch");
    let text = text.replace("models/quickstart.arch", &model.display().to_string());
    let adamw = "adamw: {lr: 4e-3, weight_decay: 0.1, clip: 1.0}";
    for (optimizer, said, more) in [
        ("adamw", adamw, &[][..]),
        ("muon", "muon: {lr: 0.01, weight_decay: 0.1}", &[("dropout", "0.1")][..]),
        ("lora", adamw, &[("lora.rank", "3"), ("only", "lora, head")][..]),
    ] {
        let alone = folder(&format!("{optimizer}-1"));
        let spec = alone.with_extension("yaml");
        std::fs::create_dir_all(alone.parent().unwrap()).unwrap();
        assert!(text.contains(adamw));
        std::fs::write(&spec, text.replace(adamw, said)).unwrap();
        run_of(&spec, 1, &alone, more, |_| {});
        let wanted = left(&alone);
        for size in [2, 3, 4, 5] {
            let out = folder(&format!("{optimizer}-{size}"));
            run_of(&spec, size, &out, more, |_| {});
            assert_same(&wanted, &left(&out), &format!("{optimizer}, {size} processes"));
        }
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_processes() {
    let alone = folder("whole");
    run(1, &alone, &[], |_| {});
    let out = folder("other-numbers");
    for (size, steps) in [(4, Some(18 * 128)), (2, Some(30 * 128)), (1, Some(36 * 128)), (3, None)]
    {
        run(size, &out, &[], |options| options.pause = steps);
    }
    // Pauses ask the model besides: the steps and what they leave are compared.
    let steps = |out: &Path| -> Vec<String> {
        let left = left(out);
        let text = String::from_utf8_lossy(&left["metrics.jsonl"]).into_owned();
        text.lines().filter(|line| line.contains("grad_norm")).map(str::to_string).collect()
    };
    assert_eq!(steps(&alone), steps(&out));
    for name in ["model.safetensors", "optimizer.safetensors"] {
        assert!(left(&alone)[name] == left(&out)[name], "{name} differs");
    }
}

/// Devices add up by what stands for NCCL where there is no GPU.
#[test]
fn kernels_train_the_same_by_several_processes() {
    let short: &[(&str, &str)] = &[
        ("batch", "4"),
        ("length", "3 steps"),
        ("eval.every", "100 steps"),
        ("eval.sequences", "4"),
        ("checkpoint.every", "100 steps"),
    ];
    let losses = |size: usize, segments: &str| -> Vec<[f64; 2]> {
        let out = folder(&format!("sim-{size}-{segments}"));
        let short = [short, &[("segments", segments)]].concat();
        run(size, &out, &short, |options| options.device = Device::Sim);
        let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let lines =
            text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let steps = lines.filter(|line| line.get("grad_norm").is_some());
        steps.map(|line| ["loss", "grad_norm"].map(|name| line[name].as_f64().unwrap())).collect()
    };
    let alone = losses(1, "1");
    assert_eq!(alone.len(), 3);
    // A step has two parts: of three processes one has none.
    for size in [2, 3] {
        let several = losses(size, "1");
        assert_eq!(alone[0][0], several[0][0], "before the first update nothing differs");
        assert_eq!(alone.len(), several.len());
        for (one, other) in alone.iter().flatten().zip(several.iter().flatten()) {
            assert!((one - other).abs() < 1e-4 * one.abs(), "{size}: {alone:?} {several:?}");
        }
    }
    // Sequences over two.
    for (one, other) in alone.iter().flatten().zip(losses(2, "2").iter().flatten()) {
        assert!((one - other).abs() < 1e-2 * one.abs(), "{alone:?} {other}");
    }
}

/// By sockets, as `torchrun` starts processes: nothing but the environment says who they are.
#[test]
fn processes_meet_by_sockets_and_notice_who_ends() {
    let (alone, two) = (folder("tcp-1"), folder("tcp-2"));
    run(1, &alone, &[], |_| {});
    let start = |rank: usize, more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lrc"));
        command.args(["train", SPEC, "--resume", "--allow-changes", "--out"]).arg(&two);
        SMALL.iter().for_each(|(path, value)| {
            command.arg("--set").arg(format!("{path}={value}"));
        });
        command.args(more);
        command.env("RANK", rank.to_string()).env("WORLD_SIZE", "2");
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let all = [0, 1].map(|rank| start(rank, &[]));
    for child in all {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_same(&left(&alone), &left(&two), "two processes by sockets");
    // Longer now, and one of them ends.
    let [mut first, mut second] =
        [0, 1].map(|rank| start(rank, &["--set", "length=1000000 steps"]));
    let newest = || lrc_runtime::train::checkpoint::list(&two).last().map_or(0, |(step, _)| *step);
    while newest() < 15 {
        assert!(first.try_wait().unwrap().is_none(), "it ends before somebody ends it");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    second.kill().unwrap();
    second.wait().unwrap();
    let output = first.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("has ended, and training needs all of them"), "{said}");
    assert!(said.contains("the newest checkpoint is"), "{said}");
}

/// By processes that `mpirun` starts. `./test` installs it.
#[cfg(feature = "mpi")]
mod by_mpirun {
    use std::process::{Child, Command, Output, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    fn mpirun(size: usize, out: &Path, more: &[&str]) -> Command {
        let mut command = Command::new("mpirun");
        command
            .args(["--allow-run-as-root", "--oversubscribe", "-n", &size.to_string()])
            .arg(env!("CARGO_BIN_EXE_lrc"))
            .args(["train", "specs/quickstart.yaml"]);
        trains(command, out, more)
    }

    /// The script that starts several on one machine.
    fn script(size: usize, out: &Path, more: &[&str]) -> Command {
        let mut command = Command::new("examples/processes/mpirun.sh");
        command
            .env("LRC", env!("CARGO_BIN_EXE_lrc"))
            .env("MPIRUN_FLAGS", "--allow-run-as-root --oversubscribe")
            .args([&size.to_string(), "specs/quickstart.yaml"]);
        trains(command, out, more)
    }

    fn trains(mut command: Command, out: &Path, more: &[&str]) -> Command {
        command
            .arg("--out")
            .arg(out)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        SMALL.iter().for_each(|(path, value)| {
            command.arg("--set").arg(format!("{path}={value}"));
        });
        command.args(more);
        command
    }

    fn said(output: &Output) -> String {
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// A run that lasts until somebody ends it, once it has a checkpoint.
    fn endless(out: &Path, start: impl Fn(usize, &Path, &[&str]) -> Command) -> Child {
        let more = ["--set", "length=1000000 steps", "--set", "eval.every=1000000 steps"];
        let child = start(2, out, &more).spawn().unwrap();
        let begun = Instant::now();
        while lrc_runtime::train::checkpoint::list(out).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(120), "no checkpoint in two minutes");
            std::thread::sleep(Duration::from_millis(50));
        }
        child
    }

    /// The processes that write into a folder, without `mpirun` itself.
    fn workers(out: &Path) -> Vec<String> {
        let pattern = format!("^[^ ]*/lrc train.*{}", out.display());
        let found = Command::new("pgrep").args(["-f", &pattern]).output().unwrap();
        let text = String::from_utf8(found.stdout).unwrap();
        text.lines().map(str::to_string).collect()
    }

    fn send(signal: &str, process: &str) {
        assert!(Command::new("kill").args([signal, process]).status().unwrap().success());
    }

    #[test]
    fn two_processes_train_as_one_does() {
        let (alone, two) = (folder("mpi-1"), folder("mpi-2"));
        run(1, &alone, &[], |_| {});
        let output = mpirun(2, &two, &["--json"]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert_same(&left(&alone), &left(&two), "mpirun -n 2");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "one speaks for both: {text}");
        assert!(!two.join(".processes").exists(), "nothing of the meeting is left");
    }

    /// Three parts for two groups of two: in every second round two processes say nothing and hear nothing.
    #[test]
    fn four_processes_hold_sequences_by_twos() {
        let (alone, four) = (folder("mpi-segments-1"), folder("mpi-segments-4"));
        let more = [("micro_batch", "192 tokens"), ("batch", "9"), ("length", "3 steps")];
        run(1, &alone, &more, |_| {});
        let mut sets: Vec<String> = vec!["--set".into(), "segments=2".into()];
        for (path, value) in more {
            sets.extend(["--set".into(), format!("{path}={value}")]);
        }
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        let output = mpirun(4, &four, &sets).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let (wanted, found) = (course(&alone), course(&four));
        assert_eq!((wanted.len(), found.len()), (3, 3));
        for (a, b) in wanted.iter().flatten().zip(found.iter().flatten()) {
            assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{wanted:?} {found:?}");
        }
    }

    #[test]
    fn a_signal_to_one_process_saves_and_stops_all() {
        let out = folder("mpi-stopped");
        let child = endless(&out, mpirun);
        send("-USR1", &workers(&out)[1]);
        let output = child.wait_with_output().unwrap();
        let text = said(&output);
        assert!(text.contains("stopped by signal 10: saved at step"), "{text}");
        assert_eq!(output.status.code(), Some(138), "{text}");
    }

    #[test]
    fn a_process_that_is_killed_ends_the_others_and_nothing_is_lost() {
        let out = folder("mpi-killed");
        let child = endless(&out, script);
        let begun = Instant::now();
        send("-KILL", &workers(&out)[1]);
        let output = child.wait_with_output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(begun.elapsed() < Duration::from_secs(60), "it took {:?}", begun.elapsed());
        assert!(text.contains("checkpoints/step-"), "the newest checkpoint is named: {text}");
        let step = lrc_runtime::train::checkpoint::list(&out).last().unwrap().0;
        let length = format!("length={} steps", step + 3);
        let more = ["--resume", "--allow-changes", "--set", &length];
        let output = mpirun(2, &out, &more).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }

    #[test]
    fn what_is_wrong_for_all_is_said_once() {
        let out = folder("mpi-wrong");
        let output = mpirun(2, &out, &["--set", "optimizer.adamw.lr=fast"]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert_eq!(said(&output).matches("E0306").count().max(1), 1, "{}", said(&output));
    }
}

/// Loss and norm of each step.
fn course(out: &Path) -> Vec<[f64; 2]> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let steps = lines.filter(|line| line["grad_norm"].is_number());
    steps.map(|line| ["loss", "grad_norm"].map(|name| line[name].as_f64().unwrap())).collect()
}

/// Each sequence over two and four processes: the losses of one process, and the same bits whatever the number of groups that
/// hold segments; in some rounds there are fewer parts than groups.
#[test]
fn sequences_over_several_processes_learn_the_same() {
    let more = &[("dropout", "0.1"), ("micro_batch", "192 tokens"), ("batch", "9")][..];
    let alone = folder("segments-1");
    run(1, &alone, more, |_| {});
    let wanted = course(&alone);
    assert_eq!(wanted.len(), 12);
    for (segments, sizes) in [("2", &[2, 4][..]), ("4", &[4])] {
        let more = [more, &[("segments", segments)]].concat();
        let mut first: Option<BTreeMap<String, Vec<u8>>> = None;
        for size in sizes {
            let out = folder(&format!("segments-{segments}-of-{size}"));
            run(*size, &out, &more, |_| {});
            for (step, (a, b)) in wanted.iter().zip(course(&out)).enumerate() {
                let near = |a: f64, b: f64| (a - b).abs() < 2e-4 * (1.0 + a.abs());
                assert!(near(a[0], b[0]) && near(a[1], b[1]), "{segments}, {step}: {a:?} {b:?}");
            }
            let left = left_of_segments(&out);
            match &first {
                None => first = Some(left),
                Some(first) => assert_same(first, &left, &format!("{size} processes")),
            }
        }
    }
}

/// What a run leaves whose gradients of parts are cut, so that nothing is known of their noise.
fn left_of_segments(out: &Path) -> BTreeMap<String, Vec<u8>> {
    ["model.safetensors", "optimizer.safetensors"]
        .map(|name| {
            let path = out.join("checkpoints/step-00000012").join(name);
            (name.to_string(), std::fs::read(path).unwrap())
        })
        .into()
}

#[test]
fn segments_that_processes_cannot_hold_are_refused() {
    let out = folder("segments-refused");
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join(SPEC);
    let overrides = [("segments".to_string(), "2".to_string())];
    let mut sources = Sources::default();
    let Opened { spec, model, arch, .. } = open(&spec, &overrides, &mut sources).unwrap();
    let said: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = groups(3)
            .unwrap()
            .into_iter()
            .map(|group| {
                let (spec, model, arch, out) = (&spec, model.clone(), &arch, &out);
                scope.spawn(move || {
                    let mut own = Options::of_many(out.clone(), Device::Cpu, false, "");
                    own.group = Some(Arc::new(group));
                    train(spec, model, arch, &own).unwrap_err().to_string()
                })
            })
            .collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for said in said {
        assert!(said.contains("`segments: 2` needs 2 processes or a multiple of it"), "{said}");
    }
}
