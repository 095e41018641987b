//! Files of named tensors (safetensors), read as f32 and checked before use.

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::ground::error::Failure;
use crate::ground::{atomic, bounded};

/// A named tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub data: Data,
}

/// Values of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Numbers; stored as f32, f16, bf16 or f64.
    F32(Vec<f32>),
    /// Whole numbers; stored as i32 or i64.
    I64(Vec<i64>),
}

impl Tensor {
    /// A tensor of numbers.
    pub fn f32(shape: Vec<usize>, data: Vec<f32>) -> Tensor {
        Tensor { shape, data: Data::F32(data) }
    }
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Reads a file. A truncated or hostile one is an error, never a panic.
pub fn read(path: &Path) -> Result<Tensors, Failure> {
    let bytes = bounded::bytes(path)?;
    parse(&bytes).map_err(|why| {
        Failure::invalid(
            "E0303",
            format!("{} is not a sound safetensors file: {why}", path.display()),
        )
    })
}

/// Reads tensors from memory.
pub fn parse(bytes: &[u8]) -> Result<Tensors, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut tensors = Tensors::new();
    for (name, view) in file.tensors() {
        let bytes = view.data();
        let data = match view.dtype() {
            Dtype::F32 => Data::F32(words(bytes, f32::from_le_bytes)),
            Dtype::F64 => Data::F32(words(bytes, |b| f64::from_le_bytes(b) as f32)),
            Dtype::F16 => Data::F32(words(bytes, |b| f16::from_le_bytes(b).to_f32())),
            Dtype::BF16 => Data::F32(words(bytes, |b| bf16::from_le_bytes(b).to_f32())),
            Dtype::I32 => Data::I64(words(bytes, |b| i32::from_le_bytes(b) as i64)),
            Dtype::I64 => Data::I64(words(bytes, i64::from_le_bytes)),
            other => {
                return Err(format!(
                    "tensor `{name}` has the type {other:?}, which is not used here"
                ));
            }
        };
        tensors.insert(name, Tensor { shape: view.shape().to_vec(), data });
    }
    Ok(tensors)
}

fn words<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (whole, _) = bytes.as_chunks::<N>();
    whole.iter().map(|chunk| read(*chunk)).collect()
}

/// Writes a file, whole or not at all.
pub fn write(path: &Path, tensors: &Tensors) -> Result<(), Failure> {
    atomic::write(path, &serialise(tensors)?)
}

/// Whether the format keeps a name for itself: a tensor of that name makes a file that nobody can read.
pub fn reserved(name: &str) -> bool {
    name == "__metadata__"
}

/// The bytes of a file.
pub fn serialise(tensors: &Tensors) -> Result<Vec<u8>, Failure> {
    if let Some(name) = tensors.keys().find(|name| reserved(name)) {
        return Err(Failure::World(format!("a tensor cannot be called `{name}`")));
    }
    let bytes: Vec<(&String, &Tensor, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let bytes = match &tensor.data {
                Data::F32(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
                Data::I64(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            };
            (name, tensor, bytes)
        })
        .collect();
    let mut views = Vec::new();
    for (name, tensor, bytes) in &bytes {
        let dtype = match tensor.data {
            Data::F32(_) => Dtype::F32,
            Data::I64(_) => Dtype::I64,
        };
        let view = TensorView::new(dtype, tensor.shape.clone(), bytes)
            .map_err(|error| Failure::World(format!("tensor `{name}`: {error}")))?;
        views.push((name.as_str(), view));
    }
    let metadata = Some([("format".to_string(), "pt".to_string())].into());
    safetensors::serialize(views, metadata).map_err(|error| Failure::World(error.to_string()))
}
