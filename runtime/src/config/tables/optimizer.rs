//! `optimizer`: update rules and groups of parameters.

use super::FACTOR;
use crate::config::table::{Field, Kind, Preset, Table, Variant, field, number, truth, variant};

const BETA: [f64; 2] = [0.0, 0.999_999_9];
const CLIP: Field =
    number("clip", 1.0, [0.0, 1e9], "norm that gradients are clipped to; 0 for none");
const EPS: Field = number("eps", 1e-8, [0.0, 1.0], "keeps quotients finite");
const MOMENTUM: Field = number("momentum", 0.9, BETA, "what stays of the mean of gradients");

const fn lr(default: f64) -> Field {
    number("lr", default, [0.0, 100.0], "the learning rate")
}

const fn beta1(default: f64) -> Field {
    number("beta1", default, BETA, "what stays of the mean of gradients")
}

const fn beta2(default: f64) -> Field {
    number("beta2", default, BETA, "what stays of the mean of their squares")
}

const fn decay(default: f64) -> Field {
    number("weight_decay", default, [0.0, 100.0], "weight decay, decoupled")
}

/// `optimizer`
pub static OPTIMIZER: Table = Table { fields: &[GROUPS], kinds: &METHODS, usual: Some("adamw") };

const GROUPS: Field = field(
    "groups",
    Kind::Named(&GROUP),
    Preset::Words("none"),
    "of parameters, by name; the first that fits counts",
);

const METHODS: [Variant; 4] = [
    variant("adamw", &[lr(1e-3), beta1(0.9), beta2(0.95), EPS, decay(0.1), CLIP], "AdamW"),
    variant("lion", &[lr(1e-4), beta1(0.9), beta2(0.99), decay(1.0), CLIP], "Lion"),
    variant(
        "muon",
        &[
            lr(1e-3),
            beta1(0.9),
            beta2(0.95),
            EPS,
            Field { default: Preset::Number(0.95), ..MOMENTUM },
            decay(0.1),
            CLIP,
        ],
        "matrices of dense products by Muon, scaled like AdamW's updates (Liu et al. 2025), the rest by AdamW",
    ),
    variant(
        "sgd",
        &[lr(0.1), MOMENTUM, truth("nesterov", false, "Nesterov's momentum"), decay(0.0), CLIP],
        "gradient descent with momentum",
    ),
];

/// `optimizer.groups`
pub static GROUP: Table = Table::of(&[
    field(
        "match",
        Kind::Text,
        Preset::Needed("`match: \"*.decay*\"`, or a class: `match: vectors`"),
        "names with `*`, or a class: matrices, embedding, head, vectors, f32",
    ),
    FACTOR,
    number("weight_decay", 0.0, [0.0, 100.0], "weight decay of these")
        .missing("as the optimiser's"),
]);
