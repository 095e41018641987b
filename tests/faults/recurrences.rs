//! The language of recurrences: what is accepted, what is refused, in which words.

use std::path::Path;
use std::time::{Duration, Instant};

use lrc_compiler::elaborate::{Recurrence, Setting, elaborate};
use lrc_compiler::form::FormKind;
use lrc_dsl::{Diag, Sources, load_text, render};
use lrc_runtime::eval::verify;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::ground::library::LIBRARY;
use lrc_runtime::ground::tensors::{Data, Tensor, Tensors};
use lrc_runtime::recurrence::run::{Request, run_recurrence};

use super::common::{empty, lrc, path, said};
use super::input;

/// What is said about a text, all of it, and whether it is sound.
fn read(text: &str) -> (String, bool) {
    let mut sources = Sources::default();
    let (namespace, mut diags) =
        load_text("case.arch", text.to_string(), None, LIBRARY, &mut sources);
    if diags.is_empty() {
        lrc_compiler::check::check(&namespace, &mut diags);
    }
    (render(&sources, &diags, false), !diags.iter().any(Diag::is_error))
}

/// A recurrence with everything that the lines of a case may want.
fn around(lines: &str) -> String {
    let update = if lines.contains("S[t] =") { "" } else { "S[t] = S[t-1] + k * v^T" };
    let out = if lines.contains("out ") { "" } else { "out o = S[t]^T * q" };
    format!(
        "recurrence r(n = 3) {{\n in k, q : [dk]\n in v : [dv]\n in g : scalar\n state S : [dk, dv]\n {update}\n {lines}\n {out}\n}}\n"
    )
}

/// Each case is refused with the code, in words that hold all of the parts.
fn refused(cases: &[(&str, &str, &[&str])]) {
    for (text, code, parts) in cases {
        let whole = if text.contains("recurrence") { text.to_string() } else { around(text) };
        let (said, sound) = read(&whole);
        assert!(!sound, "accepted: {text}");
        for part in parts.iter().chain([code]) {
            assert!(said.contains(part), "{text}\nlacks {part:?}:\n{said}");
        }
    }
}

/// What `check` says about an input that it refuses, within some seconds.
fn check(name: &str) -> String {
    let begun = Instant::now();
    let output = lrc(&["check", &input(name)]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{name}: {:?}", begun.elapsed());
    assert_eq!(output.status.code(), Some(3), "{name}: {}", said(&output));
    said(&output)
}

fn elaborated(text: &str) -> Recurrence {
    let mut sources = Sources::default();
    let (namespace, mut diags) =
        load_text("case.arch", text.to_string(), None, LIBRARY, &mut sources);
    let given = [("d".to_string(), Setting::Number(3.0)), ("e".to_string(), Setting::Number(2.0))];
    let found = elaborate(&namespace.decls["r"], &given.into(), &mut diags);
    found.unwrap_or_else(|| panic!("{}", render(&sources, &diags, false)))
}

#[test]
fn a_position_lies_in_the_past_at_every_token() {
    // A2, A3, A4, `future_by_name`.
    assert!(check("break/stale_state.arch").contains("E0207"));
    assert!(check("break/future_u.arch").contains("`u + 1` lies in the future"));
    assert!(check("break/future_s.arch").contains("at token 0 it is token 1"));
    assert!(check("arch/future_by_name.arch").contains("E0214"));
    refused(&[
        ("y = v[t + 1]", "E0214", &["`t + 1` lies in the future"]),
        ("y = sum(v[u] for u <= t + 1)", "E0214", &["`t + 1` lies in the future"]),
        ("s = t - t mod 4; y = sum(k[u] for s <= u <= s + 3)", "E0214", &["token 3"]),
        ("y = v[t - t mod 4 + xor(t mod 4, 1)]", "E0214", &["lies in the future"]),
        ("y = v[t + bits(t) - 20]", "E0214", &["may lie in the future"]),
        ("z = 2 * k; y = z[t - t mod 4 + 1]", "E0214", &["at token 0 it is token 1"]),
        ("S[t] = S[t-1] + k * v^T + sum(S[u] for u <= t)", "E0207", &["before its equation"]),
        (
            "p = softmax(g[u] for t - 3 < u <= t); y = sum(p[u] * v[u] for u <= t)",
            "E0206",
            &["runs beyond the range"],
        ),
    ]);
}

/// Runs a recurrence over `x` of a few tokens.
fn tried(text: &str, x: &[f32]) -> Result<Tensors, Failure> {
    let mut sources = Sources::default();
    let (namespace, _) = load_text("case.arch", text.to_string(), None, LIBRARY, &mut sources);
    let shape = vec![1, x.len(), 1];
    let inputs: Tensors = [("x".to_string(), Tensor::f32(shape, x.to_vec()))].into();
    let request = Request {
        settings: [].into(),
        backward: false,
        form: FormKind::Auto,
        chunk: None,
        bf16: false,
        device: lrc_runtime::device::Device::Cpu,
    };
    run_recurrence(&namespace.decls["r"], &inputs, &request).map(|done| done.tensors)
}

/// Its output `o`.
fn run(text: &str, x: &[f32]) -> Vec<f64> {
    match &tried(text, x).unwrap()["o"].data {
        Data::F32(values) => values.iter().map(|x| f64::from(*x)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_position_that_may_be_this_token_reads_what_is_at_hand() {
    // Kin of A2: below its equation, and for a named value.
    let x = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
    let state =
        "recurrence r { in x : scalar; state h : scalar; h[t] = 2 * x; out o = h[t - t mod 4] }";
    assert_eq!(run(state, &x), [2.0, 2.0, 2.0, 2.0, 32.0, 32.0]);
    let named = "recurrence r { in x : scalar; y = x * x; out o = y[t - t mod 2] }";
    assert_eq!(run(named, &x), [1.0, 1.0, 16.0, 16.0, 256.0, 256.0]);
    let sum = "recurrence r { in x : scalar; y = 3 * x; out o = sum(y[u] for u <= t - t mod 2) }";
    assert_eq!(run(sum, &x), [3.0, 3.0, 21.0, 21.0, 93.0, 93.0]);
    let own = "recurrence r { in x : scalar; y = 3 * x; out o = sum(y[u - u mod 2] for u <= t) }";
    assert_eq!(run(own, &x), [3.0, 6.0, 18.0, 30.0, 78.0, 126.0]);
}

#[test]
fn what_has_no_tokens_is_not_indexed_by_one() {
    // A5, `position_of_earlier_token`; nothing is refused in silence.
    assert!(check("break/index_number.arch").contains("E0206"));
    assert!(
        check("arch/position_of_earlier_token.arch").contains("`t` has no value at other tokens")
    );
    refused(&[
        ("y = I[t-1] * k", "E0206", &["`I` has no value"]),
        ("y = head[t-1]", "E0206", &["`head` has no value"]),
        ("w = 3; y = w[t-1]", "E0206", &["`w` is the same for all tokens"]),
        ("a, b = true", "E0202", &["a tensor is needed", "true or false"]),
        ("y = sum(I for j < 2)", "E0202", &["a multiple of the identity"]),
        ("y = I / I", "E0202", &["divided by a scalar only"]),
    ]);
    assert!(check("arch/identity_divided.arch").contains("solve(A, b)"));
}

#[test]
fn an_initial_value_is_known_before_the_first_token() {
    // `state_from_input`
    assert!(check("arch/state_from_input.arch").contains("E0208"));
    for init in ["g", "t", "h[t-1]", "sum(g[u] for u <= t)", "2 * g + c"] {
        let text = format!(
            "recurrence r {{ in g : scalar; param c : scalar; state h : scalar init {init}; h[t] = h[t-1] + c * g; out o = h[t] }}"
        );
        let (said, sound) = read(&text);
        assert!(!sound, "accepted: init {init}\n{said}");
    }
    let text = "recurrence r { in g : scalar; param c : scalar; state h : scalar init 2 * c + head; h[t] = h[t-1] + g; out o = h[t] }";
    assert_eq!(read(text), (String::new(), true));
    // `output_named_inf`
    let output = lrc(&["verify", &input("arch/output_named_inf.arch")]);
    assert!(output.status.success(), "{}", said(&output));
    let made = "recurrence r { param w : scalar; in g : scalar; y = 2 * w; state h : scalar init y; h[t] = h[t-1] + g; out o = h[t] }";
    assert!(read(made).1);
}

#[test]
fn every_tensor_has_a_name_of_its_own() {
    // Kin of A5's silence: of three outputs with one name two were lost.
    refused(&[("for j < n { out o = k }", "E0212", &["an output stands outside `for`"])]);
    for text in [
        "recurrence r { in x : scalar; state h : scalar; h[t] = h[t-1] + x; out final_state = x }",
        "recurrence r { in x : scalar; out cu_seqlens = x }",
        "recurrence r { in x : scalar; state S_k, k : scalar; S_k[t] = x; k[t] = x; out o = x }",
    ] {
        let failure = tried(text, &[1.0, 2.0]).unwrap_err().to_string();
        assert!(failure.contains("the name of two tensors"), "{text}: {failure}");
    }
}

#[test]
fn a_trial_that_fits_no_memory_is_not_tried() {
    let file = empty("large_trial").join("r.arch");
    std::fs::write(&file, "recurrence r { in x[1000000000] : scalar; out o = x[0] }").unwrap();
    let output = lrc(&["verify", path(&file)]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
}

#[test]
fn no_text_works_out_to_more_than_a_machine_holds() {
    // A12
    for name in ["fn_doubling", "grad_nested", "sum_nested"] {
        let said = check(&format!("break/{name}.arch"));
        assert!(said.contains("E0102"), "{name}: {said}");
        assert_eq!(said.matches("error[").count(), 1, "{name}: {said}");
    }
    assert!(check("break/concat_doubling.arch").contains("E0213"));
    let doubled = |first: &str, step: &dyn Fn(usize) -> String| {
        let lines: String = (0..30).map(|i| step(i) + "\n").collect();
        around(&format!("{first}\n{lines}"))
    };
    let ints = doubled("a0 = t mod 5", &|i| format!("a{} = a{i} + a{i}", i + 1));
    let outer = doubled("a0 = k", &|i| format!("a{} = vec(a{i} * a{i}^T)", i + 1));
    let choice = doubled("f0(x) = x", &|i| {
        format!("f{}(x) = if n > 1 then f{i}(x) + f{i}(x) else f{i}(x)", i + 1)
    });
    // `shared` blocks that name the one before twice.
    let blocks: String = (0..30).map(|i| format!("shared a{} {{ a{i}; a{i} }}\n", i + 1)).collect();
    let shared = format!(
        "use \"mixers/swiglu.arch\"\nmodel q(width = 8) {{ vocab 16\n residual x + f(rmsnorm(x))\n shared a0 {{ swiglu(hidden = 8) }}\n {blocks} a30\n head rmsnorm(x), tied }}"
    );
    for (text, code) in [(shared, "E0102"), (ints, "E0102"), (outer, "E0213"), (choice, "")] {
        let begun = Instant::now();
        let (said, _) = read(&text);
        assert!(said.contains(code), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_derivative_by_a_name_goes_as_deep_as_it_must() {
    // Kin of A12: behind 40 names the derivative was taken of the old value, and was 0.
    let mut lines = "a0 = 2 * g\n".to_string();
    (0..60).for_each(|i| lines += &format!("a{} = a{i} + g\n", i + 1));
    let (said, sound) = read(&around(&format!("{lines} y = grad(a60, a0)")));
    assert!(!sound && said.contains("E0102"), "{said}");
}

#[test]
fn findings_and_names_are_shown_up_to_a_limit() {
    // A14, A15
    let begun = Instant::now();
    let unknown: String = (0..8000).map(|i| format!(" x{i} = zz{i}\n")).collect();
    let (said, _) = read(&around(&unknown));
    assert_eq!(said.matches("error[").count(), 100);
    assert!(said.ends_with("… and 7900 more"), "{}", &said[said.len() - 100..]);
    let on_a_line = unknown.replace('\n', ";");
    assert!(read(&around(&on_a_line)).0.len() < 200_000);
    let broken: String =
        (0..20_000).map(|i| format!("recurrence r{i} {{ in x scalar }}\n")).collect();
    let (said, _) = read(&broken);
    assert_eq!(said.matches("error[").count(), 100);
    assert!(said.contains("… and "));
    read(&"recurrence \n".repeat(80_000));
    let many: String = (0..500).map(|i| format!(" name{i} = k\n")).collect();
    let (said, _) = read(&around(&(many + "y = nothing_like_it")));
    assert!(said.contains(" more") && said.len() < 1000, "{said}");
    let long = "x".repeat(500_000);
    assert!(read(&around(&format!("{long} = k\n y = nothing_like_it"))).0.len() < 2000);
    // S5
    let long = Diag::global("E0304", format!("no tensor `{}`", "x".repeat(1_000_000)));
    assert!(render(&Sources::default(), &[long], false).len() < 2000);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn errors_are_shown_before_warnings_that_are_many() {
    let unused: String = (0..200).map(|i| format!(" in a{i} : scalar\n")).collect();
    let text = format!(
        "recurrence r {{\n{unused} in x : scalar\n out o = x }}\nrecurrence e {{ in x : scalar; out o = y }}"
    );
    let (said, _) = read(&text);
    assert!(said.contains("unknown name `y`") && said.contains("… and 101 more"), "{said}");
}

#[test]
fn a_used_file_is_known_by_what_it_is() {
    // A11
    let begun = Instant::now();
    let output = lrc(&["check", &input("break/use/d/a.arch")]);
    assert!(output.stderr.len() < 10_000, "{}", output.stderr.len());
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_never_ends_is_not_read_to_the_end() {
    // S9
    for file in ["/dev/zero", "/dev/urandom"].into_iter().filter(|file| Path::new(file).exists()) {
        let output = lrc(&["check", file]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("more than 1048576 bytes"), "{}", said(&output));
    }
    let (said, sound) = read("use \"/dev/zero\"\n");
    assert!(!sound && said.contains("E0104"), "{said}");
    let folder = empty("use_of_a_long_file");
    std::fs::write(folder.join("long.arch"), " ".repeat(2 << 20)).unwrap();
    std::fs::write(folder.join("a.arch"), "use \"long.arch\"\n").unwrap();
    let output = lrc(&["check", path(&folder.join("a.arch"))]);
    assert_eq!(output.status.code(), Some(3), "{}", super::common::said(&output));
}

#[test]
fn sizes_and_numbers_say_what_can_be() {
    // A17, and the part of A18 that the text shows
    let sized = |size: &str| format!("recurrence r {{ in x : [{size}]; out o = x }}");
    for (size, part) in [
        ("1e18", "the largest size is 1000000000"),
        ("0", "not a positive whole number"),
        ("1.5", "not a positive whole number"),
        ("1e9, 1e9", "a tensor holds at most"),
        ("1e9, 1e9, 1e9, 1e9", "a tensor holds at most"),
    ] {
        let (said, sound) = read(&sized(size));
        assert!(!sound && said.contains(part), "{size}: {said}");
    }
    refused(&[
        ("y = inf * k", "E0223", &["`inf` is infinite"]),
        ("y = k / 0", "E0223", &["`0` is 0"]),
        ("y = 0/0 * k", "E0223", &["`0 / 0` is not a number"]),
        ("y = sqrt(0 - 1)", "E0223", &["is not a number"]),
        ("y = t mod 0", "E0213", &["divides by 0"]),
    ]);
    let setting =
        "recurrence r(scale = inf) { in x : scalar; out o = if scale < inf then scale * x else x }";
    assert_eq!(read(setting), (String::new(), true));
    let output = lrc(&["explain", "specs/recurrences/gla.arch", "--set", "scale=inf"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
}

#[test]
fn sizes_that_nobody_gave_are_all_different() {
    // Kin of `two_axes_one_name`: the ninth size was taken for the first.
    let inputs: String = (0..12).map(|i| format!(" in x{i} : [d{i}]\n")).collect();
    for i in 1..12 {
        let (_, sound) = read(&format!("recurrence r {{\n{inputs} out o = x0 + x{i}\n}}"));
        assert!(!sound, "d0 and d{i} are one");
    }
    // An axis may stand twice: axes of recurrences go by place.
    assert!(read("recurrence r { in A : [d, d]; in x : [d]; out o = A * x }").1);
}

#[test]
fn slips_of_other_languages_are_told_what_to_write() {
    refused(&[
        ("y = mean(v[u] for u <= t)", "E0205", &["takes no range", "/ (t + 1)"]),
        ("y = max(g[u] for u <= t)", "E0205", &["m[t] = max(m[t-1], x)"]),
        ("y = concat(v[u] for u <= t)", "E0205", &["takes no range"]),
        ("f(x) = 2 * x; y = f(v[u] for u <= t)", "E0205", &["`f` takes no range"]),
        ("y = outer(k, v)", "E0204", &["`k * v^T`"]),
        ("y = l2norm(k)", "E0204", &["`x / |x|`"]),
        ("y = norm(k)", "E0204", &["`|x|`"]),
        ("y = dot(k, q)", "E0204", &["`q^T * k`"]),
        ("y = ones(3)", "E0204", &["`x + 1`"]),
        ("y = inv(k * k^T)", "E0204", &["`solve(A, b)`"]),
        ("y = cumsum(g)", "E0204", &["`c[t] = c[t-1] + x`"]),
        ("S[t] = exp(k) * S[t-1] + k * v^T", "E0202", &["`diag(exp(k)) * S[t - 1]`"]),
        ("S[t] = exp(k) .* S[t-1] + k * v^T", "E0202", &["`diag(exp(k)) * S[t - 1]`"]),
        ("S[t] = S[t-1] .* v + k * v^T", "E0202", &["`S[t - 1] * diag(v)`"]),
        ("S[t] = diag(exp(g)) * S[t-1] + k * v^T", "E0202", &["only a vector needs `diag`"]),
        ("S[t] = (1 - k * k^T) * S[t-1]", "E0202", &["`I - k * k^T`"]),
        ("S[t] = (g - k * k^T) * S[t-1]", "E0202", &["`g * I - k * k^T`"]),
        ("S(t) = S(t-1) + k * v^T", "E0209", &["`S[t] = …`"]),
        ("y = k.T * q", "E0212", &["`k^T`"]),
        ("y = k v", "E0212", &["an operator is missing"]),
    ]);
    for (text, help) in [
        ("S[t] += k * v^T", "`S[t] = S[t-1] + …`"),
        ("y *= 2", "a name is set once"),
        ("y = exp(g)**2", "`x^2`"),
        ("y = S_{t-1}", "`S[t-1]`"),
        ("y = k^{2}", "`^(2)`"),
        ("y = k^{T} * q", "`x^T`"),
        ("# a comment", "`//` begins a comment"),
        ("y = k' * q", "the transpose of `x` is `x^T`"),
        ("y = 2k", "`2 * …`"),
        ("y = k − q", "the minus of the keyboard"),
        ("y = αk", "names are made of"),
        ("y = k[0:2]", "one by one"),
        ("y = k[0,1]", "`x[0][1]`"),
        ("y = [k, v]", "`concat(a, b)`"),
        ("S[t+1] = S[t]", "`S[t] = …`"),
        ("y := k", "`=` alone"),
        ("y = n > 1 ? k : q", "`if n > 0 then a else b`"),
        ("é_{t}", ""),
    ] {
        let (said, sound) = read(&around(text));
        assert!(!sound && said.contains("E0101") && said.contains(help), "{text}: {said}");
    }
}

#[test]
fn a_sum_inside_another_is_told_what_works() {
    // `stick`
    let said = check("arch/stick.arch");
    assert!(said.contains("E0215") && said.contains("another sum for every pair"), "{said}");
    let sum = |inner: &str| around(&format!("y = sum({inner} * v[u] for u <= t)"));
    let (said, _) = read(&sum("sum(g[j] for j <= t)"));
    assert!(said.contains("a name of its own"), "{said}");
    let (said, _) = read(&sum("sum(softplus(g[j]) for u < j <= t)"));
    assert!(said.contains("`c[t] - c[u]`"), "{said}");
    // What the two hints say.
    let works = "recurrence r { in g : scalar; in v : [d]; state c : scalar; a = sum(g[j] for j <= t); c[t] = c[t-1] + softplus(g); out o = sum(a * (c[t] - c[u]) * v[u] for u <= t) }";
    assert_eq!(read(works), (String::new(), true));
    elaborated(works);
}

#[test]
fn what_keeps_a_recurrence_from_a_faster_form_is_said_in_its_own_words() {
    let reason = |text: &str| {
        let file = empty("reasons").join("r.arch");
        std::fs::write(&file, text).unwrap();
        let output = lrc(&["explain", path(&file)]);
        assert!(output.status.success(), "{}", said(&output));
        let said = String::from_utf8(output.stdout).unwrap();
        let line = said.lines().find(|line| line.contains("no faster strategy"));
        let line = line.unwrap_or_else(|| panic!("{said}")).to_string();
        for internal in ["reshape", "mulsum", "slice", "version", "repeated axes", "of the run"] {
            assert!(!line.contains(internal), "{line}");
        }
        line
    };
    let file = |name: &str| std::fs::read_to_string(input(&format!("arch/{name}.arch"))).unwrap();
    assert!(reason(&file("vector_state_makes_key")).contains("`A` makes keys"));
    assert!(reason(&file("decay_per_entry")).ends_with("`a .* S[t-1]`"));
    let named = "recurrence r { in q, k, v : [d]; n = k + k[t-1]; p = softmax(q^T * n[u] for u <= t); out o = sum(p[u] * v[u] for u <= t) }";
    assert!(reason(named).contains("that another token computes"));
    let attention = |key: &str, value: &str, range: &str| {
        format!(
            "recurrence r {{ in q, k, v : [d]; p = softmax(q^T * {key} for {range}); out o = sum(p[u] * {value} for {range}) }}"
        )
    };
    assert!(reason(&attention("k[u]", "v[u]", "u < t")).contains("holds no token"));
    assert!(reason(&attention("k[u]", "v[u-1]", "u <= t")).ends_with("`v[u-1]`"));
    let of_state = |update: &str, out: &str| around(&format!("S[t] = {update}\n out o = {out}"));
    for (text, part) in [
        (of_state("S[t-1] + k * v^T", "|S[t]|"), "entries of `S` are added up"),
        (of_state("tanh(S[t-1]) + k * v^T", "S[t]^T * q"), "`S` stands inside `tanh(…)`"),
        (of_state("(t + 1) * S[t-1] + k * v^T", "S[t]^T * q"), "position of the token"),
        (of_state("S[t-1] + k * v^T", "vec(S[t])"), "taken apart"),
        (of_state("S[t-1] + k * v^T", "S[t]"), "`S` enters whole"),
    ] {
        let line = reason(&text);
        assert!(line.contains(part), "{part}: {line}");
    }
    let matrix = "recurrence r { in q : [2, d]; in k : [d]; in v : [e]; state S : [d, e]; S[t] = S[t-1] + k * v^T; out o = q * S[t] }";
    assert!(reason(matrix).contains("vector by vector"));
    let scan = "recurrence r { in x, g : scalar; state l : scalar init -inf; l[t] = logaddexp(g + l[t-1], x); out o = l[t] }";
    assert!(reason(scan).contains("`logaddexp(…)` of a state"));
}

#[test]
fn a_code_that_does_not_exist_is_said_to() {
    let output = lrc(&["explain", "E9999"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("no message has the code E9999"), "{}", said(&output));
    let output = lrc(&["explain", "e0223"]);
    assert!(output.status.success());
}

#[test]
fn an_input_that_is_never_used_is_a_warning() {
    let text = "recurrence r(on = false) {\n in x, y, z : scalar\n param w : scalar\n state h : scalar\n h[t] = h[t-1] + x\n out o = if on then h[t] + z else h[t]\n}";
    let (said, sound) = read(text);
    assert!(sound, "{said}");
    assert!(said.contains("the input `y` is never used"), "{said}");
    assert!(said.contains("the parameter `w` is never used"), "{said}");
    assert!(!said.contains("`z` is never"), "{said}");
    for (name, text) in LIBRARY {
        let (said, _) = read(text);
        assert!(!said.contains("W0111"), "{name}: {said}");
    }
}

#[test]
fn every_form_computes_what_the_declaration_says() {
    // Found by drawing texts at random: each gave other numbers than the recurrent form, or ended the program.
    let cases = [
        // A matrix beside the identity was not transposed.
        (
            "chunk",
            "in k, q : [d]; in A : [d, d]; state S : [d, d]; S[t] = 0.9 * S[t-1] + k * q^T; out o = (I + A)^T * (S[t]^T * k)",
        ),
        (
            "chunk",
            "in k, q : [d]; in A : [d, e]; state S : [d, e]; S[t] = 0.9 * S[t-1] + k * (A^T * q)^T; out o = ((I - 0.1 * k * k^T) * A)^T * q + S[t]^T * k",
        ),
        // Several values per token beside states that are updated entry by entry.
        (
            "scan",
            "in k[2] : [d]; in w : [d]; state m : [d]; m[t] = sigmoid(k[0]) .* m[t-1] + w .* k[1]; out o = m[t]",
        ),
        (
            "scan",
            "in c[3] : scalar; state h : scalar; h[t] = 0.5 * h[t-1] + c[0] * c[2]; out o = h[t] + c[1]",
        ),
        // A softmax over the entries of a vector was taken for one over the past.
        (
            "attention",
            "in q, k, v : [d]; p = softmax(q^T * softmax(k[u]) for t - 4 < u <= t); out o = sum(p[u] * softmax(v[u]) for t - 4 < u <= t) .* softmax(q)",
        ),
        (
            "attention",
            "in v, w : [d]; in x : scalar; out o = softmax(w) * sum(x * softmax(v[u]) for t - 4 < u <= t)^T",
        ),
        // A key has a name: it is written out where other tokens read it.
        (
            "attention",
            "in q, k, v : [d]; n = 2 * k; p = softmax(q^T * n[u] for u <= t); out o = sum(p[u] * v[u] for u <= t)",
        ),
        // The states first, which both halves' inputs and a parameter begin, then what reads them.
        (
            "halves",
            "in q, k, v, w : [d]; in b : scalar in (0, 0.5); param A : [d, d]; state P : [d, d] init A; P[t] = P[t-1] - b * w * (P[t-1]^T * w)^T + 0.1 * k * w^T; r = P[t]^T * k; p = softmax(q^T * r[u] for u <= t); out o = sum(p[u] * v[u] for u <= t) .* (P[t]^T * k)",
        ),
        // The gradient of an input that is read at a computed position besides its own was overwritten.
        (
            "scan",
            "in x, y : [d]; state h : [d]; h[t] = 0.5 * h[t-1] + y; out o = x[t - t mod 3] + x + h[t]",
        ),
        // Positions that may be this token's own.
        (
            "recurrent",
            "in x : [d]; state h : [d]; h[t] = 0.5 * h[t-1] + x; out o = h[t - t mod 4] .* x + sum(h[u] .* x[u] for u <= t - t mod 3)",
        ),
        (
            "recurrent",
            "in x, w : [d]; z = complex(x, w); out o = real(z[t-1]) + imag(z[t - t mod 2])",
        ),
    ];
    for (strategy, lines) in cases {
        let r = elaborated(&format!("recurrence r {{ {lines} }}"));
        assert_eq!(lrc_compiler::strategy::of(&r).name(), strategy, "{lines}");
        for trial in verify::trials() {
            let found = verify::trial(&r, &trial).unwrap();
            assert!(found.forward.is_none_or(|gap| gap < 1e-9), "{lines}: {found:?}");
            assert!(found.backward.is_none_or(|gap| gap < 1e-8), "{lines}: {found:?}");
            assert!(found.slope < 1e-5, "{lines}: {found:?}");
        }
    }
}
