//! What `lrc compile --emit cubin,launch` writes: the launches of every call, and machine code that no other stage has.

use std::collections::BTreeMap;
use std::sync::Arc;

use lrc_runtime::device::recorder::Text;
use lrc_runtime::recurrence::launches::{Argument, Launched, Value};
use serde_json::{Map, Value as Json, json};

/// Launches of recurrences, as they come.
#[derive(Default)]
pub struct Launches {
    /// The document so far.
    all: Vec<Json>,
    /// Kernels by the names of their files, without the stage.
    files: BTreeMap<String, Arc<Text>>,
}

impl Launches {
    /// Adds what a recurrence's calls start; gives the kernels whose files are new, with their names.
    pub fn add(
        &mut self,
        recurrence: &str,
        arch: &str,
        launched: &[Launched],
    ) -> Vec<(String, Arc<Text>)> {
        let mut new = Vec::new();
        let mut names = vec![None; launched.len()];
        // Files of other stages have the names of kernels of training: forward alone comes last.
        let (last, first): (Vec<_>, Vec<_>) =
            launched.iter().enumerate().partition(|(_, one)| one.phase == "forward");
        for (at, one) in first.into_iter().chain(last) {
            names[at] = one.kernel.as_ref().map(|kernel| {
                let (name, made) = self.file(kernel, one.phase, arch);
                new.extend(made.then(|| (name.clone(), kernel.clone())));
                name
            });
        }
        let both = launched.iter().zip(names);
        self.all.extend(both.map(|(one, file)| document(recurrence, arch, one, file)));
        new
    }

    /// The name of the file of a kernel, and whether it is new: its own, unless another text has that.
    fn file(&mut self, kernel: &Arc<Text>, phase: &str, arch: &str) -> (String, bool) {
        let plain = format!("{}.{arch}", kernel.name);
        let others = (1..).map(|n| match n {
            1 => format!("{}.{phase}.{arch}", kernel.name),
            n => format!("{}.{phase}{n}.{arch}", kernel.name),
        });
        for name in [plain].into_iter().chain(others) {
            match self.files.get(&name) {
                Some(known) if known.text == kernel.text => return (name, false),
                Some(_) => {}
                None => {
                    self.files.insert(name.clone(), kernel.clone());
                    return (name, true);
                }
            }
        }
        (kernel.name.clone(), false)
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let lines: Vec<String> = self.all.iter().map(Json::to_string).collect();
        format!("[\n{}\n]\n", lines.join(",\n"))
    }
}

fn document(recurrence: &str, arch: &str, launched: &Launched, file: Option<String>) -> Json {
    let [blocks, threads, shared] = launched.size;
    let mut all = Map::new();
    let mut put = |name: &str, value: Json| all.insert(name.into(), value);
    put("recurrence", json!(recurrence));
    put("phase", json!(launched.phase));
    put("arch", json!(arch));
    if let (Some(kernel), Some(file)) = (&launched.kernel, file) {
        put("kernel", json!(kernel.name));
        put("symbol", json!(kernel.name));
        put("file", json!(file));
        put("grid", json!([blocks, 1, 1]));
        put("warps", json!(threads / 32));
        put("shared", json!(shared));
    } else {
        put("kernel", json!("memset"));
    }
    put("args", launched.arguments.iter().map(argument).collect());
    if let Some(planned) = &launched.planned {
        put("chunk", json!(planned.chunk));
        if planned.serial {
            put("length_from", json!("bounds"));
        }
        put("steps", json!(planned.steps));
    }
    Json::Object(all)
}

fn argument(Argument { name, held, value }: &Argument) -> Json {
    match value {
        Value::Tensor { tensor, bytes, role, words: None, .. } => {
            json!({ "name": name, "ptr": bytes, "dtype": held, "tensor": tensor, "role": role.name() })
        }
        Value::Tensor { tensor, bytes, role, words: Some(words), .. } => json!({
            "name": name, "ptr": bytes, "dtype": held, "tensor": tensor, "role": role.name(), "words": words,
        }),
        Value::Null => json!({ "name": name, "ptr": 0, "dtype": held }),
        Value::Number(x) => json!({ "name": name, "value": x, "type": "i32" }),
        Value::Float(x) => json!({ "name": name, "value": x, "type": "fp32" }),
    }
}
