//! What wrong input is told. `tests/errors/` holds cases one after the other, and below the dashes
//! of each everything that is said about it:
//!
//! * `arch.txt`: `.arch` files, as `lrc check` sees them;
//! * `spec.txt`: `spec.yaml` files;
//! * `tensors.txt`: tensors for `lrc exec`: a recurrence of the library, then `name type shape`;
//! * `files.txt`: damaged tensor files: what is done to the bytes of a sound one.
//!
//! `UPDATE_EXPECT=1 cargo test --test errors` rewrites the answers; review the difference.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use lrc_compiler::form::FormKind;
use lrc_dsl::{Diag, Sources, load_text, render};
use lrc_runtime::ground::error::Failure;
use lrc_runtime::ground::library::LIBRARY;
use lrc_runtime::ground::tensors::{Data, Tensor, Tensors, parse, serialise};
use lrc_runtime::recurrence::run::{Request, run_recurrence};

/// Everything that is said about an `.arch` file.
fn of_arch(text: &str) -> String {
    let mut sources = Sources::default();
    let (namespace, mut diags) =
        load_text("case.arch", text.to_string(), None, LIBRARY, &mut sources);
    if diags.is_empty() {
        lrc_compiler::check::check(&namespace, &mut diags);
    }
    render(&sources, &diags, false)
}

/// Everything that is said about a spec.
fn of_spec(text: &str) -> String {
    let mut sources = Sources::default();
    let file = sources.add("case.yaml", text);
    let read = lrc_runtime::config::read(Path::new("case.yaml"), file, text, &[]);
    render(&sources, &read.err().unwrap_or_default(), false)
}

/// Everything that is said about tensors for a recurrence.
fn of_tensors(text: &str) -> String {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let first: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let mut tensors = Tensors::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        let numbers: Vec<usize> = words.map(|word| word.parse().unwrap()).collect();
        let (shape, data) = match kind {
            "f32" => (numbers.clone(), Data::F32(vec![0.5; numbers.iter().product()])),
            "i64" => (numbers.clone(), Data::I64(vec![1; numbers.iter().product()])),
            // The numbers are the values.
            _ => (vec![numbers.len()], Data::I64(numbers.iter().map(|x| *x as i64).collect())),
        };
        tensors.insert(name.to_string(), Tensor { shape, data });
    }
    let mut sources = Sources::default();
    let used = format!("use \"recurrences/{}.arch\"\n", first[0]);
    let (namespace, _) = load_text("case.arch", used, None, LIBRARY, &mut sources);
    let settings = first.iter().filter_map(|word| word.split_once('='));
    let request = Request {
        settings: settings
            .map(|(name, x)| (name.into(), lrc_compiler::elaborate::Setting::parse(x).unwrap()))
            .collect(),
        backward: first.contains(&"--backward"),
        form: if first.contains(&"chunk") { FormKind::Chunk } else { FormKind::Auto },
        chunk: None,
        bf16: false,
        device: lrc_runtime::device::Device::Cpu,
    };
    match run_recurrence(&namespace.decls[first[0]], &tensors, &request) {
        Err(Failure::Invalid(diags)) => render(&sources, &diags, false),
        Err(other) => panic!("another failure: {other}"),
        Ok(_) => String::new(),
    }
}

/// What is said about a tensor file after something has happened to it.
fn of_file(text: &str) -> String {
    let sound: Tensors = [("q".to_string(), Tensor::f32(vec![2, 3], vec![1.0; 6]))].into();
    let mut bytes = serialise(&sound).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        ["cut", left] => bytes.truncate(left.parse().unwrap()),
        ["header", length] => {
            bytes[..8].copy_from_slice(&length.parse::<u64>().unwrap().to_le_bytes());
        }
        ["replace", old, new] => {
            let at = bytes.windows(old.len()).position(|w| w == old.as_bytes()).unwrap();
            bytes.splice(at..at + old.len(), new.bytes());
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let length = length + new.len() as u64 - old.len() as u64;
            bytes[..8].copy_from_slice(&length.to_le_bytes());
        }
        _ => panic!("unknown: {text}"),
    }
    let said = parse(&bytes).err();
    said.map_or(String::new(), |why| {
        let diags = [Diag::global("E0303", format!("not a sound safetensors file: {why}"))];
        render(&Sources::default(), &diags, false)
    })
}

/// Compares the cases of a file with what is said now; gives their number.
fn recorded(file: &str, said: fn(&str) -> String) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors").join(file);
    let all = std::fs::read_to_string(&path).unwrap();
    let (mut now, mut wrong, mut count) = (String::new(), Vec::new(), 0);
    for case in all.split("=== ").filter(|case| !case.trim().is_empty()) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (text, recorded) = rest.split_once("---\n").unwrap();
        let got = said(text);
        let got = got.trim_end();
        assert!(got.contains("error["), "{name}: nothing is said about\n{text}");
        if got.trim() != recorded.trim() {
            wrong.push(format!("{name}\n{got}\n  instead of\n{recorded}"));
        }
        now += &format!("=== {name}\n{text}---\n{got}\n\n");
        count += 1;
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, now).unwrap();
    } else {
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }
    count
}

#[test]
fn arch_files() {
    assert!(recorded("arch.txt", of_arch) >= 60);
}

#[test]
fn specs() {
    assert!(recorded("spec.txt", of_spec) >= 20);
}

#[test]
fn tensors() {
    assert!(recorded("tensors.txt", of_tensors) >= 12);
}

#[test]
fn damaged_files() {
    assert!(recorded("files.txt", of_file) >= 6);
}
