//! A profile as text, and as JSON.

use serde_json::{Map, Value, json};

use super::measures::Measures;
use super::{Compulsory, OfKernel, OfSchedule, Profile, Step};
use crate::device::sim::count::kind::{CLASSES, Class};
use crate::device::sim::count::{Tally, UNIT_NAMES};
use crate::device::sim::hardware::Hardware;
use crate::report::plot::aligned;

/// Steps that take less of a kernel's time are shown together.
const SMALL: f64 = 0.01;
/// Letters of a step that are shown.
const SHOWN: usize = 76;

/// What is printed of a profile.
pub fn text(profile: &Profile) -> String {
    let Profile { name, hardware, sizes, lengths, schedules } = profile;
    let counted: Vec<String> = lengths.iter().map(usize::to_string).collect();
    let mut all = format!(
        "{name} on {} (kernels for {}), {} sequences of {} tokens, {} heads; one head counted at {} tokens\n",
        hardware.name,
        hardware.arch,
        sizes.batch,
        sizes.length,
        sizes.heads,
        counted.join(", ")
    );
    schedules.iter().for_each(|schedule| all.push_str(&of_schedule(schedule, hardware)));
    all
}

fn of_schedule(schedule: &OfSchedule, hardware: &Hardware) -> String {
    let parts: Vec<String> = schedule
        .compulsory
        .iter()
        .map(|part| format!("{} {}", part.name, megabytes(part.bytes)))
        .collect();
    let mut all = format!(
        "\n{}{}: {} modelled\n  moves {} MB, {:.2} times the {} MB that it must in bf16: {}\n",
        schedule.name,
        if schedule.saves { ", saving what the gradient needs" } else { "" },
        milliseconds(schedule.seconds(hardware)),
        megabytes(schedule.moved()),
        schedule.moved() / schedule.compulsory().max(1.0),
        megabytes(schedule.compulsory()),
        parts.join(", ")
    );
    schedule.kernels.iter().for_each(|kernel| all.push_str(&of_kernel(kernel)));
    all
}

/// The unit that is busy longest, and for how much of the time that blocks take.
fn busiest(kernel: &OfKernel) -> (&'static str, f64) {
    let cycles = kernel.counts.all().time().max(1.0);
    let units = UNIT_NAMES.into_iter().zip(kernel.counts.busy);
    let (name, busy) = units.fold(("issue", 0.0), |a, b| if b.1 > a.1 { b } else { a });
    (name, busy / cycles)
}

pub(super) fn of_kernel(kernel: &OfKernel) -> String {
    let assembled = kernel.assembled.map_or(String::new(), |made| {
        format!(", {} registers, {} bytes spilled", made.registers, made.spill_bytes)
    });
    let (unit, busy) = busiest(kernel);
    let mut all = format!(
        "  kernel {}: {}; {:.0} blocks of {} threads, {} at a time on a multiprocessor ({} bytes shared{assembled})\n    \
         a block takes up to {:.0} thousand cycles; its busiest unit, {unit}, is busy for {:.0} % of them\n",
        kernel.name,
        milliseconds(kernel.seconds),
        kernel.blocks,
        kernel.threads,
        kernel.resident,
        kernel.shared,
        kernel.counts.longest / 1e3,
        100.0 * busy,
    );
    if kernel.steps.is_empty() {
        return all;
    }
    let cycles = kernel.counts.all().time().max(1.0);
    let heads = [
        "time",
        "mostly",
        "instr M",
        "integer",
        "matrix GF",
        "conflicts",
        "moved MB",
        "threads",
        "step",
    ];
    let mut rows = vec![heads.map(String::from).to_vec()];
    let (mut others, mut small) = (Tally::default(), 0);
    for step in &kernel.steps {
        if step.tally.time() < SMALL * cycles {
            others.add(&step.tally, 1.0);
            small += 1;
        } else {
            rows.push(row(&step.tally, cycles, &cut(&step.text)));
        }
    }
    if small > 0 {
        rows.push(row(&others, cycles, &format!("{small} steps that take less than 1 % each")));
    }
    let last = rows[0].len() - 1;
    let (numbers, texts): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .map(|mut row| {
            let text = row.remove(last);
            (row, text)
        })
        .unzip();
    for (line, text) in aligned(&numbers).lines().zip(texts) {
        all.push_str(&format!("    {line}  {text}\n"));
    }
    all
}

fn row(tally: &Tally, cycles: f64, text: &str) -> Vec<String> {
    let instructions: f64 = tally.instructions.iter().sum();
    vec![
        format!("{:.1} %", 100.0 * tally.time() / cycles),
        mostly(tally),
        format!("{:.2}", instructions / 1e6),
        percent(tally.instructions[Class::Integer as usize], instructions),
        format!("{:.2}", tally.operations[1] / 1e9),
        percent(tally.wavefronts[0] - tally.wavefronts[1], tally.wavefronts[0]),
        megabytes(tally.moved.iter().sum()),
        percent(tally.lanes[0], tally.lanes[1]),
        text.to_string(),
    ]
}

/// What most of the time goes to.
fn mostly(tally: &Tally) -> String {
    let classes = Class::ALL.into_iter().map(|class| (class, tally.cycles[class as usize]));
    let (class, cycles) = classes.fold((Class::Move, 0.0), |a, b| if b.1 > a.1 { b } else { a });
    if cycles > 0.0 {
        format!("{} {:.0} %", class.name(), 100.0 * cycles / tally.time())
    } else {
        "-".into()
    }
}

fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.0} %", 100.0 * part / whole) } else { "-".into() }
}

pub(super) fn megabytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1e6)
}

pub(super) fn milliseconds(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}

pub(super) fn cut(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() { format!("{shown}…") } else { shown }
}

/// What times are made of, for people.
pub fn assumptions(hardware: &Hardware) -> String {
    let Hardware { name, clock, multiprocessors, bandwidth, on_chip, memory, shared, busy, .. } =
        hardware;
    format!(
        "{name} is taken to have {multiprocessors} multiprocessors at {:.2} GHz, {:.2} TB/s, {} KiB of L1 and shared memory; \
         reads come after {:.0} cycles from shared memory, {:.0} from L1, {:.0} from L2 (of {} MiB, each multiprocessor has its share), {:.0} from elsewhere; arithmetic after {:.0}; \
         of whole numbers, f32, functions and 16 x 8 x 16 products a scheduler starts one in {:.1}, {:.1}, {:.1}, {:.1} cycles; \
         a barrier takes {:.0} cycles, a launch {:.0} µs. Nothing of this was measured here.",
        clock / 1e9,
        bandwidth / 1e12,
        on_chip >> 10,
        shared[0],
        memory[0],
        memory[1],
        hardware.l2 >> 20,
        memory[2],
        hardware.arithmetic,
        busy[0],
        busy[1],
        busy[2],
        busy[3],
        hardware.barrier,
        hardware.launch * 1e6,
    )
}

/// A profile for programs.
pub fn document(profile: &Profile) -> Value {
    let hardware = &profile.hardware;
    let sizes = profile.sizes;
    json!({
        "name": profile.name,
        "hardware": {
            "name": hardware.name, "arch": hardware.arch, "clock_hz": hardware.clock,
            "multiprocessors": hardware.multiprocessors, "bytes_per_second": hardware.bandwidth,
            "assumptions": assumptions(hardware),
        },
        "shape": { "batch": sizes.batch, "length": sizes.length, "heads": sizes.heads },
        "counted_lengths": profile.lengths,
        "modelled": true,
        "schedules": profile.schedules.iter().map(|s| schedule(s, hardware)).collect::<Vec<_>>(),
    })
}

fn schedule(of: &OfSchedule, hardware: &Hardware) -> Value {
    let parts = |bytes: fn(&Compulsory) -> f64| -> Map<String, Value> {
        of.compulsory.iter().map(|part| (part.name.clone(), json!(bytes(part)))).collect()
    };
    json!({
        "name": of.name,
        "saves": of.saves,
        "milliseconds": of.seconds(hardware) * 1e3,
        "moved_bytes": of.moved(),
        "compulsory_bytes": of.compulsory(),
        "compulsory_parts": parts(|part| part.bytes),
        "held_bytes": of.held(),
        "held_parts": parts(|part| part.held),
        "measures": measures(&of.measures()),
        "kernels": of.kernels.iter().map(kernel).collect::<Vec<_>>(),
    })
}

fn measures(of: &Measures) -> Value {
    let narrow = of.narrow.iter().map(|narrow| {
        json!({
            "kernel": narrow.kernel, "step": narrow.step, "share_of_time": narrow.time,
            "threads_busy": narrow.threads,
        })
    });
    json!({
        "moved_over_compulsory": of.moved,
        "moved_over_held": of.moved_as_held,
        "conflicts_in_products": of.conflicts,
        "long_steps_on_few_threads": narrow.collect::<Vec<Value>>(),
    })
}

pub(super) fn kernel(of: &OfKernel) -> Value {
    let busy: Map<String, Value> =
        UNIT_NAMES.iter().zip(of.counts.busy).map(|(name, x)| ((*name).into(), json!(x))).collect();
    let mut all = tally(&of.counts.all());
    all.extend([
        ("name".into(), json!(of.name)),
        ("milliseconds".into(), json!(of.seconds * 1e3)),
        ("blocks".into(), json!(of.blocks)),
        ("threads".into(), json!(of.threads)),
        ("shared_bytes".into(), json!(of.shared)),
        ("blocks_at_a_time".into(), json!(of.resident)),
        ("registers".into(), json!(of.assembled.map(|made| made.registers))),
        ("spill_bytes".into(), json!(of.assembled.map(|made| made.spill_bytes))),
        ("longest_block_cycles".into(), json!(of.counts.longest)),
        ("barriers".into(), json!(of.counts.barriers)),
        ("busy_cycles".into(), Value::Object(busy)),
        ("steps".into(), of.steps.iter().map(step).collect()),
    ]);
    Value::Object(all)
}

fn step(of: &Step) -> Value {
    let mut all = tally(&of.tally);
    all.extend([("step".into(), json!(of.text)), ("line".into(), json!(of.line))]);
    Value::Object(all)
}

fn by_class(of: &[f64; CLASSES]) -> Map<String, Value> {
    Class::ALL.into_iter().map(|class| (class.name().into(), json!(of[class as usize]))).collect()
}

fn tally(of: &Tally) -> Map<String, Value> {
    let pairs = [
        ("instructions", Value::Object(by_class(&of.instructions))),
        ("threads_busy", json!(if of.lanes[1] > 0.0 { of.lanes[0] / of.lanes[1] } else { 1.0 })),
        ("flops", json!({ "ordinary": of.operations[0], "matrix": of.operations[1] })),
        ("wavefronts", json!(of.wavefronts[0])),
        ("conflicts", json!(of.wavefronts[0] - of.wavefronts[1])),
        ("asked_bytes", json!({ "read": of.bytes[0], "written": of.bytes[1] })),
        ("moved_bytes", json!({ "read": of.moved[0], "written": of.moved[1] })),
        ("cycles", json!(of.time())),
        ("cycles_by_class", Value::Object(by_class(&of.cycles))),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}
