//! `batch`, `schedule`, `curriculum` and `phases`: what shapes the steps of a run.

use lrc_dsl::Diag;

use super::NOTHING;
use super::tree::{Fields, Tree, Value, finding};
use crate::data::Task;
use crate::data::synthetic::LEVELS;
use crate::schedule::course::{Batch, Phase, Ramp, Rule, Shaping, Size};
use crate::schedule::lengths::{Buckets, Cut, Lengths, Reading, doubling, odds, powers};
use crate::schedule::levels::{Levels, Pace};
use crate::schedule::pacing::{Growth, Pacing};
use crate::schedule::{Amount, Fall, Rise, Schedule, Shape};

/// A number of sequences, or of tokens.
fn size(f: &mut Fields, name: &'static str, tree: &Tree) -> Option<Size> {
    let found = match &tree.value {
        Value::Number(x) if *x >= 1.0 && x.fract() == 0.0 && *x <= 1e6 => {
            Some(Size::Sequences(*x as usize))
        }
        Value::Text(text) => match text.strip_suffix("sequences").map(str::trim) {
            Some(number) => number.parse().ok().filter(|n| *n >= 1).map(Size::Sequences),
            None => match Amount::parse(text) {
                Some(Amount::Tokens(tokens)) if tokens >= 1.0 => Some(Size::Tokens(tokens)),
                _ => None,
            },
        },
        _ => None,
    };
    if found.is_none() {
        let message = format!("`{name}` is {}, which is no size of a batch", tree.words());
        f.diags.push(
            finding(tree.span, "E0402", message)
                .help("write a whole number of sequences, `32`, or of tokens, `64k tokens`"),
        );
    }
    found
}

/// `batch`: a size, or a ramp `{from, to, over, stages, lr}`.
pub fn batch(tree: Option<&Tree>, diags: &mut Vec<Diag>) -> Batch {
    let plain = Batch { size: Size::Sequences(32), ramp: None };
    let Some(tree) = tree else { return plain };
    let ramp = matches!(tree.value, Value::Map(_));
    let mut f = Fields::of(if ramp { tree } else { &NOTHING }, "batch", diags);
    if !ramp {
        let size = size(&mut f, "batch", tree);
        f.finish();
        return Batch { size: size.unwrap_or(plain.size), ramp: None };
    }
    let from = f.need("from", "`from: 32k tokens`").and_then(|tree| size(&mut f, "from", tree));
    let to = f.need("to", "`to: 256k tokens`").and_then(|tree| size(&mut f, "to", tree));
    let over = f.amount("over", Amount::Share(0.1));
    let stages = f.whole("stages", 4, 1, 64) as usize;
    let rule =
        f.word("lr", &[("none", Rule::None), ("sqrt", Rule::Root), ("linear", Rule::Linear)]);
    f.finish();
    let (Some(from), Some(to)) = (from, to) else { return plain };
    let fits = match (from, to) {
        (Size::Sequences(a), Size::Sequences(b)) => a <= b,
        (Size::Tokens(a), Size::Tokens(b)) => a <= b,
        _ => false,
    };
    if !fits {
        let message = "`from` and `to` count the same, and `to` is larger".to_string();
        diags.push(finding(tree.span, "E0402", message));
    }
    let rule = rule.unwrap_or(Rule::None);
    Batch { size: to, ramp: Some(Ramp { from, over, stages, rule }) }
}

const FALLS: [(&str, Fall); 3] =
    [("linear", Fall::Linear), ("cosine", Fall::Cosine), ("sqrt", Fall::Root)];

/// `schedule`: the learning rate over the run, and whether its warmup is to be chosen by the model.
pub fn schedule(tree: &Tree, diags: &mut Vec<Diag>) -> (Schedule, bool) {
    let mut f = Fields::of(tree, "schedule", diags);
    let shapes = ["wsd", "cosine", "linear", "constant", "inverse_root"];
    let given = if tree.value == Value::Null { None } else { f.one_of(&shapes, "schedule") };
    f.finish();
    let (name, inner) = given.unwrap_or(("wsd", &NOTHING));
    let mut f = Fields::of(inner, name, diags);
    // Chosen when the model is known.
    let auto = matches!(entry(inner, "warmup"), Some(Tree { value: Value::Text(text), .. }) if text == "auto");
    let warmup = match auto {
        true => f.get("warmup").map_or(Amount::Share(0.05), |_| Amount::Share(0.025)),
        false => f.amount("warmup", Amount::Share(0.05)),
    };
    let rises = [
        ("linear", Rise::Linear),
        ("quadratic", Rise::Quadratic),
        ("exponential", Rise::Exponential),
    ];
    let rise = f.word("rise", &rises).unwrap_or(Rise::Linear);
    let floor = |f: &mut Fields, default| f.number("floor", default, 0.0, 1.0);
    let (shape, floor) = match name {
        "wsd" => {
            let decay = f.amount("decay", Amount::Share(0.2));
            let fall = f.word("curve", &FALLS).unwrap_or(Fall::Linear);
            (Shape::Wsd { decay, fall }, floor(&mut f, 0.0))
        }
        "cosine" => (Shape::Falling(Fall::Cosine), floor(&mut f, 0.1)),
        "linear" => (Shape::Falling(Fall::Linear), floor(&mut f, 0.0)),
        "inverse_root" => (Shape::InverseRoot, 0.0),
        _ => (Shape::Constant, 1.0),
    };
    f.finish();
    let schedule = Schedule { shape, warmup, rise, floor };
    if let (Amount::Share(up), Shape::Wsd { decay: Amount::Share(down), .. }) =
        (schedule.warmup, &schedule.shape)
        && up + down > 1.0
    {
        let message = format!("warmup and decay take {:.0}% of the run", (up + down) * 100.0);
        let diag = finding(inner.span.or(tree.span), "E0401", message);
        diags.push(diag.help("together they take 100% at most"));
    }
    if shape == Shape::InverseRoot && warmup.number() <= 0.0 {
        let message = "`inverse_root` falls from the end of its warmup, so it needs one".into();
        diags.push(finding(inner.span.or(tree.span), "E0402", message));
    }
    (schedule, auto)
}

const CURRICULA: [&str; 8] =
    ["natural", "uniform", "grow_p2", "grow_linear", "grow_p100", "shrink_p100", "odds", "warmup"];

/// `curriculum`: lengths over the run.
pub fn curriculum(tree: &Tree, diags: &mut Vec<Diag>) -> Lengths {
    let mut f = Fields::of(tree, "curriculum", diags);
    let lengths = f.get("lengths");
    // These are read by themselves.
    let _ = (f.get("levels"), f.get("difficulty"));
    f.finish();
    let Some(tree) = lengths else { return Lengths::Same };
    let mut f = Fields::of(tree, "lengths", diags);
    let given = f.one_of(&CURRICULA, "lengths");
    f.finish();
    match given {
        None => Lengths::Same,
        Some(("warmup", inner)) => {
            let mut f = Fields::of(inner, "warmup", diags);
            let growing = Lengths::Growing {
                from: f.whole("from", 64, 1, 1 << 24) as usize,
                over: f.amount("over", Amount::Share(0.2)),
                step: f.whole("step", 8, 1, 1 << 20) as usize,
                cut: f
                    .word("cut", &[("truncate", Cut::Truncate), ("split", Cut::Split)])
                    .unwrap_or(Cut::Split),
            };
            f.finish();
            growing
        }
        Some((name, inner)) => buckets(name, inner, diags).map_or(Lengths::Same, Lengths::Buckets),
    }
}

/// `curriculum.levels`: a task that becomes harder.
pub fn levels(tree: &Tree, task: &Task, diags: &mut Vec<Diag>) -> Option<Levels> {
    let tree = entry(tree, "levels")?;
    let mut f = Fields::of(tree, "levels", diags);
    let of = f.need("of", "`of: pairs`").is_some().then(|| f.text("of")).flatten();
    let values = f.need("values", "`values: [2, 4, 8]`");
    let values = values.and_then(|tree| {
        let whole = |x: &f64| x.fract() == 0.0 && (1.0..=1e6).contains(x);
        let found = tree.numbers().filter(|all| all.len() > 1 && all.iter().all(whole));
        if found.is_none() {
            f.wrong("values", tree, "a list of two whole numbers or more, the easiest first");
        }
        Some(found?.into_iter().map(|x| x as usize).collect::<Vec<usize>>())
    });
    let pace = f.get("pace");
    f.finish();
    let pace = pace.map_or(Some(PACE), |tree| self::pace(tree, diags));
    let ((of, span), values) = (of?, values?);
    let Task::Synthetic(synthetic) = task else {
        let message =
            format!("`{}` has no levels: they are for tasks that are made up", task.name());
        diags.push(finding(tree.span, "E0402", message));
        return None;
    };
    for value in &values {
        let mut varied = synthetic.clone();
        if !varied.vary(&of, *value) {
            let message = format!("`{}` has no `{of}` that could vary", task.name());
            let diag = finding(span, "E0402", message);
            diags.push(diag.help_nearest(&of, "what tasks vary in", LEVELS));
            return None;
        }
        if let Some((message, help)) = varied.wrong() {
            let message = format!("with {of} {value}: {message}");
            diags.push(finding(tree.span, "E0402", message).help(help));
        }
        if varied.vocab() > synthetic.vocab() {
            let message = format!("with {of} {value} the task has more tokens than without");
            let help = "the task itself is the hardest level";
            diags.push(finding(tree.span, "E0402", message).help(help));
        }
    }
    Some(Levels { of, values, pace: pace? })
}

const PACE: Pace = Pace::Staged { reach: 0.9, jump: 1, review: 0.2 };

fn pace(tree: &Tree, diags: &mut Vec<Diag>) -> Option<Pace> {
    let mut f = Fields::of(tree, "pace", diags);
    let given = f.one_of(&["staged", "variance"], "pace");
    f.finish();
    let (name, inner) = given?;
    let mut f = Fields::of(inner, name, diags);
    let pace = match name {
        "staged" => Pace::Staged {
            reach: f.number("reach", 0.9, 0.0, 1.0),
            jump: f.whole("jump", 1, 1, 1 << 16) as usize,
            review: f.number("review", 0.2, 0.0, 0.99),
        },
        _ => Pace::Variance { floor: f.number("floor", 0.05, 1e-6, 1.0) },
    };
    f.finish();
    Some(pace)
}

/// `curriculum.difficulty`: easy documents first.
pub fn difficulty(tree: &Tree, diags: &mut Vec<Diag>) -> Option<Pacing> {
    let tree = entry(tree, "difficulty")?;
    let mut f = Fields::of(tree, "difficulty", diags);
    let by = f.need("by", "`by: compression`").is_some().then(|| f.text("by")).flatten();
    let start = match f.amount("start", Amount::Share(0.5)) {
        Amount::Share(share) if share > 0.0 && share <= 1.0 => share,
        _ => {
            let message = "`start` is a share of the data, such as `50%`";
            f.diags.push(finding(tree.span, "E0402", message.into()));
            1.0
        }
    };
    let hold = f.amount("hold", Amount::Share(0.2));
    let full = f.amount("full", Amount::Share(0.4));
    let shapes = [("linear", Growth::Linear), ("root", Growth::Root), ("step", Growth::Step)];
    let growth = f.word("shape", &shapes).unwrap_or(Growth::Linear);
    let largest_first = f.word("first", &[("smallest", false), ("largest", true)]).unwrap_or(false);
    f.finish();
    let same = std::mem::discriminant(&hold) == std::mem::discriminant(&full);
    let timed = matches!(full, Amount::Time(_));
    if !same || timed || hold.number() > full.number() {
        let message = if timed {
            "what a run learns from cannot depend on the clock"
        } else {
            "`hold` comes before `full`, in the same unit"
        };
        let message = message.to_string();
        diags.push(finding(tree.span, "E0402", message).help("for example `hold: 20%, full: 40%`"));
    }
    Some(Pacing { by: by?.0, start, hold, full, growth, largest_first })
}

/// An entry of a section that may be missing.
fn entry<'t>(tree: &'t Tree, name: &str) -> Option<&'t Tree> {
    let Value::Map(entries) = &tree.value else { return None };
    let found = entries.iter().find(|(key, _)| key.text == name).map(|(_, tree)| tree);
    found.filter(|tree| tree.value != Value::Null)
}

fn buckets(name: &str, tree: &Tree, diags: &mut Vec<Diag>) -> Option<Buckets> {
    let mut f = Fields::of(tree, name, diags);
    let ends = f.need("buckets", "`buckets: [256, 8192]`, the shortest and the longest");
    let ends = ends.and_then(|tree| {
        let ends = tree.numbers();
        match ends.as_deref() {
            Some([low, high])
                if low.fract() + high.fract() == 0.0 && powers(*low as usize, *high as usize) =>
            {
                Some((*low as usize, *high as usize))
            }
            _ => {
                let message =
                    "`buckets` are two powers of two, the shortest and the longest length";
                f.diags.push(
                    finding(tree.span, "E0402", message.into())
                        .help("for example `buckets: [256, 8192]`"),
                );
                None
            }
        }
    });
    let cycles = f.whole("cycles", if name == "natural" { 1 } else { 8 }, 1, 1 << 16) as usize;
    let readings = [
        ("fixed", Reading::Fixed),
        ("rotating", Reading::Rotating),
        ("stationary", Reading::Stationary),
    ];
    let reading = f.word("reading", &readings).unwrap_or(match name {
        "natural" => Reading::Natural,
        "uniform" => Reading::Stationary,
        _ => Reading::Fixed,
    });
    let longest_first = f.truth("longest_first", false);
    let own = if name == "odds" { f.need("weights", "`weights: [4, 2, 1]`") } else { None };
    let (low, high) = ends?;
    let lengths = doubling(low, high);
    let odds = match own {
        None => odds(name, lengths.len()),
        Some(tree) => {
            let sound = |all: &Vec<f64>| {
                all.len() == lengths.len() && all.iter().all(|x| *x > 0.0 && x.is_finite())
            };
            let found = tree.numbers().filter(sound);
            if found.is_none() {
                let message = format!("`weights` are {} positive numbers", lengths.len());
                let help = format!("one for each length from {low} to {high}, doubling");
                f.diags.push(finding(tree.span, "E0402", message).help(help));
            }
            found
        }
    };
    f.finish();
    Some(Buckets { lengths, odds: odds?, cycles, reading, longest_first })
}

/// `phases`: parts of the run with ways of their own.
pub fn phases(tree: Option<&Tree>, diags: &mut Vec<Diag>) -> Vec<Phase> {
    let Some(tree) = tree else { return vec![] };
    let Value::List(items) = &tree.value else {
        diags.push(
            finding(tree.span, "E0401", "`phases` is a list".into())
                .help("for example `phases: [{for: 40%, lr: 2}, {for: 60%, lr: 1}]`"),
        );
        return vec![];
    };
    let all: Vec<Phase> = items.iter().map(|tree| phase(tree, diags)).collect();
    let unit = |phase: &Phase| std::mem::discriminant(&phase.span);
    if all.windows(2).any(|pair| unit(&pair[0]) != unit(&pair[1])) {
        let message = "phases are measured in one unit: all in tokens, or steps, or shares";
        diags.push(finding(tree.span, "E0402", message.into()));
    }
    all
}

fn phase(tree: &Tree, diags: &mut Vec<Diag>) -> Phase {
    let mut f = Fields::of(tree, "phase", diags);
    let span = match f.need("for", "`for: 40%`") {
        Some(_) => f.amount("for", Amount::Share(1.0)),
        None => Amount::Share(1.0),
    };
    let rate = f.get("lr");
    let lr = match rate.map(|tree| (&tree.value, tree)) {
        None => None,
        Some((Value::Number(x), _)) if *x >= 0.0 => Some((*x, *x, Fall::Linear)),
        Some((_, tree)) => {
            let mut f = Fields::of(tree, "lr", f.diags);
            let from = f.number("from", 1.0, 0.0, 1e6);
            let to = f.number("to", 1.0, 0.0, 1e6);
            let fall = f.word("curve", &FALLS).unwrap_or(Fall::Linear);
            f.finish();
            Some((from, to, fall))
        }
    };
    let batch = f.get("batch").and_then(|tree| size(&mut f, "batch", tree));
    let lengths = f.get("lengths").and_then(|tree| weighted(&mut f, tree));
    f.finish();
    Phase { span, lr, batch, lengths }
}

/// One length, a list of them, or a mapping from lengths to how likely they are.
fn weighted(f: &mut Fields, tree: &Tree) -> Option<Vec<(usize, f64)>> {
    let whole = |x: f64| (x >= 1.0 && x.fract() == 0.0 && x <= 16_777_216.0).then_some(x as usize);
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
        let message = "`lengths` are whole numbers, with or without odds".to_string();
        f.diags.push(
            finding(tree.span, "E0402", message)
                .help("`lengths: 512`, `lengths: [512, 1024]` or `lengths: {512: 2, 1024: 1}`"),
        );
        return None;
    }
    found
}

/// What the parts of the shaping must agree about.
pub fn agree(
    shaping: &Shaping,
    (task, levels): (&Task, Option<&Levels>),
    tree: &Tree,
    curriculum: Option<&Tree>,
    diags: &mut Vec<Diag>,
) {
    let mut wrong = |message: &str, help: &str| {
        let span = curriculum.and_then(|tree| tree.span).or(tree.span);
        diags.push(finding(span, "E0402", message.into()).help(help));
    };
    let sequences = matches!(shaping.batch.size, Size::Sequences(_));
    let phased = shaping.phases.iter().any(|phase| phase.lengths.is_some());
    if sequences && (matches!(shaping.lengths, Lengths::Buckets(_)) || phased) {
        wrong(
            "lengths differ from step to step, and `batch` counts sequences",
            "give it in tokens, so that steps stay equal: `batch: 64k tokens`",
        );
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
