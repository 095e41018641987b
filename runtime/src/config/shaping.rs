//! `batch`, `schedule` and `phases`: what shapes the steps of a run.

use lrc_dsl::Span;

use super::fields::{Fields, finding};
use super::tree::{Tree, Value};
use crate::data::{LONGEST, Task};
use crate::schedule::lengths::Lengths;
use crate::schedule::levels::Levels;
use crate::schedule::run::{Batch, Phase, Ramp, Rule, Shaping, Size};
use crate::schedule::{Amount, DecayCurve, Schedule, Shape, WarmupCurve};

/// The most sequences of a step.
const MOST_SEQUENCES: usize = 1_000_000;

/// The most tokens of a step.
const MOST_TOKENS: f64 = 1e9;

/// A number of sequences, or of tokens.
fn size(f: &mut Fields, name: &'static str, tree: &Tree) -> Option<Size> {
    let sequences = |n: usize| (1..=MOST_SEQUENCES).contains(&n).then_some(Size::Sequences(n));
    let found = match &tree.value {
        Value::Number(x) if *x >= 1.0 && x.fract() == 0.0 => sequences(*x as usize),
        Value::Text(text) => match text.strip_suffix("sequences").map(str::trim) {
            Some(number) => number.parse().ok().and_then(sequences),
            None => match Amount::parse(text) {
                Some(Amount::Tokens(tokens)) if (1.0..=MOST_TOKENS).contains(&tokens) => {
                    Some(Size::Tokens(tokens))
                }
                _ => None,
            },
        },
        _ => None,
    };
    if found.is_none() {
        let message = format!("`{name}` is {}, which is no size of a batch", tree.words());
        f.diags.push(finding(tree.span, "E0402", message).help(format!(
            "write a whole number of sequences, `32`, at most {MOST_SEQUENCES}, or of tokens, `64k tokens`, at most {MOST_TOKENS}"
        )));
    }
    found
}

/// `batch`: a size, or a ramp `{from, to, over, stages, lr}`.
pub fn batch(f: &mut Fields) -> Batch {
    let plain = Batch { size: Size::Sequences(32), ramp: None };
    match f.get("batch") {
        None => {
            f.put_value("batch", Value::Number(32.0));
            plain
        }
        Some(tree) if matches!(tree.value, Value::Map(_)) => {
            f.within("batch", tree, ramp).unwrap_or(plain)
        }
        Some(tree) => size(f, "batch", tree).map_or(plain, |size| Batch { size, ramp: None }),
    }
}

fn ramp(f: &mut Fields) -> Option<Batch> {
    let from = f.need("from").and_then(|tree| size(f, "from", tree));
    let to = f.need("to").and_then(|tree| size(f, "to", tree));
    let over = f.amount("over");
    let stages = f.size("stages");
    let rule = f.word_or("lr", [Rule::None, Rule::Root, Rule::Linear]);
    let (from, to) = (from?, to?);
    let fits = match (from, to) {
        (Size::Sequences(a), Size::Sequences(b)) => a <= b,
        (Size::Tokens(a), Size::Tokens(b)) => a <= b,
        _ => false,
    };
    if !fits {
        let message = "`from` and `to` count the same, and `to` is larger".to_string();
        f.diags.push(finding(f.place(), "E0402", message));
    }
    Some(Batch { size: to, ramp: Some(Ramp { from, over, stages, rule }) })
}

const DECAY_CURVES: [DecayCurve; 3] = [DecayCurve::Linear, DecayCurve::Cosine, DecayCurve::Root];

const WARMUP_CURVES: [WarmupCurve; 3] =
    [WarmupCurve::Linear, WarmupCurve::Quadratic, WarmupCurve::Exponential];

/// `schedule`: the learning rate over the run, and whether its warmup is to be chosen by the model.
pub fn schedule(f: &mut Fields) -> (Schedule, bool) {
    f.kind_or(|name, f| {
        // Chosen when the model is known.
        let auto = f.get("warmup").is_some_and(|tree| tree.value == Value::Text("auto".into()));
        let warmup = if auto { Amount::Share(0.025) } else { f.amount("warmup") };
        let rise = f.word_or("rise", WARMUP_CURVES);
        let (shape, floor) = match name {
            "wsd" => {
                let decay = f.amount("decay");
                let curve = f.word_or("curve", DECAY_CURVES);
                (Shape::Wsd { decay, curve }, f.number("floor"))
            }
            "cosine" => (Shape::Falling(DecayCurve::Cosine), f.number("floor")),
            "linear" => (Shape::Falling(DecayCurve::Linear), f.number("floor")),
            "inverse_root" => (Shape::InverseRoot, 0.0),
            _ => (Shape::Constant, 1.0),
        };
        if let (Amount::Share(up), Shape::Wsd { decay: Amount::Share(down), .. }) = (warmup, shape)
            && up + down > 1.0
        {
            let message = format!("warmup and decay take {:.0}% of the run", (up + down) * 100.0);
            let diag = finding(f.place(), "E0401", message);
            f.diags.push(diag.help("together they take 100% at most"));
        }
        if shape == Shape::InverseRoot && warmup.number() <= 0.0 {
            let message = "`inverse_root` falls from the end of its warmup, so it needs one".into();
            f.diags.push(finding(f.place(), "E0402", message));
        }
        (Schedule { shape, warmup, rise, floor }, auto)
    })
}

/// `phases`: parts of the run with ways of their own.
pub fn phases(f: &mut Fields) -> Vec<Phase> {
    let example = "`phases: [{for: 40%, lr_scale: 2}, {for: 60%, lr_scale: 1}]`";
    let all = f.list("phases", "phase", example, phase);
    let place = f.get("phases").and_then(|tree| tree.span);
    let unit = |phase: &Phase| std::mem::discriminant(&phase.span);
    if all.windows(2).any(|pair| unit(&pair[0]) != unit(&pair[1])) {
        let message = "phases are measured in one unit: all in tokens, or steps, or shares";
        f.diags.push(finding(place, "E0402", message.into()));
    }
    let share = |phase: &Phase| match phase.span {
        Amount::Share(share) => Some(share),
        _ => None,
    };
    let whole: f64 = all.iter().map(share).sum::<Option<f64>>().unwrap_or(0.0);
    // Sums of shares are exact to the last digits only.
    if whole > 1.0 + 1e-9 {
        let message = format!("the phases take {:.0}% of the run", whole * 100.0);
        f.diags.push(finding(place, "E0402", message).help("together they take 100% at most"));
    }
    all
}

fn phase(f: &mut Fields) -> Phase {
    let span = match f.need("for") {
        Some(_) => f.amount("for"),
        None => Amount::Share(1.0),
    };
    if span.number() <= 0.0 {
        let message = "`for` is more than nothing: a phase lasts a while".to_string();
        f.diags.push(finding(f.place(), "E0402", message));
    }
    let lr_scale = match f.get("lr_scale").map(|tree| (&tree.value, tree)) {
        None => None,
        Some((Value::Map(_), tree)) => Some(f.within("lr_scale", tree, |f| {
            let from = f.number("from");
            let to = f.number("to");
            (from, to, f.word_or("curve", DECAY_CURVES))
        })),
        Some(_) => {
            let x = f.number("lr_scale");
            Some((x, x, DecayCurve::Linear))
        }
    };
    let batch = f.get("batch").and_then(|tree| size(f, "batch", tree));
    let lengths = f.get("lengths").and_then(|tree| weighted(f, tree));
    Phase { span, lr_scale, batch, lengths }
}

/// One length, a list of them, or a mapping from lengths to how likely they are.
fn weighted(f: &mut Fields, tree: &Tree) -> Option<Vec<(usize, f64)>> {
    let whole =
        |x: f64| (x >= 1.0 && x.fract() == 0.0 && x <= LONGEST as f64).then_some(x as usize);
    let found: Option<Vec<(usize, f64)>> = match &tree.value {
        Value::Number(x) => whole(*x).map(|length| vec![(length, 1.0)]),
        Value::List(_) => {
            tree.numbers().and_then(|all| all.into_iter().map(|x| Some((whole(x)?, 1.0))).collect())
        }
        Value::Map(entries) => entries
            .iter()
            .map(|(key, tree)| match tree.value {
                Value::Number(odds) if odds > 0.0 => Some((whole(key.text.parse().ok()?)?, odds)),
                _ => None,
            })
            .collect(),
        _ => None,
    };
    if found.as_ref().is_none_or(Vec::is_empty) {
        let message = format!("`lengths` are whole numbers up to {LONGEST}, with or without odds");
        f.diags.push(
            finding(tree.span, "E0402", message)
                .help("`lengths: 512`, `lengths: [512, 1024]` or `lengths: {512: 2, 1024: 1}`"),
        );
        return None;
    }
    found
}

/// What the parts of the shaping must agree about. Findings point at the curriculum, where there is one.
pub fn agree(
    f: &mut Fields,
    shaping: &Shaping,
    (task, levels): (&Task, Option<&Levels>),
    place: Option<Span>,
) {
    let mut wrong = |message: &str, help: &str| {
        f.diags.push(finding(place, "E0402", message.into()).help(help));
    };
    let sequences = matches!(shaping.batch.size, Size::Sequences(_));
    let phased = shaping.phases.iter().any(|phase| phase.lengths.is_some());
    if sequences && (matches!(shaping.lengths, Lengths::Buckets(_)) || phased) {
        wrong(
            "lengths differ from step to step, and `batch` counts sequences",
            "give it in tokens, so that steps stay equal: `batch: 64k tokens`",
        );
    }
    let sizes = shaping.phases.iter().filter_map(|phase| phase.batch).chain([shaping.batch.size]);
    let tokens = sizes.map(|size| size.sequences(shaping.full) as f64 * shaping.full as f64);
    if let Some(most) = tokens.reduce(f64::max).filter(|tokens| *tokens > MOST_TOKENS) {
        let message = format!("a step has {most} tokens, and at most {MOST_TOKENS} are allowed");
        wrong(&message, "make `batch` smaller, or sequences shorter");
    }
    if matches!(shaping.length, Amount::Time(_))
        && (shaping.lengths != Lengths::Same
            || shaping.batch.ramp.is_some()
            || !shaping.phases.is_empty())
    {
        wrong(
            "a run of given time has steps of one size: where it stands cannot be found again",
            "give `length` in tokens or steps to use a curriculum, a ramp or phases",
        );
    }
    let shapes: Vec<usize> = match &shaping.lengths {
        Lengths::Buckets(buckets) => buckets.lengths.clone(),
        Lengths::Growing { from, .. } => vec![*from],
        Lengths::Same => vec![],
    };
    for length in own_lengths(shaping).chain(shapes.iter().copied()) {
        if let Some((message, help)) = task.wrong_at(length, levels) {
            wrong(&message, &help);
        }
    }
    if let Lengths::Growing { from, .. } = shaping.lengths
        && from > shaping.full
    {
        let message =
            format!("`warmup` begins with {from} tokens, whole sequences have {}", shaping.full);
        wrong(&message, "`from` is where lengths begin to grow");
    }
    if !matches!(task, Task::Corpora(_)) {
        return;
    }
    let bucketed = matches!(shaping.lengths, Lengths::Buckets(_));
    if let Some(odd) = own_lengths(shaping).find(|length| bucketed && !shapes.contains(length)) {
        wrong(&format!("no bucket has sequences of {odd} tokens"), "phases use lengths of buckets");
    }
    if let Some(long) = own_lengths(shaping).find(|length| !bucketed && *length > shaping.full) {
        wrong(
            &format!("a phase wants {long} tokens, the data is packed to {}", shaping.full),
            "`data.length` is the longest length of all",
        );
    }
}

fn own_lengths(shaping: &Shaping) -> impl Iterator<Item = usize> {
    let own = shaping.phases.iter().flat_map(|phase| phase.lengths.iter().flatten());
    own.map(|(length, _)| *length)
}
