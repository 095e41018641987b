//! `lrc data score`: scores of documents, for a curriculum of difficulty.

use std::path::PathBuf;

use lrc_dsl::Sources;
use lrc_runtime::data::score::{Documents, Metric};
use lrc_runtime::data::{self, LONGEST};
use lrc_runtime::eval::teacher;
use lrc_runtime::ground::error::Failure;

use crate::args::count;
use crate::commands::trained;
use crate::terminal::say;

/// Arguments of `lrc data score`.
#[derive(Debug, clap::Args)]
pub struct ScoreDocuments {
    /// A data folder.
    pub path: PathBuf,
    /// `compression` (compressed bytes per byte) or `diversity` (MTLD of the words); larger is harder.
    #[arg(long)]
    pub metric: Option<String>,
    /// The loss per token of a trained run on each document.
    #[arg(long, value_name = "RUN")]
    pub teacher: Option<PathBuf>,
    /// Tokens of a document that the teacher reads, at most.
    #[arg(long, default_value_t = 2048, value_parser = count(LONGEST))]
    pub longest: usize,
    /// Scores from elsewhere: a JSON object per training document, in their order.
    #[arg(long, value_name = "FILE.jsonl")]
    pub import: Option<PathBuf>,
    /// The field of them.
    #[arg(long, default_value = "score")]
    pub field: String,
    /// The name of the scores [default: the metric's, `teacher`, or the field's].
    #[arg(long)]
    pub name: Option<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Makes scores if asked to, and says what scores there are and how they agree.
pub fn score(args: &ScoreDocuments, sources: &mut Sources) -> Result<(), Failure> {
    let folder = args.path.as_path();
    args.name.as_deref().map_or(Ok(()), data::score::check_name)?;
    args.import.as_ref().map_or(Ok(()), |_| data::score::check_name(&args.field))?;
    let documents = Documents::open(folder)?;
    let asked = [args.metric.is_some(), args.teacher.is_some(), args.import.is_some()];
    if asked.iter().filter(|asked| **asked).count() > 1 {
        return Err(Failure::Usage("one of --metric, --teacher and --import at a time".into()));
    }
    if let Some((name, scores)) = make(args, &documents, sources)? {
        data::score::save(folder, args.name.as_ref().unwrap_or(&name), scores)?;
    }
    let all = data::score::all(folder, documents.count())?;
    if args.json {
        let each: serde_json::Map<String, serde_json::Value> =
            all.into_iter().map(|(name, scores)| (name, scores.into())).collect();
        say!("{}", serde_json::Value::Object(each));
    } else if all.is_empty() {
        say!("no scores yet: make some with --metric, --teacher or --import");
    } else {
        table(&all);
    }
    Ok(())
}

/// Makes the scores that are asked for, with their name.
fn make(
    args: &ScoreDocuments,
    documents: &Documents,
    sources: &mut Sources,
) -> Result<Option<(String, Vec<f32>)>, Failure> {
    Ok(if let Some(name) = &args.metric {
        let metric = Metric::parse(name).ok_or_else(|| {
            Failure::Usage(format!("--metric {name}: it is `compression` or `diversity`"))
        })?;
        Some((name.clone(), documents.measure(metric)?))
    } else if let Some(run) = &args.teacher {
        let mut model = trained::trained(run, sources)?;
        Some(("teacher".into(), teacher::scores(documents, &mut model, args.longest.max(2))?))
    } else if let Some(file) = &args.import {
        let scores = data::score::import(file, &args.field, documents.count())?;
        Some((args.field.clone(), scores))
    } else {
        None
    })
}

/// What scores there are, and how their ranks agree.
fn table(all: &[(String, Vec<f32>)]) {
    say!(
        "{:<14} {:>9} {:>9} {:>9} {:>9} {:>9}   correlation of ranks",
        "",
        "least",
        "10 %",
        "half",
        "90 %",
        "most"
    );
    for (name, scores) in all {
        let mut sorted = scores.clone();
        sorted.sort_by(f32::total_cmp);
        let at = |share: f64| sorted[(share * (sorted.len() - 1) as f64).round() as usize];
        let with: Vec<String> = all
            .iter()
            .filter(|(other, _)| other != name)
            .map(|(other, b)| format!("{other} {:.2}", data::score::correlation(scores, b)))
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
}
