//! What commands share: declarations by name, and settings of `--set`.

use std::collections::{BTreeMap, BTreeSet};

use lrc_compiler::elaborate::{Recurrence, Setting, accepted, elaborate};
use lrc_compiler::form::FormKind;
use lrc_compiler::graph::{Model, build};
use lrc_dsl::ast::{Decl, Kind};
use lrc_dsl::{Diag, Namespace};
use lrc_runtime::config::open::find;
use lrc_runtime::ground::error::Failure;

use crate::args::Form;

/// Reads `name=value` pairs.
pub fn settings(pairs: &[String]) -> Result<BTreeMap<String, Setting>, Failure> {
    pairs
        .iter()
        .map(|pair| {
            let parsed = pair
                .split_once('=')
                .and_then(|(name, value)| Some((name.trim().to_string(), Setting::parse(value)?)));
            parsed.ok_or_else(|| {
                Failure::Usage(format!(
                    "--set {pair}: expected NAME=VALUE with a number, true or false"
                ))
            })
        })
        .collect()
}

/// Refuses what none of the declarations takes.
pub fn known<'d>(
    given: &BTreeMap<String, Setting>,
    decls: impl IntoIterator<Item = &'d Decl>,
) -> Result<(), Failure> {
    let decls: Vec<&Decl> = decls.into_iter().collect();
    let all: BTreeSet<String> = decls.iter().flat_map(|decl| accepted(decl)).collect();
    let strangers = given.keys().filter(|name| !all.contains(*name));
    let diags: Vec<Diag> = strangers
        .map(|name| {
            let message = match &decls[..] {
                [one] => format!("`{}` has no parameter `{name}`", one.name.text),
                _ => format!("nothing here has a parameter `{name}`"),
            };
            let known = all.iter().map(String::as_str);
            Diag::global("E0216", message).help_nearest(name, "there are", known)
        })
        .collect();
    if diags.is_empty() { Ok(()) } else { Err(Failure::Invalid(diags)) }
}

/// Those of the settings that a declaration takes.
pub fn own(given: &BTreeMap<String, Setting>, decl: &Decl) -> BTreeMap<String, Setting> {
    let names = accepted(decl);
    let taken = given.iter().filter(|(name, _)| names.contains(name));
    taken.map(|(name, x)| (name.clone(), *x)).collect()
}

pub fn form_kind(form: Form) -> FormKind {
    match form {
        Form::Auto => FormKind::Auto,
        Form::Step => FormKind::Recurrent,
        Form::Chunk => FormKind::Chunk,
    }
}

/// A model at the given parameters.
pub fn built(
    namespace: &Namespace,
    decl: &Decl,
    given: &BTreeMap<String, Setting>,
) -> Result<Model, Failure> {
    let mut diags = Vec::new();
    build(namespace, decl, given, &mut diags).ok_or(Failure::Invalid(diags))
}

/// Reads `path=value` pairs.
pub fn pairs(set: &[String]) -> Result<Vec<(String, String)>, Failure> {
    set.iter()
        .map(|pair| match pair.split_once('=') {
            Some((path, value)) => Ok((path.trim().to_string(), value.trim().to_string())),
            None => Err(Failure::Usage(format!("--set {pair}: expected PATH=VALUE"))),
        })
        .collect()
}

/// The named recurrence, or all of the file's own.
pub fn chosen<'n>(
    namespace: &'n Namespace,
    kind: Kind,
    name: Option<&str>,
) -> Result<Vec<&'n Decl>, Failure> {
    match name {
        Some(name) => Ok(vec![find(namespace, kind, name)?]),
        None => {
            let own = namespace.own.iter().map(|name| &namespace.decls[name]);
            Ok(own.filter(|decl| decl.kind == kind).collect())
        }
    }
}

/// A recurrence at the given sizes, or at its declared ones.
pub fn elaborated(decl: &Decl, given: &BTreeMap<String, Setting>) -> Result<Recurrence, Failure> {
    let mut diags = Vec::new();
    elaborate(decl, given, &mut diags).ok_or(Failure::Invalid(diags))
}

/// A declaration of any kind.
pub fn named<'n>(namespace: &'n Namespace, name: &str) -> Result<&'n Decl, Failure> {
    namespace.get(name).ok_or_else(|| {
        let diag = Diag::global("E0201", format!("there is no `{name}`"));
        let known = namespace.decls.keys().map(String::as_str);
        Failure::Invalid(vec![diag.help_nearest(name, "there are", known)])
    })
}
