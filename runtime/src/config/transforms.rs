//! `dropout`, `z_loss`, `activations`, `precision`: what training does to a model.

use super::fields::{Fields, finding};
use super::tree::{Tree, Value};
use crate::model::transforms::{Precision, Transforms};
use crate::optim::Which;

/// Reads the fields of a spec.
pub fn read(f: &mut Fields) -> Transforms {
    let dropout = f.number("dropout");
    let z_loss = f.number("z_loss");
    let activations = f.get("activations").and_then(|tree| {
        let found = match &tree.value {
            Value::Text(text) => bytes(text),
            _ => None,
        };
        if found.is_none() {
            f.wrong("activations", tree, "an amount of memory, such as `2 GB` or `500 MB`");
        }
        found
    });
    let mut precision = f.get("precision").map_or(vec![], |tree| precisions(f, tree));
    // The word of values between layers stands among those of parameters.
    let values = |(which, _): &(Which, Precision)| matches!(which, Which::Name(name) if name == "activations");
    let of_values = precision.iter().rfind(|one| values(one)).map(|(_, precision)| *precision);
    precision.retain(|one| !values(one));
    let bf16_values = of_values == Some(Precision::Bf16);
    Transforms { dropout, z_loss, activations, precision, bf16_values }
}

/// `2 GB`
fn bytes(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 4] = [("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12)];
    let (number, factor) =
        UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let number: f64 = number.trim().parse().ok()?;
    (number > 0.0 && number.is_finite()).then_some(number * factor)
}

fn precisions(f: &mut Fields, tree: &Tree) -> Vec<(Which, Precision)> {
    let Value::Map(entries) = &tree.value else {
        f.diags.push(
            finding(
                tree.span,
                "E0401",
                "`precision` is a mapping from parameters to precisions".into(),
            )
            .help("for example `precision: {matrices: bf16, embedding: bf16}`"),
        );
        return vec![];
    };
    let mut all = Vec::new();
    for (key, tree) in entries {
        match &tree.value {
            Value::Text(text) if text == "bf16" => {
                all.push((Which::parse(&key.text), Precision::Bf16));
            }
            Value::Text(text) if text == "f32" => {
                all.push((Which::parse(&key.text), Precision::F32));
            }
            _ => f.wrong(&key.text, tree, "`bf16` or `f32`"),
        }
    }
    all
}
