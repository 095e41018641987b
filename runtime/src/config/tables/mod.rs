//! The tables of fields: every key of a spec with type, default, range and meaning. Reading, the page and the schema of specs
//! come from them.

pub mod curriculum;
pub mod data;
pub mod optimizer;
pub mod shaping;
pub mod task;

use crate::fields::{Field, Kind, Preset, Table, amount, field, number, section, whole, word};
use crate::schedule::Amount;

/// Parameters: names with `*`, or classes.
const PATTERNS: Kind = Kind::Either(&[Kind::Text, Kind::Values]);

/// The whole spec.
pub static SPEC: Table = Table::of(&[
    field("name", Kind::Text, Preset::Words("the file's name"), "the folder below `runs/`"),
    field("model", Kind::Section(&MODEL), Preset::Needed("`model: {file: my.arch, name: my_model}`"), "what is trained"),
    field("curriculum", Kind::Section(&curriculum::CURRICULUM), Preset::Words("none"), "lengths, difficulty and levels over the run (below)"),
    field("task", Kind::Section(&task::TASK), Preset::Words("one of `task` and `data`"), "a synthetic task (below)"),
    field("data", Kind::Section(&data::DATA), Preset::Words("one of `task` and `data`"), "tokenised corpora (below)"),
    whole("seed", 1, [0, u32::MAX as u64], "of everything random"),
    amount("length", Amount::Steps(1000.0), "how long: steps (at most ten million), tokens, or a time"),
    number("stop_at", 1.0, [0.0, 1.0], "accuracy on held-out sequences that ends the run").missing("none"),
    field("batch", Kind::Either(&[Kind::Size, Kind::Section(&shaping::RAMP)]), Preset::Number(32.0), "a step: sequences `32` (at most a million), tokens `64k tokens` (at most a billion), or a ramp (below)").unit("sequences"),
    field("micro_batch", Kind::Amount, Preset::Words("all"), "tokens that run through the model at a time; larger steps add up gradients: `16k tokens`").unit("tokens"),
    whole("segments", 1, [1, 1024], "where several processes train: so many neighbours hold a segment each of every sequence, so that a sequence of any length has room (docs/processes.md). Losses agree as far as numbers round; one process cuts nothing"),
    whole("workers", 1, [0, 64], "threads that prepare batches ahead; they change nothing but the time"),
    field("freeze", PATTERNS, Preset::Words("none"), "parameters that stay as they are, to the bit: names with `*`, or classes (matrices, embedding, head, vectors, f32, init_states), with commas between: `\"*.attention.*, embedding\"`. Nothing is computed or remembered for them, and their gradients are no part of the norm"),
    field("only", PATTERNS, Preset::Words("all; with `lora`, `lora`"), "parameters that alone are trained, likewise; all others stay as they are. `init_states` is what states of recurrences begin with, `lora` the matrices that `lora` adds"),
    field("lora", Kind::Section(&LORA), Preset::Words("none"), "small matrices beside those of dense products, which are trained in their place (docs/finetuning.md)"),
    section("optimizer", &optimizer::OPTIMIZER, "the update rule (below)"),
    section("schedule", &shaping::SCHEDULE, "the learning rate over the run (below)"),
    field("phases", Kind::List(&shaping::PHASE), Preset::Words("none"), "parts of the run, one after the other, all in the same unit; the last lasts to the end (below)"),
    number("dropout", 0.0, [0.0, 0.99], "each number that a layer adds to the residual stream becomes 0 with this probability, in training; drawn by counters, so that a resumed run drops the same"),
    number("z_loss", 0.0, [0.0, 1.0], "the loss has so much of ln²Z more, Z being what the exponentials of the logits add up to"),
    field("activations", Kind::Memory, Preset::Words("no bound"), "what the values between the nodes of the graph may take; as many layers as that needs are computed again in the backward pass (the same bits, about a third more time for each)"),
    field("precision", Kind::Map(&Kind::Word(&["bf16", "f32"])), Preset::Words("f32"), "parameters by class or name that the model reads in bf16, and `activations`, the values between layers with their gradients (but decays and what else has a promised range); updates stay in f32, and so does what a mixer declares `f32` unless it is named. Devices hold them so, beside the f32 that is updated; the processor holds f32 that bf16 can hold"),
    field("tuned", Kind::Path, Preset::Words("as the compiler chooses"), "a table of `lrc tune --export`: how recurrences run, as it was fastest on the machine that the table was made on. The last bits of numbers differ from those without it; a run keeps a copy and goes on with that"),
    section("eval", &EVAL, "evaluation on what training never sees"),
    section("checkpoint", &CHECKPOINT, "what a run is taken up from"),
    section("monitor", &MONITOR, "what is watched (below)"),
    field("policies", Kind::List(&POLICY), Preset::Words("none"), "what is done about it (below)"),
]);

/// `model`
pub static MODEL: Table = Table::of(&[
    field("file", Kind::Path, Preset::Words("the model of `from`"), "the `.arch` file"),
    field("name", Kind::Text, Preset::Words("the file's only one"), "the model in it"),
    field(
        "from",
        Kind::Path,
        Preset::Words("drawn as declared"),
        "a run's folder, which `lrc import hf` makes too, or one of its checkpoints: training begins with its weights. Without `file` the model is that of the run, with its `name`, `set` and `layers` where they are not given here (docs/finetuning.md)",
    ),
    word(
        "vocab",
        &["same", "resize"],
        "`resize`: the vocabulary may be another than that of `from`. Rows of the embedding and of the head that both have are taken, by the number of their token; a new row is the mean of all there (Hewitt 2021)",
    ),
    field(
        "set",
        Kind::Map(&Kind::Either(&[Kind::Number([f64::NEG_INFINITY, f64::INFINITY]), Kind::Truth])),
        Preset::Words("as declared"),
        "its parameters",
    ),
    field(
        "layers",
        Kind::Map(&Kind::Text),
        Preset::Words("as laid out"),
        "other sub-layers at some places, counted from 0: `{3: \"attention(heads = 2)\"}`; their mixers are declared or used in the file",
    ),
]);

/// `lora`
pub static LORA: Table = Table::of(&[
    whole("rank", 8, [1, 1 << 16], "rows of A and columns of B in `W x + (alpha / rank) B (A x)`"),
    number(
        "alpha",
        16.0,
        [0.0, 1e6],
        "what the update is multiplied with, before it is divided by the rank",
    ),
    field(
        "targets",
        PATTERNS,
        Preset::Words("`matrices`: all of them"),
        "which dense products, by the names of their matrices: `\"*.q.weight, *.v.weight\"`",
    ),
]);

/// `eval`
pub static EVAL: Table = Table::of(&[
    amount("every", Amount::Share(0.1), "how often; 0 for the end alone"),
    whole("sequences", 256, [1, 1 << 20], "held-out sequences of each set, at most"),
    field(
        "lengths",
        Kind::Numbers,
        Preset::Words("none"),
        "also on sequences of other lengths: `[512, 2048]`",
    )
    .unit("tokens"),
]);

/// `checkpoint`
pub static CHECKPOINT: Table = Table::of(&[
    amount("every", Amount::Share(0.25), "how often; 0 for the end alone"),
    whole("keep", 2, [1, 1 << 20], "how many of the newest are kept"),
]);

/// `monitor`
pub static MONITOR: Table = Table::of(&[
    amount("every", Amount::Steps(100.0), "how often layers are measured"),
    whole("window", 100, [2, 1 << 20], "a spike is told from the last steps").unit("steps"),
    number("deviations", 6.0, [0.1, 1e6], "how far above their mean the loss of a spike lies")
        .unit("standard deviations"),
]);

/// `policies`
pub static POLICY: Table = Table::of(&[
    field(
        "when",
        Kind::Text,
        Preset::Needed("`when: spike`"),
        "`nan`, `spike`, `underfitting`, or a measure and a bound: `norm_growth > 2`",
    )
    .old(&["on", "true"]),
    field(
        "do",
        Kind::Either(&[Kind::Word(&["warn", "skip", "back", "stop"]), Kind::Section(&CHANGE)]),
        Preset::Needed("`do: skip`"),
        "the action",
    ),
    whole("at_most", 10, [1, 1 << 32], "after so many times the run ends instead"),
]);

/// `policies.do`
pub static CHANGE: Table = Table::of(&[
    whole("back", 0, [0, 1 << 40], "to a checkpoint of so long ago; its data stays used up")
        .missing("stays")
        .unit("steps"),
    FACTOR,
    number("clip", 1.0, [0.0, 1e9], "the norm that gradients are clipped to from now on")
        .missing("stays"),
]);

/// A factor on the learning rate, called the same wherever it stands.
const FACTOR: Field =
    number("lr_scale", 1.0, [0.0, 1e6], "a factor on the learning rate").old(&["lr"]);
