//! What a run begins with: parameters that are drawn, or those of a model that is there.

use std::collections::BTreeSet;
use std::path::Path;

use lrc_compiler::graph::{Adapter, Model, Param};
use lrc_dsl::{Diag, Sources};

use super::checkpoint::{self, Checkpoint};
use super::ready::missing;
use crate::config::base::{self, Start};
use crate::config::{self, Spec};
use crate::data::Task;
use crate::ground::bounded;
use crate::ground::error::Failure;
use crate::ground::tensors::{Data, Tensor, Tensors};
use crate::ground::terminal::tell;
use crate::model::fresh;
use crate::model::low_rank::merge;

/// The parameters that a run of a spec begins with.
pub fn parameters(spec: &Spec, model: &Model) -> Result<Vec<Vec<f32>>, Failure> {
    match &spec.from {
        Some(start) => taken(start, spec, model),
        None => Ok(fresh(&model.graph.params, spec.seed)),
    }
}

/// Those of a model that is there; what the spec adds to it is drawn.
pub fn taken(start: &Start, spec: &Spec, model: &Model) -> Result<Vec<Vec<f32>>, Failure> {
    tokenizers(start, spec)?;
    let checkpoint = open(&start.folder)?;
    let there = weights(&checkpoint)?;
    let mut params = fresh(&model.graph.params, spec.seed);
    let mut found =
        Found { model, resize: start.resize, wrong: vec![], rows: false, others: false };
    for (at, param) in model.graph.params.iter().enumerate() {
        if let Some(values) = found.of(at, param, there.get(&param.name)) {
            params[at] = values;
        }
    }
    found.strangers(&there);
    found.said(&start.folder)?;
    Ok(params)
}

/// The checkpoint that a folder is, or the newest one of a run.
pub fn open(folder: &Path) -> Result<Checkpoint, Failure> {
    if folder.join(checkpoint::DONE).is_file() {
        return Checkpoint::open(folder);
    }
    if checkpoint::list(folder).is_empty() {
        let why = match base::run_of(folder).filter(|run| run == folder) {
            Some(_) => format!("{} holds no complete checkpoint", folder.display()),
            None => base::no_run(folder),
        };
        return Err(Failure::invalid("E0307", format!("no weights to begin with: {why}")));
    }
    Checkpoint::of(folder, None)
}

/// The weights of a checkpoint; low-rank products of its run are added into those that they stand beside.
fn weights(checkpoint: &Checkpoint) -> Result<Tensors, Failure> {
    let mut there = checkpoint.weights()?;
    let added = there.keys().any(|name| name.ends_with(".lora_a.weight"));
    let Some(run) = base::run_of(checkpoint.folder()).filter(|_| added) else { return Ok(there) };
    let model = config::open::of_run(&run, &mut Sources::default())?.model;
    let mut params = checkpoint.model(&model.graph.params)?;
    merge(&model, &mut params);
    for Adapter { weight, a, b, .. } in &model.adapters {
        let [param, a, b] = [weight, a, b].map(|one| &model.graph.params[one.0]);
        let merged = Tensor::f32(param.shape.clone(), std::mem::take(&mut params[weight.0]));
        there.insert(param.name.clone(), merged);
        [a, b].into_iter().for_each(|one| drop(there.remove(&one.name)));
    }
    Ok(there)
}

/// What a model finds of its parameters in another's weights.
struct Found<'m> {
    model: &'m Model,
    resize: bool,
    /// All differences, in words.
    wrong: Vec<String>,
    /// Whether rows of the vocabulary are among them, and whether something else is.
    rows: bool,
    others: bool,
}

impl Found<'_> {
    /// The numbers of a parameter; nothing where it is drawn, or wrong.
    fn of(&mut self, at: usize, param: &Param, there: Option<&Tensor>) -> Option<Vec<f32>> {
        let Param { name, shape, .. } = param;
        let Some(there) = there else {
            if !self.model.adapters.iter().any(|one| [one.a.0, one.b.0].contains(&at)) {
                self.others = true;
                self.wrong.push(format!("`{name}` is missing there"));
            }
            return None;
        };
        let Data::F32(values) = &there.data else {
            self.others = true;
            self.wrong.push(format!("`{name}` holds whole numbers there"));
            return None;
        };
        if there.shape == *shape {
            return Some(values.clone());
        }
        let of_tokens = at == self.model.embedding.0 || at == self.model.head.0;
        let rows = of_tokens && there.shape.get(1..) == shape.get(1..);
        if rows && self.resize {
            return Some(resized(values, shape));
        }
        self.rows |= rows;
        self.others |= !rows;
        self.wrong.push(format!("`{name}` has shape {:?} there, {shape:?} here", there.shape));
        None
    }

    /// Notes what is there alone.
    fn strangers(&mut self, there: &Tensors) {
        let known: BTreeSet<&str> =
            self.model.graph.params.iter().map(|param| param.name.as_str()).collect();
        let strangers = there.keys().filter(|name| !known.contains(name.as_str()));
        let before = self.wrong.len();
        self.wrong.extend(strangers.map(|name| format!("`{name}` is there alone")));
        self.others |= self.wrong.len() > before;
    }

    /// All that is wrong, one by one.
    fn said(&self, folder: &Path) -> Result<(), Failure> {
        if self.wrong.is_empty() {
            return Ok(());
        }
        let message = format!(
            "`{}` of the spec is another model than that of {}: differences: {}",
            self.model.name,
            folder.display(),
            self.wrong.len()
        );
        let mut diag = Diag::global("E0307", message);
        if self.rows {
            diag =
                diag.help("`vocab: resize` below `model` takes the rows of tokens that both have");
        }
        if self.others {
            diag = diag.help("`model: {from: FOLDER}` without `file`, `set` and `layers` is the model of the folder");
        }
        let each = self.wrong.iter().map(|why| Diag::global("E0307", why.clone()));
        Err(Failure::Invalid([diag].into_iter().chain(each).collect()))
    }
}

/// Rows by the number of their token: those that are there, and for new ones the mean of all there.
///
/// With the mean in the head no old token loses more than ln(1 + new / old) of its loss (Hewitt 2021, Initializing new word
/// embeddings for pretrained language models).
fn resized(there: &[f32], shape: &[usize]) -> Vec<f32> {
    let width: usize = shape[1..].iter().product();
    let (rows, wanted) = (there.len() / width.max(1), shape[0] * width);
    let column = |at: usize| there.iter().skip(at).step_by(width).map(|x| f64::from(*x));
    let mean = |at: usize| (column(at).sum::<f64>() / rows.max(1) as f64) as f32;
    let mean: Vec<f32> = (0..width).map(mean).collect();
    there
        .iter()
        .copied()
        .take(wanted)
        .chain(mean.into_iter().cycle().take(wanted.saturating_sub(there.len())))
        .collect()
}

/// Refuses tokens that stand for other texts than the model has learned them for.
fn tokenizers(start: &Start, spec: &Spec) -> Result<(), Failure> {
    let Task::Corpora(own) = &spec.task else { return Ok(()) };
    if missing(&spec.task).is_some() {
        return Ok(());
    }
    let (own, run) = (own.tokenizer()?, base::run_of(&start.folder));
    let (Some(own), Some(run)) = (own, run) else { return Ok(()) };
    let theirs = match kept(&run).map(|spec| spec.task) {
        Some(Task::Corpora(theirs)) => theirs.tokenizer().ok().flatten(),
        _ => None,
    };
    match theirs {
        None => tell!(
            "note: {} keeps no tokenizer, so that nobody can tell whether the data was made with it",
            run.display()
        ),
        // As texts: a file may be written in many ways.
        Some(theirs) if theirs.text()? != own.text()? && !start.resize => {
            let message = format!(
                "the data was made with another tokenizer than that of {}: the same number stands for another text",
                run.display()
            );
            let diag = Diag::global("E0405", message);
            return Err(Failure::Invalid(vec![diag.help(
                "`lrc data tokenize --tokenizer FILE` takes that of the model; `vocab: resize` below `model` says that it is meant",
            )]));
        }
        Some(_) => {}
    }
    Ok(())
}

/// The spec that a run keeps, if it can be read.
fn kept(run: &Path) -> Option<Spec> {
    let path = run.join("spec.resolved.yaml");
    let text = bounded::text(&path, bounded::WRITTEN).ok()?;
    let file = Sources::default().add(path.display().to_string(), text.as_str());
    let own = [("model.file".to_string(), "model.arch".to_string())];
    config::read(&path, file, &text, &own).ok()
}
