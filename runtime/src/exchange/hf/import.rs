//! From a folder of transformers to a run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lrc_compiler::graph::{Model, Param};
use lrc_dsl::{Diag, Sources};
use serde_json::Value as Json;

use super::folder::{self, Weights};
use super::weights::{Known, Laid, lay};
use super::{
    ARCH, Chosen, KEPT, MAP, Meaning, OTHERS, Origin, STORED, class, map_of, meaning, numbers,
};
use crate::config;
use crate::data::shards::{self, Manifest};
use crate::data::tokenizer::Tokenizer;
use crate::ground::error::{Failure, at_path};
use crate::ground::{atomic, bounded};
use crate::optim::Moments;
use crate::train::checkpoint::{self, State};
use crate::train::engine::Numbers;

/// What is imported.
#[derive(Clone, Debug)]
pub struct Import<'p> {
    /// The folder.
    pub folder: &'p Path,
    /// The run's folder, which is made.
    pub run: &'p Path,
    /// A map other than the shipped ones.
    pub map: Option<&'p Path>,
    /// Data that the run's spec names.
    pub data: Option<&'p Path>,
}

/// A folder that became a run.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The class it is of.
    pub class: String,
    /// The map's name.
    pub map: String,
    /// The model.
    pub model: Model,
    /// Its numbers.
    pub params: Vec<Vec<f32>>,
    /// Tensors that the parameters hold.
    pub tensors: usize,
    /// Tensors that were taken along.
    pub others: usize,
}

/// Most findings of one kind that are told.
const TOLD: usize = 8;

/// Imports a folder. Nothing is written before everything in it was found sound.
pub fn import(from: &Import, sources: &mut Sources) -> Result<Imported, Failure> {
    let Import { folder, run, .. } = *from;
    if run.join("spec.resolved.yaml").exists() || run.join("checkpoints").exists() {
        return Err(Failure::Usage(format!(
            "{} holds a run already: choose another folder with --out",
            run.display()
        )));
    }
    let config = folder::config(folder)?;
    let class = class(&config)?;
    let Chosen { map, text: map_text, folder: used } = map_of(&class, from.map, sources)?;
    let Meaning { map, names, model, text } = meaning(map, used.as_deref(), &config, sources)?;
    let weights = folder::weights(folder)?;
    let (laid, others) = lay_all(&map, &names, &model.graph.params, &weights)?;
    let params = place(&model.graph.params, &laid, &weights)?;
    let origin = Origin { map: map.name, class, shards: weights.shards.clone() };
    let written = Written { from, config: &config, model: &model, text: &text, params: &params };
    written.write(&origin, &map_text, &others, &weights, sources)?;
    let Origin { map, class, .. } = origin;
    Ok(Imported { class, map, tensors: laid.len(), others: others.len(), model, params })
}

/// Findings about tensors as one failure.
fn told(found: Vec<String>, what: &str) -> Failure {
    let more = found.len().saturating_sub(TOLD);
    let mut diags: Vec<Diag> =
        found.into_iter().take(TOLD).map(|message| Diag::global("E0603", message)).collect();
    if more > 0 {
        diags.push(Diag::global("E0603", format!("and {more} more {what}")));
    }
    Failure::Invalid(diags)
}

/// Places of all tensors by their names.
type Places = BTreeMap<String, Laid>;

/// Finds the places of all tensors; gives those too that are only taken along.
fn lay_all(
    map: &super::map::Map,
    names: &super::value::Names,
    params: &[Param],
    weights: &Weights,
) -> Result<(Places, Vec<String>), Failure> {
    let known: Known = params.iter().enumerate().map(|(at, p)| (p.name.as_str(), at)).collect();
    let (mut places, mut others, mut wrong) = (Places::new(), Vec::new(), Vec::new());
    for (name, stored) in &weights.tensors {
        match lay(map, names, params, &known, name, &stored.shape) {
            Ok(Some(_)) if !numbers::known(stored.dtype) => wrong.push(format!(
                "the tensor `{name}` is of type {:?}: expected F32, BF16 or F16",
                stored.dtype
            )),
            Ok(Some(laid)) => drop(places.insert(name.clone(), laid)),
            Ok(None) => others.push(name.clone()),
            Err(why) => wrong.push(format!("the tensor `{name}` has no place: {why}")),
        }
    }
    if !wrong.is_empty() {
        return Err(told(wrong, "tensors without a place"));
    }
    let mut held = vec![0; params.len()];
    let mut seen = BTreeSet::new();
    for part in places.values().flat_map(|laid| &laid.parts) {
        if seen.insert((part.param, part.from)) {
            held[part.param] += part.numbers;
        }
    }
    let lacks = |(param, held): (&Param, &usize)| {
        let numbers: usize = param.shape.iter().product();
        let name = &param.name;
        (*held != numbers).then(|| {
            format!("the folder holds {held} of the {numbers} numbers of the parameter `{name}`")
        })
    };
    let lacking: Vec<String> = params.iter().zip(&held).filter_map(lacks).collect();
    if lacking.is_empty() { Ok((places, others)) } else { Err(told(lacking, "parameters")) }
}

/// Puts the numbers of all tensors into their places. What comes twice, as the matrix of a tied head may, is the same.
fn place(params: &[Param], places: &Places, weights: &Weights) -> Result<Vec<Vec<f32>>, Failure> {
    let mut all: Vec<Vec<f32>> =
        params.iter().map(|param| vec![0.0; param.shape.iter().product()]).collect();
    let mut seen = BTreeSet::new();
    for (name, laid) in places {
        let stored = &weights.tensors[name];
        let numbers = numbers::read(stored.dtype, &stored.bytes);
        let again: Vec<bool> =
            laid.parts.iter().map(|part| !seen.insert((part.param, part.from))).collect();
        if again.iter().any(|again| *again) {
            let mut same = true;
            laid.each(|at, part, own| {
                same &= all[part.param][own].to_bits() == numbers[at].to_bits();
            });
            if !same {
                let message =
                    format!("the tensor `{name}` differs from another one of the same parameter");
                return Err(Failure::invalid("E0603", message));
            }
            continue;
        }
        laid.each(|at, part, own| all[part.param][own] = numbers[at]);
    }
    Ok(all)
}

/// What is written.
struct Written<'p> {
    from: &'p Import<'p>,
    config: &'p Json,
    model: &'p Model,
    text: &'p str,
    params: &'p [Vec<f32>],
}

impl Written<'_> {
    fn write(
        &self,
        origin: &Origin,
        map_text: &str,
        others: &[String],
        weights: &Weights,
        sources: &mut Sources,
    ) -> Result<(), Failure> {
        let run = self.from.run;
        let kept = run.join(KEPT);
        std::fs::create_dir_all(&kept).map_err(at_path("make", &kept))?;
        for name in folder::BESIDE {
            let path = self.from.folder.join(name);
            if path.is_file() {
                atomic::write(&kept.join(name), &bounded::bytes(&path)?)?;
            }
        }
        atomic::write(&kept.join(MAP), map_text.as_bytes())?;
        atomic::write(&kept.join(ARCH), self.text.as_bytes())?;
        let stored =
            serde_json::to_vec_pretty(origin).map_err(|e| Failure::World(e.to_string()))?;
        atomic::write(&kept.join(STORED), &stored)?;
        if !others.is_empty() {
            let tensors = others.iter().map(|name| folder::described(name, &weights.tensors[name]));
            let shard = folder::Shard { file: OTHERS.into(), tensors: tensors.collect() };
            folder::write_one(&kept, &shard, |tensor| Ok(weights.tensors[&tensor.name].clone()))?;
        }
        atomic::write(&run.join(ARCH), self.text.as_bytes())?;
        self.spec(sources)?;
        self.checkpoint(weights)
    }

    /// The token that ends a document: the first that the configuration names.
    fn end(&self) -> Option<u32> {
        let end = self.config.get("eos_token_id")?;
        let first = end.get(0).unwrap_or(end);
        first.as_u64().and_then(|end| u32::try_from(end).ok())
    }

    /// A folder of data without documents: its tokenizer is the model's.
    fn tokenizer(&self, folder: &Path) -> Result<(), Failure> {
        let path = self.from.folder.join("tokenizer.json");
        if !path.is_file() {
            return Ok(());
        }
        let tokenizer = match self.end() {
            Some(end) => Tokenizer::with_end(&path, end)?,
            None => Tokenizer::open(&path, None)?,
        };
        let text = bounded::bytes(&path)?;
        let manifest = Manifest {
            tokenizer: "tokenizer.json".into(),
            tokenizer_blake3: shards::fingerprint(&text),
            vocab: tokenizer.vocab(),
            end: tokenizer.end(),
            begin: Some(tokenizer.around()),
            train: vec![],
            held_out: vec![],
        };
        std::fs::create_dir_all(folder).map_err(at_path("make", folder))?;
        atomic::write(&folder.join("tokenizer.json"), &text)?;
        let manifest =
            serde_json::to_vec_pretty(&manifest).map_err(|e| Failure::World(e.to_string()))?;
        atomic::write(&folder.join("data.json"), &manifest)
    }

    /// A spec with all its values, as training leaves one.
    fn spec(&self, sources: &mut Sources) -> Result<(), Failure> {
        let run = self.from.run;
        let data = run.join("data");
        self.tokenizer(&data)?;
        let data = self.from.data.unwrap_or(&data);
        let data = std::path::absolute(data).map_err(at_path("find", data))?;
        let quoted = |text: &str| Json::from(text).to_string();
        let text = format!(
            "name: imported\nmodel: {{file: model.arch, name: {}}}\ndata: {{path: {}}}\n",
            quoted(&self.model.name),
            quoted(&data.to_string_lossy())
        );
        let path = run.join("spec.resolved.yaml");
        atomic::write(&path, text.as_bytes())?;
        let opened = config::open::open(&path, &[], sources)?;
        atomic::write(&path, opened.spec.resolved.as_bytes())
    }

    fn checkpoint(&self, weights: &Weights) -> Result<(), Failure> {
        let all = weights.tensors.values().flat_map(|stored| stored.bytes.iter().copied());
        let fingerprint = shards::fingerprint(&all.collect::<Vec<u8>>());
        let state =
            State { fingerprint, version: env!("CARGO_PKG_VERSION").into(), ..State::default() };
        let numbers = Numbers { params: self.params.to_vec(), moments: Moments::default() };
        checkpoint::save(self.from.run, &state, &self.model.graph.params, &numbers)
    }
}
