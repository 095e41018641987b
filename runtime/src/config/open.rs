//! From the path of a spec to its model.

use std::path::Path;

use lrc_compiler::graph::{Amended, Kind as NodeKind, LowRank, Model, Replaced, build_with};
use lrc_dsl::ast::{Decl, File, Kind};
use lrc_dsl::{Diag, Namespace, Sources, parse_expr};

use super::{Spec, notes, tables, tree};
use crate::ground::bounded;
use crate::ground::error::{Failure, at_path};
use crate::ground::library::LIBRARY;
use crate::optim::Which;

/// A spec, the model that it names, and the model's text without `use`.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What to train, and how.
    pub spec: Spec,
    /// The model at the spec's parameters.
    pub model: Model,
    /// Every declaration that the model's file can name.
    pub arch: String,
    /// What is doubtful about the model.
    pub warnings: Vec<Diag>,
}

/// Reads a spec with overrides (`path=value` pairs), and builds its model.
pub fn open(
    path: &Path,
    overrides: &[(String, String)],
    sources: &mut Sources,
) -> Result<Opened, Failure> {
    let text = bounded::text(path, bounded::WRITTEN)?;
    let file = sources.add(path.display().to_string(), text.as_str());
    let mut spec = super::read(path, file, &text, overrides).map_err(Failure::Invalid)?;
    let namespace = declarations(&spec.file, sources)?;
    let decl = choose(&namespace, spec.model.as_deref(), &spec.file)?;
    // What could be read is a tree.
    let mut diags =
        tree::parse(file, &text).map_or(vec![], |tree| notes::old_names(&tree, &tables::SPEC));
    let picks = |name: &str| {
        spec.lora.iter().flat_map(|lora| &lora.targets).any(|which| which.picks_product(name))
    };
    let low_rank = spec.lora.as_ref();
    let low_rank =
        low_rank.map(|lora| LowRank { rank: lora.rank, alpha: lora.alpha, picks: &picks });
    let amended = Amended { replaced: replaced(&spec, sources)?, low_rank };
    let Some(model) = build_with(&namespace, decl, &spec.settings, &amended, &mut diags) else {
        return Err(Failure::Invalid(diags));
    };
    targets(&spec, &model)?;
    if spec.auto_warmup {
        spec.shaping.schedule.warmup = crate::schedule::warmup::auto(&model).0;
    }
    let all = File::of(namespace.decls.values().cloned().collect());
    Ok(Opened { spec, model, arch: lrc_dsl::print::print(&all), warnings: diags })
}

/// Refuses targets of low-rank products that are no product of the model.
fn targets(spec: &Spec, model: &Model) -> Result<(), Failure> {
    let params = &model.graph.params;
    let has = |which: &Which| {
        model.adapters.iter().any(|one| which.picks_product(&params[one.weight.0].name))
    };
    let lacks = spec.lora.iter().flat_map(|lora| &lora.targets).filter(|which| !has(which));
    let nodes = model.graph.nodes.node_weights();
    let products =
        nodes.filter(|node| matches!(node.kind, NodeKind::Dense { .. } | NodeKind::Expert));
    let example = products.flat_map(|node| &node.params).next();
    let wrong: Vec<Diag> = lacks
        .map(|which| {
            let message = format!("`lora.targets`: {which} fits no dense product of the model");
            let diag = Diag::global("E0406", message);
            match example {
                Some(one) => diag.help(format!(
                    "its matrices are called as `{}` is; `lrc compile MODEL.arch --emit graph` lists all",
                    params[one.0].name
                )),
                None => diag.help("the model has none"),
            }
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(Failure::Invalid(wrong)) }
}

/// The spec and the model of a run, from its folder: it keeps its model beside its spec.
pub fn of_run(folder: &Path, sources: &mut Sources) -> Result<Opened, Failure> {
    of_run_with(folder, &[], sources)
}

/// The same without the low-rank products that its spec puts beside others.
pub fn without_low_rank(folder: &Path, sources: &mut Sources) -> Result<Opened, Failure> {
    of_run_with(folder, &[("lora", "null"), ("only", "null")], sources)
}

fn of_run_with(
    folder: &Path,
    more: &[(&str, &str)],
    sources: &mut Sources,
) -> Result<Opened, Failure> {
    // Its name is where it stands, whatever an earlier version let a name be.
    let own = [("model.file", "model.arch"), ("name", "run")];
    let own = own.iter().chain(more).map(|(path, value)| (path.to_string(), value.to_string()));
    open(&folder.join("spec.resolved.yaml"), &own.collect::<Vec<_>>(), sources)
}

/// The calls of mixers that stand in place of those laid out; all that cannot be read are a failure.
fn replaced(spec: &Spec, sources: &mut Sources) -> Result<Replaced, Failure> {
    let (mut calls, mut diags) = (Replaced::new(), Vec::new());
    for (at, text) in &spec.layers {
        let file = sources.add(format!("model.layers.{at}"), text.as_str());
        match parse_expr(file, text) {
            Ok(call) => {
                calls.insert(*at, call);
            }
            Err(diag) => diags.push(*diag),
        }
    }
    if diags.is_empty() { Ok(calls) } else { Err(Failure::Invalid(diags)) }
}

/// Reads a file of declarations and what it uses. Syntax errors are a failure.
pub fn declarations(path: &Path, sources: &mut Sources) -> Result<Namespace, Failure> {
    let (namespace, diags) =
        lrc_dsl::load(path, LIBRARY, sources).map_err(at_path("read", path))?;
    if diags.iter().any(Diag::is_error) {
        return Err(Failure::Invalid(diags));
    }
    Ok(namespace)
}

/// A declaration by its name.
pub fn find<'n>(namespace: &'n Namespace, kind: Kind, name: &str) -> Result<&'n Decl, Failure> {
    match namespace.get(name) {
        Some(decl) if decl.kind == kind => Ok(decl),
        _ => {
            let message = format!("there is no {} `{name}`", kind.word());
            let known = namespace.names(kind);
            let diag = Diag::global("E0201", message).help_nearest(name, "there are", known);
            Err(Failure::Invalid(vec![diag]))
        }
    }
}

/// The named model of a file, or its only one.
pub fn choose<'n>(
    namespace: &'n Namespace,
    name: Option<&str>,
    path: &Path,
) -> Result<&'n Decl, Failure> {
    if let Some(name) = name {
        return find(namespace, Kind::Model, name);
    }
    let own: Vec<&String> =
        namespace.own.iter().filter(|name| namespace.decls[*name].kind == Kind::Model).collect();
    match own[..] {
        [only] => find(namespace, Kind::Model, only),
        [] => Err(Failure::invalid("E0201", format!("{} declares no model", path.display()))),
        _ => {
            let names: Vec<&str> = own.iter().map(|name| name.as_str()).collect();
            Err(Failure::Usage(format!(
                "{} declares several models, name one: {}",
                path.display(),
                names.join(", ")
            )))
        }
    }
}
