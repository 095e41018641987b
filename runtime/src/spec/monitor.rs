//! `monitor` and `policies`: what is watched, and what is done about it.

use lrc_dsl::Diag;

use super::tree::{Fields, Tree, Value, finding};
use crate::monitor::{Action, MEASURES, Monitor, Policy, Trigger};
use crate::schedule::Amount;

/// Reads both sections.
pub fn read(tree: &Tree, policies: Option<&Tree>, diags: &mut Vec<Diag>) -> Monitor {
    let mut f = Fields::of(tree, "monitor", diags);
    let every = f.amount("every", Amount::Steps(100.0));
    let window = f.whole("window", 100, 2, 1 << 20) as usize;
    let deviations = f.number("deviations", 6.0, 0.1, 1e6);
    f.finish();
    let policies = match policies.map(|tree| (&tree.value, tree)) {
        None => vec![],
        Some((Value::List(items), _)) => {
            items.iter().filter_map(|tree| policy(tree, diags)).collect()
        }
        Some((_, tree)) => {
            diags.push(
                finding(tree.span, "E0401", "`policies` is a list".into())
                    .help("for example `policies: [{on: nan, do: skip}]`"),
            );
            vec![]
        }
    };
    Monitor { every, window, deviations, policies }
}

fn policy(tree: &Tree, diags: &mut Vec<Diag>) -> Option<Policy> {
    let mut f = Fields::of(tree, "policy", diags);
    let on = f.need("on", "`on: spike`").is_some().then(|| f.text("on")).flatten();
    let action = f.need("do", "`do: skip`");
    let at_most = f.whole("at_most", 10, 1, 1 << 32);
    let on = on.and_then(|(text, span)| {
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
    let action = action.and_then(|tree| act(&mut f, tree));
    f.finish();
    Some(Policy { on: on?, action: action?, at_most })
}

fn act(f: &mut Fields, tree: &Tree) -> Option<Action> {
    match &tree.value {
        Value::Text(text) => match text.as_str() {
            "warn" => return Some(Action::Warn),
            "skip" => return Some(Action::Skip),
            "back" => return Some(Action::Back(0)),
            "stop" => return Some(Action::Stop),
            _ => {}
        },
        Value::Map(_) => {
            let mut f = Fields::of(tree, "do", f.diags);
            let back = f.get("back").is_some().then(|| f.whole("back", 0, 0, 1 << 40));
            let lr = f.number("lr", 1.0, 0.0, 1e6);
            let clip = f.get("clip").is_some().then(|| f.number("clip", 1.0, 0.0, 1e9));
            f.finish();
            return Some(match back {
                Some(steps) => Action::Back(steps),
                None => Action::Change { lr, clip },
            });
        }
        _ => {}
    }
    let message = format!("`do` is {}, which nobody can do", tree.words());
    f.diags.push(
        finding(tree.span, "E0401", message).help(
            "`warn`, `skip`, `back`, `stop`, `{back: 200}` in steps, or `{lr: 0.6, clip: 0.5}`",
        ),
    );
    None
}
