//! `lrc verify --report`: what kernels do on this machine, as one file that can be sent back.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use lrc_compiler::elaborate::{Recurrence, Setting};
use lrc_compiler::strategy;
use lrc_dsl::Sources;
use lrc_runtime::device::Device;
use lrc_runtime::device::cuda::nvrtc::Nvrtc;
use lrc_runtime::device::store::Machine;
use lrc_runtime::eval::acceptance::{self, Outcome, Timing, Unit};
use lrc_runtime::eval::verify::{Verdict, affordable};
use lrc_runtime::ground::atomic;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::ground::library::{self, LIBRARY};
use lrc_runtime::ground::timing::Repeat;
use lrc_runtime::recurrence::draw::Sizes;
use serde_json::{Value, json};

use crate::commands::declared::{elaborated, known, own, settings};
use crate::commands::verify::{Verify, declared};
use crate::terminal::say;

/// The form of the file.
const FORMAT: u32 = 1;

/// How much is done: on a GPU what people use, on the sim device what shows that all of it works.
struct Extent {
    /// Head dimensions at which kernels are compared with the truth.
    compared: &'static [f64],
    /// Head dimension and call of times.
    timed: (f64, Sizes),
    /// How often.
    repeat: Repeat,
    /// What times are.
    clock: &'static str,
}

const ON_GPU: Extent = Extent {
    compared: &[64.0, 128.0],
    timed: (128.0, Sizes { batch: 4, length: 4096, heads: 8 }),
    repeat: Repeat { least: 10, time: Duration::from_millis(300) },
    clock: "the GPU's, by events before and behind each launch",
};

const ON_SIM: Extent = Extent {
    compared: &[16.0],
    timed: (16.0, Sizes { batch: 1, length: 64, heads: 1 }),
    repeat: Repeat { least: 1, time: Duration::ZERO },
    clock: "sim: the processor's, while it executes kernels; nothing about a GPU",
};

/// What is timed first: recurrences for which others publish kernels.
const FIRST: [&str; 7] =
    ["gated_delta_rule", "delta_rule", "gla", "simple_gla", "kda", "mamba2_ssd", "softmax_attn"];

/// Sizes of heads, as the library names them.
const SIZES: [&str; 5] = ["dk", "dv", "d", "n", "m"];

/// Runs everything, and writes the report anew behind each part of it.
pub fn report(args: &Verify, out: &Path, sources: &mut Sources) -> Result<(), Failure> {
    let device: Device = args.device.into();
    let machine = device.machine()?.ok_or_else(|| {
        let why = "--report is of kernels: add `--device cuda`, or `--device sim` to try it";
        Failure::Usage(why.into())
    })?;
    let extent = if device == Device::Sim { ON_SIM } else { ON_GPU };
    let units = units(args, &extent, sources)?;
    let budget = Duration::from_secs_f64(args.budget);
    let mut file = File {
        head: head(device, &machine, &extent, args.budget)?,
        start: Instant::now(),
        parts: vec![],
        units: units.len(),
    };
    file.write(out)?;
    say!("on {}; times: {}", device.name(), extent.clock);
    say!(
        "{:<24} {:>14}  what was found; shares of what bf16 operands allow, or ms",
        "recurrence",
        ""
    );
    let mut worst = Worst::default();
    acceptance::run(&units, &machine, budget, extent.repeat, |at, outcome, took| {
        let part = Part { unit: &units[at], outcome: &outcome };
        part.say();
        worst.see(&units[at], &outcome);
        file.parts.push(part.in_json(took));
        file.write(out)
    })?;
    say!("{}", worst.summary(file.start.elapsed(), out));
    worst.status()
}

/// What is to be done, the most telling first.
fn units(args: &Verify, extent: &Extent, sources: &mut Sources) -> Result<Vec<Unit>, Failure> {
    let given = settings(&args.set)?;
    let mut at = |size: f64| -> Result<Vec<Recurrence>, Failure> {
        let mut sized: BTreeMap<String, Setting> =
            ["dk", "dv", "d"].map(|name| (name.to_string(), Setting::Number(size))).into();
        sized.extend(given.clone());
        match &args.file {
            Some(file) => declared(args, file, &given, &sized, sources),
            None => of_library(&given, &sized, sources),
        }
    };
    let mut compared = Vec::new();
    for size in extent.compared {
        let all = at(*size)?;
        all.iter().try_for_each(affordable)?;
        compared.push(all);
    }
    let (size, sizes) = extent.timed;
    let mut timed = at(size)?;
    let place = |r: &Recurrence| FIRST.iter().position(|name| *name == r.name);
    timed.sort_by_key(|r| place(r).unwrap_or(FIRST.len()));
    let rest = timed.split_off(timed.iter().filter(|r| place(r).is_some()).count());
    let unit = |timed: Option<Sizes>| move |recurrence| Unit { recurrence, timed };
    let mut compared = compared.into_iter();
    let mut all: Vec<Unit> = Vec::new();
    all.extend(compared.next().into_iter().flatten().map(unit(None)));
    all.extend(timed.into_iter().map(unit(Some(sizes))));
    all.extend(compared.flatten().map(unit(None)));
    all.extend(rest.into_iter().map(unit(Some(sizes))));
    Ok(all)
}

/// The recurrences inside the program.
fn of_library(
    given: &BTreeMap<String, Setting>,
    sized: &BTreeMap<String, Setting>,
    sources: &mut Sources,
) -> Result<Vec<Recurrence>, Failure> {
    let mut all = Vec::new();
    for (path, _) in LIBRARY {
        let Some(name) = path.strip_prefix("recurrences/").and_then(|n| n.strip_suffix(".arch"))
        else {
            continue;
        };
        let (names, _) = library::load(path, sources)
            .ok_or_else(|| Failure::World(format!("the library has no {path}")))?;
        if let Some(decl) = names.get(name) {
            all.push((decl.clone(), name));
        }
    }
    known(given, all.iter().map(|(decl, _)| decl))?;
    all.iter().map(|(decl, _)| elaborated(decl, &own(sized, decl))).collect()
}

/// What is the same for the whole file.
fn head(device: Device, machine: &Machine, extent: &Extent, budget: f64) -> Result<Value, Failure> {
    let (major, minor) = Nvrtc::load()?.version;
    let (name, driver) = match machine {
        Machine::Cuda(gpu) => (gpu.name.as_str(), Some(&gpu.driver)),
        Machine::Sim(_) | Machine::Recorder(_) => ("sim", None),
    };
    let since = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
    Ok(json!({
        "report": "lrc verify", "format": FORMAT, "lrc": env!("CARGO_PKG_VERSION"), "seconds_since_1970": since,
        "device": { "kind": device.name(), "name": name, "arch": machine.kind().arch, "driver": driver },
        "nvrtc": format!("{major}.{minor}"),
        "host": { "os": std::env::consts::OS, "cpu": std::env::consts::ARCH },
        "budget_seconds": budget, "clock": extent.clock,
    }))
}

/// The file as it grows.
struct File {
    head: Value,
    start: Instant,
    parts: Vec<Value>,
    units: usize,
}

impl File {
    fn write(&self, out: &Path) -> Result<(), Failure> {
        let mut all = self.head.clone();
        if let Value::Object(fields) = &mut all {
            fields.insert("seconds".into(), json!(self.start.elapsed().as_secs_f64()));
            fields.insert("complete".into(), json!(self.parts.len() == self.units));
            fields.insert("parts".into(), json!(self.parts));
        }
        atomic::write(out, format!("{all:#}\n").as_bytes())
    }
}

/// A unit and what became of it.
struct Part<'a> {
    unit: &'a Unit,
    outcome: &'a Outcome,
}

impl Part<'_> {
    /// The sizes of the recurrence that somebody may choose.
    fn sizes(&self) -> BTreeMap<&str, String> {
        let numbers = self.unit.recurrence.numbers.iter();
        let sizes = numbers.filter(|(name, _)| SIZES.contains(&name.as_str()));
        sizes.map(|(name, x)| (name.as_str(), x.to_string())).collect()
    }

    fn in_json(&self, took: Duration) -> Value {
        let r = &self.unit.recurrence;
        let mut part = json!({
            "name": r.name, "sizes": self.sizes(), "strategy": strategy::of(r).name(),
            "what": if self.unit.timed.is_some() { "times" } else { "compared" }, "seconds": took.as_secs_f64(),
        });
        let more = match self.outcome {
            Outcome::Refused(why) => json!({ "outcome": "refused", "why": why }),
            Outcome::Failed(failure) => json!({
                "outcome": "failed", "why": failure.to_string(), "status": failure.status(),
            }),
            Outcome::NotReached => json!({ "outcome": "not_reached" }),
            Outcome::Verified(judged) => json!({
                "outcome": judged.verdict.name(), "why": judged.why, "token": judged.token,
                "share_of_bar": {
                    "forward": judged.found.forward, "gradients": judged.found.backward, "decode": judged.found.decode,
                },
            }),
            Outcome::Timed(times) => json!({
                "outcome": "timed",
                "shape": self.unit.timed.map(|s| json!({ "batch": s.batch, "length": s.length, "heads": s.heads })),
                "launches": times.iter().map(launch).collect::<Vec<Value>>(),
            }),
        };
        if let (Value::Object(fields), Value::Object(more)) = (&mut part, more) {
            fields.extend(more);
        }
        part
    }

    fn say(&self) {
        let text = match self.outcome {
            Outcome::Refused(why) => format!("no kernels: {why}"),
            Outcome::Failed(failure) => format!("FAILED: {failure}"),
            Outcome::NotReached => "not reached".into(),
            Outcome::Verified(judged) => {
                let found = judged.found;
                let why = judged.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                format!(
                    "{}{why} (forward {:.3}, gradients {:.3}, decode {:.3})",
                    judged.verdict.name(),
                    found.forward,
                    found.backward,
                    found.decode
                )
            }
            Outcome::Timed(times) => {
                let of = |pass: &str| -> f64 {
                    times.iter().filter(|time| time.pass == pass).map(|time| time.median).sum()
                };
                let [forward, saving, backward] =
                    ["forward", "saving", "backward"].map(|pass| of(pass) * 1e3);
                format!("forward {forward:.3} ms, saving {saving:.3}, backward {backward:.3}")
            }
        };
        let sizes: Vec<String> =
            self.sizes().iter().map(|(name, x)| format!("{name}={x}")).collect();
        say!("{:<24} {:>14}  {text}", self.unit.recurrence.name, sizes.join(" "));
    }
}

fn launch(time: &Timing) -> Value {
    json!({
        "pass": time.pass, "kernel": time.kernel, "runs": time.runs,
        "ms": { "median": time.median * 1e3, "least": time.least * 1e3, "most": time.most * 1e3 },
    })
}

/// What all parts come to.
#[derive(Default)]
struct Worst {
    compared: usize,
    timed: usize,
    wrong: Vec<String>,
    refused: Vec<String>,
    not_reached: Vec<String>,
    failed: Vec<(String, u8)>,
}

impl Worst {
    fn see(&mut self, unit: &Unit, outcome: &Outcome) {
        let name = unit.recurrence.name.clone();
        let list = match outcome {
            Outcome::Verified(judged) => {
                self.compared += 1;
                if judged.verdict < Verdict::Acausal {
                    return;
                }
                &mut self.wrong
            }
            Outcome::Timed(_) => {
                self.timed += 1;
                return;
            }
            Outcome::Refused(_) => &mut self.refused,
            Outcome::NotReached => &mut self.not_reached,
            Outcome::Failed(failure) => {
                self.failed.push((name, failure.status()));
                return;
            }
        };
        if !list.contains(&name) {
            list.push(name);
        }
    }

    fn summary(&self, took: Duration, out: &Path) -> String {
        let mut text = format!(
            "{} compared, {} wrong; {} timed; {:.0} s",
            self.compared,
            self.wrong.len(),
            self.timed,
            took.as_secs_f64()
        );
        let failed: Vec<String> = self.failed.iter().map(|(name, _)| name.clone()).collect();
        for (what, names) in [
            ("wrong", &self.wrong),
            ("failed", &failed),
            ("without kernels", &self.refused),
            ("not reached in the budget", &self.not_reached),
        ] {
            if !names.is_empty() {
                text += &format!("\n{what}: {}", names.join(", "));
            }
        }
        text + &format!("\nreport: {}", out.display())
    }

    /// The worst decides: what is wrong, then what failed.
    fn status(&self) -> Result<(), Failure> {
        if !self.wrong.is_empty() {
            let names = self.wrong.join("`, `");
            return Err(Failure::Verification(format!(
                "what lrc makes of `{names}` is not what the text says: this is a mistake of lrc"
            )));
        }
        let Some((name, status)) = self.failed.first() else { return Ok(()) };
        let why = format!("`{name}` did not run: its reason stands in the report");
        Err(match status {
            4 => Failure::Compile(why),
            5 => Failure::Memory(why),
            7 => Failure::Verification(why),
            _ => Failure::World(why),
        })
    }
}
