//! Documents, tokenizers and shards.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::common::{empty, lrc, path, said};
use crate::input;

/// Tokenises sources into a folder of bytes.
fn tokenise(sources: &[&str], out: &Path, more: &[&str]) -> std::process::Output {
    let head = ["data", "tokenize", "--held-out", "0%", "--out", path(out)];
    lrc(&[&head[..], sources, more].concat())
}

/// The documents of sources, sorted by name of the file that each becomes, and what was said.
fn documents(name: &str, sources: &[&str], more: &[&str]) -> (Vec<String>, String) {
    let folder = empty(&format!("faults-documents-{name}"));
    let (data, texts) = (folder.join("data"), folder.join("texts"));
    let output = tokenise(sources, &data, more);
    assert!(output.status.success(), "{name}: {}", said(&output));
    let written = lrc(&["data", "text", path(&data), "--out", path(&texts)]);
    assert!(written.status.success(), "{name}: {}", said(&written));
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&texts).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: &PathBuf| std::fs::read_to_string(file).unwrap();
    (files.iter().map(read).collect(), said(&output))
}

/// Asserts a status, and that stderr says something.
fn refused(args: &[&str], status: i32, words: &str) {
    let output = lrc(args);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {said}");
    assert!(said.contains(words), "{args:?}: {said}");
}

/// bom.jsonl and D8: a byte order mark is no part of a text; UTF-16 is named.
#[test]
fn byte_order_marks_are_passed_over() {
    let (found, _) = documents("bom", &[&input("data/bom.jsonl")], &[]);
    assert_eq!(found, ["a line after a byte order mark", "second"]);
    let folder = empty("faults-bom-text");
    let file = folder.join("a.txt");
    std::fs::write(&file, "\u{feff}plain").unwrap();
    let (found, _) = documents("bom-plain", &[path(&file)], &[]);
    assert_eq!(found, ["plain"]);
    for bytes in [&b"\xff\xfea\0b\0"[..], b"\xfe\xff\0a\0b"] {
        for name in ["b.txt", "b.jsonl", "b.json"] {
            std::fs::write(folder.join(name), bytes).unwrap();
            let file = folder.join(name);
            let out = folder.join("out");
            refused(&["data", "tokenize", path(&file), "--out", path(&out)], 1, "UTF-16");
        }
    }
}

/// odd_fields.jsonl: what nobody reads refuses no line; what holds no text is counted by reason, with places.
#[test]
fn odd_fields_decide_nothing() {
    let file = input("data/odd_fields.jsonl");
    let (found, said) = documents("odd", &[&file], &["--skip-bad"]);
    assert_eq!(found, ["good one", "good two", "half a pair \u{fffd} here", "fine"]);
    assert!(said.contains("2 × `text` is no text"), "{said}");
    assert!(said.contains("odd_fields.jsonl:4, ") && said.contains("odd_fields.jsonl:5"), "{said}");
    assert!(
        said.contains("1 × half a surrogate pair") && said.contains("odd_fields.jsonl:3"),
        "{said}"
    );
    let out = empty("faults-odd-strict").join("out");
    refused(
        &["data", "tokenize", &file, "--out", path(&out)],
        1,
        "odd_fields.jsonl:4: `text` is no text",
    );
}

/// array.json and nested.jsonl: lists of documents, and ways to texts.
#[test]
fn documents_in_lists_and_nested_fields() {
    assert_eq!(documents("array", &[&input("data/array.json")], &[]).0, ["alpha", "beta"]);
    let nested = input("data/nested.jsonl");
    let of = |name, field| documents(name, &[&nested], &["--field", field]).0;
    assert_eq!(of("nested", "meta.text"), ["nested"]);
    assert_eq!(of("messages", "messages.*.content"), ["hi\nthere"]);
    let out = empty("faults-nested").join("out");
    let args = ["data", "tokenize", &nested, "--field", "meta.body", "--out", path(&out)];
    refused(&args, 1, "no field `body` on the way `meta.body`, only text");
    // A program's settings are a text as they stand.
    let settings = empty("faults-settings").join("package.json");
    std::fs::write(&settings, "{\"name\": \"x\"}").unwrap();
    assert_eq!(documents("settings", &[path(&settings)], &[]).0, ["{\"name\": \"x\"}"]);
}

/// Linked folders are read, once each, and do not lead round; D9: a link to nothing is counted.
#[test]
fn links_are_followed_once() {
    let folder = empty("faults-links");
    let (inside, outside) = (folder.join("in"), folder.join("elsewhere"));
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::write(inside.join("a.txt"), "one").unwrap();
    std::fs::write(outside.join("b.txt"), "two").unwrap();
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, inside.join(name)).unwrap();
    link(&outside, "linked");
    link(&inside, "round");
    assert_eq!(documents("linked", &[path(&inside)], &[]).0, ["one", "two"]);
    link(&folder.join("nothing"), "c.txt");
    Command::new("mkfifo").arg(inside.join("d.txt")).status().unwrap();
    let out = folder.join("out");
    refused(&["data", "tokenize", path(&inside), "--out", path(&out)], 1, "a link to nothing");
    let (found, said) = documents("skipped", &[path(&inside)], &["--skip-bad"]);
    assert_eq!(found, ["one", "two"]);
    assert!(
        said.contains("1 × a link to nothing") && said.contains("1 × no regular file"),
        "{said}"
    );
}

/// A long line or text is left out before it fills memory, and refused where nobody asked for it; S9, D7.
#[test]
fn what_is_too_long_is_not_held() {
    let folder = empty("faults-long");
    let file = folder.join("a.jsonl");
    let long = format!("{{\"text\": \"{}\"}}\n{{\"text\": \"short\"}}\n", "x".repeat(3 << 20));
    std::fs::write(&file, &long).unwrap();
    assert_eq!(documents("long", &[path(&file)], &["--largest", "100"]).0, ["short"]);
    let packed = folder.join("b.txt.zst");
    let zeros = zstd::encode_all(std::io::repeat(b'a').take(1_500_000_000), 1).unwrap();
    std::fs::write(&packed, zeros).unwrap();
    for source in [path(&packed), "/dev/zero"] {
        let out = folder.join("out");
        let args = format!(
            "ulimit -v 4000000; exec {} data tokenize {source} --out {}",
            env!("CARGO_BIN_EXE_lrc"),
            path(&out)
        );
        let output = Command::new("bash").args(["-c", &args]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("more than 256 MiB"), "{}", said(&output));
        let args = format!("{args} --largest 1000 --skip-bad");
        let output = Command::new("bash").args(["-c", &args]).output().unwrap();
        assert!(said(&output).contains("no document with a text"), "{}", said(&output));
    }
}

/// zstd with a window of 2 GiB is read.
#[test]
fn large_windows_of_zstd_are_read() {
    let file = empty("faults-window").join("a.txt.zst");
    let mut packed = zstd::Encoder::new(Vec::new(), 1).unwrap();
    packed.long_distance_matching(true).unwrap();
    packed.window_log(31).unwrap();
    packed.write_all(b"far back").unwrap();
    std::fs::write(&file, packed.finish().unwrap()).unwrap();
    assert_eq!(documents("window", &[path(&file)], &[]).0, ["far back"]);
}

/// D1: a name that the format keeps for itself loses nothing.
#[test]
fn scores_cannot_have_the_name_of_the_header() {
    let folder = empty("faults-scores");
    let data = folder.join("data");
    assert!(tokenise(&["specs/mixers"], &data, &[]).status.success());
    let score = |more: &[&str]| lrc(&[&["data", "score", path(&data)][..], more].concat());
    assert!(score(&["--metric", "compression"]).status.success());
    let before = std::fs::read(data.join("scores.safetensors")).unwrap();
    refused(
        &["data", "score", path(&data), "--metric", "diversity", "--name", "__metadata__"],
        2,
        "__metadata__",
    );
    let import = folder.join("s.jsonl");
    std::fs::write(&import, "{\"__metadata__\": 1}\n").unwrap();
    refused(
        &["data", "score", path(&data), "--import", path(&import), "--field", "__metadata__"],
        2,
        "__metadata__",
    );
    assert_eq!(std::fs::read(data.join("scores.safetensors")).unwrap(), before);
    assert!(score(&[]).status.success());
}

/// D2: the places of documents are covered by a checksum; D12: numbers of a manifest that do not fit are refused.
#[test]
fn damaged_indexes_and_manifests_are_refused() {
    let data = empty("faults-index").join("data");
    assert!(tokenise(&["specs/mixers"], &data, &[]).status.success());
    let index = data.join("train-00000.index");
    let sound = std::fs::read(&index).unwrap();
    let mut bytes = sound.clone();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let at = 8 + length + header["offsets"]["data_offsets"][0].as_u64().unwrap() as usize + 8 * 5;
    bytes[at] = bytes[at].wrapping_add(3);
    std::fs::write(&index, &bytes).unwrap();
    refused(&["data", "inspect", path(&data)], 1, "checksum of its index");
    std::fs::write(&index, &sound).unwrap();
    assert!(lrc(&["data", "inspect", path(&data)]).status.success());
    let manifest = data.join("data.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let whole: Value = serde_json::from_str(&text).unwrap();
    for (field, value) in [
        ("vocab", 0.into()),
        ("end", u32::MAX.into()),
        ("tokenizer_blake3", Value::from("other")),
        ("vocab", 300.into()),
    ] {
        let mut changed = whole.clone();
        changed[field] = value;
        std::fs::write(&manifest, changed.to_string()).unwrap();
        refused(&["data", "inspect", path(&data)], 1, "data.json: ");
    }
    // As older versions wrote it.
    let mut old = whole;
    for part in ["train", "held_out"] {
        for shard in old[part].as_array_mut().unwrap() {
            shard.as_object_mut().unwrap().remove("index_blake3");
        }
    }
    std::fs::write(&manifest, old.to_string()).unwrap();
    let output = lrc(&["data", "inspect", path(&data)]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("the indexes have none"));
}

/// D3, D4, D6, D10: what would be written over, found nothing, filled memory or was ignored.
#[test]
fn tokenize_refuses_what_cannot_be_meant() {
    let folder = empty("faults-refused");
    let data = folder.join("data");
    assert!(tokenise(&["specs/mixers"], &data, &[]).status.success());
    std::fs::remove_file(data.join("data.json")).unwrap();
    refused(
        &["data", "tokenize", "specs/mixers", "--out", path(&data)],
        2,
        "holds train-00000.bin already",
    );
    let nothing = folder.join("nothing");
    refused(
        &["data", "tokenize", "specs/mixers", "--ending", "zzz", "--out", path(&nothing)],
        1,
        "no document with a text",
    );
    let hollow = empty("faults-hollow");
    refused(
        &["data", "tokenize", path(&hollow), "--out", path(&nothing)],
        1,
        "no document with a text",
    );
    std::fs::write(hollow.join("a.txt"), "").unwrap();
    refused(
        &["data", "tokenize", path(&hollow), "--out", path(&nothing)],
        1,
        "no document with a text",
    );
    assert!(!nothing.exists());
    refused(
        &["data", "tokenize", "specs/mixers", "--end", "nope", "--out", path(&nothing)],
        2,
        "--end",
    );
    let learned = folder.join("tokenizer.json");
    for vocab in ["1000000000", "18446744073709551615", "256"] {
        refused(
            &["data", "tokenizer", "specs/mixers", "--vocab", vocab, "--out", path(&learned)],
            2,
            "from 257",
        );
    }
}

/// D5: a word of megabytes is learned from in seconds, and tokens give every text back.
#[test]
fn words_of_any_length_are_learned_from_and_encoded() {
    let folder = empty("faults-word");
    let (word, learned) = (folder.join("word.txt"), folder.join("tokenizer.json"));
    let text = "ab".repeat(500_000) + &" ".repeat(1_100_000) + "end";
    std::fs::write(&word, &text).unwrap();
    let args = ["data", "tokenizer", path(&word), "--vocab", "300", "--out", path(&learned)];
    let output = lrc(&args);
    assert!(output.status.success(), "{}", said(&output));
    let (found, _) = documents("word-back", &[path(&word)], &["--tokenizer", path(&learned)]);
    assert!(found == [text], "another text came back");
    // One word to the pattern: a mark, which Unicode calls alphabetic though it is no letter, and no letter.
    std::fs::write(&word, "\u{93f}!".repeat(200_000)).unwrap();
    let output = lrc(&args);
    assert!(output.status.success(), "{}", said(&output));
}

/// Kin of odd_fields: scores from elsewhere are numbers in lines whose other fields nobody reads.
#[test]
fn odd_fields_beside_scores_decide_nothing() {
    let folder = empty("faults-odd-scores");
    let (text, data, scores) = (folder.join("a.txt"), folder.join("data"), folder.join("s.jsonl"));
    std::fs::write(&text, "a text").unwrap();
    assert!(tokenise(&[path(&text)], &data, &[]).status.success());
    let import = ["data", "score", path(&data), "--import", path(&scores), "--field", "of.hard"];
    for (line, sound) in [
        (r#"{"x": NaN, "y": 1e999, "z": "\ud83d", "of": {"hard": 3}}"#, true),
        (r#"{"of": {"hard": NaN}}"#, false),
        (r#"{"of": {"hard": "3"}}"#, false),
    ] {
        std::fs::write(&scores, line).unwrap();
        let output = lrc(&import);
        assert_eq!(output.status.success(), sound, "{line}: {}", said(&output));
        assert_eq!(said(&output).contains("no number in the field"), !sound, "{}", said(&output));
    }
}

/// Runs of over a million equal characters: pieces as Python's tokenizers make them, whose last space belongs to the word
/// behind it.
#[test]
fn long_runs_are_cut_as_short_ones() {
    use lrc_runtime::data::tokenizer::{Tokenizer, learn};
    let file = empty("faults-run").join("tokenizer.json");
    let texts = ["word word  word   word", "        "];
    std::fs::write(&file, learn(texts.into_iter(), 270).unwrap()).unwrap();
    let tokenizer = Tokenizer::open(&file, None).unwrap();
    let tail = |run: usize| {
        let tokens = tokenizer.encode(&(" ".repeat(run) + "word word")).unwrap();
        tokens[tokens.len() - 2..].to_vec()
    };
    assert_eq!(tail(1_200_000), tail(12));
    let said = tokenizer.encode(&" ".repeat(5_000_000)).unwrap_err().to_string();
    assert!(said.contains("a run of more than"), "{said}");
}

/// The ends of documents of widespread tokenizers are found.
#[test]
fn usual_ends_are_found() {
    use lrc_runtime::data::tokenizer::{Tokenizer, learn};
    let folder = empty("faults-ends");
    let text = learn(["some words"].into_iter(), 260).unwrap();
    for end in ["<｜end▁of▁sentence｜>", "<EOT>", "[SEP]", "<|im_end|>"] {
        let file = folder.join("tokenizer.json");
        std::fs::write(&file, text.replace("<|endoftext|>", end)).unwrap();
        assert_eq!(Tokenizer::open(&file, None).unwrap().end(), 0, "{end}");
    }
}

/// D11: more shards than a process may have open files.
#[test]
fn shards_beyond_the_limit_of_open_files_are_read() {
    let data = empty("faults-many").join("data");
    assert!(tokenise(&["specs", "compiler/src"], &data, &["--shard", "1"]).status.success());
    let script =
        format!("ulimit -n 96; exec {} data inspect {}", env!("CARGO_BIN_EXE_lrc"), path(&data));
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    let shards = std::fs::read_dir(&data).unwrap().count() / 2;
    assert!(shards > 96, "{shards}");
    assert!(output.status.success(), "{}", said(&output));
}

/// A `tokenizer.json` of a Unigram model: pieces of `#` with these scores.
fn unigram(scores: &[(usize, &str)]) -> String {
    let piece = |(length, score): &(usize, &str)| format!("[\"{}\", {score}]", "#".repeat(*length));
    let pieces: Vec<String> = scores.iter().map(piece).collect();
    format!(
        r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null, "model": {{"type": "Unigram", "unk_id": 0,
        "vocab": [["<unk>", 0.0], {}, ["</s>", -20.0]], "byte_fallback": false}}}}"#,
        pieces.join(", ")
    )
}

/// Scores of pieces by their lengths, and the lengths of the pieces of a text.
type Cut = ([(usize, &'static str); 4], [u8; 7]);

/// Where ways to cut a text tie, Python's library decides by how it reads numbers.
#[test]
fn unigram_ties_are_cut_as_python_cuts_them() {
    // Lengths of the pieces of 49 `#` by tokenizers 0.23.3; numbers read to the nearest cut the 1 off first.
    let cases: [Cut; 3] = [
        (
            [
                (1, "-4.422742442205527"),
                (2, "-5.723763170666057"),
                (4, "-7.300446734465498"),
                (8, "-12.585641715389293"),
            ],
            [8, 8, 8, 1, 8, 8, 8],
        ),
        (
            [
                (1, "-3.886394313201525"),
                (2, "-7.94106141044264"),
                (4, "-9.043839000584411"),
                (8, "-12.717222090856637"),
            ],
            [8, 8, 8, 8, 8, 8, 1],
        ),
        (
            [
                (1, "-9.754758865673267"),
                (2, "-4.634055338639806"),
                (4, "-5.77483532212785"),
                (8, "-6.821285006590717"),
            ],
            [8, 8, 1, 8, 8, 8, 8],
        ),
    ];
    let folder = empty("unigram-ties");
    let text = folder.join("a.txt");
    std::fs::write(&text, "#".repeat(49)).unwrap();
    for (at, (scores, want)) in cases.iter().enumerate() {
        let file = folder.join(format!("{at}.json"));
        std::fs::write(&file, unigram(scores)).unwrap();
        let out = folder.join(format!("data-{at}"));
        let args =
            ["data", "tokenize", path(&text), "--held-out", "0%", "--tokenizer", path(&file)];
        let made = lrc(&[&args[..], &["--out", path(&out)]].concat());
        assert!(made.status.success(), "{}", said(&made));
        let shard = std::fs::read(out.join("train-00000.bin")).unwrap();
        let ids = shard[1024..].chunks_exact(2).skip(1).map(|pair| usize::from(pair[0]));
        let lengths: Vec<u8> = ids.map(|id| [0, 1, 2, 4, 8][id]).collect();
        assert_eq!(lengths, want, "case {at}");
        // The copy in the data folder holds the scores as they were written.
        let copy = std::fs::read_to_string(out.join("tokenizer.json")).unwrap();
        assert!(scores.iter().all(|(_, score)| copy.contains(score)), "{copy}");
    }
}

/// S9: what never ends, or never begins, is refused as each kind of file.
#[cfg(unix)]
#[test]
fn devices_and_pipes_are_refused() {
    let folder = empty("devices");
    let text = folder.join("a.txt");
    std::fs::write(&text, "a text").unwrap();
    let data = folder.join("data");
    let made = lrc(&["data", "tokenize", path(&text), "--held-out", "0%", "--out", path(&data)]);
    assert!(made.status.success(), "{}", said(&made));
    let pipe = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let other = folder.join("other");
    for odd in ["/dev/zero", path(&pipe)] {
        let calls: [&[&str]; 4] = [
            &["data", "tokenize", path(&text), "--tokenizer", odd, "--out", path(&other)],
            &["data", "score", path(&data), "--import", odd],
            &["data", "inspect", odd],
            &["exec", "specs/recurrences/gla.arch", "gla", "--inputs", odd, "--out", path(&other)],
        ];
        for call in calls {
            let refused = lrc(call);
            assert_eq!(refused.status.code(), Some(1), "{call:?}: {}", said(&refused));
            assert!(said(&refused).contains("it is no file"), "{call:?}: {}", said(&refused));
        }
    }
    std::fs::remove_file(data.join("data.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", data.join("data.json")).unwrap();
    let refused = lrc(&["data", "inspect", path(&data)]);
    assert!(said(&refused).contains("it is no file"), "{}", said(&refused));
}

/// D8, and its kin: a byte order mark before a text of any kind says nothing; UTF-16 is named.
#[test]
fn byte_order_marks_before_models_specs_tokenizers_and_scores() {
    let folder = empty("marks");
    let file = |name: &str, mark: &[u8], text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, [mark, text.as_bytes()].concat()).unwrap();
        path
    };
    let mark = &[0xEF, 0xBB, 0xBF];
    let model = "use \"mixers/swiglu.arch\"\nmodel tiny(width = 8, vocab = 4) {\n vocab vocab\n residual x + f(x)\n swiglu(hidden = 8)\n head rmsnorm(x), tied\n}\n";
    let model = file("model.arch", mark, model);
    let spec = "model: {file: model.arch}\ntask: {parity: }\n";
    let spec = file("spec.yaml", mark, spec);
    let text = file("a.txt", &[], "####");
    let tokenizer = file("tokenizer.json", mark, &unigram(&[(1, "-1.5")]));
    let scores = file("scores.jsonl", mark, "{\"hard\": 0.5}\n");
    let data = folder.join("data");
    let make = ["data", "tokenize", path(&text), "--held-out", "0%", "--out", path(&data)];
    let calls: [&[&str]; 4] = [
        &["check", path(&model)],
        &["train", path(&spec), "--dry-run"],
        &[&make[..], &["--tokenizer", path(&tokenizer)]].concat(),
        &["data", "score", path(&data), "--import", path(&scores), "--field", "hard"],
    ];
    for call in calls {
        let done = lrc(call);
        assert!(done.status.success(), "{call:?}: {}", said(&done));
    }
    for (name, command) in [("model.arch", "check"), ("spec.yaml", "train")] {
        let path_of = file(name, &[0xFF, 0xFE], "m\0o\0");
        let refused = lrc(&[command, path(&path_of)]);
        assert!(!refused.status.success());
        assert!(said(&refused).contains("UTF-16"), "{}", said(&refused));
    }
}
