//! The numbers that the paths of a supernet share: of each path those parameters whose names and shapes it has.

use std::collections::HashMap;

use lrc_compiler::graph::{Model, Param};
use lrc_compiler::tile::size;

use crate::config::Spec;
use crate::ground::error::Failure;
use crate::model::fresh;
use crate::optim::Moments;
use crate::train::engine::Numbers;

/// Parameters of all paths, each once.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// What they are; of two with one name and different shapes the name of the later one says its shape.
    pub params: Vec<Param>,
    /// Which running means of them are kept.
    pub remembered: Vec<[bool; 2]>,
    known: HashMap<(String, Vec<usize>), usize>,
}

impl Shared {
    /// Takes in a path's parameters; where each of them is among all.
    pub(super) fn take(&mut self, model: &Model, spec: &Spec) -> Result<Vec<usize>, Failure> {
        let groups = spec.optimizer.param_groups(model)?;
        let each = model.graph.params.iter().zip(&groups);
        let at = each.map(|(param, group)| {
            let key = (param.name.clone(), param.shape.clone());
            if let Some(at) = self.known.get(&key) {
                return *at;
            }
            let at = self.params.len();
            let mut param = param.clone();
            if self.params.iter().any(|other| other.name == param.name) {
                let sizes: Vec<String> = param.shape.iter().map(usize::to_string).collect();
                param.name = format!("{}.{}", param.name, sizes.join("x"));
            }
            self.known.insert(key, at);
            self.params.push(param);
            self.remembered.push(group.remembered());
            at
        });
        Ok(at.collect())
    }

    /// Numbers before the first step.
    pub(super) fn fresh(&self, seed: u64) -> Numbers {
        let zeros = |which: usize| {
            let each = self.params.iter().zip(&self.remembered);
            let one = |(param, kept): (&Param, &[bool; 2])| match kept[which] {
                true => vec![0.0; size(&param.shape)],
                false => vec![],
            };
            each.map(one).collect()
        };
        let moments = Moments { first: zeros(0), second: zeros(1) };
        Numbers { params: fresh(&self.params, seed), moments }
    }
}

/// The numbers of one path, out of those of all.
pub(super) fn of_path(all: &Numbers, at: &[usize]) -> Numbers {
    let some = |all: &[Vec<f32>]| at.iter().map(|at| all[*at].clone()).collect();
    let moments = Moments { first: some(&all.moments.first), second: some(&all.moments.second) };
    Numbers { params: some(&all.params), moments }
}

/// Puts the numbers of one path among those of all; the others stay as they are.
pub(super) fn put(all: &mut Numbers, at: &[usize], own: Numbers) {
    let put = |all: &mut [Vec<f32>], own: Vec<Vec<f32>>| {
        at.iter().zip(own).for_each(|(at, own)| all[*at] = own);
    };
    put(&mut all.params, own.params);
    put(&mut all.moments.first, own.moments.first);
    put(&mut all.moments.second, own.moments.second);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;
    use crate::config::open::open;

    /// A study's space of two values of `hidden`: what the two models have in common is one, and the rest rests.
    #[test]
    fn paths_share_what_has_one_name_and_one_shape_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("lrc-weights-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let spec = "model: {file: m.arch}\ntask: {parity: {length: 8}}\nlength: 2 steps\n";
        let arch = "mixer one(hidden = 4) { h : [hidden] = silu(linear(x))\n out y = linear(h) }
            model m(width = 8, hidden = 4) { vocab 4; residual x + f(rmsnorm(x))\n one(hidden = hidden)\n head rmsnorm(x), untied }";
        std::fs::write(folder.join("spec.yaml"), spec).unwrap();
        std::fs::write(folder.join("m.arch"), arch).unwrap();
        let mut shared = Shared::default();
        let mut take = |hidden: &str| {
            let set = vec![("model.set.hidden".to_string(), hidden.to_string())];
            let opened = open(&folder.join("spec.yaml"), &set, &mut Default::default()).unwrap();
            shared.take(&opened.model, &opened.spec).unwrap()
        };
        let (four, six, again) = (take("4"), take("6"), take("4"));
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(four, again);
        let both: Vec<usize> = four.iter().copied().filter(|at| six.contains(at)).collect();
        // Two matrices have another shape; embedding, norms and head have not.
        assert_eq!((four.len() - both.len(), six.len() - both.len()), (2, 2));
        let names: std::collections::BTreeSet<&str> =
            shared.params.iter().map(|param| param.name.as_str()).collect();
        assert_eq!(names.len(), shared.params.len(), "{names:?}");
        let mut all = shared.fresh(1);
        let before = all.clone();
        let mut own = of_path(&all, &six);
        let every =
            own.params.iter_mut().chain(&mut own.moments.first).chain(&mut own.moments.second);
        every.for_each(|values| values.iter_mut().for_each(|x| *x += 1.0));
        put(&mut all, &six, own);
        for at in 0..shared.params.len() {
            let changed = all.params[at] != before.params[at];
            assert_eq!(changed, six.contains(&at), "{}", shared.params[at].name);
            assert_eq!(all.moments.first[at] != before.moments.first[at], changed);
            assert_eq!(all.moments.second[at] != before.moments.second[at], changed);
        }
    }
}
