//! What people type who come from Python, LaTeX or a paper, and how it is written here.

/// Signs that are no part of the language, and what to type instead.
const SIGNS: &[(&str, &str)] = &[
    ("@⊙∘⊗", "write `*` for products of vectors and matrices, `.*` entry by entry"),
    ("·×•", "write `*`"),
    ("−–—", "write the minus of the keyboard, `-`"),
    ("≤⩽", "write `<=`"),
    ("≥⩾", "write `>=`"),
    ("≠", "write `!=`"),
    ("⊤ᵀᵗ⊺", "the transpose is `x^T`"),
    ("²", "a power is written `x^2`"),
    ("√", "write `sqrt(x)`"),
    ("∞", "write `inf`"),
    ("∑Σ", "a sum over the past is written `sum(v[u] for u <= t)`"),
    ("∇∂", "the derivative of `L` by `x` is `grad(L, x)`"),
    ("‖", "the length of a vector is `|x|`"),
    ("∈", "write `in`"),
    ("←", "write `=`"),
    ("&", "write `and`"),
    ("~!", "conditions are compared: `==`, `!=`, `and`, `or`"),
    ("?", "write `if n > 0 then a else b`"),
    ("#%", "`//` begins a comment"),
    ("'", "the transpose of `x` is `x^T`, its value at the token before `x[t-1]`"),
    ("\"", "texts stand in `use \"path\"` only"),
    ("\\", "names are words, without a backslash: `alpha`"),
];

/// A hint for the place at which the grammar stops.
pub(crate) fn help(text: &str, at: usize) -> Option<String> {
    let (before, rest) = text.split_at(at);
    let first = rest.chars().next()?;
    let last = before.chars().next_back().unwrap_or(' ');
    let line = before.rsplit('\n').next().unwrap_or_default();
    match first {
        '=' if rest.starts_with("==") => {
            Some("`==` compares and is used in `if` only; an equation has one `=`".into())
        }
        '=' if ['+', '-', '*', '/', '.'].contains(&last) => Some(assigned(line)),
        '=' if last == ':' => Some("an equation is written with `=` alone".into()),
        '=' if line.trim_end().ends_with(']') => {
            Some("a state is set as `S[t] = …`, from `S[t-1]` and what this token brings".into())
        }
        '*' if last == '*' => Some("a power is written `x^2`".into()),
        '{' if last == '_' || last == '^' => Some(braces(line, rest, last)),
        '{' if line.trim_end().ends_with('=') => Some("parentheses are round: `(a + b)`".into()),
        ':' if open_bracket(line) => {
            Some("entries are taken one by one: `x[0]`; there are no ranges of entries".into())
        }
        ',' if open_bracket(line) => Some("entries are taken axis by axis: `x[0][1]`".into()),
        '[' if line.trim_end().ends_with(['=', '(', ',']) => {
            Some("a vector is put together by `concat(a, b)`".into())
        }
        '0'..='9' => {
            let number = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let name = rest[number..].starts_with(|c: char| c.is_ascii_alphabetic());
            name.then(|| format!("a product is written with `*`: `{} * …`", &rest[..number]))
        }
        _ => {
            let sign = SIGNS.iter().find(|(signs, _)| signs.contains(first));
            let letter = !first.is_ascii() && first.is_alphabetic();
            sign.map(|(_, help)| help.to_string()).or_else(|| {
                letter.then(|| "names are made of a-z, A-Z, 0-9 and `_`: `alpha`".into())
            })
        }
    }
}

/// For `S[t] += …`.
fn assigned(line: &str) -> String {
    let target = line.trim_end_matches(['+', '-', '*', '/', '.']).trim();
    let sign = line[line.trim_end_matches(['+', '-', '*', '/', '.']).len()..].trim();
    match target.strip_suffix("[t]") {
        Some(state) => format!("write it out: `{state}[t] = {state}[t-1] {sign} …`"),
        None => "a name is set once: give the new value another name".into(),
    }
}

/// For `S_{t-1}`, `x^{2}` and `x^{T}`.
fn braces(line: &str, rest: &str, sign: char) -> String {
    let inside = rest[1..].split(['}', '\n']).next().unwrap_or_default().trim();
    if sign == '^' {
        let turned = ["T", "\\top", "⊤", "\\intercal"].contains(&inside);
        return if turned {
            "the transpose is `x^T`".into()
        } else {
            format!("braces hold declarations: write `^({inside})`")
        };
    }
    let name = line.trim_end_matches('_').rsplit(|c| !is_word(c)).next().unwrap_or_default();
    format!("a token or entry is chosen in brackets: `{name}[{inside}]`")
}

/// Whether the line leaves an index open.
fn open_bracket(line: &str) -> bool {
    let open = line.rfind('[');
    open.is_some_and(|at| {
        !line[at..].contains(']') && line[..at].ends_with(|c| is_word(c) || c == ']')
    })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
