//! A search: takes trials, trains them, writes down what they showed, until there is nothing more.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use lrc_dsl::{Diag, Sources};
use serde_json::{Value, json};

use super::ended::train_one;
use super::journal::{Journal, Operation, StoredTrial, Writer};
use super::next::{self, Chooser, Next};
use super::propose::Sampler;
use super::space::{Domain, Point};
use super::trial::{Known, elaborate};
use super::{Study, report, supernet};
use crate::config::open::open;
use crate::device::Device;
use crate::eval::experiment::Overrides;
use crate::ground::error::{Failure, at_path};
use crate::ground::random::{Purpose, Stream};
use crate::train::ready::{Data, ready};
use crate::train::signals::signals;

/// How a search is run.
#[derive(Clone, Debug)]
pub struct Searching {
    /// The study's folder.
    pub folder: PathBuf,
    /// The journal, where it is not the folder's own.
    pub journal: Option<PathBuf>,
    /// Go on with the trials that are there, or beside other processes.
    pub resume: bool,
    /// Where to run.
    pub device: Device,
    /// Show a progress bar per trial.
    pub progress: bool,
    /// How long a lock without a sign of life is respected.
    pub grace: Duration,
}

impl Searching {
    /// Where the journal is.
    pub fn journal(&self) -> PathBuf {
        self.journal.clone().unwrap_or_else(|| self.folder.join("journal.log"))
    }
}

/// How long is waited for what others do.
pub(super) const PAUSE: Duration = Duration::from_millis(300);

/// Runs a study, goes on with it, or helps others with it. `say` hears of each trial. Gives all trials in order.
pub fn run(
    study: &Study,
    searching: &Searching,
    sources: &mut Sources,
    say: &mut dyn FnMut(&[StoredTrial], &str),
) -> Result<Vec<StoredTrial>, Failure> {
    let stop = signals()?;
    check(study, searching.device, sources)?;
    if searching.folder.join("metrics.jsonl").exists() {
        return Err(Failure::Usage(format!(
            "{} holds a run, and a study has runs below it: choose another folder with --out",
            searching.folder.display()
        )));
    }
    let trials = searching.folder.join("trials");
    std::fs::create_dir_all(&trials).map_err(at_path("make", &trials))?;
    let mut journal = Journal::open(&searching.journal(), searching.grace)?;
    let about = about(study, sources)?;
    let path = journal.path().to_path_buf();
    let id = journal.locked(|writer| {
        if writer.said().study(&study.name).is_none() {
            unknown(&trials, &path)?;
        }
        enter(study, &about, searching.resume, &path, writer)
    })?;
    let mut chooser = Chooser::new(study, id, trials);
    if let Sampler::Supernet(of) = study.sampler {
        chooser.first = supernet::ranking(study, of, &about.spec, searching)?;
    }
    loop {
        let next = journal.locked(|writer| chooser.next(writer))?;
        let signal = stop.load(Ordering::Relaxed);
        if signal != 0 {
            return Err(Failure::Stopped(signal));
        }
        let job = match next {
            Next::Train(job) => job,
            Next::Wait => {
                std::thread::sleep(PAUSE);
                continue;
            }
            Next::Done => break,
        };
        let number = job.number;
        let ended = train_one(study, &chooser, &job, searching)?;
        let said = ended.said(study, &job);
        journal.locked(|writer| {
            let done = writer.add(&ended.operations(&job));
            // Others may promote it as soon as it stands there.
            drop(job);
            done
        })?;
        let all: Vec<StoredTrial> = journal.said.trials_of(id).cloned().collect();
        report::write(study, &chooser, &all, &searching.folder)?;
        let at = all.get(number).and_then(|trial| next::point(study, trial));
        say(
            &all,
            &format!(
                "trial {number}: {said}  {}",
                at.map_or(String::new(), |at| words(study, &at))
            ),
        );
    }
    journal.sync()?;
    let all: Vec<StoredTrial> = journal.said.trials_of(id).cloned().collect();
    report::write(study, &chooser, &all, &searching.folder)?;
    Ok(all)
}

/// A point for people.
pub fn words(study: &Study, point: &[f64]) -> String {
    let one =
        |(param, x): (&super::space::Param, &f64)| format!("{}={}", param.short(), param.said(*x));
    study.space.iter().zip(point).map(one).collect::<Vec<_>>().join(" ")
}

/// What a journal keeps of a study, to tell it from another one.
struct About {
    /// A fingerprint of the spec and the model as they are varied.
    spec: String,
    /// Distributions by name, and sizes that are solved for.
    space: Value,
    /// What trials are compared by.
    metrics: Value,
}

impl About {
    /// What is written of a study that is new to lrc.
    fn notes(&self, study: usize) -> Vec<Operation> {
        vec![
            Operation::StudyNote(study, "lrc:spec", json!(self.spec)),
            Operation::StudyNote(study, "lrc:space", self.space.clone()),
            Operation::StudyNote(study, METRICS, self.metrics.clone()),
            // By these Optuna's figures and its dashboard call what they draw.
            Operation::StudySystem(study, "study:metric_names", self.metrics.clone()),
        ]
    }
}

fn about(study: &Study, sources: &mut Sources) -> Result<About, Failure> {
    let opened = open(&study.spec, &study.set, sources)?;
    let text = format!("{}{}", opened.spec.resolved, opened.arch);
    let params = study.space.iter().map(|p| (p.name.clone(), p.domain.to_json()));
    let mut space: serde_json::Map<String, Value> = params.collect();
    for of in &study.matches {
        space.insert(format!("{} by {}", of.measure.name(), of.by), json!(of.to));
    }
    Ok(About {
        spec: blake3::hash(text.as_bytes()).to_hex()[..32].to_string(),
        space: Value::Object(space),
        metrics: study.objectives.iter().map(|o| json!(o.metric)).collect(),
    })
}

/// Refuses trials of which a journal says nothing: nobody would know what they showed.
fn unknown(trials: &Path, journal: &Path) -> Result<(), Failure> {
    let mut there = std::fs::read_dir(trials).map_err(at_path("read", trials))?;
    if there.next().is_none() {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{} holds trials of which {} says nothing: put their journal back, or choose another folder with --out",
        trials.display(),
        journal.display()
    )))
}

/// The note of a study that holds what its trials are compared by.
const METRICS: &str = "lrc:objectives";

/// Finds the study in the journal, or makes it; refuses one that is another under the same name.
fn enter(
    study: &Study,
    about: &About,
    resume: bool,
    path: &Path,
    writer: &mut Writer,
) -> Result<usize, Failure> {
    let directions: Vec<u64> = study.objectives.iter().map(|o| 1 + u64::from(o.maximise)).collect();
    let Some((id, stored)) = writer.said().study(&study.name) else {
        let id = writer.said().studies.len();
        let begun = Operation::CreateStudy(study.name.clone(), directions);
        writer.add(&[vec![begun], about.notes(id)].concat())?;
        return Ok(id);
    };
    let refuse = |what: String| {
        let place = path.display();
        Err(Failure::Usage(format!(
            "{place} holds another study `{}`: {what}; give this one another `name:`, or another journal with --storage",
            study.name
        )))
    };
    if stored.directions != directions {
        let words = |all: &[u64]| {
            let one = |d: &u64| if *d == 2 { "maximise" } else { "minimise" };
            all.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        return refuse(format!(
            "its directions are {}, not {}",
            words(&stored.directions),
            words(&directions)
        ));
    }
    if let Some(before) = stored.notes.get(METRICS).filter(|before| **before != about.metrics) {
        return refuse(format!("its objectives are {before}, not {}", about.metrics));
    }
    match (stored.notes.get("lrc:space"), stored.notes.get("lrc:spec")) {
        (Some(space), _) if *space != about.space => return refuse(differs(space, &about.space)),
        (_, Some(spec)) if *spec != json!(about.spec) => {
            return refuse("its spec or its model was another one".into());
        }
        _ => {}
    }
    let (trials, known) = (stored.trials.len(), stored.notes.contains_key("lrc:space"));
    if known && trials > 0 && !resume {
        return Err(Failure::Usage(format!(
            "{} holds {trials} trials of the study `{}` already: go on with them, or help with them, by --resume, or choose another folder with --out",
            path.display(),
            study.name
        )));
    }
    if !known {
        writer.add(&about.notes(id))?;
    }
    Ok(id)
}

/// The first difference of two spaces.
fn differs(before: &Value, now: &Value) -> String {
    let empty = serde_json::Map::new();
    let (before, now) = (before.as_object().unwrap_or(&empty), now.as_object().unwrap_or(&empty));
    let changed = now.iter().find(|(name, domain)| before.get(*name) != Some(domain));
    match (changed, before.keys().find(|name| !now.contains_key(*name))) {
        (Some((name, _)), _) if !before.contains_key(name) => format!("its space has no `{name}`"),
        (Some((name, _)), _) => format!("its `{name}` has other values"),
        (None, Some(name)) => format!("its space has `{name}` too"),
        (None, None) => "its space is another one".into(),
    }
}

/// Points that are looked at before a study is refused.
const LOOKS: u64 = 200;

/// Points in a row that cannot be for the same reason, until that is taken for the reason of all.
const ALIKE: u64 = 4;

/// Asks everything that can be asked before the first trial: every choice is possible somewhere, and some point meets all
/// constraints.
pub fn check(study: &Study, device: Device, sources: &mut Sources) -> Result<(), Failure> {
    let opened = open(&study.spec, &study.set, sources)?;
    let needs = ready(&opened.spec, &opened.model, device, Data::Elsewhere)?.needs;
    if study.halving.is_some() && needs.tokens.is_none() {
        let diag = Diag::global(
            "E0407",
            "rungs are shares of a run of given length, and this one lasts for a time",
        );
        return Err(Failure::Invalid(vec![
            diag.help("give `length` of the spec in steps or tokens, or leave `halving` out"),
        ]));
    }
    if matches!(study.sampler, Sampler::Supernet(_)) {
        supernet::check(study, &opened.spec)?;
    }
    once(study)?;
    paths(study, sources)?;
    constraints(study, device, sources)
}

/// Refuses what is said in two places: a path that several parameters set, or that is solved for, or given for all trials.
fn once(study: &Study) -> Result<(), Failure> {
    let mut said: Vec<(String, &str, Option<lrc_dsl::Span>)> = Vec::new();
    let mut found = Vec::new();
    for param in &study.space {
        let cases = match &param.domain {
            Domain::Choices(all) => all.len(),
            _ => 1,
        };
        let mut own: Vec<String> =
            (0..cases).flat_map(|x| param.sets(x as f64)).map(|(path, _)| path).collect();
        own.sort();
        own.dedup();
        said.extend(own.into_iter().map(|path| (path, "`space`", param.span)));
    }
    said.extend(study.matches.iter().map(|of| (of.by.clone(), "`match`", of.span)));
    let all = study.set.iter().map(|(path, _)| (path.clone(), "`set`", None));
    let known: Vec<_> = all.chain(said).collect();
    for (at, (path, place, span)) in known.iter().enumerate() {
        if let Some((_, before, _)) = known[..at].iter().find(|(other, ..)| other == path) {
            let again = if before == place { "twice in" } else { "in" };
            let also = if before == place { String::new() } else { format!(" and in {before}") };
            let message = format!("`{path}` is said {again} {place}{also}");
            let diag = crate::config::fields::finding(*span, "E0407", message);
            found.push(diag.help("say it in one place: which of them holds would not be clear"));
        }
    }
    if found.is_empty() { Ok(()) } else { Err(Failure::Invalid(found)) }
}

/// Draws points of the space, with one parameter held.
fn points(study: &Study, held: Option<(usize, f64)>) -> impl Iterator<Item = Point> + '_ {
    (0..).map(move |at: u64| {
        let mut random = Stream::new(study.seed, Purpose::Search, u64::MAX - at);
        let mut point: Point = study.space.iter().map(|p| p.domain.draw(&mut random)).collect();
        if let Some((at, x)) = held {
            point[at] = x;
        }
        point
    })
}

/// Tries held to say that a choice is possible.
const TRIES: usize = 12;

/// Whether every parameter, and every choice of one, makes a model somewhere in the space; findings stand where the study
/// says it.
fn paths(study: &Study, sources: &mut Sources) -> Result<(), Failure> {
    let mut found: Vec<Diag> = Vec::new();
    for (at, param) in study.space.iter().enumerate() {
        let cases: Vec<(f64, Option<lrc_dsl::Span>)> = match &param.domain {
            Domain::Choices(all) => (0..all.len()).map(|i| (i as f64, all[i].span)).collect(),
            // Both ends of a range, and its middle.
            domain => [0.5, 0.0, 1.0].map(|unit| (domain.at(unit), param.span)).to_vec(),
        };
        for (x, span) in cases {
            // By itself first: then what is wrong is its own.
            let alone = opens(study, param.sets(x), sources);
            let Err(why) = alone else { continue };
            let joint = points(study, Some((at, x))).take(TRIES);
            if joint.into_iter().any(|point| {
                opens(study, super::space::sets(&study.space, &point), sources).is_ok()
            }) {
                continue;
            }
            found.extend(placed(why, &param.name, span.or(param.span)));
            if !matches!(param.domain, Domain::Choices(_)) {
                break;
            }
        }
    }
    found.dedup_by(|a, b| a.message == b.message && a.span == b.span);
    if found.is_empty() { Ok(()) } else { Err(Failure::Invalid(found)) }
}

fn opens(study: &Study, more: Overrides, sources: &mut Sources) -> Result<(), Failure> {
    let mut set = study.set.clone();
    set.extend(more);
    // A size that is solved for may be what this one needs.
    open(&study.spec, &set, sources).map(|_| ())
}

/// Findings where the study says what they are about. A path of another file stays as a second place.
fn placed(why: Failure, name: &str, span: Option<lrc_dsl::Span>) -> Vec<Diag> {
    let diags = match why {
        Failure::Invalid(diags) => diags,
        other => vec![Diag::global("E0407", other.to_string())],
    };
    let place = |mut diag: Diag| {
        if let (Some(own), true) = (diag.span, span.is_some()) {
            let label = std::mem::take(&mut diag.label);
            diag.others.push((own, label));
        }
        diag.message = format!("`{name}`: {}", diag.message);
        diag.span = span.or(diag.span);
        diag
    };
    diags.into_iter().filter(Diag::is_error).map(place).collect()
}

/// Whether some point is possible as a whole, and can be trained.
fn constraints(study: &Study, device: Device, sources: &mut Sources) -> Result<(), Failure> {
    let mut last: Option<(Failure, Point)> = None;
    let (mut alike, mut looked) = (0, 0);
    for point in points(study, None).take(LOOKS as usize) {
        let made = elaborate(study, &point, "check", &Known::default(), &mut Sources::default());
        match made {
            Ok(trial) => {
                ready(&trial.opened.spec, &trial.opened.model, device, Data::Elsewhere)?;
                return Ok(());
            }
            // Nothing to model times with: no point can help that.
            Err(why @ Failure::Compile(_)) => return Err(why),
            Err(why) => {
                // What is wrong everywhere is not looked for everywhere.
                let same =
                    last.as_ref().is_some_and(|(last, _)| last.to_string() == why.to_string());
                alike = if same { alike + 1 } else { 0 };
                last = Some((why, point));
                looked += 1;
                if alike == ALIKE {
                    break;
                }
            }
        }
    }
    let Some((why, point)) = last else { return Ok(()) };
    let span = study.constraints.first().and_then(|c| c.span);
    let span = span.or(study.matches.first().and_then(|m| m.span)).or(study.place);
    let why = match why {
        // With the places of its own files.
        Failure::Invalid(_) => {
            match elaborate(study, &point, "check", &Known::default(), sources) {
                Err(Failure::Invalid(diags)) => {
                    let here = |diag: Diag| Diag { span: diag.span.or(span), ..diag };
                    return Err(Failure::Invalid(diags.into_iter().map(here).collect()));
                }
                _ => why,
            }
        }
        other => other,
    };
    let message = format!("none of {looked} points of the space can be a trial");
    let diag = crate::config::fields::finding(span, "E0407", message);
    Err(Failure::Invalid(vec![diag.help(format!("one of them ({}): {why}", words(study, &point)))]))
}
