//! `task`: synthetic tasks.

use std::path::Path;

use super::data::anchored;
use super::fields::{Fields, finding};
use crate::data::Task;
use crate::data::tasks::{Kind, Synthetic};

/// Reads the section.
pub fn read(f: &mut Fields, base: &Path) -> Option<Task> {
    f.kind(|name, f| {
        let length = f.size("length");
        if name == "text" {
            f.need_text("path")?;
            return Some(Task::Text { path: anchored(f, "path", base)?, length });
        }
        let examples = f.get("examples").is_some().then(|| f.whole("examples"));
        let task = Synthetic { kind: Kind::read(name, f)?, length, examples };
        if let Some((message, help)) = task.wrong() {
            f.diags.push(finding(f.place(), "E0402", message).help(help));
            return None;
        }
        Some(Task::Synthetic(task))
    })?
}
