//! What to write instead: functions of other systems, and those that belong to mixers.

/// Names, and what is written for them here.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (&["norm", "length", "len", "l2", "norm2"], "the length of a vector is `|x|`"),
    (
        &["dot", "inner", "matmul", "mm", "bmm", "einsum", "matvec"],
        "a product is `q^T * k`, `S^T * q`, `A * B`",
    ),
    (&["outer", "kron", "ger"], "a key times a value is `k * v^T`"),
    (
        &["l2norm", "normalize", "normalise", "unit"],
        "a vector of length 1 is `x / |x|`, or `x / (|x| + 1e-6)`",
    ),
    (&["l1norm"], "entries that add up to 1 are `x / sum(abs(x))`"),
    (&["rmsnorm", "srmsnorm"], "it is `x / sqrt(mean(x .* x) + 1e-6)`"),
    (&["layernorm"], "it is `(x - mean(x)) / sqrt(var(x) + 1e-6)`"),
    (
        &["ones", "full"],
        "a number is added to every entry of a vector as it is: `x + 1`; the identity is `I`",
    ),
    (&["zeros", "zero"], "a state begins at 0 by itself; `0 * x` is a vector of zeros"),
    (&["eye", "identity", "id"], "the identity is `I`"),
    (&["inv", "inverse", "pinv"], "`solve(A, b)` is the `x` with `A * x = b`"),
    (&["transpose", "trans", "t"], "the transpose is `x^T`"),
    (&["cumsum", "cumulative_sum", "scan"], "a running sum is a state: `c[t] = c[t-1] + x`"),
    (&["cumprod"], "a running product is a state: `p[t] = p[t-1] * x`, with `init 1`"),
    (
        &["logsumexp", "lse"],
        "over the past: `log(sum(exp(e) for u <= t))`; of two: `logaddexp(a, b)`",
    ),
    (&["swish"], "it is `silu(x)`"),
    (&["ln", "log_e"], "it is `log(x)`"),
    (&["log1p"], "it is `log(1 + x)`"),
    (&["expm1"], "it is `exp(x) - 1`"),
    (&["pow", "power", "square", "cube"], "a power is `x^2`"),
    (&["rsqrt"], "it is `1 / sqrt(x)`"),
    (&["reciprocal"], "it is `1 / x`"),
    (
        &["clamp", "clamp_min", "clamp_max"],
        "it is `clip(x, low, high)`, `max(x, low)` or `min(x, high)`",
    ),
    (
        &["where", "cond", "select", "ifelse"],
        "what is known before the run: `if n > 0 then a else b`; of the run: `max`, `min`, `relu`",
    ),
    (&["cat", "stack", "concatenate", "hstack", "vstack"], "it is `concat(a, b)`"),
    (&["flatten", "reshape", "view"], "a matrix as a vector is `vec(A)`"),
    (&["maximum", "amax"], "the larger of two is `max(a, b)`"),
    (&["minimum", "amin"], "the smaller of two is `min(a, b)`"),
    (&["std", "stddev"], "it is `sqrt(var(x))`"),
    (&["average", "avg"], "over the entries of a vector it is `mean(x)`"),
    (&["trace", "tr"], "for a key and a value it is `k^T * v`"),
    (&["mul", "multiply", "hadamard"], "entry by entry it is `a .* b`"),
    (&["add"], "it is `a + b`"),
    (&["prod"], "products over a range are written out; over the past a product is a state"),
    (&["logit"], "it is `log(p) - log(1 - p)`"),
    (&["taylor"], "it is `concat(1, x, vec(x * x^T) / sqrt(2))`"),
];

/// What to write for a function that recurrences do not have.
pub(super) fn instead(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    let found = ELSEWHERE.iter().find(|(names, _)| names.contains(&lower.as_str()));
    found.map(|(_, help)| *help)
}

/// What to write for a function over the past that takes no range.
pub(super) fn over_the_past(name: &str) -> String {
    let running = |call: &str| format!("the running one is a state: `m[t] = {call}`");
    let how = match name {
        "mean" => "the mean over the past is `sum(v[u] for u <= t) / (t + 1)`".to_string(),
        "max" | "min" | "logaddexp" => running(&format!("{name}(m[t-1], x)")),
        "var" => {
            "it is the mean of squares less the square of the mean, each a `sum(… for u <= t)`"
                .to_string()
        }
        _ => format!("apply it to each term: `sum({name}(x[u]) for u <= t)`"),
    };
    format!("`sum(… for u <= t)` and `softmax(… for u <= t)` take a range; {how}")
}
