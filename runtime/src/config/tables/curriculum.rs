//! `curriculum`: lengths, difficulty and levels over the run.

use crate::data::LONGEST;
use crate::fields::{
    Field, Kind, Preset, Table, Variant, amount, field, number, truth, variant, whole, word,
};
use crate::schedule::Amount;

/// `curriculum`
pub static CURRICULUM: Table = Table::of(&[
    field(
        "lengths",
        Kind::Section(&LENGTHS),
        Preset::Words("all the same"),
        "of sequences, over the run",
    ),
    field(
        "difficulty",
        Kind::Section(&DIFFICULTY),
        Preset::Words("none"),
        "easy documents first, by scores of `lrc data score`",
    ),
    field(
        "levels",
        Kind::Section(&TASK_LEVELS),
        Preset::Words("none"),
        "a task that becomes harder",
    ),
]);

const BUCKETS: Field = field(
    "buckets",
    Kind::Numbers,
    Preset::Needed("`buckets: [256, 8192]`, the shortest and the longest"),
    "two powers of two: the shortest and the longest length, with every doubling between them",
)
.unit("tokens");
const CYCLES: Field = whole("cycles", 8, [1, 1 << 16], "the data is dealt out anew so often");
const READING: Field =
    word("reading", &["fixed", "rotating", "stationary"], "what odds mean (below)");
const LONGEST_FIRST: Field = truth(
    "longest_first",
    false,
    "the first step takes the longest, so that a lack of memory shows at once",
);

/// What all that deal lengths out by odds have.
const ODDS: [Field; 4] = [BUCKETS, CYCLES, READING, LONGEST_FIRST];

/// `curriculum.lengths`
pub static LENGTHS: Table = Table::one_of(&KINDS, None);

const KINDS: [Variant; 8] = [
    variant(
        "natural",
        &[
            BUCKETS,
            Field { default: Preset::Number(1.0), ..CYCLES },
            READING.missing("none"),
            LONGEST_FIRST,
        ],
        "as often as the data has them",
    ),
    variant(
        "uniform",
        &[
            BUCKETS,
            CYCLES,
            word("reading", &["stationary", "fixed", "rotating"], "what odds mean (below)"),
            LONGEST_FIRST,
        ],
        "all equally often",
    ),
    variant("grow_p2", &ODDS, "odds are powers of two, short ones first"),
    variant("grow_linear", &ODDS, "odds fall by one from length to length, short ones first"),
    variant(
        "grow_p100",
        &ODDS,
        "odds are powers of a hundred, short ones first: nearly one length after the other",
    ),
    variant("shrink_p100", &ODDS, "odds are powers of a hundred, long ones first"),
    variant(
        "odds",
        &[
            BUCKETS,
            CYCLES,
            READING,
            LONGEST_FIRST,
            field(
                "weights",
                Kind::Numbers,
                Preset::Needed("`weights: [4, 2, 1]`"),
                "a positive number for each length",
            ),
        ],
        "odds of your own",
    ),
    variant(
        "warmup",
        &[
            whole("from", 64, [1, LONGEST as u64], "the first length").unit("tokens"),
            amount("over", Amount::Share(0.2), "how long they grow"),
            whole("step", 8, [1, 1 << 20], "lengths are multiples of it").unit("tokens"),
            word(
                "cut",
                &["split", "truncate"],
                "the rest of a sequence becomes further ones, or is left out",
            ),
        ],
        "sequences grow to full length",
    ),
];

/// `curriculum.difficulty`
pub static DIFFICULTY: Table = Table::of(&[
    field("by", Kind::Text, Preset::Needed("`by: compression`"), "the name of the scores"),
    amount("start", Amount::Share(0.5), "the share of documents to begin with"),
    amount("hold", Amount::Share(0.2), "until when it stays so"),
    amount("full", Amount::Share(0.4), "from when on there are all"),
    word(
        "shape",
        &["linear", "root", "step"],
        "how the share grows; with `root` its square does so linearly",
    ),
    word("first", &["smallest", "largest"], "which scores are easy"),
]);

/// `curriculum.levels`
pub static TASK_LEVELS: Table = Table::of(&[
    field(
        "of",
        Kind::Text,
        Preset::Needed("`of: pairs`"),
        "what varies: `pairs`, `needles`, `marked` or `features`",
    ),
    field(
        "values",
        Kind::Numbers,
        Preset::Needed("`values: [2, 4, 8]`"),
        "the easiest first; the task itself is the hardest",
    ),
    field(
        "pace",
        Kind::Section(&PACE),
        Preset::Section,
        "what decides is how many held-out sequences of each level are wholly right in the evaluations",
    ),
]);

/// `curriculum.levels.pace`
pub static PACE: Table = Table::one_of(&PACES, Some("staged"));

const PACES: [Variant; 2] = [
    variant(
        "staged",
        &[
            number("reach", 0.9, [0.0, 1.0], "share of right sequences that ends a level"),
            whole("jump", 1, [1, 1 << 16], "levels at a time, at most"),
            number("review", 0.2, [0.0, 0.99], "share of sequences of the levels before"),
        ],
        "level after level",
    ),
    variant(
        "variance",
        &[number("floor", 0.05, [1e-6, 1.0], "the least weight of a level")],
        "each level by the variance of its answers, k (G − k) / (G (G − 1)) for k right of G (VCRL, with evaluations as rollouts)",
    ),
];
