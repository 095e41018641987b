//! `data`: corpora.

use crate::data::LONGEST;
use crate::fields::{Field, Kind, Preset, Table, field, truth, word};

const PATH: Field = field(
    "path",
    Kind::Path,
    Preset::Needed("`path: my_data`"),
    "a data folder of `lrc data tokenize`, or a shard (or folder of shards) of another program",
);
const FORMAT: Field =
    word("format", &["llm.c", "nanogpt"], "how shards outside a data folder are laid out");
const END: Field = field(
    "end",
    Kind::Whole([0, u32::MAX as u64 - 1]),
    Preset::Words("none"),
    "the token that begins a document, outside a data folder",
);
const HELD_OUT: Field = field(
    "held_out",
    Kind::Path,
    Preset::Words("none"),
    "shards that are evaluated on, outside a data folder",
);
const WEIGHT: Field = field(
    "weight",
    Kind::Either(&[Kind::Number([0.0, f64::INFINITY]), Kind::Points]),
    Preset::Number(1.0),
    "how often sequences come from this source, among others: a number, or a line through points of the run, `[[0%, 3], [80%, 1]]`",
);

/// `data`; what a source has may stand here, where there is one source.
pub static DATA: Table = Table::of(&[
    field(
        "length",
        Kind::Whole([2, LONGEST as u64]),
        Preset::Words("512, or the longest bucket"),
        "of packed sequences",
    )
    .unit("tokens"),
    truth("boundaries", true, "documents that share a sequence do not see each other"),
    truth("verify", true, "checksums are compared before the run"),
    field(
        "sources",
        Kind::Named(&SOURCE),
        Preset::Words("the fields of one stand here"),
        "several of them, by name",
    ),
    PATH,
    FORMAT,
    END,
    HELD_OUT,
    WEIGHT,
]);

/// `data.sources`
pub static SOURCE: Table = Table::of(&[PATH, FORMAT, END, HELD_OUT, WEIGHT]);
