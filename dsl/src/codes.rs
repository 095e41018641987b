//! The table of diagnostic codes: what `lrc explain E0203` prints. Codes are stable.

/// One row per code: the code, a title, and a longer explanation.
pub static CODES: &[(&str, &str, &str)] = &[
    (
        "E0101",
        "syntax error",
        "The text does not follow the grammar at this place. The label lists what could stand there.",
    ),
    (
        "E0102",
        "the text is too deep or too long",
        "Expressions, brackets and the operations that a recurrence works out to have limits, so that no input can exhaust the machine. Name parts of the expression, or split the file.",
    ),
    (
        "E0103",
        "not a range",
        "A range is a chain of `<` and `<=` that binds one new name: `j < n`, `u <= t`, `t - window < u <= t`.",
    ),
    (
        "E0104",
        "a used file cannot be read",
        "`use \"path\"` looks beside the file that says it, then in the shipped library.",
    ),
    (
        "E0105",
        "a name is declared twice",
        "Names are set once, except that a state may be set again inside `for`: a micro-step.",
    ),
    (
        "E0106",
        "a version of the language that this program does not read",
        "A text may begin with `lrc 1`, the version of the language that it is written in. Programs read all versions up to their own, and a text means the same in all of them.",
    ),
    (
        "E0201",
        "unknown name",
        "Every name must be declared as `in`, `param` or `state`, set by an equation above, or be a parameter in the parentheses after the declaration's name.",
    ),
    (
        "E0202",
        "shapes do not match",
        "`+` and `-` want equal shapes, and nothing is repeated silently: only a scalar may be added to a vector, and only a matrix to a matrix or to `I`.",
    ),
    (
        "E0203",
        "the new state has another shape than the state",
        "A write into a state is usually a key times a value: `k * v^T`, a matrix of the state's shape.",
    ),
    (
        "E0204",
        "unknown function",
        "See the language reference for the functions; a function of your own is an equation `f(x) = …` above its use.",
    ),
    ("E0205", "wrong arguments", "The call does not have the arguments that the function takes."),
    (
        "E0206",
        "this cannot be indexed here",
        "A position such as `t-1` selects a token, any other number an entry.",
    ),
    (
        "E0207",
        "a state needs a position",
        "A state has two values at a token: write `S[t-1]` for the one before, `S[t]` (below its equation) for the one after.",
    ),
    (
        "E0208",
        "not known before the run",
        "Conditions, sizes, counts and exponents must be numbers that are known before the run: parameters and sizes. The value of a state before the first token is made of numbers and `param`s.",
    ),
    (
        "E0209",
        "a state is set in a wrong place",
        "Each state has one equation `S[t] = …`; only inside `for` it is set again.",
    ),
    ("E0210", "a state has no equation", "Every state needs an equation `S[t] = …`."),
    ("E0211", "nothing comes out", "A recurrence or mixer needs at least one `out` equation."),
    (
        "E0212",
        "this item does not belong here",
        "Recurrences hold declarations and equations; mixers also `loss`; models hold `vocab`, `residual`, `head` and sub-layers.",
    ),
    (
        "E0213",
        "a size is not a positive whole number",
        "Sizes are positive whole numbers up to 10^9, and no value has more than 2^44 numbers; a quotient such as `width / heads` must come out even.",
    ),
    (
        "E0214",
        "a position outside the past",
        "A token can read itself and what came before: `t`, `t-1`, `u <= t`. Every position must be seen to lie there at every token: `t - t mod 4` does, `t - t mod 4 + 1` is ahead of the first token of each four.",
    ),
    (
        "E0215",
        "not supported",
        "The construct is part of the language but this version cannot run it yet; the message says what is missing.",
    ),
    (
        "E0216",
        "a parameter does not exist",
        "`--set` and call sites can change only the parameters in the parentheses after the declaration's name.",
    ),
    (
        "E0217",
        "a declaration of this kind is needed",
        "A model calls mixers, a mixer calls recurrences and mixers.",
    ),
    ("E0218", "the declaration calls itself", "Mixers may hold mixers, but not themselves."),
    (
        "E0219",
        "two parameters with one name",
        "`linear` and `conv` take the name on the left of the equation. Give the inner call a line of its own.",
    ),
    (
        "E0220",
        "the model lacks something",
        "A model needs `vocab`, `residual`, `head`, a `width` parameter and at least one sub-layer.",
    ),
    (
        "W0221",
        "a promise that may be broken",
        "An interval or `unit` behind an input is a promise: the form of the recurrence relies on it, and outside it numbers may grow without bound. What a mixer passes should keep it whatever its parameters are: `sigmoid`, `softplus`, `logsigmoid`, `-exp`, `tanh`, `l2norm` do.",
    ),
    (
        "W0222",
        "a memory for each channel",
        "A call of a recurrence runs for every entry of the axes in front of the declared shapes. An argument with one axis too many makes heads of its channels, each with a state of its own.",
    ),
    (
        "E0223",
        "a number is not finite",
        "A parameter, or a number made of parameters, is infinite or no number (0/0, the logarithm of -1) and enters a value of the run, which then is none either. `inf` may stand in ranges, in `init`, and in `max`, `min`, `clip` and `logaddexp`.",
    ),
    (
        "E0301",
        "a tensor is missing",
        "`lrc exec` needs every declared input and parameter in the input file.",
    ),
    (
        "E0302",
        "a tensor has the wrong shape",
        "The expected shape is built from the sizes that earlier tensors bound; see the layouts in the language reference.",
    ),
    (
        "E0303",
        "a tensor has the wrong type",
        "Values are f32 (or f16, bf16, f64, which are converted); `cu_seqlens` is i32 or i64.",
    ),
    (
        "E0304",
        "a tensor that nothing declares",
        "The file holds a tensor that is no input, output, state, gradient or cotangent of the recurrence.",
    ),
    (
        "E0305",
        "cu_seqlens is not sound",
        "`cu_seqlens` starts with 0, ends with the number of tokens and never decreases; the batch size is 1.",
    ),
    (
        "E0306",
        "no such form",
        "`--form chunk` asks for a form that the equations do not have; the label says which part of them stands against it.",
    ),
    (
        "E0307",
        "a checkpoint does not fit",
        "The checkpoint is damaged, or of another model or optimiser than the spec's.",
    ),
    (
        "E0308",
        "a recurrence gives no numbers",
        "On inputs that keep its promises its values leave what f32 holds, or are no numbers at all, from the token that the message names.",
    ),
    (
        "W0309",
        "a tensor breaks a promise",
        "A declaration promises an interval or vectors of length 1, and a given tensor does not keep it. The planner chooses the form by promises, so results may lose digits or be no numbers.",
    ),
    (
        "E0401",
        "the spec is not valid YAML",
        "The text does not follow YAML or the spec's fields; the label says what was expected.",
    ),
    (
        "E0402",
        "a value of the spec is out of range",
        "The value cannot work; the message says what can.",
    ),
    (
        "N0403",
        "a field goes by an older name",
        "Both names are read and mean the same; the spec that a run keeps has the new one. `lrc spec` prints all fields.",
    ),
    (
        "E0405",
        "data that cannot be used as the spec says",
        "Sources made with different tokenizers cannot be mixed, and documents can be kept apart only where it is known where they begin: say the `end` token, or `boundaries: false`.",
    ),
    (
        "E0406",
        "a choice of parameters fits none",
        "`match` of a group, `freeze`, `only` and `targets` of `lora` take classes (matrices, embedding, head, vectors, f32, init_states, lora) or a name with `*` for anything; `lrc compile MODEL.arch --emit graph` lists names.",
    ),
    (
        "E0407",
        "a study that cannot be searched",
        "No point of the space that was looked at can be a trial: its model does not exist, breaks a constraint, or comes not near enough to what is matched. The finding says what is wrong with one of them; widen the space or the bounds. Rungs of `halving` are shares of a run of given length.",
    ),
    (
        "E0501",
        "there are no kernels for this",
        "Kernels for GPUs (`--device sim` and `cuda`) lack experts, long convolutions, some recurrences, optimisers other than AdamW, groups of parameters, `dropout`, `z_loss`, `precision`, `activations` and measures of layers; a state must fit a block's memory. Everything runs on the CPU. `lrc check FILE --device sim` lists what a file or a spec asks for that they lack.",
    ),
    (
        "E0601",
        "a folder is no sound folder of transformers",
        "`lrc import hf` reads what `save_pretrained` writes: config.json, and model.safetensors or shards with their index. Pickles, names that lead out of the folder, missing shards and damaged files are refused; nothing of a folder is run.",
    ),
    (
        "E0602",
        "a class or a setting that no map writes",
        "A map below specs/hf says how a class of transformers is written as `.arch`. The class has none, or its configuration asks for something that the map would get wrong. `--map FILE` takes a map of your own; docs/huggingface.md says how one is written.",
    ),
    (
        "E0603",
        "weights that have no place",
        "Every tensor of the folder must have its place among the parameters of the model with the shape that its map expects, and every parameter must be found whole.",
    ),
    (
        "E0604",
        "a map that cannot be read",
        "A map of a class of transformers has lines `class`, `let`, `refuse`, the text of a `model`, and `weights`; docs/huggingface.md has one, line by line.",
    ),
    (
        "E0502",
        "this cannot be written for another program",
        "A file format lacks an operation that the recurrence needs: ONNX's `Scan` holds no past, and nothing there solves or picks by a computed number. The message names the part of the text.",
    ),
    (
        "W0111",
        "an input is never used",
        "Nothing that the recurrence computes depends on it, so its gradient is 0 and a mixer that makes it learns nothing from it. Use it, or take the declaration out.",
    ),
    (
        "N0110",
        "the recurrent form is used",
        "The recurrence is not in the diagonal-plus-low-rank family, or its states are vectors: it runs one token at a time. `lrc explain FILE NAME` says why.",
    ),
];

/// Title and explanation of a code.
pub fn explain(code: &str) -> Option<(&'static str, &'static str)> {
    CODES.iter().find(|row| row.0.eq_ignore_ascii_case(code)).map(|row| (row.1, row.2))
}
