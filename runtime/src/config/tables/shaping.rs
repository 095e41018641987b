//! `batch`, `schedule`, `phases`: what shapes the steps of a run.

use super::FACTOR;
use crate::fields::{
    Field, Kind, Preset, Table, Variant, amount, field, number, variant, whole, word,
};
use crate::schedule::Amount;

/// Curves of a learning rate that goes down, and of one that goes up.
const CURVE: Field =
    word("curve", &["linear", "cosine", "sqrt"], "how the rate goes down; `sqrt` is 1 − √");
const RISE: Field = word(
    "rise",
    &["linear", "quadratic", "exponential"],
    "how the rate goes up; `exponential` from a hundredth",
);
const WARMUP: Field = field(
    "warmup",
    Kind::Either(&[Kind::Amount, Kind::Word(&["auto"])]),
    Preset::Amount(Amount::Share(0.05)),
    "how long the rate goes up; 0 for none, `auto` for a rule of thumb by size or by architecture, both of which `--dry-run` shows",
);

const fn floor(default: f64) -> Field {
    number("floor", default, [0.0, 1.0], "what is left of the rate at the end")
}

/// `batch`, as a ramp.
pub static RAMP: Table = Table::of(&[
    field("from", Kind::Size, Preset::Needed("`from: 32k tokens`"), "the first batch"),
    field("to", Kind::Size, Preset::Needed("`to: 256k tokens`"), "the last batch"),
    amount("over", Amount::Share(0.1), "how long it grows"),
    whole("stages", 4, [1, 64], "sizes on the way"),
    word("lr", &["none", "sqrt", "linear"], "the rule by which the rate follows the batch"),
]);

/// `schedule`
pub static SCHEDULE: Table = Table::one_of(&SHAPES, Some("wsd"));

const SHAPES: [Variant; 5] = [
    variant(
        "wsd",
        &[
            WARMUP,
            RISE,
            amount("decay", Amount::Share(0.2), "how long the rate goes down"),
            CURVE,
            floor(0.0),
        ],
        "flat, then down along `curve`",
    ),
    variant(
        "cosine",
        &[WARMUP, RISE, floor(0.1)],
        "down to `floor` over the whole run, half a cosine",
    ),
    variant("linear", &[WARMUP, RISE, floor(0.0)], "down to `floor` over the whole run"),
    variant("constant", &[WARMUP, RISE], "flat"),
    variant("inverse_root", &[WARMUP, RISE], "√(warmup / done)"),
];

/// `phases`
pub static PHASE: Table = Table::of(&[
    field("for", Kind::Amount, Preset::Needed("`for: 40%`"), "how long"),
    Field { kind: Kind::Either(&[FACTOR.kind, Kind::Section(&LINE)]), ..FACTOR },
    field("batch", Kind::Size, Preset::Words("the run's"), "a step's size"),
    field(
        "lengths",
        Kind::Either(&[
            Kind::Whole([1, 1 << 24]),
            Kind::Numbers,
            Kind::Map(&Kind::Number([0.0, f64::INFINITY])),
        ]),
        Preset::Words("the run's"),
        "of sequences: one, several, or with how likely each is: `{512: 2, 1024: 1}`",
    )
    .unit("tokens"),
]);

/// `phases.lr_scale`, as a line.
pub static LINE: Table = Table::of(&[
    number("from", 1.0, [0.0, 1e6], "the factor at the phase's beginning"),
    number("to", 1.0, [0.0, 1e6], "the factor at its end"),
    CURVE,
]);
