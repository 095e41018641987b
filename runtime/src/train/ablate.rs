//! What a model is without some of its layers.

use lrc_compiler::graph::{Model, Options, Prepared, prepare};

use crate::ground::error::Failure;

/// Takes layers out: what they add to the residual stream becomes 0. `layers` are names of mixers,
/// such as `attention`, or of single layers, such as `layers.4.attention`, with commas between.
pub fn ablate(model: Model, layers: &str) -> Result<Prepared, Failure> {
    let known = model.graph.layers();
    let short = |layer: &str| layer.rsplit_once('.').map_or(layer, |(_, name)| name).to_string();
    let names: Vec<&str> = layers.split(',').map(str::trim).collect();
    for name in &names {
        if !known.iter().any(|layer| layer == name || short(layer) == *name) {
            let mut all: Vec<String> = known.iter().map(|layer| short(layer)).collect();
            all.sort();
            all.dedup();
            return Err(Failure::Usage(format!(
                "--ablate {name}: the model has no such layer; it has {}, and single ones such as {}",
                all.join(", "),
                known.first().map_or("none", String::as_str)
            )));
        }
    }
    let picked = |layer: &str| names.iter().any(|name| layer == *name || short(layer) == *name);
    let ablate = known.into_iter().filter(|layer| picked(layer)).collect();
    prepare(model, &Options { ablate, ..Options::default() }).map_err(|_| {
        Failure::Usage(format!(
            "--ablate {layers}: what these layers compute is not added to a residual stream"
        ))
    })
}
