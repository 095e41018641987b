//! What instructions do to the values of 32 lanes.

use super::instruction::{One, Order, Two, Type};
use super::warp::{LANES, Word};

pub(super) fn float(f: impl Fn(f32, f32) -> f32, a: &Word, b: &Word) -> Word {
    std::array::from_fn(|lane| f(f32::from_bits(a[lane]), f32::from_bits(b[lane])).to_bits())
}

pub(super) fn two(f: Two, ty: Type, a: &Word, b: &Word) -> Word {
    if ty == Type::F32 {
        return match f {
            Two::Add => float(|a, b| a + b, a, b),
            Two::Sub => float(|a, b| a - b, a, b),
            Two::Mul => float(|a, b| a * b, a, b),
            Two::Div => float(|a, b| a / b, a, b),
            Two::Min => float(f32::min, a, b),
            _ => float(f32::max, a, b),
        };
    }
    let signed = matches!(ty, Type::S32 | Type::S16);
    let each = |f: fn(u32, u32) -> u32| -> Word { std::array::from_fn(|lane| f(a[lane], b[lane])) };
    let value = match (f, signed) {
        (Two::Add, _) => each(u32::wrapping_add),
        (Two::Sub, _) => each(u32::wrapping_sub),
        (Two::Mul, _) => each(u32::wrapping_mul),
        (Two::High, true) => {
            each(|a, b| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32)
        }
        (Two::High, false) => each(|a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32),
        (Two::Div, true) => each(|a, b| (a as i32).checked_div(b as i32).unwrap_or(0) as u32),
        (Two::Div, false) => each(|a, b| a.checked_div(b).unwrap_or(0)),
        (Two::Rem, true) => each(|a, b| (a as i32).checked_rem(b as i32).unwrap_or(0) as u32),
        (Two::Rem, false) => each(|a, b| a.checked_rem(b).unwrap_or(0)),
        (Two::Min, true) => each(|a, b| (a as i32).min(b as i32) as u32),
        (Two::Min, false) => each(u32::min),
        (Two::Max, true) => each(|a, b| (a as i32).max(b as i32) as u32),
        (Two::Max, false) => each(u32::max),
        (Two::And, _) => each(|a, b| a & b),
        (Two::Or, _) => each(|a, b| a | b),
        (Two::Xor, _) => each(|a, b| a ^ b),
        (Two::Shl, _) => each(|a, b| a.checked_shl(b).unwrap_or(0)),
        (Two::Shr, true) => each(|a, b| ((a as i32) >> b.min(31)) as u32),
        (Two::Shr, false) => each(|a, b| a.checked_shr(b).unwrap_or(0)),
    };
    if ty.bytes() == 2 { value.map(|x| x & 0xffff) } else { value }
}

pub(super) fn long_function(f: Two, ty: Type) -> fn(u64, u64) -> u64 {
    let signed = ty == Type::S64;
    match (f, signed) {
        (Two::Add, _) => u64::wrapping_add,
        (Two::Sub, _) => u64::wrapping_sub,
        (Two::Mul, _) => u64::wrapping_mul,
        (Two::High, true) => |a, b| ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64,
        (Two::High, false) => |a, b| ((u128::from(a) * u128::from(b)) >> 64) as u64,
        (Two::Div, true) => |a, b| (a as i64).checked_div(b as i64).unwrap_or(0) as u64,
        (Two::Div, false) => |a, b| a.checked_div(b).unwrap_or(0),
        (Two::Rem, true) => |a, b| (a as i64).checked_rem(b as i64).unwrap_or(0) as u64,
        (Two::Rem, false) => |a, b| a.checked_rem(b).unwrap_or(0),
        (Two::Min, true) => |a, b| (a as i64).min(b as i64) as u64,
        (Two::Min, false) => u64::min,
        (Two::Max, true) => |a, b| (a as i64).max(b as i64) as u64,
        (Two::Max, false) => u64::max,
        (Two::And, _) => |a, b| a & b,
        (Two::Or, _) => |a, b| a | b,
        (Two::Xor, _) => |a, b| a ^ b,
        (Two::Shl, _) => |a, b| a.checked_shl(b as u32).unwrap_or(0),
        (Two::Shr, true) => |a, b| ((a as i64) >> b.min(63)) as u64,
        (Two::Shr, false) => |a, b| a.checked_shr(b as u32).unwrap_or(0),
    }
}

pub(super) fn one(f: One, ty: Type, x: u32) -> u32 {
    let float = |f: fn(f32) -> f32| f(f32::from_bits(x)).to_bits();
    match (f, ty) {
        (One::Neg, Type::F32) => float(|x| -x),
        (One::Neg, _) => x.wrapping_neg(),
        (One::Not, Type::Pred) => u32::from(x == 0),
        (One::Not, Type::U16 | Type::S16) => !x & 0xffff,
        (One::Not, _) => !x,
        (One::Abs, Type::F32) => float(f32::abs),
        (One::Abs, _) => (x as i32).unsigned_abs(),
        (One::Exp2, _) => float(f32::exp2),
        (One::Log2, _) => float(f32::log2),
        (One::Sqrt, _) => float(f32::sqrt),
        (One::Recip, _) => float(|x| 1.0 / x),
        (One::RecipSqrt, _) => float(|x| 1.0 / x.sqrt()),
        (One::Sin, _) => float(f32::sin),
        (One::Cos, _) => float(f32::cos),
        (One::Clz, _) => x.leading_zeros(),
    }
}

pub(super) fn convert(x: u64, from: Type, to: Type, whole: bool) -> u64 {
    let number = match from {
        Type::F32 => {
            let x = f32::from_bits(x as u32);
            return match to {
                Type::F32 if whole => u64::from(x.round_ties_even().to_bits()),
                Type::F32 => u64::from(x.to_bits()),
                Type::Bf16 => u64::from(half::bf16::from_f32(x).to_bits()),
                Type::S32 => (x as i32) as u32 as u64,
                Type::U32 => u64::from(x as u32),
                Type::S64 => (x as i64) as u64,
                _ => x as u64,
            };
        }
        Type::S32 => i64::from(x as u32 as i32),
        Type::S16 => i64::from(x as u16 as i16),
        Type::U32 => i64::from(x as u32),
        Type::U16 => i64::from(x as u16),
        Type::B8 => i64::from(x as u8),
        _ => x as i64,
    };
    match to {
        Type::F32 => u64::from((number as f32).to_bits()),
        Type::U16 | Type::S16 => number as u64 & 0xffff,
        Type::U32 | Type::S32 => u64::from(number as u32),
        _ => number as u64,
    }
}

pub(super) fn compare(order: Order, unordered: bool, ty: Type, a: u64, b: u64) -> bool {
    use std::cmp::Ordering;
    let found = match ty {
        Type::F32 => f32::from_bits(a as u32).partial_cmp(&f32::from_bits(b as u32)),
        Type::S32 => Some((a as u32 as i32).cmp(&(b as u32 as i32))),
        Type::S16 => Some((a as u16 as i16).cmp(&(b as u16 as i16))),
        Type::U32 => Some((a as u32).cmp(&(b as u32))),
        Type::U16 => Some((a as u16).cmp(&(b as u16))),
        Type::S64 => Some((a as i64).cmp(&(b as i64))),
        _ => Some(a.cmp(&b)),
    };
    let Some(found) = found else { return unordered };
    match order {
        Order::Eq => found == Ordering::Equal,
        Order::Ne => found != Ordering::Equal,
        Order::Lt => found == Ordering::Less,
        Order::Le => found != Ordering::Greater,
        Order::Gt => found == Ordering::Greater,
        Order::Ge => found != Ordering::Less,
        Order::Num => !unordered,
    }
}

/// `a b + c` for 16 rows, 16 terms and 8 columns, with the fragments' layout of the PTX manual.
pub(super) fn multiply(a: &[Word; 4], b: &[Word; 2], c: &[Word; 4]) -> [Word; 4] {
    let bf16 = |word: u32, high: usize| {
        f32::from_bits(if high == 1 { word & 0xffff_0000 } else { word << 16 })
    };
    let mut left = [[0.0_f32; 16]; 16];
    let mut right = [[0.0_f32; 16]; 8];
    for lane in 0..LANES {
        let (g, t) = (lane / 4, lane % 4 * 2);
        for high in 0..2 {
            for part in 0..4 {
                left[g + part % 2 * 8][t + high + part / 2 * 8] = bf16(a[part][lane], high);
            }
            for part in 0..2 {
                right[g][t + high + part * 8] = bf16(b[part][lane], high);
            }
        }
    }
    let mut d = *c;
    for lane in 0..LANES {
        for part in 0..4 {
            let (row, col) = (lane / 4 + part / 2 * 8, lane % 4 * 2 + part % 2);
            let products = left[row].iter().zip(&right[col]).map(|(a, b)| a * b);
            let sum = f32::from_bits(c[part][lane]) + products.sum::<f32>();
            d[part][lane] = sum.to_bits();
        }
    }
    d
}
