//! Declarations from a file, a text or the library.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lrc_dsl::ast::{Decl, Kind};
use lrc_dsl::{Diag, Namespace, Sources};
use lrc_runtime::config::open::find;
use lrc_runtime::ground::error::{Failure, at_path};
use lrc_runtime::ground::library::LIBRARY;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::{deep, errors};

/// A text that was read, with what it uses.
#[derive(Debug, Default)]
pub struct Read {
    /// The texts, which findings point into.
    pub sources: Sources,
    /// What they declare.
    pub namespace: Namespace,
}

/// Where a text comes from.
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// The text itself.
    Text(String),
    /// What the library declares under a name, or one of its files.
    Library(Kind, String),
}

impl Origin {
    /// What Python's functions take: a path, or the text where `text` says so.
    pub fn of(source: &str, kind: &str, what: Kind) -> Origin {
        match kind {
            "text" => Origin::Text(source.to_string()),
            "library" => Origin::Library(what, source.to_string()),
            _ => Origin::File(PathBuf::from(source)),
        }
    }

    /// Reads it; findings are given whether or not they are errors.
    fn read(&self, sources: &mut Sources) -> Result<(Namespace, Vec<Diag>), Failure> {
        match self {
            Origin::File(path) => {
                lrc_dsl::load(path, LIBRARY, sources).map_err(at_path("read", path))
            }
            Origin::Text(text) => {
                Ok(lrc_dsl::load_text("text", text.clone(), Some(Path::new(".")), LIBRARY, sources))
            }
            Origin::Library(kind, name) => {
                let all = Namespace { library: LIBRARY, ..Namespace::default() };
                let path =
                    if name.ends_with(".arch") { Some(&**name) } else { all.shipped(*kind, name) };
                let file = path.and_then(|path| LIBRARY.iter().find(|(known, _)| *known == path));
                let Some((path, text)) = file else {
                    let message = format!("the library has no {} `{name}`", kind.word());
                    let known: Vec<&str> = shipped(*kind).collect();
                    let diag =
                        Diag::global("E0201", message).help_nearest(name, "there are", known);
                    return Err(Failure::Invalid(vec![diag]));
                };
                Ok(lrc_dsl::load_text(path, (*text).to_string(), None, LIBRARY, sources))
            }
        }
    }
}

/// The names of a kind that shipped files declare.
fn shipped(kind: Kind) -> impl Iterator<Item = &'static str> {
    let lines = LIBRARY.iter().flat_map(|(_, text)| text.lines());
    lines.filter_map(move |line| {
        let rest = line.strip_prefix(kind.word())?.trim_start();
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
    })
}

/// Reads declarations; an error of the text is an exception.
pub fn read(py: Python, origin: Origin) -> PyResult<Read> {
    let mut sources = Sources::default();
    let result = deep(py, || match origin.read(&mut sources) {
        Ok((_, diags)) if diags.iter().any(Diag::is_error) => Err(Failure::Invalid(diags)),
        Ok((namespace, _)) => Ok(namespace),
        Err(failure) => Err(failure),
    })?;
    match result {
        Ok(namespace) => Ok(Read { sources, namespace }),
        Err(failure) => Err(errors::exception(py, &sources, &failure)),
    }
}

impl Read {
    /// A declaration by name, or the only one of a kind that the text itself has.
    pub fn choose(&self, kind: Kind, name: Option<&str>) -> Result<Decl, Failure> {
        if let Some(name) = name {
            return find(&self.namespace, kind, name).cloned();
        }
        let own = self.namespace.own.iter().map(|name| &self.namespace.decls[name]);
        let own: Vec<&Decl> = own.filter(|decl| decl.kind == kind).collect();
        match own[..] {
            [only] => Ok(only.clone()),
            [] => {
                let message = format!("the text declares no {}", kind.word());
                Err(Failure::invalid("E0201", message))
            }
            _ => {
                let names: Vec<&str> = own.iter().map(|decl| decl.name.text.as_str()).collect();
                let several = format!("the text declares several of kind {}", kind.word());
                Err(Failure::Usage(format!("{several}, name one: {}", names.join(", "))))
            }
        }
    }
}

/// A shared text.
pub type Shared = Arc<Read>;

/// Everything that is wrong with declarations, as dictionaries, and the text that shows it.
#[pyfunction]
pub fn check<'py>(
    py: Python<'py>,
    source: &str,
    kind: &str,
) -> PyResult<(Bound<'py, PyList>, String)> {
    let origin = Origin::of(source, kind, Kind::Recurrence);
    let mut sources = Sources::default();
    let found = deep(py, || {
        let (namespace, mut diags) = match origin.read(&mut sources) {
            Ok(read) => read,
            Err(Failure::Invalid(diags)) => return Ok(diags),
            Err(failure) => return Err(failure),
        };
        lrc_compiler::check::check(&namespace, &mut diags);
        Ok(diags)
    })?;
    match found {
        Ok(diags) => {
            let text = if diags.is_empty() {
                String::new()
            } else {
                lrc_dsl::render(&sources, &diags, false)
            };
            Ok((errors::findings(py, &sources, &diags)?, text))
        }
        Err(failure) => Err(errors::exception(py, &sources, &failure)),
    }
}

/// The names of everything of a kind that the library declares.
#[pyfunction]
pub fn shipped_names(kind: &str) -> Vec<&'static str> {
    let kind = match kind {
        "mixer" => Kind::Mixer,
        "model" => Kind::Model,
        _ => Kind::Recurrence,
    };
    shipped(kind).collect()
}
