//! Tables of choices that were found to be fast: what a run reads instead of what the compiler would choose.
//!
//! Problem: which blocking of a recurrence is fastest depends on the machine, and trying takes time that no run
//! should spend, nor should a run's numbers depend on a clock.
//!
//! Idea: `lrc tune` tries; what it found is a table in a file that a spec names and a run copies. A choice is known
//! by its text among those that there are, so a table never asks for a plan that this version does not make. A
//! table holds for the place where it was measured alone.

use std::path::Path;

use lrc_compiler::block::{self, Blocking};
use lrc_compiler::compile::Chosen;
use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::graph::{Graph, Kind};
use lrc_compiler::normal::Refusal;
use lrc_compiler::plan::space::Given;
use lrc_compiler::plan::{Pass, choices};
use lrc_compiler::strategy::{self, Strategy};
use serde::{Deserialize, Serialize};

use super::cuda::nvrtc::Nvrtc;
use super::store::Machine;
use crate::ground::error::Failure;
use crate::ground::{atomic, bounded};

/// Where something was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The processor with its threads, or the GPU; one that is modelled says so.
    pub device: String,
    /// The version of the GPU's driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The version of the compiler of kernels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvrtc: Option<String>,
    /// The version of this program.
    pub lrc: String,
}

impl Place {
    /// This processor.
    pub fn processor() -> Place {
        let model = bounded::whole_text(Path::new("/proc/cpuinfo")).ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_string())
        });
        let threads = rayon::current_num_threads();
        let model = model.unwrap_or_else(|| std::env::consts::ARCH.to_string());
        let device = format!("{model}, {threads} threads");
        Place { device, driver: None, nvrtc: None, lrc: env!("CARGO_PKG_VERSION").into() }
    }

    /// A device on which kernels run, or for which they are timed by a model.
    pub fn of_kernels(device: String, driver: Option<String>) -> Result<Place, Failure> {
        let (major, minor) = Nvrtc::load()?.version;
        let nvrtc = Some(format!("{major}.{minor}"));
        Ok(Place { device, driver, nvrtc, lrc: env!("CARGO_PKG_VERSION").into() })
    }

    /// Where tables must have been made to be used on a machine: there, or for its kind of GPU by the model.
    pub fn accepted(machine: Option<&Machine>) -> Result<Vec<Place>, Failure> {
        let own = Place::of(machine)?;
        let modelled = machine.map(|machine| Place {
            device: modelled(machine.kind().arch),
            driver: None,
            ..own.clone()
        });
        Ok([Some(own), modelled].into_iter().flatten().collect())
    }

    /// Where a model runs.
    pub fn of(machine: Option<&Machine>) -> Result<Place, Failure> {
        match machine {
            None => Ok(Place::processor()),
            Some(Machine::Sim(kind) | Machine::Recorder(kind)) => {
                Place::of_kernels(modelled(kind.arch), None)
            }
            Some(Machine::Cuda(gpu)) => {
                Place::of_kernels(gpu.name.clone(), Some(gpu.driver.clone()))
            }
        }
    }
}

/// The device of kernels that are timed by the sim device's model.
pub fn modelled(arch: &str) -> String {
    format!("{arch}, modelled")
}

/// What is done in a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Forward alone.
    Forward,
    /// Forward and backward.
    Training,
}

impl Work {
    /// As files name it.
    pub fn name(self) -> &'static str {
        match self {
            Work::Forward => "forward",
            Work::Training => "training",
        }
    }
}

/// What was found for one recurrence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The recurrence and its sizes, for people.
    pub kernel: String,
    /// The recurrence, by what it computes.
    pub fingerprint: String,
    /// For which work.
    pub work: Work,
    /// The choice.
    pub choice: String,
    /// Seconds that it took.
    pub seconds: f64,
    /// Seconds that the compiler's own choice took, in turns with it.
    pub usual_seconds: f64,
}

/// What was found at one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Where.
    pub place: Place,
    /// Per recurrence and work.
    pub choices: Vec<Entry>,
}

/// The text of the choice that the compiler makes by itself.
pub const USUAL: &str = "as usual";

/// A recurrence by what it computes: its names and where it is declared do not count.
pub fn fingerprint(r: &Recurrence) -> String {
    let slots = |slots: &[Slot]| -> Vec<String> {
        let one = |s: &Slot| {
            let Slot { count, shape, interval, unit, number, gradient, .. } = s;
            format!("{count:?} {shape:?} {interval:?} {unit} {number:?} {gradient:?}")
        };
        slots.iter().map(one).collect()
    };
    let all = [&r.inputs, &r.params, &r.states, &r.outs].map(|all| slots(all));
    let text = format!("{}\n{}\n{all:?}", r.token, r.init);
    blake3::hash(text.as_bytes()).to_hex()[..16].to_string()
}

/// What may be chosen on the processor, the usual choice first; `heads` there are.
pub fn blockings(r: &Recurrence, heads: usize) -> Vec<Blocking> {
    let strategy = strategy::of(r);
    let lengths = |all: &[usize]| -> Vec<Option<usize>> { all.iter().map(|n| Some(*n)).collect() };
    let several = [1, 2, 4, 8, 16, 32, 64].into_iter().filter(|n| *n <= heads).map(Some);
    let (tokens, heads): (Vec<Option<usize>>, Vec<Option<usize>>) = match &strategy {
        Strategy::Scan => (lengths(&[8, 16, 32, 64, 128, 256, 512]), several.collect()),
        Strategy::Chunk(_) | Strategy::Halves(_) => {
            (lengths(&[8, 16, 24, 32, 48, 64, 96, 128, 192, 256]), vec![None])
        }
        Strategy::Attention(_) => (lengths(&[16, 32, 64, 128, 256]), vec![None]),
        Strategy::Recurrent(_) => (vec![None], several.collect()),
    };
    // The usual one has no second name.
    let usual = Blocking::default();
    let same = match strategy {
        Strategy::Chunk(_) | Strategy::Attention(_) => Some(block::tokens(r, &strategy, None)),
        _ => None,
    };
    let pairs =
        tokens.iter().flat_map(|t| heads.iter().map(|h| Blocking { tokens: *t, heads: *h }));
    let others = pairs.filter(|b| *b != usual && (b.tokens != same || same.is_none()));
    std::iter::once(usual).chain(others).collect()
}

impl Table {
    /// Reads one.
    pub fn read(path: &Path) -> Result<Table, Failure> {
        let text = bounded::text(path, MOST_BYTES)?;
        serde_json::from_str(&text).map_err(|why| {
            let what = "this is no table of `lrc tune --export`";
            Failure::invalid("E0412", format!("{}: {what}: {why}", path.display()))
        })
    }

    /// Writes it.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|why| Failure::World(format!("a table cannot be written: {why}")))?;
        atomic::write(path, format!("{text}\n").as_bytes())
    }

    /// Refuses it where it was not measured.
    pub fn belongs(&self, here: &[Place], named: &str) -> Result<(), Failure> {
        let Some(own) = here.first().filter(|_| !here.contains(&self.place)) else { return Ok(()) };
        let text = |place: &Place| {
            let Place { device, driver, nvrtc, lrc } = place;
            let more = [("driver", driver), ("NVRTC", nvrtc)];
            let more =
                more.iter().filter_map(|(name, x)| Some(format!(", {name} {}", x.as_ref()?)));
            format!("{device}{}, lrc {lrc}", more.collect::<String>())
        };
        let why = format!("{named} was measured on {}; this is {}", text(&self.place), text(own));
        let help = "run `lrc tune` here, or leave the table out";
        Err(Failure::Invalid(vec![lrc_dsl::Diag::global("E0412", why).help(help)]))
    }

    /// What of how a recurrence runs is chosen by it. The error says which choice there is none of.
    pub fn chosen(&self, r: &Recurrence, heads: usize) -> Result<Chosen, Refusal> {
        let mut chosen = Chosen::default();
        let print = fingerprint(r);
        for entry in self.choices.iter().filter(|entry| entry.fingerprint == print) {
            entry.choose(r, heads, &mut chosen)?;
        }
        Ok(chosen)
    }

    /// Puts what is chosen into the nodes of a graph.
    pub fn apply(&self, graph: &mut Graph) -> Result<(), Failure> {
        for node in graph.nodes.node_weights_mut().filter(|_| !self.choices.is_empty()) {
            let Kind::Recur(recur) = &mut node.kind else { continue };
            recur.chosen = self.chosen(&recur.recurrence, recur.heads).map_err(|refusal| {
                let help = "another version may have made the table: run `lrc tune` again";
                let diag = lrc_dsl::Diag::global("E0412", refusal.why).help(help);
                Failure::Invalid(vec![diag])
            })?;
        }
        Ok(())
    }
}

/// A table may have been made with other heads.
const MOST_HEADS: usize = 64;

/// Bytes of a table at most.
const MOST_BYTES: u64 = 16 << 20;

impl Entry {
    fn choose(&self, r: &Recurrence, heads: usize, to: &mut Chosen) -> Result<(), Refusal> {
        if self.choice == USUAL {
            return Ok(());
        }
        let mut blockings = blockings(r, heads.max(MOST_HEADS)).into_iter();
        if let Some(found) = blockings.find(|blocking| blocking.to_string() == self.choice) {
            to.blocking = found;
            return Ok(());
        }
        let pass = if self.work == Work::Forward { Pass::Forward } else { Pass::Backward };
        let plan = choices(r, &strategy::of(r), pass)?
            .into_iter()
            .find(|choice| choice.to_string() == self.choice);
        let plan = plan.ok_or_else(|| {
            let why = format!("`{}` is no choice for {}", self.choice, self.kernel);
            Refusal { span: None, why }
        })?;
        match self.work {
            Work::Forward => to.plans.forward = Given::Whole(plan),
            Work::Training => to.plans.backward = Given::Whole(plan),
        }
        Ok(())
    }
}
