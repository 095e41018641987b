//! A mixer by itself, without a model around it.

use std::collections::BTreeMap;

use lrc_dsl::ast::{Decl, Item, Role};
use lrc_dsl::{Diag, Namespace};

use super::{Bound, GraphBuilder, Scope};
use crate::elaborate::Setting;
use crate::elaborate::signature::{Numbers, sized};
use crate::graph::{Graph, Kind, Node};

/// A width that many sizes divide: enough for the defaults of every mixer to come out even.
pub const WITNESS_WIDTH: usize = 15_360;

/// Checks a mixer by itself, on an input of a width that divides well.
pub fn check(namespace: &Namespace, decl: &Decl, diags: &mut Vec<Diag>) {
    alone(namespace, decl, &BTreeMap::new(), diags);
}

/// The graph of a mixer on an input of its own. `given` overrides its parameters, and the `width`
/// of its input.
pub fn alone(
    namespace: &Namespace,
    decl: &Decl,
    given: &BTreeMap<String, Setting>,
    diags: &mut Vec<Diag>,
) -> Option<Graph> {
    let width = match given.get("width") {
        None => WITNESS_WIDTH,
        Some(Setting::Number(x)) => match sized("width", *x, decl.name.span) {
            Ok(width) => width,
            Err(diag) => {
                diags.push(*diag);
                return None;
            }
        },
        Some(Setting::Truth(_)) => {
            diags.push(Diag::error("E0213", decl.name.span, "`width` is a number"));
            return None;
        }
    };
    let mut builder = GraphBuilder::new(namespace, width);
    let node = Node::plain(Kind::Embed, "x", vec![]);
    let id = builder.graph.add(node, &[(vec![width], false)])[0];
    let axis = builder.width.clone();
    let x = builder.stream(id, vec![axis]);
    let mut numbers = Numbers::default();
    for (name, x) in [("layer", 0.0), ("layers", 1.0)] {
        let x = given.get(name).copied().unwrap_or(Setting::Number(x));
        numbers.known.insert(name.into(), x);
    }
    let mut bound: BTreeMap<String, Bound> = given
        .iter()
        .filter(|(name, _)| decl.settings.iter().any(|(known, _)| known.text == **name))
        .map(|(name, x)| (name.clone(), Bound::Known(*x)))
        .collect();
    inputs(&mut builder, decl, given, &numbers, &mut bound);
    let made =
        builder.mixer(decl, x, bound, &numbers, decl.name.text.clone(), decl.name.span).is_some();
    let sound = made && builder.diags.iter().all(|diag| !diag.is_error());
    diags.append(&mut builder.diags);
    sound.then(|| std::mem::take(&mut builder.graph))
}

/// Gives every second input a value of its declared shape.
fn inputs(
    builder: &mut GraphBuilder,
    decl: &Decl,
    given: &BTreeMap<String, Setting>,
    base: &Numbers,
    bound: &mut BTreeMap<String, Bound>,
) {
    let mut numbers = base.clone();
    numbers.known.insert("width".into(), Setting::Number(builder.width.size as f64));
    for (name, default) in &decl.settings {
        let value = given.get(&name.text).copied().map_or_else(|| numbers.eval(default), Ok);
        if let Ok(value) = value {
            numbers.known.insert(name.text.clone(), value);
        }
    }
    let scope = Scope { numbers, ..Scope::default() };
    for item in &decl.items {
        let Item::Declare { role: Role::In, names, shape, .. } = item else { continue };
        let Some(axes) = builder.axes(shape, &scope) else { continue };
        let sizes: Vec<usize> = axes.iter().map(|a| a.size).collect();
        for (name, _) in names {
            let node = Node::plain(Kind::Embed, name.text.clone(), vec![]);
            let id = builder.graph.add(node, &[(sizes.clone(), false)])[0];
            let value = builder.stream(id, axes.clone());
            bound.insert(name.text.clone(), Bound::Tensor(value));
        }
    }
}
