//! Arguments of the functions of mixers: how many values each takes, and which parameters.

use lrc_dsl::Diag;
use lrc_dsl::ast::{Arg, Name};

use super::functions::Call;
use super::{GraphBuilder, Tried};
use crate::elaborate::functions::of_entries;

/// What a function takes.
struct Takes {
    /// Values; of some any number from this one on.
    values: usize,
    /// Whether more values may follow.
    more: bool,
    /// Parameters that follow the values, by position or by name.
    params: &'static [&'static str],
    /// Parameters that are given by name only.
    named: &'static [&'static str],
}

/// What a built-in function takes; nothing for a name that is none.
fn takes(function: &str) -> Option<Takes> {
    let of = |values, params, named| Some(Takes { values, more: false, params, named });
    match function {
        "linear" => of(1, &[], &["each", "bias"]),
        "rmsnorm" | "layernorm" => of(1, &[], &["each", "eps"]),
        "conv" => of(1, &["taps"], &["bias"]),
        "rope" => of(1, &["base", "fraction"], &["factor", "low", "high", "trained"]),
        "l2norm" | "l1norm" | "srmsnorm" => of(1, &[], &["eps"]),
        "softmax" | "taylor" | "average" => of(1, &[], &[]),
        "positions" => of(0, &["n"], &[]),
        "dpfp" => of(1, &["nu"], &[]),
        "top_k" => of(1, &["k"], &[]),
        "sum" => of(1, &["axis"], &[]),
        "outer" | "long_conv" | "max" | "min" => of(2, &[], &[]),
        "concat" => Some(Takes { values: 1, more: true, params: &[], named: &[] }),
        name if of_entries(name).is_some() => of(1, &[], &[]),
        _ => None,
    }
}

/// What is wrong with a name that is given twice in one call.
pub fn twice(args: &[Arg]) -> Option<Diag> {
    let names: Vec<&Name> = args.iter().filter_map(|arg| arg.name.as_ref()).collect();
    names.iter().enumerate().find_map(|(at, name)| {
        let first = names[..at].iter().find(|first| first.text == name.text)?;
        Some(
            Diag::error("E0205", name.span, format!("`{}` is given twice", name.text))
                .label("given again")
                .other(first.span, "given here"),
        )
    })
}

fn count(values: usize) -> String {
    format!("{values} value{}", if values == 1 { "" } else { "s" })
}

impl GraphBuilder<'_> {
    /// Refuses arguments that a built-in function does not take. What it lacks, it says itself.
    pub(super) fn arguments(&mut self, call: &Call) -> Tried<()> {
        if let Some(diag) = twice(call.args) {
            return self.fail(diag);
        }
        let Some(takes) = takes(&call.name.text) else { return Some(()) };
        let before = self.diags.len();
        let function = &call.name.text;
        for (at, arg) in call.args.iter().enumerate() {
            match &arg.name {
                Some(name) => self.named(function, &takes, name, at),
                None if arg.over.is_some() && !(function == "sum" && call.args.len() == 1) => {
                    let message = format!("`{function}` takes no range here");
                    self.diags.push(Diag::error("E0205", arg.value.span, message).help(
                        "a range stands in a sum over experts: `sum(w[j] * f(x) for j < n)`",
                    ));
                }
                None if at > 0 && call.args[at - 1].name.is_some() => {
                    let message = "what has no name stands before what has one";
                    self.diags.push(Diag::error("E0205", arg.value.span, message));
                }
                None => {}
            }
        }
        let given = call.args.iter().filter(|arg| arg.name.is_none()).count();
        if given < takes.values || !takes.more && given > takes.values + takes.params.len() {
            let params: Vec<String> = takes.params.iter().map(|name| format!("`{name}`")).collect();
            let most = match params.as_slice() {
                [] => String::new(),
                all => format!(" and {}", all.join(", ")),
            };
            let least = if takes.more { "at least " } else { "" };
            let message =
                format!("`{function}` takes {least}{}{most}, not {given}", count(takes.values));
            self.diags.push(Diag::error("E0205", call.span, message));
        }
        (self.diags.len() == before).then_some(())
    }

    /// A named argument at a place of a call.
    fn named(&mut self, function: &str, takes: &Takes, name: &Name, at: usize) {
        let known = takes.params.iter().chain(takes.named).copied();
        if !known.clone().any(|known| known == name.text) {
            let message = format!("`{function}` has no parameter `{}`", name.text);
            let diag = Diag::error("E0216", name.span, message);
            self.diags.push(diag.help_nearest(&name.text, "it has", known));
            return;
        }
        // Positions before this one may have given it already.
        let place = takes.params.iter().position(|known| *known == name.text);
        if place.is_some_and(|place| takes.values + place < at) {
            let message = format!("`{}` is given twice", name.text);
            self.diags.push(Diag::error("E0205", name.span, message));
        }
    }
}
