//! A training step as text, as JSON and as part of a page.

use std::fmt::Write;

use serde_json::{Value, json};

use super::super::page::bars;
use super::super::text::{assumptions, cut, kernel, milliseconds, of_kernel};
use super::{Part, Sort, StepProfile, Work};
use crate::report::plot::{COLOURS, aligned, escape, table};

/// Works that take less of the step are shown together.
const SMALL: f64 = 0.005;
/// Works whose kernels are shown step by step take so much of it.
const MUCH: f64 = 0.02;

const PARTS: [(Part, &str); 3] =
    [(Part::Forward, "forward"), (Part::Backward, "backward"), (Part::Update, "update")];

const SORTS: [(Sort, &str); 5] = [
    (Sort::Product, "dense products"),
    (Sort::Recurrence, "recurrences"),
    (Sort::Attention, "attention"),
    (Sort::Pointwise, "pointwise nodes"),
    (Sort::Moves, "the rest"),
];

fn word(sort: Sort) -> &'static str {
    SORTS.iter().find(|(of, _)| *of == sort).map_or("", |(_, word)| word)
}

fn part(part: Part) -> &'static str {
    PARTS.iter().find(|(of, _)| *of == part).map_or("", |(_, word)| word)
}

/// What is printed of a step; where it is asked for, also the steps of kernels that take much of it.
pub fn text(profile: &StepProfile, kernels: bool) -> String {
    let StepProfile { hardware, works, .. } = profile;
    let whole = profile.seconds(|_| true);
    let mut all = heading(profile);
    let shares = |all: &mut String, title: &str, of: &[(&str, f64)]| {
        let said = of.iter().filter(|(_, seconds)| *seconds > 0.0).map(|(word, seconds)| {
            format!("{word} {} ({:.0} %)", milliseconds(*seconds), 100.0 * seconds / whole)
        });
        let _ = writeln!(all, "  {title}: {}", said.collect::<Vec<_>>().join(", "));
    };
    shares(&mut all, "parts", &PARTS.map(|(of, word)| (word, profile.seconds(|w| w.part == of))));
    shares(&mut all, "by", &SORTS.map(|(of, word)| (word, profile.seconds(|w| w.sort == of))));
    let heads = ["time", "ms", "times", "µs each", "TFLOP/s", "TB/s", "moved / must", "part"];
    let mut rows = vec![heads.map(String::from).to_vec()];
    let mut texts = vec!["what".to_string()];
    let shown = works.iter().filter(|work| work.all() >= SMALL * whole);
    for work in shown {
        rows.push(row(work, whole));
        texts.push(cut(&format!("{}: {}", work.name, work.by)));
    }
    for (line, text) in aligned(&rows).lines().zip(texts) {
        let _ = writeln!(all, "  {line}  {text}");
    }
    let small = works.iter().filter(|work| work.all() < SMALL * whole);
    let (count, seconds) = small.fold((0, 0.0), |(n, s), work| (n + 1, s + work.all()));
    let _ = writeln!(
        all,
        "  {count} kinds of work that take less than half a percent each: {}",
        milliseconds(seconds)
    );
    let _ = writeln!(
        all,
        "  recurrences, attention and pointwise nodes: counted kernels. Dense products: a library's, taken to reach {:.0} % of {:.0} TFLOP/s, \
         or the bytes that they move. The rest: bytes that are moved. Kernels run one after the other.",
        100.0 * hardware.products,
        hardware.peak / 1e12
    );
    let much = works.iter().filter(|work| kernels && work.all() >= MUCH * whole);
    much.flat_map(|work| &work.kernels).for_each(|kernel| all.push_str(&of_kernel(kernel)));
    all
}

fn heading(profile: &StepProfile) -> String {
    let StepProfile { name, hardware, step, parameters, operations, .. } = profile;
    let launches: usize = profile.works.iter().map(|work| work.launches * work.times).sum();
    format!(
        "a training step of {name} ({:.1} M parameters) on {} (kernels for {}), {}{} sequences of {} tokens: {} modelled\n  \
         {:.0} tokens a second; {:.1} % of the peak at {:.2} GFLOP a token; {launches} kernels and products\n",
        *parameters as f64 / 1e6,
        hardware.name,
        hardware.arch,
        if step.parts > 1 { format!("{} times ", step.parts) } else { String::new() },
        step.batch,
        step.length,
        milliseconds(profile.seconds(|_| true)),
        profile.speed(),
        100.0 * profile.utilisation(),
        operations / 1e9,
    )
}

fn row(work: &Work, whole: f64) -> Vec<String> {
    let rate =
        |per: f64| if per > 0.0 { format!("{:.2}", per / work.seconds / 1e12) } else { "-".into() };
    vec![
        format!("{:.1} %", 100.0 * work.all() / whole),
        format!("{:.3}", work.all() * 1e3),
        work.times.to_string(),
        format!("{:.1}", work.seconds * 1e6),
        rate(work.operations),
        rate(work.moved),
        format!("{:.2}", work.moved / work.must.max(1.0)),
        part(work.part).to_string(),
    ]
}

/// A step for programs.
pub fn document(profile: &StepProfile) -> Value {
    let StepProfile { name, hardware, step, parameters, operations, works } = profile;
    json!({
        "name": name,
        "hardware": {
            "name": hardware.name, "arch": hardware.arch,
            "peak_flops": hardware.peak, "products_reach": hardware.products,
            "assumptions": assumptions(hardware),
        },
        "modelled": true,
        "step": { "batch": step.batch, "length": step.length, "parts": step.parts, "tokens": step.tokens() },
        "parameters": parameters,
        "flops_per_token": operations,
        "milliseconds": profile.seconds(|_| true) * 1e3,
        "tokens_per_second": profile.speed(),
        "model_flops_utilisation": profile.utilisation(),
        "works": works.iter().map(|work| json!({
            "part": part(work.part),
            "sort": word(work.sort),
            "node": work.name,
            "by": work.by,
            "times": work.times,
            "milliseconds_each": work.seconds * 1e3,
            "milliseconds": work.all() * 1e3,
            "launches_each": work.launches,
            "matrix_flops_each": work.operations,
            "moved_bytes_each": work.moved,
            "must_move_bytes_each": work.must,
            "kernels": work.kernels.iter().map(kernel).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

/// A step as a part of a page: a bar of what it is made of, and its works.
pub fn section(page: &mut String, profile: &StepProfile) {
    let whole = profile.seconds(|_| true);
    let heading = heading(profile);
    let (title, more) = heading.split_once('\n').unwrap_or((&heading, ""));
    let [title, more] = [title, more].map(|text| escape(text.trim()));
    let _ = write!(page, "<h2>{title}</h2><p>{more}</p><div class=\"bar\">");
    for ((sort, word), colour) in SORTS.iter().zip(COLOURS) {
        let share = 100.0 * profile.seconds(|work| work.sort == *sort) / whole;
        let _ = write!(
            page,
            "<i style=\"width:{share:.2}%;background:{colour}\" title=\"{word} {share:.0} %\"></i>"
        );
    }
    page.push_str("</div><p class=\"key\">");
    for ((sort, word), colour) in SORTS.iter().zip(COLOURS) {
        let seconds = profile.seconds(|work| work.sort == *sort);
        if seconds > 0.0 {
            let _ = write!(
                page,
                "<i><span style=\"background:{colour};height:10px\"></span>{word} {}</i>",
                milliseconds(seconds)
            );
        }
    }
    page.push_str("</p>");
    // What it is stands where a narrow screen shows it.
    let heads =
        ["share", "what", "ms", "times", "µs each", "TFLOP/s", "TB/s", "moved / must", "part"];
    let mut rows = vec![heads.map(String::from).to_vec()];
    for work in profile.works.iter().filter(|work| work.all() >= SMALL * whole) {
        let mut row = row(work, whole);
        row.insert(1, cut(&format!("{}: {}", work.name, work.by)));
        rows.push(row);
    }
    page.push_str(&table(&rows));
    let much = profile.works.iter().filter(|work| work.all() >= MUCH * whole);
    much.flat_map(|work| &work.kernels).for_each(|kernel| bars(page, kernel));
    let _ = write!(page, "<p class=\"key\">{}</p>", escape(&assumptions(&profile.hardware)));
}
