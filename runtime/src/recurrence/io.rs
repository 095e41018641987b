//! Tensors by the layouts of the interface.

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::tile::size;
use lrc_dsl::Diag;

use super::fitted::Layout;
use super::run::Request;
use crate::ground::tensors::{Data, Tensor, Tensors};

/// Tensors without a declaration that are named one by one.
const STRANGERS: usize = 20;

/// Characters of a name that messages quote.
pub(super) const NAME: usize = 80;

/// Whole numbers as messages quote them.
fn listed(values: &[i64]) -> String {
    match values.get(..STRANGERS) {
        Some(first) if values.len() > STRANGERS => {
            let first: Vec<String> = first.iter().map(i64::to_string).collect();
            format!("[{}, …] ({} numbers)", first.join(", "), values.len())
        }
        _ => format!("{values:?}"),
    }
}

/// A name as messages quote it.
fn short(name: &str) -> String {
    match name.char_indices().nth(NAME) {
        Some((end, _)) => format!("{}… ({} bytes)", &name[..end], name.len()),
        None => name.to_string(),
    }
}

/// Reads and writes tensors by the layouts of the interface.
pub(super) struct Io<'a> {
    pub(super) r: &'a Recurrence,
    pub(super) tensors: &'a Tensors,
    pub(super) request: &'a Request,
    pub(super) layout: Layout,
    pub(super) bounds: Vec<usize>,
    pub(super) diags: Vec<Diag>,
}

impl Io<'_> {
    pub(super) fn read_bounds(&mut self) -> Vec<usize> {
        let Layout { batch, tokens, .. } = self.layout;
        let even: Vec<usize> = (0..=batch).map(|i| i * tokens).collect();
        let Some(tensor) = self.tensors.get("cu_seqlens") else { return even };
        let Data::I64(values) = &tensor.data else {
            let diag = Diag::global("E0303", "`cu_seqlens` holds floats, expected i32 or i64");
            self.diags.push(diag.help("it says where each sequence starts: `[0, 3, 7]`"));
            return even;
        };
        let sound = batch == 1
            && values.first() == Some(&0)
            && values.last() == Some(&(tokens as i64))
            && values.windows(2).all(|w| w[0] <= w[1]);
        if !sound {
            let message = format!(
                "`cu_seqlens` is {}: it must rise from 0 to the {tokens} tokens, with batch size 1",
                listed(values)
            );
            self.diags.push(Diag::global("E0305", message));
            return even;
        }
        values.iter().map(|&x| x as usize).collect()
    }

    /// Gradients of nothing were asked for.
    pub(super) fn ask_for_cotangents(&mut self) {
        let outs = self.r.outs.iter().map(|slot| format!("`d{}`", slot.name));
        let states = 0..self.r.states.len();
        let finals = states.map(|k| format!("`dfinal_state{}`", self.r.state_suffix(k)));
        let names: Vec<String> = outs.chain(finals).collect();
        let message = "the file has no cotangent, so there is nothing to take gradients of";
        let known = format!("give one or more of {}, or leave out `--backward`", names.join(", "));
        self.diags.push(Diag::global("E0301", message).help(known));
    }

    /// Tensors that are neither read nor an expected result point to a misspelt name.
    pub(super) fn refuse_strangers(&mut self) {
        let r = self.r;
        let mut known: Vec<String> = vec!["cu_seqlens".into()];
        for slot in r.inputs.iter().chain(&r.params).chain(&r.outs) {
            known.extend([slot.name.clone(), format!("d{}", slot.name)]);
        }
        for k in 0..r.states.len() {
            for name in ["initial_state", "final_state"] {
                let name = format!("{name}{}", r.state_suffix(k));
                known.extend([format!("d{name}"), name]);
            }
        }
        for (at, name) in known.iter().enumerate() {
            let gradient = name.starts_with('d') && !self.request.backward;
            if known[..at].contains(name) && !gradient {
                let message = format!("`{name}` of `{}` is the name of two tensors", r.name);
                let help = "in files an output `o` has the cotangent `do`, an input `x` the gradient `dx`; rename one declaration";
                self.diags.push(Diag::global("E0105", message).help(help));
            }
        }
        let strangers: Vec<&String> =
            self.tensors.keys().filter(|name| !known.contains(name)).collect();
        if strangers.len() > STRANGERS {
            let message = format!(
                "`{}` declares none of {} tensors of the file; here are the first {STRANGERS}",
                r.name,
                strangers.len()
            );
            self.diags.push(Diag::global("E0304", message));
        }
        for name in strangers.into_iter().take(STRANGERS) {
            let message = format!("`{}` declares no tensor `{}`", r.name, short(name));
            self.diags.push(Diag::global("E0304", message).help_nearest(
                &short(name),
                "it knows",
                known.iter().map(String::as_str),
            ));
        }
    }

    pub(super) fn floats(&mut self, name: &str) -> Option<(&[usize], &[f32])> {
        let tensor = self.tensors.get(name)?;
        match &tensor.data {
            Data::F32(data) => Some((&tensor.shape, data)),
            Data::I64(_) => {
                let message = format!("`{name}` holds whole numbers, expected floats");
                let diag = Diag::global("E0303", message);
                self.diags.push(diag.help("store it as f32, f64, f16 or bf16"));
                None
            }
        }
    }

    pub(super) fn expect_shape(&mut self, name: &str, got: &[usize], want: &[usize]) -> bool {
        if got == want {
            return true;
        }
        let message = format!("`{name}` has shape {got:?}, expected {want:?}");
        self.diags.push(Diag::global("E0302", message));
        false
    }

    /// An input (`front` = 2) or parameter (`front` = 0): its values and its number of heads.
    pub(super) fn operand(&mut self, name: &str, one: &[usize], front: usize) -> (Vec<f32>, usize) {
        let bf16 = self.request.bf16 && !one.is_empty() && front == 2;
        let Some((shape, data)) = self.floats(name) else { return (Vec::new(), 1) };
        let (shape, mut data) = (shape.to_vec(), data.to_vec());
        let grouped = shape.len() == front + one.len() + 1;
        let heads = if grouped { shape[front] } else { 1 };
        let want: Vec<usize> =
            [&shape[..front], if grouped { &shape[front..=front] } else { &[] }, one].concat();
        self.expect_shape(name, &shape, &want);
        if bf16 {
            data.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32());
        }
        (data, heads)
    }

    pub(super) fn heads(&self) -> Vec<usize> {
        if self.layout.head_axis { vec![self.layout.heads] } else { vec![] }
    }

    pub(super) fn state_shape(&self, k: usize) -> Vec<usize> {
        let sequences = self.bounds.len() - 1;
        [&[sequences], self.heads().as_slice(), &self.r.states[k].shape].concat()
    }

    pub(super) fn state(&mut self, name: &str, k: usize) -> Option<Vec<f32>> {
        let want = self.state_shape(k);
        let (shape, data) = self.floats(name)?;
        let (shape, data) = (shape.to_vec(), data.to_vec());
        self.expect_shape(name, &shape, &want).then_some(data)
    }

    pub(super) fn state_tensor(&self, k: usize, data: Vec<f32>) -> Tensor {
        Tensor::f32(self.state_shape(k), data)
    }

    pub(super) fn out_shape(&self, one: &[usize]) -> Vec<usize> {
        [&[self.layout.batch, self.layout.tokens], self.heads().as_slice(), one].concat()
    }

    pub(super) fn out(&self, one: &[usize], data: Vec<f32>) -> Tensor {
        debug_assert_eq!(size(&self.out_shape(one)), data.len());
        self.rounded(Tensor::f32(self.out_shape(one), data))
    }

    pub(super) fn rounded(&self, mut tensor: Tensor) -> Tensor {
        if let (true, Data::F32(values)) = (self.request.bf16, &mut tensor.data) {
            values.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32());
        }
        tensor
    }

    pub(super) fn d_out(&mut self, k: usize) -> Option<Vec<f32>> {
        let name = format!("d{}", self.r.outs[k].name);
        let want = self.out_shape(&self.r.outs[k].shape.clone());
        let (shape, data) = self.floats(&name)?;
        let tensor = Tensor::f32(shape.to_vec(), data.to_vec());
        if !self.expect_shape(&name, &tensor.shape.clone(), &want) {
            return None;
        }
        match self.rounded(tensor).data {
            Data::F32(data) => Some(data),
            Data::I64(_) => None,
        }
    }
}
