//! `curriculum`: lengths, difficulty and levels over the run.

use lrc_dsl::Span;

use super::fields::{Fields, finding};
use crate::data::tasks::LEVELS;
use crate::data::{LONGEST, Task};
use crate::schedule::Amount;
use crate::schedule::lengths::{Buckets, Cut, Lengths, Reading, doubling, odds, powers};
use crate::schedule::levels::{Levels, Pace};
use crate::schedule::pacing::{Growth, Pacing};

/// The section.
pub struct Curriculum {
    /// Lengths over the run.
    pub lengths: Lengths,
    /// Easy documents first.
    pub pacing: Option<Pacing>,
    /// A task that becomes harder, and where that stands; it is compared with the task by [`levels`].
    pub levels: Option<(Levels, Option<Span>)>,
    /// Where it stands.
    pub place: Option<Span>,
}

/// Reads the section.
pub fn read(f: &mut Fields) -> Curriculum {
    let found = f.maybe("curriculum", |f| {
        let lengths = f.maybe("lengths", |f| f.kind(lengths).flatten()).flatten();
        Curriculum {
            lengths: lengths.unwrap_or(Lengths::Same),
            pacing: f.maybe("difficulty", difficulty).flatten(),
            levels: f.maybe("levels", level_fields).flatten(),
            place: f.place(),
        }
    });
    let nothing =
        || Curriculum { lengths: Lengths::Same, pacing: None, levels: None, place: f.place() };
    found.unwrap_or_else(nothing)
}

fn lengths(name: &'static str, f: &mut Fields) -> Option<Lengths> {
    if name != "warmup" {
        return buckets(name, f).map(Lengths::Buckets);
    }
    Some(Lengths::Growing {
        from: f.size("from"),
        over: f.amount("over"),
        step: f.size("step"),
        cut: f.word_or("cut", [Cut::Split, Cut::Truncate]),
    })
}

fn buckets(name: &str, f: &mut Fields) -> Option<Buckets> {
    let ends = f.need("buckets");
    let ends = ends.and_then(|tree| {
        let ends = tree.numbers();
        match ends.as_deref() {
            Some([low, high])
                if low.fract() + high.fract() == 0.0 && powers(*low as usize, *high as usize) =>
            {
                Some((*low as usize, *high as usize))
            }
            _ => {
                let message = format!(
                    "`buckets` are two powers of two up to {LONGEST}, the shortest and the longest length"
                );
                f.diags.push(
                    finding(tree.span, "E0402", message)
                        .help("for example `buckets: [256, 8192]`"),
                );
                None
            }
        }
    });
    let cycles = f.size("cycles");
    let [fixed, rotating, stationary] = [Reading::Fixed, Reading::Rotating, Reading::Stationary];
    let reading = match name {
        "natural" => f.word("reading", [fixed, rotating, stationary]).unwrap_or(Reading::Natural),
        "uniform" => f.word_or("reading", [stationary, fixed, rotating]),
        _ => f.word_or("reading", [fixed, rotating, stationary]),
    };
    let longest_first = f.truth("longest_first");
    let own = if name == "odds" { f.need("weights") } else { None };
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
    Some(Buckets { lengths, odds: odds?, cycles, reading, longest_first })
}

/// `curriculum.levels`: a task that becomes harder.
fn level_fields(f: &mut Fields) -> Option<(Levels, Option<Span>)> {
    let of = f.need_text("of");
    let values = f.need("values");
    let values = values.and_then(|tree| {
        let whole = |x: &f64| x.fract() == 0.0 && (1.0..=1e6).contains(x);
        let found = tree.numbers().filter(|all| all.len() > 1 && all.iter().all(whole));
        if found.is_none() {
            f.wrong("values", tree, "a list of two whole numbers or more, the easiest first");
        }
        Some(found?.into_iter().map(|x| x as usize).collect::<Vec<usize>>())
    });
    let pace = f.section("pace", |f| f.kind_or(pace));
    let ((of, span), values) = (of?, values?);
    Some((Levels { of, values, pace }, span))
}

fn pace(name: &'static str, f: &mut Fields) -> Pace {
    match name {
        "staged" => Pace::Staged {
            reach: f.number("reach"),
            jump: f.size("jump"),
            review: f.number("review"),
        },
        _ => Pace::Variance { floor: f.number("floor") },
    }
}

/// Levels of a task: what differs must be something of the task, and the task itself the hardest.
pub fn levels(f: &mut Fields, curriculum: &Curriculum, task: &Task) -> Option<Levels> {
    let (levels, span) = curriculum.levels.as_ref()?;
    let Levels { of, values, .. } = levels;
    let place = span.or(curriculum.place);
    let Task::Synthetic(synthetic) = task else {
        let message =
            format!("`{}` has no levels: they are for tasks that are made up", task.name());
        f.diags.push(finding(place, "E0402", message));
        return None;
    };
    for value in values {
        let mut varied = synthetic.clone();
        if !varied.vary(of, *value) {
            let message = format!("`{}` has no `{of}` that could vary", task.name());
            let diag = finding(place, "E0402", message);
            f.diags.push(diag.help_nearest(of, "what tasks vary in", LEVELS));
            return None;
        }
        if let Some((message, help)) = varied.wrong() {
            let message = format!("with {of} {value}: {message}");
            f.diags.push(finding(place, "E0402", message).help(help));
        }
        if varied.vocab() > synthetic.vocab() {
            let message = format!("with {of} {value} the task has more tokens than without");
            let help = "the task itself is the hardest level";
            f.diags.push(finding(place, "E0402", message).help(help));
        }
    }
    Some(levels.clone())
}

/// `curriculum.difficulty`: easy documents first.
fn difficulty(f: &mut Fields) -> Option<Pacing> {
    let by = f.need_text("by");
    let start = match f.amount("start") {
        Amount::Share(share) if share > 0.0 => share,
        _ => {
            let message = "`start` is a share of the data, such as `50%`";
            let span = f.get("start").and_then(|tree| tree.span);
            f.diags.push(finding(span, "E0402", message.into()));
            1.0
        }
    };
    let hold = f.amount("hold");
    let full = f.amount("full");
    let growth = f.word_or("shape", [Growth::Linear, Growth::Root, Growth::Step]);
    let largest_first = f.word_or("first", [false, true]);
    let same = std::mem::discriminant(&hold) == std::mem::discriminant(&full);
    let timed = matches!(full, Amount::Time(_));
    if !same || timed || hold.number() > full.number() {
        let message = if timed {
            "what a run learns from cannot depend on the clock"
        } else {
            "`hold` comes before `full`, in the same unit"
        };
        let diag = finding(f.place(), "E0402", message.to_string());
        f.diags.push(diag.help("for example `hold: 20%, full: 40%`"));
    }
    Some(Pacing { by: by?.0, start, hold, full, growth, largest_first })
}
