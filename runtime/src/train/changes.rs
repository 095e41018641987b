//! What differs between the spec and the model that a run's folder keeps and those that the run is taken up with.

use std::collections::BTreeMap;
use std::path::Path;

use lrc_dsl::ast::File;
use lrc_dsl::print::print;
use lrc_dsl::{Sources, parse};

use crate::config::tree::{self, Tree, Value};
use crate::config::{self, Spec};
use crate::ground::bounded;
use crate::ground::error::Failure;

/// The most bytes of a kept spec or model that are read.
const KEPT: u64 = 64 << 20;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where: a path of the spec, or a declaration.
    path: String,
    /// Both values.
    said: String,
    /// Whether it decides which data comes next, or what the model computes. What moves the position in the data besides
    /// shows when the data is walked.
    pub decides: bool,
}

/// All differences.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// One by one.
    pub all: Vec<Change>,
    /// The spec that the folder keeps, where this version can read it.
    pub before: Option<Spec>,
}

impl Changes {
    /// Compares what a folder keeps with a spec and the text of its model.
    pub fn of(folder: &Path, spec: &Spec, arch: &str) -> Changes {
        let mut changes = Changes::default();
        changes.compare_specs(&folder.join("spec.resolved.yaml"), spec);
        changes.compare_models(&folder.join("model.arch"), arch);
        changes
    }

    /// In words, the ones that decide or all.
    pub fn said(&self, deciding: bool) -> String {
        let those = self.all.iter().filter(|change| change.decides || !deciding);
        those
            .map(|Change { path, said, .. }| format!("{path}: {said}"))
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// Whether one of them decides what is learned.
    pub fn decide(&self) -> bool {
        self.all.iter().any(|change| change.decides)
    }

    fn add(&mut self, path: &str, said: String, decides: bool) {
        self.all.push(Change { path: path.to_string(), said, decides });
    }

    fn compare_specs(&mut self, path: &Path, now: &Spec) {
        let mut sources = Sources::default();
        let read = bounded::text(path, KEPT).ok().and_then(|text| {
            let file = sources.add(path.display().to_string(), text.as_str());
            // What an earlier version kept says less, and means its defaults.
            let before = config::read(path, file, &text, &[]).ok()?;
            let tree = tree::parse(file, &before.resolved).ok()?;
            Some((before, tree, tree::parse(file, &now.resolved).ok()?))
        });
        let Some((before, then, now)) = read else {
            return self.add("spec.resolved.yaml", "it cannot be read and compared".into(), true);
        };
        let mut found = Vec::new();
        differ("", &then, &now, &mut found);
        for (path, said) in found {
            let part = path.split('.').next().unwrap_or_default();
            // The folder has its own name, its own file of the model and its own table of choices.
            if path != "name" && path != "model.file" && path != "tuned" {
                let decides =
                    matches!(part, "model" | "task" | "data" | "seed" | "curriculum" | "lora");
                self.add(&path, said, decides);
            }
        }
        self.before = Some(before);
    }

    fn compare_models(&mut self, path: &Path, now: &str) {
        let Ok(text) = bounded::text(path, KEPT) else {
            return self.add("model.arch", "it cannot be read and compared".into(), true);
        };
        let (then, now) = (declared(&text), declared(now));
        for (name, now) in &now {
            match then.get(name) {
                Some(then) if then == now => {}
                Some(_) => self.add("model.arch", format!("`{name}` is another"), true),
                None => self.add("model.arch", format!("`{name}` is new"), false),
            }
        }
        // Nothing names it: what names it would be another.
        for name in then.keys().filter(|name| !now.contains_key(*name)) {
            self.add("model.arch", format!("`{name}` is gone"), false);
        }
    }

    /// Refuses what decides what is learned.
    pub fn refuse(&self, folder: &Path, why: &str) -> Failure {
        Failure::Usage(format!(
            "{} holds a run of another spec, and {why}: {}; take the values of the folder or another folder (--out), or \
             go on all the same with --allow-changes",
            folder.display(),
            self.said(self.decide())
        ))
    }
}

/// The declarations of a text by name, as they are printed.
fn declared(text: &str) -> BTreeMap<String, String> {
    let file = Sources::default().add("model.arch".to_string(), text);
    let (File { decls, .. }, _) = parse(file, text);
    let printed = decls.into_iter().map(|decl| {
        let name = decl.name.text.clone();
        (name, print(&File::of(vec![decl])))
    });
    printed.collect()
}

/// Whether two texts lead to one file: from another working folder a path is spelled differently.
fn one_file(then: &str, now: &str) -> bool {
    let file = |text: &str| Path::new(text).canonicalize().ok();
    file(then).is_some() && file(then) == file(now)
}

/// The paths at which two trees differ, with both values.
fn differ(path: &str, then: &Tree, now: &Tree, found: &mut Vec<(String, String)>) {
    let (Value::Map(old), Value::Map(new)) = (&then.value, &now.value) else {
        let text = |tree: &Tree| tree.scalar().unwrap_or_else(|| tree.inline());
        let (then, now) = (text(then), text(now));
        if then != now && !one_file(&then, &now) {
            found.push((path.to_string(), format!("{then} → {now}")));
        }
        return;
    };
    let below = |name: &str| if path.is_empty() { name.into() } else { format!("{path}.{name}") };
    let nothing = Tree { value: Value::Null, span: None };
    let get = |map: &[(tree::Key, Tree)], name: &str| {
        map.iter()
            .find(|(key, _)| key.text == name)
            .map_or(nothing.clone(), |(_, tree)| tree.clone())
    };
    let added = new.iter().filter(|(key, _)| !old.iter().any(|(other, _)| other.text == key.text));
    for (key, _) in old.iter().chain(added) {
        differ(&below(&key.text), &get(old, &key.text), &get(new, &key.text), found);
    }
}
