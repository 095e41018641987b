//! `optimizer`: update rules and groups of parameters.

use super::FACTOR;
use crate::fields::{Field, Kind, Preset, Table, field, number};
use crate::optim::METHODS;

/// `optimizer`
pub static OPTIMIZER: Table = Table { fields: &[GROUPS], kinds: METHODS, usual: Some("adamw") };

const GROUPS: Field = field(
    "groups",
    Kind::Named(&GROUP),
    Preset::Words("none"),
    "of parameters, by name; the first that fits counts",
);

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
