//! Kernels at the edges, on the sim device: decays that end everything, and tokens that are no numbers.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use lrc_compiler::elaborate::{Recurrence, Setting, elaborate};
use lrc_dsl::Sources;
use lrc_runtime::device::kernels::Unready;
use lrc_runtime::device::store::Machine;
use lrc_runtime::eval::verify::{
    Kernels, Trial, is_log_decay, kernel_leak, kernel_trial, well_posed,
};
use lrc_runtime::ground::library;

/// The recurrences of the library, at sizes that are neither multiples of a fragment nor equal.
fn library_of_recurrences() -> Vec<Recurrence> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/recurrences");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string())
        .collect();
    names.sort();
    let one = |name: &String| {
        let file = format!("recurrences/{name}.arch");
        let (names, _) = library::load(&file, &mut Sources::default()).unwrap();
        let decl = names.get(name).unwrap();
        let given = |sizes: &[(&str, f64)]| -> Option<Recurrence> {
            let sizes: BTreeMap<String, Setting> =
                sizes.iter().map(|(name, x)| ((*name).into(), Setting::Number(*x))).collect();
            elaborate(decl, &sizes, &mut Vec::new())
        };
        let made = given(&[("dk", 24.0), ("dv", 40.0)]).or_else(|| given(&[("d", 24.0)]));
        made.or_else(|| given(&[])).unwrap_or_else(|| panic!("{name} has sizes of its own"))
    };
    names.iter().map(one).collect()
}

/// Kernels of a recurrence; nothing where it has none.
fn kernels(r: &Recurrence) -> Option<Kernels> {
    match Kernels::new(r, &Machine::sim()) {
        Ok(kernels) => Some(kernels),
        Err(Unready::Refused(_)) => None,
        Err(Unready::Failed(failure)) => panic!("{}: {failure}", r.name),
    }
}

fn trial(lengths: &[usize], decays: &'static [f64]) -> Trial {
    Trial { lengths: lengths.to_vec(), heads: 2, chunk: 0, initial: true, seed: 2, decays }
}

/// Log decays after which nothing is left, or nothing that f32 can hold. Where the equations multiply a decay of
/// nothing by something infinite, they give no number: the first two are left.
const STRONG: &[f64] = &[-20.0, -88.0, f64::NEG_INFINITY];
const FINITE: &[f64] = &[-20.0, -88.0];

#[test]
fn strong_decays_agree_with_the_recurrent_form() {
    let (mut missed, mut tried) = (Vec::new(), Vec::new());
    let decays = |r: &Recurrence| r.inputs.iter().chain(&r.params).any(is_log_decay);
    for r in library_of_recurrences().iter().filter(|r| decays(r)) {
        let Some(kernels) = kernels(r) else { continue };
        tried.push(r.name.clone());
        for lengths in [&[7, 65][..], &[131]] {
            let whole = trial(lengths, STRONG);
            let trial = if well_posed(r, &whole) { whole } else { trial(lengths, FINITE) };
            assert!(well_posed(r, &trial), "{}", r.name);
            let found = kernel_trial(r, &trial, &kernels);
            if !found.as_ref().is_ok_and(|found| found.worst() <= 1.0) {
                missed.push(format!("{} {:?} {lengths:?}: {found:?}", r.name, trial.decays));
            }
        }
    }
    assert!(missed.is_empty(), "shares of the bars:\n{}", missed.join("\n"));
    assert!(tried.len() >= 20, "{tried:?}");
}

#[test]
fn no_token_depends_on_later_ones() {
    let mut leaks = Vec::new();
    for r in library_of_recurrences() {
        let Some(kernels) = kernels(&r) else { continue };
        let found = kernel_leak(&r, &trial(&[7, 65], &[]), &kernels).unwrap();
        leaks.extend(found.map(|leak| format!("{}: {leak}", r.name)));
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}
