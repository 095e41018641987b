//! `lrc data`: from files of text to shards, and what a run will make of them.

use std::io::IsTerminal;
use std::path::Path;

use lrc_dsl::Sources;
use lrc_runtime::config::Spec;
use lrc_runtime::config::open::{Opened, open};
use lrc_runtime::data::documents::Reading;
use lrc_runtime::data::score::{self, Documents, Metric};
use lrc_runtime::data::shards::{Layout, Manifest, Shard, Writer, Written, refuse_old};
use lrc_runtime::data::tokenize::{MOST_TOKENS, Request, learn, tokenize};
use lrc_runtime::data::tokenizer::Tokenizer;
use lrc_runtime::data::{Source, Task, corpus};
use lrc_runtime::device::Device;
use lrc_runtime::eval::teacher;
use lrc_runtime::ground::error::{Failure, at_path};
use lrc_runtime::ground::{atomic, terminal};
use lrc_runtime::report::schedule::preview;
use lrc_runtime::schedule::Amount;
use lrc_runtime::schedule::course::{Course, Next};
use lrc_runtime::schedule::lengths::{Buckets, Lengths, doubling, powers};
use lrc_runtime::tell;
use lrc_runtime::train::ready;

use super::model::pairs;
use crate::args::{
    Bucketize, Data, Inspect, LearnTokenizer, Plan, ScoreDocuments, Texts, Tokenize, WriteTexts,
};
use crate::terminal::say;

/// Runs one of the commands.
pub fn data(args: &Data, sources: &mut Sources) -> Result<(), Failure> {
    match args {
        Data::Tokenize(args) => tokenise(args),
        Data::Tokenizer(args) => tokenizer(args),
        Data::Inspect(args) => inspect(args),
        Data::Text(args) => texts(args),
        Data::Bucketize(args) => bucketize(args),
        Data::Score(args) => score(args, sources),
        Data::Plan(args) => plan(args, sources),
    }
}

fn reading(texts: &Texts) -> Reading {
    Reading {
        field: texts.field.clone(),
        skip: texts.skip_bad,
        endings: texts.ending.clone(),
        largest: texts.largest.unwrap_or(usize::MAX),
        no_generated: texts.no_generated,
    }
}

fn share(text: &str) -> Result<f64, Failure> {
    match Amount::parse(text) {
        Some(Amount::Share(share)) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err(Failure::Usage(format!("--held-out {text}: expected a share, such as `1%`"))),
    }
}

fn tokenise(args: &Tokenize) -> Result<(), Failure> {
    let tokenizer = match args.tokenizer.to_str() {
        Some("bytes") if args.end.is_some() => {
            return Err(Failure::Usage(
                "--end is for a tokenizer.json: after bytes comes 256".into(),
            ));
        }
        Some("bytes") => Tokenizer::Bytes,
        _ => Tokenizer::open(&args.tokenizer, args.end.as_deref())?,
    };
    let shard = match Amount::parse(&args.shard) {
        Some(Amount::Tokens(tokens)) if (1.0..2e9).contains(&tokens) => tokens as u64,
        _ => {
            let text = &args.shard;
            return Err(Failure::Usage(format!("--shard {text}: expected tokens, such as `100M`")));
        }
    };
    let request = Request {
        inputs: args.texts.inputs.clone(),
        reading: reading(&args.texts),
        out: args.out.clone(),
        held_out: share(&args.held_out)?,
        shard,
        unique: args.unique,
    };
    let shows = std::io::stderr().is_terminal();
    let made = tokenize(&request, &tokenizer, &mut |documents| {
        if shows {
            terminal::count(format_args!("{documents} documents"));
        }
    })?;
    if shows {
        terminal::count(format_args!(""));
    }
    let left = [
        ("without a text", made.done.skipped),
        ("too long or generated", made.done.dropped),
        ("empty", made.empty),
        ("that came before", made.repeated),
    ];
    let left: Vec<String> =
        left.iter().filter(|(_, n)| *n > 0).map(|(why, n)| format!("{n} {why}")).collect();
    if !left.is_empty() {
        tell!("left out: {}", left.join(", "));
    }
    made.done.lines().iter().for_each(|line| tell!("{line}"));
    if args.json {
        let json =
            serde_json::to_string(&made.manifest).map_err(|e| Failure::World(e.to_string()))?;
        say!("{json}");
    } else {
        parts(&made.manifest);
    }
    Ok(())
}

/// What is in the parts of a data folder.
fn parts(manifest: &Manifest) {
    for (name, shards) in [("train", &manifest.train), ("held out", &manifest.held_out)] {
        let sum = |pick: fn(&Written) -> u64| shards.iter().map(pick).sum::<u64>();
        let (tokens, bytes) = (sum(|s| s.tokens), sum(|s| s.bytes));
        say!(
            "{name:<9} {:>4} shards {:>10} documents {tokens:>13} tokens {bytes:>14} bytes, {:.3} bytes per token",
            shards.len(),
            sum(|s| s.documents),
            bytes as f64 / tokens.max(1) as f64
        );
    }
}

fn tokenizer(args: &LearnTokenizer) -> Result<(), Failure> {
    if !(257..=MOST_TOKENS).contains(&args.vocab) {
        return Err(Failure::Usage(format!(
            "--vocab {}: from 257 (every byte, and the token between documents) to {MOST_TOKENS}",
            args.vocab
        )));
    }
    let done = learn(&args.texts.inputs, &reading(&args.texts), args.vocab, &args.out)?;
    let learned = Tokenizer::open(&args.out, None)?;
    say!("{} tokens from {} documents: {}", learned.vocab(), done.documents, args.out.display());
    Ok(())
}

/// How many documents have lengths up to each power of two.
fn lengths(shards: &[Shard]) -> Vec<(u64, u64)> {
    let mut counts = std::collections::BTreeMap::new();
    for pair in shards.iter().flat_map(|shard| shard.offsets.windows(2)) {
        *counts.entry((pair[1] - pair[0]).next_power_of_two()).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

fn inspect(args: &Inspect) -> Result<(), Failure> {
    let folder = args.path.as_path();
    let (manifest, shards) = if folder.join("data.json").exists() {
        let manifest = Manifest::read(folder)?;
        let all = manifest.train.iter().chain(&manifest.held_out);
        let shards: Result<Vec<Shard>, Failure> =
            all.map(|written| Shard::of_folder(folder, written, true)).collect();
        (Some(manifest), shards?)
    } else {
        let layout = if args.nanogpt { Layout::Nanogpt } else { Layout::Llmc };
        let mut shard = Shard::open(folder, layout)?;
        if let Some(end) = args.end {
            shard.find_documents(end)?;
        }
        (None, vec![shard])
    };
    let tokens: u64 = shards.iter().map(|shard| shard.tokens).sum();
    if args.json {
        let json = serde_json::json!({
            "manifest": manifest, "tokens": tokens,
            "documents_by_length": lengths(&shards),
        });
        say!("{json}");
        return Ok(());
    }
    if let Some(manifest) = &manifest {
        say!(
            "tokenizer {}, {} tokens, documents end with {}",
            manifest.tokenizer,
            manifest.vocab,
            manifest.end
        );
        parts(manifest);
        let old = manifest.train.iter().chain(&manifest.held_out).any(|s| s.index_blake3.is_none());
        say!(
            "every checksum is right{}",
            if old { "; the indexes have none: an older version wrote them" } else { "" }
        );
    } else {
        say!("{tokens} tokens");
    }
    say!("documents by length in tokens, up to:");
    for (length, count) in lengths(&shards) {
        say!("{length:>10} {count:>10}");
    }
    let shard = shards.first().filter(|_| args.show > 0);
    for pair in shard.iter().flat_map(|shard| shard.offsets.windows(2)).take(args.show) {
        let Some(shard) = shard else { break };
        let tokens = shard.read(pair[0], (pair[1] - pair[0]).min(200) as usize)?;
        let text = match &manifest {
            Some(manifest) => corpus::tokenizer(folder, manifest)?.decode(&tokens),
            None => format!("{tokens:?}"),
        };
        say!("---\n{text}");
    }
    Ok(())
}

fn texts(args: &WriteTexts) -> Result<(), Failure> {
    let manifest = Manifest::read(&args.path)?;
    let tokenizer = corpus::tokenizer(&args.path, &manifest)?;
    std::fs::create_dir_all(&args.out).map_err(at_path("make", &args.out))?;
    let mut count = 0;
    for written in if args.held_out { &manifest.held_out } else { &manifest.train } {
        let shard = Shard::of_folder(&args.path, written, true)?;
        for pair in shard.offsets.windows(2) {
            // Without the token between documents.
            let tokens = shard.read(pair[0] + 1, (pair[1] - pair[0] - 1) as usize)?;
            let file = args.out.join(format!("{count:06}.txt"));
            atomic::write(&file, tokenizer.decode(&tokens).as_bytes())?;
            count += 1;
        }
    }
    say!("{count} documents: {}", args.out.display());
    Ok(())
}

fn bucketize(args: &Bucketize) -> Result<(), Failure> {
    let (low, high) = (args.shortest, args.longest);
    if !powers(low, high) {
        return Err(Failure::Usage("--shortest and --longest are powers of two, and rise".into()));
    }
    let lengths = doubling(low, high);
    let manifest = Manifest::read(&args.path)?;
    let shards: Result<Vec<Shard>, Failure> =
        manifest.train.iter().map(|written| Shard::of_folder(&args.path, written, true)).collect();
    let shards = shards?;
    let buckets = corpus::decompose(&shards, &lengths);
    let whole: u64 = shards.iter().map(|shard| shard.tokens).sum();
    let mut used = 0;
    say!("{:>10} {:>12} {:>14} {:>7}", "length", "sequences", "tokens", "share");
    for (length, pieces) in lengths.iter().zip(&buckets) {
        let tokens = (pieces.len() * length) as u64;
        used += tokens;
        let share = tokens as f64 / whole as f64;
        say!("{length:>10} {:>12} {tokens:>14} {share:>7.3}", pieces.len());
    }
    let left = whole - used;
    say!("{:>10} {:>12} {left:>14} {:>7.3}", "shorter", "", left as f64 / whole as f64);
    let Some(out) = &args.out else { return Ok(()) };
    for (length, pieces) in lengths.iter().zip(&buckets) {
        write_bucket(&out.join(length.to_string()), *length, pieces, &shards, &manifest)?;
    }
    Ok(())
}

/// Writes the sequences of a bucket as a data folder of their own.
fn write_bucket(
    folder: &Path,
    length: usize,
    pieces: &[(u32, u64)],
    shards: &[Shard],
    manifest: &Manifest,
) -> Result<(), Failure> {
    refuse_old(folder)?;
    let failed =
        |e: std::io::Error| Failure::World(format!("cannot make {}: {e}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut writer = Writer::new(folder, "train", 100_000_000, manifest.vocab);
    for (shard, start) in pieces {
        writer.push(&shards[*shard as usize].read(*start, length)?, 0)?;
    }
    let bucket = Manifest { train: writer.finish()?, held_out: vec![], ..manifest.clone() };
    let json = serde_json::to_string_pretty(&bucket).map_err(|e| Failure::World(e.to_string()))?;
    atomic::write(&folder.join("data.json"), json.as_bytes())
}

/// Makes scores if asked to, and says what scores there are and how they agree.
fn score(args: &ScoreDocuments, sources: &mut Sources) -> Result<(), Failure> {
    let folder = args.path.as_path();
    args.name.as_deref().map_or(Ok(()), score::check_name)?;
    args.import.as_ref().map_or(Ok(()), |_| score::check_name(&args.field))?;
    let documents = Documents::open(folder)?;
    let asked = [args.metric.is_some(), args.teacher.is_some(), args.import.is_some()];
    if asked.iter().filter(|asked| **asked).count() > 1 {
        return Err(Failure::Usage("one of --metric, --teacher and --import at a time".into()));
    }
    let made = if let Some(name) = &args.metric {
        let metric = Metric::parse(name).ok_or_else(|| {
            Failure::Usage(format!("--metric {name}: it is `compression` or `diversity`"))
        })?;
        Some((name.clone(), documents.measure(metric)?))
    } else if let Some(run) = &args.teacher {
        let mut model = super::run::trained(run, sources)?;
        Some(("teacher".into(), teacher::scores(&documents, &mut model, args.longest.max(2))?))
    } else if let Some(file) = &args.import {
        let scores = score::import(file, &args.field, documents.count())?;
        Some((args.field.clone(), scores))
    } else {
        None
    };
    if let Some((name, scores)) = made {
        score::save(folder, args.name.as_ref().unwrap_or(&name), scores)?;
    }
    let all = score::all(folder, documents.count())?;
    if args.json {
        let each: serde_json::Map<String, serde_json::Value> =
            all.into_iter().map(|(name, scores)| (name, scores.into())).collect();
        say!("{}", serde_json::Value::Object(each));
        return Ok(());
    }
    if all.is_empty() {
        say!("no scores yet: make some with --metric, --teacher or --import");
        return Ok(());
    }
    say!(
        "{:<14} {:>9} {:>9} {:>9} {:>9} {:>9}   correlation of ranks",
        "",
        "least",
        "10 %",
        "half",
        "90 %",
        "most"
    );
    for (name, scores) in &all {
        let mut sorted = scores.clone();
        sorted.sort_by(f32::total_cmp);
        let at = |share: f64| sorted[(share * (sorted.len() - 1) as f64).round() as usize];
        let with: Vec<String> = all
            .iter()
            .filter(|(other, _)| other != name)
            .map(|(other, b)| format!("{other} {:.2}", score::correlation(scores, b)))
            .collect();
        say!(
            "{name:<14} {:>9.4} {:>9.4} {:>9.4} {:>9.4} {:>9.4}   {}",
            at(0.0),
            at(0.1),
            at(0.5),
            at(0.9),
            at(1.0),
            with.join(", ")
        );
    }
    Ok(())
}

/// The course of a spec's run over buckets of these sizes, in tokens.
fn over(spec: &Spec, buckets: &[f64]) -> Result<Course, Failure> {
    let lengths = match &spec.shaping.lengths {
        Lengths::Buckets(Buckets { lengths, .. }) => lengths.len(),
        _ => 0,
    };
    if buckets.len() != lengths {
        return Err(Failure::Usage(format!(
            "--tokens gives {} numbers, the curriculum has {lengths} buckets",
            buckets.len()
        )));
    }
    Course::new(&spec.shaping, buckets)
}

/// Says that data is not there, and what that means.
pub fn note_missing(spec: &Spec) {
    if let Some(path) = ready::missing(&spec.task) {
        let assumed = match spec.shaping.lengths {
            Lengths::Buckets(_) => ", and equally much of every length is assumed",
            _ => "",
        };
        tell!("note: {} is not there{assumed}", path.display());
    }
}

fn plan(args: &Plan, sources: &mut Sources) -> Result<(), Failure> {
    let Opened { spec, model, .. } = open(&args.spec, &pairs(&args.set)?, sources)?;
    let buckets = args.tokens.as_deref().map(amounts).transpose()?;
    let (course, source) = match buckets {
        Some(buckets) => (over(&spec, &buckets)?, None),
        None => {
            note_missing(&spec);
            let found = ready::ready(&spec, &model, Device::Cpu, ready::Data::Elsewhere)?;
            (found.course, found.source)
        }
    };
    if !course.whole().steps.is_finite() {
        return Err(Failure::Usage(
            "a run of given time has no plan: its number of steps is not known".into(),
        ));
    }
    let corpora = source.as_ref().and_then(Source::corpora);
    let names: Vec<String> = match (&spec.task, corpora) {
        (Task::Corpora(all), Some(_)) => {
            let names = all.sources.iter().map(|s| s.name.clone());
            names.chain(all.pacing.iter().map(|_| "easiest".to_string())).collect()
        }
        _ => vec![],
    };
    // Behind the mixture stands the share of the documents that may be drawn.
    let weights = |next: &Next| {
        corpora.map_or(vec![], |open| {
            let mut weights = open.weights(&next.before);
            weights.push(open.share(&next.before));
            weights
        })
    };
    let cycles = match &spec.shaping.lengths {
        Lengths::Buckets(buckets) if args.cycle => buckets.cycles,
        _ => 1,
    };
    let lr = spec.optimizer.lr;
    let within = 1.0 / cycles as f64;
    let table = preview(course.clone(), lr, (within, args.parts), names.clone(), &weights);
    if args.json {
        let json = serde_json::to_string(&table).map_err(|e| Failure::World(e.to_string()))?;
        say!("{json}");
    } else {
        say!("{}", table.table().trim_end());
    }
    if let Some(out) = &args.out {
        let fine = preview(course, lr, (within, 160), names, &weights);
        atomic::write(out, fine.page(&spec.name).as_bytes())?;
        tell!("picture: {}", out.display());
    }
    Ok(())
}

/// `386M,654M`
fn amounts(text: &str) -> Result<Vec<f64>, Failure> {
    text.split(',')
        .map(|part| match Amount::parse(part) {
            Some(Amount::Tokens(tokens)) if tokens >= 0.0 => Ok(tokens),
            _ => Err(Failure::Usage(format!("--tokens {text}: `{part}` is no number of tokens"))),
        })
        .collect()
}
