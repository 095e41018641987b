//! Folders of runs: checkpoints, resuming, locks, signals.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lrc_runtime::report::plot::{COLOURS, Chart, Curve};

use crate::common::{empty, lrc, path, said};
use crate::input;

fn folder(name: &str) -> PathBuf {
    empty(&format!("runs-{name}"))
}

/// Trains the small spec of these tests, its values overridden.
fn train(run: &Path, set: &[&str], more: &[&str]) -> Output {
    let spec = input("break/s.yaml");
    let mut args = vec!["train", &spec, "--out", path(run)];
    for set in set {
        args.extend(["--set", set]);
    }
    args.extend(more);
    lrc(&args)
}

/// A run of 40 steps whose newest checkpoint but one is of step 30.
fn run(name: &str, set: &[&str]) -> PathBuf {
    let run = folder(name);
    let output = train(&run, &[&["length=40 steps"], set].concat(), &[]);
    assert!(output.status.success(), "{}", said(&output));
    run
}

fn checkpoint(run: &Path, step: u64) -> PathBuf {
    run.join(format!("checkpoints/step-{step:08}"))
}

/// Flips one bit in the middle of a file.
fn flip(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(file, bytes).unwrap();
}

#[track_caller]
fn fails(output: &Output, status: i32, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(status), "{said}");
    for word in words {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
}

/// R1, R12, R13: every read compares a checkpoint with its checksums, and names an older one that is sound.
#[test]
fn a_damaged_checkpoint_is_named_and_not_used() {
    let run = run("damaged", &[]);
    let weights = |step| std::fs::read(checkpoint(&run, step).join("model.safetensors")).unwrap();
    let end = weights(40);
    let newest = checkpoint(&run, 40);
    let resume = |more: &[&str]| train(&run, &["length=40 steps"], &[&["--resume"], more].concat());
    for file in ["model.safetensors", "optimizer.safetensors", "state.json", "DONE"] {
        let sound = std::fs::read(newest.join(file)).unwrap();
        flip(&newest.join(file));
        // A bit of `DONE` makes another file look damaged.
        let named = if file == "DONE" { "step-00000040" } else { file };
        fails(&resume(&[]), 3, &[named, "damaged", "step-00000030 is sound", "--from-step 30"]);
        if file == "model.safetensors" {
            fails(&lrc(&["eval", path(&run)]), 3, &["damaged", "--from-step 30"]);
            let generate = ["generate", path(&run), "--prompt", "3 17 4", "--tokens", "2"];
            fails(&lrc(&generate), 3, &["damaged", "--from-step 30"]);
            let from = ["--from", path(&newest), "--out"];
            fails(&train(&folder("branch"), &[], &from[..2]), 3, &["damaged"]);
            let output = lrc(&["eval", path(&run), "--from-step", "30", "--sequences", "8"]);
            assert!(output.status.success(), "{}", said(&output));
        }
        std::fs::write(newest.join(file), sound).unwrap();
    }
    let done = std::fs::read(newest.join("DONE")).unwrap();
    std::fs::write(newest.join("DONE"), "").unwrap();
    fails(&resume(&[]), 3, &["DONE is damaged", "--from-step 30"]);
    std::fs::write(newest.join("DONE"), done).unwrap();
    std::fs::write(newest.join("model.safetensors"), "").unwrap();
    fails(&resume(&[]), 3, &["model.safetensors", "damaged", "--from-step 30"]);
    // As an earlier version wrote the older one.
    let older = checkpoint(&run, 30);
    let files = ["DONE", "state.json"].map(|file| (file, std::fs::read(older.join(file)).unwrap()));
    forget_checksums(&older);
    fails(&resume(&[]), 3, &["step 30 carries no checksums", "`--from-step 30` takes it"]);
    files.iter().for_each(|(file, bytes)| std::fs::write(older.join(file), bytes).unwrap());
    fails(&resume(&["--from-step", "31"]), 2, &["--from-step 31", "30, 40"]);
    let output = resume(&["--from-step", "30"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(weights(40) == end, "the run ended differently");
}

/// Makes a checkpoint what earlier versions wrote.
fn forget_checksums(checkpoint: &Path) {
    std::fs::write(checkpoint.join("DONE"), "").unwrap();
    let path = checkpoint.join("state.json");
    let state = std::fs::read_to_string(&path).unwrap();
    assert!(state.contains(",\"checksums\":true"), "{state}");
    std::fs::write(path, state.replace(",\"checksums\":true", "")).unwrap();
}

/// R12: what a state says of the data is compared with itself, also where nothing has a checksum.
#[test]
fn checkpoints_of_earlier_versions_are_read_and_states_must_be_possible() {
    let run = run("earlier", &["checkpoint.keep=1"]);
    let newest = checkpoint(&run, 40);
    forget_checksums(&newest);
    let resume = || train(&run, &["length=40 steps", "checkpoint.keep=1"], &["--resume"]);
    let output = resume();
    fails(&output, 0, &["carries no checksums"]);
    let state = std::fs::read_to_string(newest.join("state.json")).unwrap();
    assert!(state.contains("\"stretches\":[[0,40]]") && state.contains("\"step\":40"), "{state}");
    for wrong in ["[]", "[[40,0]]", "[[5,40]]", "[[0,1000000000000]]", "[[0,30],[31,40]]"] {
        let wrong = state.replace("[[0,40]]", wrong);
        std::fs::write(newest.join("state.json"), wrong).unwrap();
        fails(&resume(), 3, &["state.json is damaged", "no older checkpoint"]);
    }
    for wrong in ["\"step\":41", "\"step\":18446744073709551615"] {
        let wrong = state.replace("\"step\":40", wrong);
        std::fs::write(newest.join("state.json"), wrong).unwrap();
        fails(&resume(), 3, &["state.json is damaged"]);
    }
}

/// R4: parameters that are no numbers are never saved over sound ones. (The rate of the spec that showed it is refused now;
/// decay with the wrong sign grows a parameter that nothing reads, until it is infinite.)
#[test]
fn parameters_that_are_no_numbers_are_not_saved() {
    let place = folder("nan");
    let model = std::fs::read_to_string(input("break/m.arch")).unwrap();
    let model = model.replace("swiglu(hidden = 32)", "swiglu(hidden = 32); idle()");
    let idle = "mixer idle() {\n    up : [4] = linear(x)\n    out y = 0 .* linear(up)\n}\n";
    std::fs::write(place.join("m.arch"), format!("{model}{idle}")).unwrap();
    let (spec, run) = (place.join("s.yaml"), place.join("run"));
    let rest = "length: 20 steps\neval: {every: 25 steps, sequences: 16}\ncheckpoint: {every: 1 steps, keep: 1}\n\
         optimizer: {adamw: {lr: 3e-3}, groups: {idle: {match: \"*idle*\", lr_scale: 1e6, weight_decay: 100}}}\n\
         model: {file: m.arch, name: tiny}\ntask: {mqar: {vocab: 64, length: 32, pairs: 4}}\nbatch: 8\n";
    std::fs::write(&spec, rest).unwrap();
    let output = lrc(&["train", path(&spec), "--out", path(&run)]);
    fails(&output, 6, &["idle", "infinite", "go on with --resume from the checkpoint of step"]);
    let output = lrc(&["eval", path(&run), "--sequences", "8", "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found["loss"].as_f64().is_some_and(f64::is_finite), "{found}");
}

/// R16, and `step-best` beside the steps: only `step-<digits>` is a step, and steps are numbers.
#[test]
fn checkpoints_are_of_steps_compared_as_numbers() {
    let run = run("names", &[]);
    let (at, from) = (run.join("checkpoints"), checkpoint(&run, 30));
    let copy = |name: &str| {
        std::fs::create_dir_all(at.join(name)).unwrap();
        for file in ["model.safetensors", "optimizer.safetensors", "state.json", "DONE"] {
            std::fs::copy(from.join(file), at.join(name).join(file)).unwrap();
        }
    };
    copy("step-best");
    // By text it stands behind step 40.
    std::fs::rename(checkpoint(&run, 30), at.join("step-9")).unwrap();
    let before = std::fs::read(run.join("metrics.jsonl")).unwrap();
    let output = train(&run, &["length=40 steps"], &["--resume"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(at.join("step-best/DONE").exists(), "it was pruned");
    assert!(
        std::fs::read(run.join("metrics.jsonl")).unwrap() == before,
        "it went on before step 40"
    );
}

/// A process that ends with the test, also where that fails.
struct Running(Child);

impl std::ops::Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl std::ops::DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Running {
    /// What it said, once it has ended.
    fn ended(mut self) -> Output {
        let mut stderr = Vec::new();
        if let Some(pipe) = &mut self.0.stderr {
            pipe.read_to_end(&mut stderr).unwrap();
        }
        Output { status: self.0.wait().unwrap(), stdout: vec![], stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What makes a run last until it is stopped, and end where who should have stopped it was killed.
const ENDLESS: [&str; 2] = ["length=3 min", "eval.every=100000 steps"];

/// A run that lasts until it is stopped, once it has begun to train.
fn endless(run: &Path) -> Running {
    let child = Command::new(env!("CARGO_BIN_EXE_lrc"))
        .args(["train", &input("break/s.yaml"), "--out", path(run)])
        .args(ENDLESS.iter().flat_map(|field| ["--set", field]))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !checkpoint(run, 10).join("DONE").exists() && !checkpoint(run, 20).exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    Running(child)
}

/// R7: one process trains in a folder, and a process that was killed holds nothing.
#[test]
fn a_folder_is_of_one_process_at_a_time() {
    let run = folder("lock");
    let mut child = endless(&run);
    let who = format!("process {} is training in", child.id());
    let set = ENDLESS;
    fails(&train(&run, &set, &["--resume"]), 2, &[&who]);
    fails(&train(&run, &set, &[]), 2, &[&who]);
    child.kill().unwrap();
    child.wait().unwrap();
    let steps = std::fs::read_dir(run.join("checkpoints")).unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let done = entry.path().join("DONE").exists();
        done.then(|| entry.file_name().to_str()?.strip_prefix("step-")?.parse::<u64>().ok())?
    });
    let next = (steps.max().unwrap() + 1).to_string();
    fails(&train(&run, &set, &["--resume", "--stop-after", &next]), 130, &[]);
}

/// R8: lines that a crash of the machine took are missed.
#[test]
fn lost_lines_of_the_record_are_said() {
    let run = run("lines", &[]);
    let metrics = run.join("metrics.jsonl");
    let whole = std::fs::read_to_string(&metrics).unwrap();
    let count = whole.lines().count();
    let newest = checkpoint(&run, 40);
    let files = ["DONE", "state.json"].map(|f| (f, std::fs::read(newest.join(f)).unwrap()));
    let (first, _) = whole.split_at(whole.lines().take(3).map(|line| line.len() + 1).sum());
    for (cut, kept) in [(String::new(), 0), (first.to_string(), 3), (format!("{first}\0\0\n"), 3)] {
        std::fs::write(&metrics, &cut).unwrap();
        files.iter().for_each(|(file, bytes)| std::fs::write(newest.join(file), bytes).unwrap());
        let from = ["--resume", "--from-step", "40"];
        let output = train(&run, &["length=40 steps"], &from);
        fails(&output, 0, &[&format!("has lost {} of its {count} lines", count - kept)]);
        // What is left counts from now on: a second interruption keeps no line of a step that is done again.
        let state = std::fs::read(newest.join("state.json")).unwrap();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        let left = std::fs::read_to_string(&metrics).unwrap().lines().count();
        assert_eq!(state["lines"], left);
    }
}

/// What a run's folder keeps of a value of its spec.
fn kept(run: &Path, line: &str) -> bool {
    let text = std::fs::read_to_string(run.join("spec.resolved.yaml")).unwrap();
    text.lines().any(|kept| kept.trim().replace('"', "") == line)
}

/// R2, R15: what a run is taken up with is compared with what its folder keeps.
#[test]
fn a_run_says_and_records_with_which_spec_it_goes_on() {
    let run = run("changes", &[]);
    let weights = |step| std::fs::read(checkpoint(&run, step).join("model.safetensors")).unwrap();
    let length = "length=40 steps";
    // What moves the data, or is another model, is refused; nothing of the folder changes.
    let refused: [(&[&str], &str); 5] = [
        (&[length, "batch=16"], "batch: 8 → 16"),
        (&[length, "seed=2"], "seed: 1 → 2"),
        (&[length, "task.mqar.pairs=3"], "task.mqar.pairs: 4 → 3"),
        (&[length, "model.set.layers=1"], "model.set: null → {layers: 1}"),
        (&["length=20 steps"], "has done 40 steps already"),
    ];
    let files = ["spec.resolved.yaml", "model.arch", "metrics.jsonl"];
    let before = files.map(|file| std::fs::read(run.join(file)).unwrap());
    for (set, words) in refused {
        fails(&train(&run, set, &["--resume"]), 2, &[words]);
    }
    assert!(files.map(|file| std::fs::read(run.join(file)).unwrap()) == before);
    // What decides the steps to come only is said and recorded, and the folder keeps it.
    let set = ["length=44 steps", "optimizer.adamw.lr=1e-2", "dropout=0.5", "checkpoint.keep=9"];
    let output = train(&run, &set, &["--resume"]);
    let words =
        ["length: 40 steps → 44 steps", "optimizer.adamw.lr: 0.003 → 0.01", "dropout: 0 → 0.5"];
    fails(&output, 0, &words);
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let event = metrics.lines().filter(|line| line.contains("goes on with another spec")).count();
    assert_eq!(event, 1, "{metrics}");
    assert!(kept(&run, "lr: 0.01") && kept(&run, "length: 44 steps"));
    let output = train(&run, &set, &["--resume"]);
    assert!(
        output.status.success() && !said(&output).contains("another spec"),
        "{}",
        said(&output)
    );
    // A flag lets anything through that the model can hold, and the folder keeps that.
    let set = ["length=46 steps", "batch=16", "seed=2", "checkpoint.keep=9"];
    let output = train(&run, &set, &["--resume", "--allow-changes"]);
    fails(&output, 0, &["batch: 8 → 16", "seed: 1 → 2"]);
    assert!(kept(&run, "seed: 2") && kept(&run, "batch: 16"));
    let end = weights(46);
    let output = train(&run, &set, &["--resume", "--from-step", "44"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(weights(46) == end, "it is not resumed exactly");
}

/// R2: an edited model is another one; a declaration more is none.
#[test]
fn an_edited_model_is_refused() {
    let place = folder("edited");
    for file in ["s.yaml", "m.arch"] {
        std::fs::copy(input(&format!("break/{file}")), place.join(file)).unwrap();
    }
    let (spec, run) = (place.join("s.yaml"), place.join("run"));
    let args = ["train", path(&spec), "--out", path(&run), "--set", "length=20 steps"];
    assert!(lrc(&args).status.success());
    let resume = || lrc(&[&args[..], &["--resume"]].concat());
    let text = std::fs::read_to_string(place.join("m.arch")).unwrap();
    std::fs::write(place.join("m.arch"), text.replace("x + f(", "x + 2 .* f(")).unwrap();
    fails(&resume(), 2, &["model.arch: `tiny` is another", "--allow-changes"]);
    std::fs::write(
        place.join("m.arch"),
        format!("{text}// A remark.\nmixer other() {{ out y = linear(x) }}\n"),
    )
    .unwrap();
    fails(&resume(), 0, &["`other` is new"]);
    assert!(std::fs::read_to_string(run.join("model.arch")).unwrap().contains("other"));
}

/// R5: what a path leads to is written; what is no file is not replaced by one.
#[test]
fn outputs_follow_links_and_leave_devices_alone() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let place = folder("outputs");
    let spec = input("break/s.yaml");
    let plan = |out: &Path| lrc(&["data", "plan", &spec, "--out", path(out)]);
    let page = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("</html>");
    std::fs::write(place.join("page.html"), "old").unwrap();
    symlink("page.html", place.join("link")).unwrap();
    symlink("new.html", place.join("dangling")).unwrap();
    for (link, file) in [("link", "page.html"), ("dangling", "new.html")] {
        let output = plan(&place.join(link));
        assert!(output.status.success(), "{}", said(&output));
        assert!(std::fs::symlink_metadata(place.join(link)).unwrap().is_symlink());
        assert!(page(&std::fs::read(place.join(file)).unwrap()));
    }
    let pipe = place.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    let output = plan(&pipe);
    assert!(std::fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    assert!(output.status.success(), "{}", said(&output));
    assert!(page(&reader.join().unwrap()));
    let output = plan(Path::new("/dev/stdout"));
    assert!(output.status.success() && page(&output.stdout), "{}", said(&output));
    assert!(plan(Path::new("/dev/null")).status.success());
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

/// R6: the name of a run is that of one folder.
#[test]
fn a_name_is_of_one_folder() {
    let place = folder("outside");
    for name in ["../../evil", "/tmp/evil", "..", ".", "", "a/b"] {
        let set = format!("name={name}");
        let output = lrc(&["train", &input("break/s.yaml"), "--set", &set, "--out", path(&place)]);
        fails(&output, 3, &["E0402", "`name`", "--out"]);
    }
}

/// R14: a report of what lies below a folder writes nothing there.
#[test]
fn a_report_writes_in_named_runs_only() {
    let run = run("reported", &[]);
    let (page, out) = (run.join("report.html"), run.with_extension("html"));
    for (named, written) in [(run.parent().unwrap(), false), (&run, true)] {
        let named = if written { run.clone() } else { named.join("runs-reported-parent") };
        if !written {
            let _ = std::fs::remove_dir_all(&named);
            std::fs::create_dir_all(&named).unwrap();
            std::os::unix::fs::symlink(&run, named.join("inside")).unwrap();
        }
        std::fs::write(&page, "mine").unwrap();
        let output = lrc(&["report", path(&named), "--out", path(&out)]);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(std::fs::read(&page).unwrap() != b"mine", written);
    }
}

/// Whatever asks a run to stop, it saves and says where; taken up at its end, a run keeps its speed.
#[test]
fn every_signal_saves_and_says_where() {
    for (signal, status) in [("HUP", 129), ("INT", 130), ("USR1", 138)] {
        let run = folder(&format!("signal-{signal}"));
        let child = endless(&run);
        let sent =
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        fails(&child.ended(), status, &["saved at step", "--resume"]);
        let text = std::fs::read_to_string(run.join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
        let step = summary["steps"].as_u64().unwrap();
        assert!(checkpoint(&run, step).join("DONE").exists(), "{signal} at {step}");
    }
    let run = run("finished", &[]);
    let speed = || {
        let text = std::fs::read_to_string(run.join("summary.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["tokens_per_second"].as_f64()
    };
    let before = speed();
    assert!(before > Some(0.0));
    assert!(train(&run, &["length=40 steps"], &["--resume"]).status.success());
    assert_eq!(speed(), before);
}

/// Axes: no label stands twice (a rate of 2e-3), and what nobody reached is drawn at 0 of 1, not of 1e-308.
#[test]
fn labels_of_axes_differ() {
    let labels = |points: Vec<(f64, f64)>| -> Vec<String> {
        let curves = [Curve::line("", COLOURS[0], points)];
        let svg = Chart { title: "t", unit: "tokens", curves: &curves }.svg().unwrap();
        let texts = svg.split("<text ").skip(1);
        texts.map(|text| text.split(['>', '<']).nth(1).unwrap().to_string()).collect()
    };
    for end in [3e-3, 2.1e-3, 1e-5, 7.3e-9, 0.02, 1.0, 999.0, 1.25e4, 3.3e6] {
        let mut vertical = labels(vec![(0.0, 0.0), (1.0, end)]);
        // Those of the horizontal axis from 0 to 1 stand behind.
        vertical.truncate(vertical.len() - 7);
        let many = vertical.len();
        assert!(many >= 3, "{vertical:?}");
        vertical.sort();
        vertical.dedup();
        assert_eq!(vertical.len(), many, "{vertical:?}");
    }
    let nothing = labels(vec![(0.0, 0.0)]);
    assert!(nothing.iter().all(|label| !label.contains('e') || label == "tokens"), "{nothing:?}");
}

/// R2: a longer `length` gives what such a length would have given, where no share of the run was at work.
#[test]
fn a_longer_run_is_the_longer_run() {
    let (whole, longer) = (folder("whole"), folder("longer"));
    let set = ["schedule.wsd.warmup=3 steps", "schedule.wsd.decay=5 steps"];
    let with = |length: &'static str| [&set[..], &[length]].concat();
    let output = train(&whole, &with("length=30 steps"), &[]);
    assert!(output.status.success(), "{}", said(&output));
    fails(&train(&longer, &with("length=20 steps"), &["--stop-after", "10"]), 130, &["step 10"]);
    fails(&train(&longer, &with("length=30 steps"), &["--resume"]), 0, &["20 steps → 30 steps"]);
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let read = |run: &Path| std::fs::read(checkpoint(run, 30).join(file)).unwrap();
        assert!(read(&whole) == read(&longer), "{file}");
    }
}

/// A loss that is no number wins no choice.
#[test]
fn a_model_of_no_numbers_answers_nothing() {
    let run = run("nothing", &["checkpoint.keep=1"]);
    let file = checkpoint(&run, 40).join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let head = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[head..].fill(0xff);
    std::fs::write(&file, bytes).unwrap();
    // As an earlier version wrote it, without checksums.
    forget_checksums(&checkpoint(&run, 40));
    let questions = run.join("q.jsonl");
    let line = r#"{"prompt": "3 17 4", "choices": ["5", "6"], "answer": 0}"#;
    std::fs::write(&questions, format!("{line}\n")).unwrap();
    let output = lrc(&["eval", path(&run), "--questions", path(&questions)]);
    fails(&output, 6, &["question 1", "not a number"]);
}
