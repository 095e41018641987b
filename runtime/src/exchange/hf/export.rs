//! From a run that was imported to a folder of transformers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lrc_compiler::graph::{Kind, Model, layer};
use lrc_dsl::Sources;
use safetensors::tensor::Dtype;
use serde_json::Value as Json;

use super::folder::{self, Described, Shard, Stored};
use super::map::Map;
use super::template::names;
use super::value::{Names, Value};
use super::vocabulary::Resized;
use super::weights::{Known, Laid, lay};
use super::{ARCH, KEPT, MAP, OTHERS, Origin, STORED, map, numbers, vocabulary};
use crate::data::tokenizer::Tokenizer;
use crate::ground::error::{Failure, at_path};
use crate::ground::{atomic, bounded};

/// What is exported.
#[derive(Clone, Debug)]
pub struct Export<'p> {
    /// The tokenizer of the run's data, where its folders say which.
    pub tokenizer: Option<Tokenizer>,
    /// The run.
    pub run: &'p Path,
    /// The folder, which is made.
    pub folder: &'p Path,
    /// The type of all weights; as they came where it is not said.
    pub dtype: Option<Dtype>,
}

/// The file that names what loses much when it is quantised.
const SPARED: &str = "do_not_quantise.json";

/// Writes a run as a folder of transformers: `model` is the run's model with its numbers. Gives how many tensors it has.
pub fn export(
    to: &Export,
    model: &Model,
    params: &[Vec<f32>],
    sources: &mut Sources,
) -> Result<usize, Failure> {
    let Export { run, folder, dtype, .. } = *to;
    let kept = run.join(KEPT);
    if !kept.join(STORED).is_file() {
        return Err(Failure::Usage(format!(
            "{} was not imported from a folder of transformers: `lrc import hf` makes such runs",
            run.display()
        )));
    }
    let (origin, map) = origin(&kept, sources)?;
    let mut config = folder::config(&kept)?;
    if bounded::bytes(&kept.join(ARCH))? != bounded::bytes(&run.join(ARCH))? {
        return Err(Failure::invalid(
            "E0603",
            format!(
                "the model of {} is no longer the one that {KEPT}/config.json describes: {ARCH} differs from {KEPT}/{ARCH}",
                run.display()
            ),
        ));
    }
    let resized = Resized::of(&config, model.vocab);
    if let Some(resized) = resized {
        resized.configure(&mut config);
    }
    let names = names(&map, &Value::of(&config))?;
    let (places, shards) = places(&map, &names, model, &origin.shards, resized)?;
    empty(folder)?;
    write_tensors(to, &shards, &places, params, &kept)?;
    let tokenizer = vocabulary::another(to.tokenizer.clone(), &kept)?;
    write_texts(folder, &kept, tokenizer.as_ref())?;
    if let Some(tokenizer) = &tokenizer {
        vocabulary::write(folder, tokenizer, &mut config)?;
    }
    if resized.is_some() || tokenizer.is_some() || dtype.is_some() {
        write_config(folder, config, dtype)?;
    }
    let spared = serde_json::json!({ "modules": spared(model, &places) });
    atomic::write(&folder.join(SPARED), spared.to_string().as_bytes())?;
    Ok(shards.iter().map(|shard| shard.tensors.len()).sum())
}

/// Makes the folder; one that holds files is refused.
pub fn empty(folder: &Path) -> Result<(), Failure> {
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::Usage(format!(
            "{} holds files already: choose another folder with --out",
            folder.display()
        )));
    }
    std::fs::create_dir_all(folder).map_err(at_path("make", folder))
}

/// The places of all tensors that parameters hold, and the tensors: with as many rows as there are tokens now.
fn places(
    map: &Map,
    names: &Names,
    model: &Model,
    shards: &[Shard],
    resized: Option<Resized>,
) -> Result<(BTreeMap<String, Laid>, Vec<Shard>), Failure> {
    let all = &model.graph.params;
    let known: Known = all.iter().enumerate().map(|(at, p)| (p.name.as_str(), at)).collect();
    let (mut places, mut shards) = (BTreeMap::new(), shards.to_vec());
    for described in shards.iter_mut().flat_map(|shard| &mut shard.tensors) {
        let lay = |of: &Described| lay(map, names, all, &known, &of.name, &of.shape);
        let found = lay(described).or_else(|why| {
            let now = resized.map(|resized| resized.tensor(described)).ok_or(why)?;
            let laid = lay(&now)?;
            *described = now;
            Ok(laid)
        });
        let laid = found.map_err(|why: String| {
            let name = &described.name;
            Failure::invalid("E0603", format!("the tensor `{name}` has no place: {why}"))
        })?;
        places.extend(laid.map(|laid| (described.name.clone(), laid)));
    }
    Ok((places, shards))
}

/// Values that lie as the parameters of an imported run do, such as their gradients, as the folder's tensors hold them: by
/// the names of those.
pub fn as_stored(
    run: &Path,
    model: &Model,
    values: &[Vec<f32>],
    sources: &mut Sources,
) -> Result<BTreeMap<String, Vec<f32>>, Failure> {
    let kept = run.join(KEPT);
    let (origin, map) = origin(&kept, sources)?;
    let names = names(&map, &Value::of(&folder::config(&kept)?))?;
    let (places, _) = places(&map, &names, model, &origin.shards, None)?;
    Ok(places.into_iter().map(|(name, laid)| (name, laid.read(values))).collect())
}

/// Where a run came from, and by which map.
fn origin(kept: &Path, sources: &mut Sources) -> Result<(Origin, Map), Failure> {
    let origin: Origin = serde_json::from_value(folder::json(kept, STORED)?)
        .map_err(|why| Failure::invalid("E0601", format!("{}: {STORED}: {why}", kept.display())))?;
    let text = bounded::text(&kept.join(MAP), bounded::WRITTEN)?;
    let map = map::read(&origin.map, &text, sources)?;
    Ok((origin, map))
}

fn write_tensors(
    to: &Export,
    shards: &[Shard],
    places: &BTreeMap<String, Laid>,
    params: &[Vec<f32>],
    kept: &Path,
) -> Result<(), Failure> {
    let others = match kept.join(OTHERS).is_file() {
        true => folder::read_one(kept, OTHERS)?.0,
        false => BTreeMap::new(),
    };
    folder::write(to.folder, shards, |Described { name, dtype, shape }| {
        let Some(laid) = places.get(name) else {
            return others.get(name).cloned().ok_or_else(|| {
                Failure::invalid("E0603", format!("{KEPT}/{OTHERS} does not hold `{name}`"))
            });
        };
        let values = laid.read(params);
        let dtype = to.dtype.unwrap_or(*dtype);
        Ok(Stored { dtype, shape: shape.clone(), bytes: numbers::write(dtype, &values) })
    })
}

/// What stands beside the weights, but for what belongs to a tokenizer that is another now.
fn write_texts(to: &Path, kept: &Path, tokenizer: Option<&Tokenizer>) -> Result<(), Failure> {
    let stays = |name: &&&str| kept.join(name).is_file() && vocabulary::stays(name, tokenizer);
    for name in folder::BESIDE.iter().filter(stays) {
        atomic::write(&to.join(name), &bounded::bytes(&kept.join(name))?)?;
    }
    Ok(())
}

/// A configuration that differs from the one that came; it says the type of the weights.
fn write_config(to: &Path, mut config: Json, dtype: Option<Dtype>) -> Result<(), Failure> {
    if let (Some(config), Some(dtype)) = (config.as_object_mut(), dtype) {
        // Versions before 5 say `torch_dtype`.
        let key = if config.contains_key("torch_dtype") { "torch_dtype" } else { "dtype" };
        config.insert(key.into(), named(dtype).into());
    }
    let text = serde_json::to_string_pretty(&config).map_err(|e| Failure::World(e.to_string()))?;
    atomic::write(&to.join("config.json"), text.as_bytes())
}

/// The name of a type in configurations.
pub fn named(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::BF16 => "bfloat16",
        Dtype::F16 => "float16",
        _ => "float32",
    }
}

/// The modules of transformers whose weights should stay as they are: those of layers with a recurrence, whose errors add up
/// over the sequence, and those that the model declares `f32`.
fn spared(model: &Model, places: &BTreeMap<String, Laid>) -> BTreeSet<String> {
    let nodes = model.graph.nodes.node_weights();
    let recurrent: BTreeSet<&str> = nodes
        .filter(
            |node| matches!(&node.kind, Kind::Recur(recur) if !recur.recurrence.states.is_empty()),
        )
        .map(|node| layer(&node.label))
        .collect();
    let spares = |laid: &Laid| {
        laid.parts
            .iter()
            .map(|part| &model.graph.params[part.param])
            .any(|param| param.f32 || recurrent.contains(layer(&param.name)))
    };
    let module = |name: &String| {
        name.rsplit_once('.').map_or(name.clone(), |(module, _)| module.to_string())
    };
    places.iter().filter(|(_, laid)| spares(laid)).map(|(name, _)| module(name)).collect()
}

/// Numbers as a folder holds them whose weights are all of one type.
pub fn rounded(params: Vec<Vec<f32>>, dtype: Option<Dtype>) -> Vec<Vec<f32>> {
    let Some(dtype) = dtype else { return params };
    params.iter().map(|all| numbers::read(dtype, &numbers::write(dtype, all))).collect()
}
