//! Mixers and models: what they accept, how large they may be.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::common::{empty, lrc, path, said};
use crate::input;

/// Writes a file of declarations into a folder of a test's own.
fn written(test: &str, text: &str) -> PathBuf {
    let file = empty(&format!("faults-models-{test}")).join("case.arch");
    std::fs::write(&file, text).unwrap();
    file
}

/// What is said when a command refuses a file, within a time that no table of sizes fits in.
fn refused(args: &[&str]) -> String {
    let start = Instant::now();
    let output = lrc(args);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(3), "{args:?}: {said}");
    assert!(start.elapsed() < Duration::from_secs(10), "{args:?} took {:?}", start.elapsed());
    assert!(!said.contains("panicked"), "{args:?}: {said}");
    said
}

/// What is said when a command is content.
fn accepted(args: &[&str]) -> (String, String) {
    let output = lrc(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
    (String::from_utf8(output.stdout.clone()).unwrap(), said(&output))
}

fn check(test: &str, text: &str) -> String {
    refused(&["check", path(&written(test, text))])
}

/// A mixer whose lines are given, in a model.
fn mixer(lines: &str) -> String {
    format!("mixer m(heads = 2, d = width / heads) {{\n{lines}\n}}\n")
}

fn model(lines: &str) -> String {
    format!(
        "use \"mixers/swiglu.arch\"\nmodel q(width = 8) {{\n vocab 16\n residual x + f(rmsnorm(x))\n{lines}\n}}\n"
    )
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

/// A1, A8, A10, A13: what is unrolled has a limit that is said, once.
#[test]
fn layouts_without_end_are_refused() {
    for name in ["layers_5000", "spread_1e9"] {
        let said = refused(&["check", &input(&format!("break/{name}.arch"))]);
        assert!(said.contains("more than 4096 sub-layers"), "{said}");
        assert_eq!(count(&said, "error["), 1, "{said}");
    }
    let said = refused(&["check", &input("break/empty_loop.arch")]);
    assert!(said.contains("turns of repetitions"), "{said}");
    let said = refused(&["check", &input("break/shared_self.arch")]);
    assert!(said.contains("contains itself"), "{said}");
    let two = model(" shared a { b }\n shared b { a }\n a\n head x, tied");
    assert!(check("shared_two", &two).contains("contains itself"));
    let said = refused(&["params", "specs/models/gdn.arch", "gdn", "--set", "layers=1e18"]);
    assert!(said.contains("more than 4096 sub-layers"), "{said}");
}

/// A12 for models and mixers: blocks and mixers that hold the one before twice.
#[test]
fn doubling_blocks_and_mixers_are_refused() {
    let mut blocks = String::from(" shared s0 { }\n");
    let mut mixers = String::from("mixer m0 { out y = x }\n");
    for i in 1..40 {
        blocks += &format!(" shared s{i} {{ s{0}  s{0} }}\n", i - 1);
        mixers += &format!("mixer m{i} {{ a = m{0}(x)\n b = m{0}(a)\n out y = b }}\n", i - 1);
    }
    let said = check("blocks", &model(&format!("{blocks} s39\n head x, tied")));
    assert!(said.contains("turns of repetitions"), "{said}");
    let said = check("mixers", &mixers);
    assert!(said.contains("more than") && said.contains("mixers"), "{said}");
}

/// A16: what a model or a mixer has once.
#[test]
fn nothing_counts_that_is_said_twice() {
    let said = refused(&["check", &input("break/two_vocab.arch")]);
    assert!(said.contains("one `vocab`") && said.contains("one `head`"), "{said}");
    let twice = check("twice_out", &mixer(" out y = linear(x)\n out y = x"));
    assert!(twice.contains("`y` is set twice"), "{twice}");
    let again = check("twice_name", &mixer(" a = x\n a = 2 .* a\n out y = a"));
    assert!(again.contains("`a` is set twice"), "{again}");
    let given = check("twice_given", &model(" swiglu(hidden = 8, hidden = 9)\n head x, tied"));
    assert!(given.contains("`hidden` is given twice"), "{given}");
    let settings = check("twice_set", "mixer m(a = 1, a = 2) { out y = a .* x }\n");
    assert!(settings.contains("`a` is declared twice"), "{settings}");
}

/// A6 and `two_axes_one_name`: a mixer knows axes by their names.
#[test]
fn an_axis_stands_once_in_a_shape() {
    for name in ["break/same_axis", "arch/two_axes_one_name"] {
        let said = refused(&["check", &input(&format!("{name}.arch"))]);
        assert!(said.contains("stands twice here"), "{said}");
        assert_eq!(count(&said, "error["), 1, "{said}");
    }
    let lines = " v : [heads, heads] = linear(x)\n out y = linear(v)";
    assert!(check("heads_twice", &mixer(lines)).contains("the axis `heads` stands twice"));
}

/// A7, A9, `rope_fraction`: `rope` of what it cannot turn, and no table before a run.
#[test]
fn rope_turns_what_can_be_turned() {
    let said = refused(&["check", &input("break/rope_number.arch")]);
    assert!(said.contains("`rope` works on vectors"), "{said}");
    for name in ["break/rope_fraction", "break/rope_fraction15", "arch/rope_fraction"] {
        let said = refused(&["check", &input(&format!("{name}.arch"))]);
        assert!(said.contains("the fraction is a number from 0 to 1"), "{said}");
    }
    for (at, args) in
        ["x, 10000, -1", "x, 10000, 0 / 0", "x, 0", "x, -1", "x, inf"].iter().enumerate()
    {
        let text = mixer(&format!(" q : [heads, d] = rope({args})\n out y = linear(q)"));
        let text = text.replace("rope(x,", "rope(linear(x),");
        assert!(check(&format!("rope_{at}"), &text).contains("E0213"), "{args}");
    }
    let wide = ["params", "specs/models/transformer.arch", "--set", "heads=1", "--set"];
    assert!(refused(&[&wide[..], &["width=65536"]].concat()).contains("`rope`"));
    // `fraction = 0` leaves positions out, as some models do.
    let none = mixer(" q : [heads, d] = rope(linear(x), 10000, 0)\n out y = linear(q)");
    accepted(&["check", path(&written("rope_none", &none))]);
}

/// A17, A19: sizes and numbers of parameters have limits, and these are said.
#[test]
fn sizes_have_limits() {
    for width in ["1e18", "1e300", "inf"] {
        let set = format!("width={width}");
        let said = refused(&["params", "specs/models/gdn.arch", "gdn", "--set", &set]);
        assert!(said.contains("the largest size is 1000000000"), "{said}");
    }
    for width in ["0", "1.5", "-3", "true"] {
        let set = format!("width={width}");
        let said = refused(&["params", "specs/models/gdn.arch", "gdn", "--set", &set]);
        assert!(said.contains("the size `width`"), "{said}");
    }
    let said = refused(&[
        "params",
        "specs/models/mamba2_model.arch",
        "--set",
        "width=1e9",
        "--set",
        "heads=1e9",
    ]);
    assert!(said.contains("is too large: a tensor holds at most"), "{said}");
    for map in ["outer(a, a)", "taylor(a)", "dpfp(a, 256)"] {
        let lines = format!(" a : [heads, 1000000000] = linear(x)\n b = {map}\n out y = linear(b)");
        let said = check("maps", &mixer(&lines));
        assert!(said.contains("is too large"), "{said}");
    }
    let spec = empty("faults-models-spec").join("s.yaml");
    let text = "model: {file: specs/models/quickstart.arch, set: {width: 1e300}}\n\
                task: {mqar: {vocab: 64, length: 32, pairs: 4}}\nbatch: 8\nlength: 1 step\n";
    let root = env!("CARGO_MANIFEST_DIR");
    std::fs::write(&spec, text.replace("specs/", &format!("{root}/specs/"))).unwrap();
    assert!(refused(&["train", path(&spec), "--dry-run"]).contains("the largest size"));
}

/// Functions of mixers refuse what they do not take, and everything about a call is said at once.
#[test]
fn functions_refuse_arguments_that_they_do_not_take() {
    let of = |call: &str| {
        let lines =
            format!(" q : [heads, d] = linear(x)\n r = {call}\n s : [width] = r\n out y = s");
        check("arguments", &mixer(&lines))
    };
    let said = of("rope(q, bse = 500)");
    assert!(
        said.contains("`rope` has no parameter `bse`") && said.contains("did you mean `base`?")
    );
    let said = of("silu(q, 3)");
    assert!(said.contains("`silu` takes 1 value, not 2"), "{said}");
    assert!(of("rope(q, 1, 1, 1)").contains("`rope` takes 1 value and `base`, `fraction`, not 4"));
    assert!(of("rope(q, 5, base = 7)").contains("`base` is given twice"));
    assert!(of("l2norm(q, base = 1)").contains("`l2norm` has no parameter `base`"));
    assert!(of("max(q)").contains("`max` takes 2 values, not 1"));
    assert!(of("concat()").contains("`concat` takes at least 1 value, not 0"));
    assert!(of("softmax(q for j < 3)").contains("takes no range here"));
    assert!(of("conv(q, tabs = 4)").contains("did you mean `taps`?"));
    let said = check("init", &mixer(" out y = linear(x, init = normal(0, 1))"));
    assert!(
        said.contains("`linear` has no parameter `init`") && said.contains("it has: each"),
        "{said}"
    );
    let said =
        check("uniform", &mixer(" param a : [width] init uniform(0, 1, 2)\n out y = a .* x"));
    assert!(said.contains("cannot be an initial value"), "{said}");
    let said = check("sqrt", "mixer m(a = sqrt(x = 4)) { out y = a .* x }\n");
    assert!(said.contains("E0205"), "{said}");
}

/// `words`: what is missing, all of it, and where the library has it.
#[test]
fn what_is_missing_is_named() {
    let kda = |args: &str| {
        let lines =
            format!(" q : [heads, d] = l2norm(linear(x))\n o = kda({args})\n out y = linear(o)");
        check("missing", &format!("use \"recurrences/kda.arch\"\n{}", mixer(&lines)))
    };
    let said = kda("q, q");
    assert!(said.contains("`kda` needs `v`, `g` and `beta`"), "{said}");
    assert!(said.contains("`kda(q, k, v, g, beta)`"), "{said}");
    assert!(kda("q, q, q, q, q, q").contains("in this order: q, k, v, g, beta"));
    assert!(kda("q, q, q, q, q, q = q").contains("`q` is given twice"));
    let said = check("library", &mixer(" o = softmax_attn(x, x, x)\n out y = linear(o)"));
    assert!(said.contains("`use \"recurrences/softmax_attn.arch\"`"), "{said}");
    let none = model(" swiglu()\n head x, tied").replace("use \"mixers/swiglu.arch\"\n", "");
    assert!(check("library_mixer", &none).contains("`use \"mixers/swiglu.arch\"`"));
    let inner = model(" gla()\n head x, tied").replace("mixers/swiglu", "recurrences/gla");
    assert!(check("recurrence_as_layer", &inner).contains("`gla` is a recurrence"));
    let nested =
        check("nested", &mixer(" k : [heads, d] = linear(silu(linear(x)))\n out y = linear(k)"));
    assert!(nested.contains("a line of its own"), "{nested}");
    for head in ["head rmsnorm(x)", "head rmsnorm(x) untied"] {
        let said = check("head", &model(&format!(" swiglu(hidden = 8)\n {head}")));
        assert_eq!(count(&said, "error["), 1, "{said}");
        assert!(
            said.contains("rmsnorm(x), tied`") && said.contains("rmsnorm(x), untied`"),
            "{said}"
        );
    }
}

/// `vector_for_scalar_gate`: sound, and 32 times as dear as it looks.
#[test]
fn a_memory_per_channel_is_a_warning() {
    let file = input("arch/vector_for_scalar_gate.arch");
    let (_, said) = accepted(&["check", &file]);
    assert!(said.contains("warning[W0222]") && said.contains("the state d = 7680 times"), "{said}");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = format!(
        "{text}model q(width = 64) {{ vocab 16\n residual x + f(x)\n m()\n m()\n head x, tied }}\n"
    );
    let (_, said) = accepted(&["check", path(&written("channels", &text))]);
    assert!(said.contains("the state d = 32 times"), "{said}");
    assert_eq!(count(&said, "warning["), 1, "{said}");
}

/// `promises_in_mixer`: what may break a promise is a warning; nothing that is shipped does.
#[test]
fn promises_are_compared_with_what_is_passed() {
    let (_, said) = accepted(&["check", &input("arch/promises_in_mixer.arch")]);
    assert_eq!(count(&said, "warning[W0221]"), 3, "{said}");
    for promise in ["`unit`", "`in (-inf, 0]`", "`in (0, 2)`"] {
        assert!(said.contains(promise), "{said}");
    }
    assert!(said.contains("`logsigmoid(…)`") && said.contains("`l2norm(…)`"), "{said}");
    // What is kept by other means than one function.
    let lines = " q : [heads, d] = linear(x)\n k : [heads, d] = l2norm(linear(x))\n\
                 \n h : [heads, d] = linear(x)\n b : [heads] = linear(x)\n\
                 \n o = kda(q, -k, q, -(1 + elu(h)) - h .* h, min(max(b, 0), 1) + 1 / (1 + exp(b)))\n out y = linear(o)";
    let text = format!("use \"recurrences/kda.arch\"\n{}", mixer(lines));
    let (_, said) = accepted(&["check", path(&written("kept", &text))]);
    assert_eq!(said, "");
    let mut files = vec!["check".to_string()];
    for folder in ["specs/mixers", "specs/models"] {
        let entries = std::fs::read_dir(folder).unwrap();
        files.extend(entries.map(|entry| path(&entry.unwrap().path()).to_string()));
    }
    let args: Vec<&str> = files.iter().map(String::as_str).collect();
    let (_, said) = accepted(&args);
    assert_eq!(said, "");
}

/// `check` takes several files and says everything about all of them.
#[test]
fn several_files_are_checked() {
    let bad = written("bad_one", &mixer(" out y = liner(x)"));
    let (one, two) = (path(&bad).to_string(), input("break/same_axis.arch"));
    let said = refused(&["check", &one, "specs/mixers/moe.arch", &two]);
    assert!(said.contains("`liner`") && said.contains("stands twice"), "{said}");
    let output = lrc(&["check", &one, "nowhere.arch"]);
    assert_eq!(output.status.code(), Some(1));
    let said = said_of(&output);
    assert!(said.contains("`liner`") && said.contains("nowhere.arch"), "{said}");
}

fn said_of(output: &std::process::Output) -> String {
    said(output)
}

/// `explain` of mixers goes through their recurrences.
#[test]
fn explain_says_what_mixers_are_made_of() {
    let (out, _) = accepted(&["explain", "specs/mixers/gated_deltanet.arch", "--set", "heads=4"]);
    assert!(
        out.contains("mixer gated_deltanet") && out.contains("recurrence gated_delta_rule"),
        "{out}"
    );
    assert!(
        out.contains("gated_delta_rule with 4 heads") && out.contains("strategy: chunk"),
        "{out}"
    );
    let (out, _) = accepted(&["explain", "specs/mixers/mlp.arch"]);
    assert!(out.contains("it calls no recurrence"), "{out}");
    let (out, _) = accepted(&["explain", "specs/mixers/hymba.arch", "hymba"]);
    assert!(out.contains("sliding_window_attn") && out.contains("mamba1"), "{out}");
    let only = written("only_use", "use \"recurrences/gla.arch\"\n");
    assert!(accepted(&["explain", path(&only)]).0.contains("gla"));
}

/// `--set` of what nothing takes, and of what cannot be.
#[test]
fn settings_are_known_and_possible() {
    let file = "specs/recurrences/ttt_linear.arch";
    for args in [
        vec!["explain", file, "--set", "mini_bach=3"],
        vec!["verify", file, "--set", "mini_bach=3"],
        vec!["compile", file, "--out", "target/tmp/faults-set", "--set", "mini_bach=3"],
        vec!["bench", file, "--set", "mini_bach=3"],
    ] {
        let said = refused(&args);
        assert!(
            said.contains("mini_bach") && said.contains("did you mean `mini_batch`?"),
            "{said}"
        );
    }
    let mixer = ["explain", "specs/mixers/mlp.arch", "--set", "hiden=3"];
    assert!(refused(&mixer).contains("did you mean `hidden`?"));
    let said = refused(&["explain", file, "--set", "mini_batch=0"]);
    assert!(said.contains("`mod` divides by 0"), "{said}");
    let said = refused(&["explain", file, "--set", "heads=0"]);
    assert!(said.contains("`heads` is 0"), "{said}");
    let said = refused(&["explain", "specs/recurrences/gla.arch", "--set", "dk=0"]);
    assert!(said.contains("the size `dk` is 0, not a positive whole number"), "{said}");
    // One of several declarations takes it.
    accepted(&["explain", "specs/models/gdn.arch", "--set", "e=4"]);
}

/// A window bounds what is kept of the past and what is read of it.
#[test]
fn windows_count() {
    let params = |window: &str, context: &str| -> serde_json::Value {
        let set = format!("window={window}");
        let args = [
            "params",
            "specs/models/transformer.arch",
            "--set",
            &set,
            "--context",
            context,
            "--json",
        ];
        serde_json::from_str(&accepted(&args).0).unwrap()
    };
    let (all, near) = (params("inf", "65536"), params("2048", "65536"));
    let number = |v: &serde_json::Value, name: &str| v[name].as_u64().unwrap();
    assert_eq!(number(&all, "state_numbers"), 32 * number(&near, "state_numbers"));
    let state = |v: &serde_json::Value| v["states"][0]["state"].as_u64().unwrap();
    // Keys and values of 16 heads of 64 numbers.
    assert_eq!((state(&all), state(&near)), (65536 * 2048, 2048 * 2048));
    assert_eq!(near["states"][0]["window"], 2048);
    assert!(all["states"][0]["window"].is_null());
    let past = |v: &serde_json::Value| v["states"][0]["flops_per_token"].as_u64().unwrap();
    // All tokens before it on average, or the window but for its beginning.
    assert_eq!(past(&all), 4 * 1024 * 32768);
    assert_eq!(past(&near), 4 * 1024 * 2016);
    // A window that reaches over everything bounds nothing.
    assert_eq!(
        number(&params("4096", "1024"), "flops_per_token"),
        number(&params("inf", "1024"), "flops_per_token")
    );
    let text = accepted(&["params", "specs/models/quickstart.arch"]).0;
    assert!(text.contains("for each of 16 tokens"), "{text}");
}

/// `promises_in_mixer` at run time: a loss that is no number names the promise that broke.
#[test]
fn a_loss_that_is_no_number_names_the_broken_promise() {
    let folder = empty("faults-models-broken");
    let arch = std::fs::read_to_string(input("arch/promises_in_mixer.arch")).unwrap();
    std::fs::write(folder.join("m.arch"), arch).unwrap();
    let spec = "model: {file: m.arch, set: {width: 16}}\n\
                task: {mqar: {vocab: 64, length: 128, pairs: 4}}\nbatch: 2\nlength: 3 steps\n";
    std::fs::write(folder.join("s.yaml"), spec).unwrap();
    let (spec, out) = (folder.join("s.yaml"), folder.join("r"));
    let output = lrc(&["train", path(&spec), "--out", path(&out)]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("warning[W0221]"), "{said}");
    let words = "of `kda` in layers.0.bad.o is promised";
    assert!(said.contains("a promise is broken") && said.contains(words), "{said}");
    // It stands in the record too.
    let record = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    assert!(record.contains(words), "{record}");
}
