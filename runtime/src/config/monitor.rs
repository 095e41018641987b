//! `monitor` and `policies`: what is watched, and what is done about it.

use super::fields::{Fields, finding};
use super::tree::{Tree, Value};
use crate::monitor::{Action, MEASURES, Monitor, Policy, Trigger};

/// Reads both sections of a spec.
pub fn read(f: &mut Fields) -> Monitor {
    let (every, window, deviations) = f.section("monitor", |f| {
        let every = f.amount("every");
        let window = f.size("window");
        (every, window, f.number("deviations"))
    });
    let policies = f.list("policies", "policy", "`policies: [{when: nan, do: skip}]`", policy);
    Monitor { every, window, deviations, policies: policies.into_iter().flatten().collect() }
}

fn policy(f: &mut Fields) -> Option<Policy> {
    let when = f.need_text("when");
    let action = f.need("do").and_then(|tree| act(f, tree));
    let at_most = f.whole("at_most");
    let when = when.and_then(|(text, span)| {
        let found = Trigger::parse(&text);
        if found.is_none() {
            let measures: Vec<&str> = MEASURES.iter().map(|(name, _)| *name).collect();
            f.diags.push(finding(span, "E0401", format!("nothing is known as `{text}`")).help(
                format!(
                    "`nan`, `spike`, `underfitting`, or a measure and a bound, such as `norm_growth > 2`: {}",
                    measures.join(", ")
                ),
            ));
        }
        found
    });
    Some(Policy { on: when?, action: action?, at_most })
}

fn act<'t>(f: &mut Fields<'t, '_>, tree: &'t Tree) -> Option<Action> {
    match &tree.value {
        Value::Text(text) => match text.as_str() {
            "warn" => return Some(Action::Warn),
            "skip" => return Some(Action::Skip),
            "back" => return Some(Action::Back(0)),
            "stop" => return Some(Action::Stop),
            _ => {}
        },
        Value::Map(_) => return f.within("do", tree, |f| change(f, tree)),
        _ => {}
    }
    let message = format!("`do` is {}, which nobody can do", tree.words());
    f.diags.push(finding(tree.span, "E0401", message).help(ACTIONS));
    None
}

const ACTIONS: &str =
    "`warn`, `skip`, `back`, `stop`, `{back: 200}` in steps, or `{lr_scale: 0.6, clip: 0.5}`";

/// Going back, or other numbers from now on: one of the two.
fn change(f: &mut Fields, tree: &Tree) -> Option<Action> {
    let back = f.get("back").is_some().then(|| f.whole("back"));
    let others = [f.get("lr_scale").is_some(), f.get("clip").is_some()];
    if back.is_some() == others.contains(&true) {
        let message = "`do` goes back, or changes the rate or the clipping: one of them";
        f.diags.push(finding(tree.span, "E0401", message.into()).help(ACTIONS));
        return None;
    }
    if let Some(steps) = back {
        return Some(Action::Back(steps));
    }
    let lr_scale = f.number("lr_scale");
    let clip = others[1].then(|| f.number("clip"));
    Some(Action::Change { lr_scale, clip })
}
