//! A file and everything it uses, in one namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::ast::{Decl, Kind, Name};
use crate::diag::Diag;
use crate::parse::{MAX_BYTES, parse};
use crate::span::Sources;
use crate::text::plain;

/// The shipped files by path (`recurrences/gla.arch`) and text.
pub type Library = &'static [(&'static str, &'static str)];

/// Every declaration that a file can name: its own and those of the files it uses.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    /// Declarations by name.
    pub decls: BTreeMap<String, Decl>,
    /// Names declared by the file itself, in order.
    pub own: Vec<String>,
    /// The shipped files, for hints.
    pub library: Library,
}

impl Namespace {
    /// The declaration of a name.
    pub fn get(&self, name: &str) -> Option<&Decl> {
        self.decls.get(name)
    }

    /// The shipped file that declares a name, as `use` takes it.
    pub fn shipped(&self, kind: Kind, name: &str) -> Option<&'static str> {
        let declares = |text: &str| {
            let lines = text.lines().filter_map(|line| line.strip_prefix(kind.word()));
            let mut names = lines.map(|rest| {
                rest.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next()
            });
            names.any(|declared| declared == Some(name))
        };
        self.library.iter().find(|(_, text)| declares(text)).map(|(path, _)| *path)
    }

    /// All names of one kind.
    pub fn names(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.decls.values().filter(move |d| d.kind == kind).map(|d| d.name.text.as_str())
    }
}

/// Reads `path` and the files it uses. A `use` is looked up beside the file that says it, then in
/// the shipped library.
pub fn load(
    path: &Path,
    library: Library,
    sources: &mut Sources,
) -> Result<(Namespace, Vec<Diag>), std::io::Error> {
    let text = read_text(path)?;
    Ok(load_text(&path.display().to_string(), text, path.parent(), library, sources))
}

/// As [`load`], from a text already in memory; `folder` is where its `use`s are looked up first.
pub fn load_text(
    name: &str,
    text: String,
    folder: Option<&Path>,
    library: Library,
    sources: &mut Sources,
) -> (Namespace, Vec<Diag>) {
    let mut loader = Loader {
        library,
        sources,
        namespace: Namespace { library, ..Namespace::default() },
        diags: Vec::new(),
        seen: BTreeSet::new(),
    };
    loader.read(name, text, folder, true);
    (loader.namespace, loader.diags)
}

fn twice(again: &Name, first: &Name) -> Diag {
    Diag::error("E0105", again.span, format!("`{}` is declared twice", again.text))
        .label("declared again")
        .other(first.span, "first declared here")
}

/// The text of a file. What never ends, such as a device, is read no further than the longest text.
fn read_text(path: &Path) -> Result<String, std::io::Error> {
    let refused = |why: String| std::io::Error::new(std::io::ErrorKind::InvalidData, why);
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(refused(format!("it has more than {MAX_BYTES} bytes")));
    }
    plain(bytes).map_err(|why| refused(format!("the file is {why}")))
}

/// What a file is known by, however its path is spelled.
fn identity(name: &str) -> String {
    std::fs::canonicalize(name).map_or_else(|_| name.to_string(), |path| path.display().to_string())
}

struct Loader<'a> {
    library: Library,
    sources: &'a mut Sources,
    namespace: Namespace,
    diags: Vec<Diag>,
    seen: BTreeSet<String>,
}

impl Loader<'_> {
    fn read(&mut self, name: &str, text: String, folder: Option<&Path>, own: bool) {
        if !self.seen.insert(identity(name)) {
            return;
        }
        let file = self.sources.add(name, text.as_str());
        let (tree, diags) = parse(file, &text);
        self.diags.extend(diags);
        for used in &tree.uses {
            match self.find(&used.text, folder, name) {
                Ok(Some((name, text, folder))) => self.read(&name, text, folder.as_deref(), false),
                Ok(None) => self.diags.push(
                    Diag::error("E0104", used.span, format!("cannot find `{}`", used.text))
                        .help_nearest(
                            &used.text,
                            "the library has",
                            self.library.iter().map(|f| f.0),
                        ),
                ),
                Err(error) => self.diags.push(Diag::error(
                    "E0104",
                    used.span,
                    format!("cannot read `{}`: {error}", used.text),
                )),
            }
        }
        for decl in tree.decls {
            self.declare(decl, own);
        }
    }

    fn declare(&mut self, decl: Decl, own: bool) {
        let name = decl.name.text.clone();
        for (at, (again, _)) in decl.settings.iter().enumerate() {
            if let Some((first, _)) = decl.settings[..at].iter().find(|(n, _)| n.text == again.text)
            {
                self.diags.push(twice(again, first));
            }
        }
        if let Some(first) = self.namespace.decls.get(&name) {
            self.diags.push(twice(&decl.name, &first.name).help("give one of them another name"));
            return;
        }
        if own {
            self.namespace.own.push(name.clone());
        }
        self.namespace.decls.insert(name, decl);
    }

    fn find(
        &self,
        path: &str,
        folder: Option<&Path>,
        by: &str,
    ) -> Result<Option<(String, String, Option<PathBuf>)>, std::io::Error> {
        if let Some(folder) = folder {
            let beside = folder.join(path);
            if beside.is_file() {
                let text = read_text(&beside)?;
                let parent = beside.parent().map(Path::to_path_buf);
                return Ok(Some((beside.display().to_string(), text, parent)));
            }
        }
        // A library path, or one beside the library file that asks.
        let plain = path.trim_start_matches("../").trim_start_matches("./");
        let own = by.strip_prefix("lrc:").unwrap_or(by);
        let beside = own.rsplit_once('/').map(|(folder, _)| format!("{folder}/{plain}"));
        let is_it = |name: &str| name == plain || beside.as_deref() == Some(name);
        let shipped = self.library.iter().find(|(name, _)| is_it(name));
        Ok(shipped.map(|(name, text)| (format!("lrc:{name}"), text.to_string(), None)))
    }
}
