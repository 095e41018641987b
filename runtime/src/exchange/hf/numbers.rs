//! Numbers of stored tensors: f32, bf16 and f16, from which f32 has them exactly.

use half::{bf16, f16};
use safetensors::tensor::Dtype;

/// Whether numbers of a type are read and written without a loss.
pub fn known(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16)
}

/// The numbers of stored bytes of a [`known`] type.
pub fn read(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let pairs = || bytes.as_chunks::<2>().0.iter().copied();
    match dtype {
        Dtype::BF16 => pairs().map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
        Dtype::F16 => pairs().map(|b| f16::from_le_bytes(b).to_f32()).collect(),
        _ => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
    }
}

/// The bytes of numbers, rounded to the nearest of a [`known`] type.
pub fn write(dtype: Dtype, numbers: &[f32]) -> Vec<u8> {
    match dtype {
        Dtype::BF16 => numbers.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        Dtype::F16 => numbers.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
        _ => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}
