//! Embeds the shipped `.arch` library and the maps of Hugging Face's classes, so that a copied binary has them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs");
    println!("cargo::rerun-if-changed={}", root.display());
    embed(&root, "arch", "library.rs");
    embed(&root, "map", "maps.rs");
}

/// Writes a table of all files with an ending: their paths and their texts.
fn embed(root: &Path, ending: &str, table: &str) {
    let mut files = Vec::new();
    collect(root, ending, &mut files);
    files.sort();
    let mut text = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(root).expect("found below the folder");
        let name = name.to_string_lossy().replace('\\', "/");
        // Found from where the crate lies when it is compiled: a folder of builds may be shared.
        let path = format!("concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/../specs/\", {name:?})");
        writeln!(text, "    ({name:?}, include_str!({path})),")
            .expect("writing to a String never fails");
    }
    text.push_str("]\n");
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("set by cargo")).join(table);
    std::fs::write(out, text).expect("the build folder is writable");
}

fn collect(folder: &Path, ending: &str, files: &mut Vec<PathBuf>) {
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = std::fs::read_dir(folder).expect("the specs folder is part of the project");
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect(&path, ending, files);
        } else if path.extension().is_some_and(|e| e == ending) {
            files.push(path);
        }
    }
}
