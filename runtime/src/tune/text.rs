//! What was tried, as a table for people.

use std::fmt::Write;

use super::Found;
use super::journal::Round;
use crate::device::tuned::USUAL;

/// The trials of a recurrence and a work, the fastest first, and why one won.
pub fn text(found: &Found) -> String {
    let Found { place, entry, trials, left_out, why } = found;
    let mut out = String::new();
    let shape = trials.first().map_or([0; 3], |trial| trial.shape);
    let [batch, length, heads] = shape;
    let _ = writeln!(
        out,
        "{}, {}: {batch} sequences of {length} tokens, {heads} heads on {}",
        entry.kernel,
        entry.work.name(),
        place.device
    );
    let widest = trials.iter().map(|trial| trial.choice.len()).max().unwrap_or(0).max(6);
    let _ = writeln!(
        out,
        "  {:<widest$} {:>10} {:>8} {:>10} {:>9}",
        "choice", "ms", "±", "in turns", "error"
    );
    let mut first: Vec<_> = trials.iter().filter(|trial| trial.round == Round::First).collect();
    first.sort_by(|a, b| {
        let time = |seconds: Option<f64>| seconds.unwrap_or(f64::INFINITY);
        time(a.seconds).total_cmp(&time(b.seconds))
    });
    for trial in first {
        let ms = |seconds: Option<f64>| seconds.map_or("-".into(), |s| format!("{:.3}", s * 1e3));
        let again =
            trials.iter().find(|other| other.round == Round::Turns && other.choice == trial.choice);
        let mark = if trial.choice == entry.choice { "  <" } else { "" };
        let refused = trial.refused.as_ref().map_or(String::new(), |why| format!("  {why}"));
        let _ = writeln!(
            out,
            "  {:<widest$} {:>10} {:>8} {:>10} {:>9}{mark}{refused}",
            trial.choice,
            ms(trial.seconds),
            ms(trial.spread),
            ms(again.and_then(|again| again.seconds)),
            trial.error.map_or("-".into(), |error| format!("{error:.1e}")),
        );
    }
    if *left_out > 0 {
        let _ = writeln!(out, "  {left_out} more were not tried: --budget gives more time");
    }
    let what = if entry.choice == USUAL { "the usual choice stays" } else { "chosen" };
    let _ = writeln!(out, "  {what}: {} ({why})", entry.choice);
    out
}
