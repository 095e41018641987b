//! Dense products by cuBLASLt.
#![expect(unsafe_code, reason = "calls into cuBLASLt")]

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use cudarc::cublaslt::{result, sys};
use lrc_compiler::tile::Number;

use crate::device::library::CUBLASLT;
use crate::ground::error::Failure;
use crate::ops::dense::{Dense, Sizes};

/// Bytes that a product may use beside its operands.
pub const WORKSPACE: usize = 32 << 20;

/// The loaded library, and how each product that was asked for is computed.
#[derive(Debug)]
pub struct Blas {
    handle: sys::cublasLtHandle_t,
    plans: Mutex<HashMap<Asked, Plan>>,
}

// SAFETY: cuBLASLt's handles and descriptors belong to no thread.
unsafe impl Send for Blas {}
// SAFETY: the handle may be used by several threads at once; plans are made and read under a lock.
unsafe impl Sync for Blas {}

/// A product, and how operands and result are held.
type Asked = (Dense, Sizes, [Number; 2]);

#[derive(Debug)]
struct Plan {
    product: Product,
    /// Of the left operand, the right one and the result.
    layouts: [Layout; 3],
    how: sys::cublasLtMatmulAlgo_t,
}

/// What a product is. Freed also where a plan fails half-made, as the two below.
#[derive(Debug)]
struct Product(sys::cublasLtMatmulDesc_t);

/// How a matrix lies in memory.
#[derive(Debug)]
struct Layout(sys::cublasLtMatrixLayout_t);

/// What is asked of the way in which a product is computed.
struct Preference(sys::cublasLtMatmulPreference_t);

impl Drop for Product {
    fn drop(&mut self) {
        // SAFETY: it was made and is not used again. There is nothing to do if freeing fails.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: as above.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: as above.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}

/// A matrix in the order of columns, as the library counts: rows, columns, distance of columns, and
/// distance of the groups.
type Shape = [usize; 4];

/// The product of the library that is the transpose of ours, whose matrices are in the order of
/// rows: which operand stands left, whether left and right are transposed, and the three shapes.
fn described(kind: Dense, s: Sizes) -> (bool, [bool; 2], [Shape; 3]) {
    let [inner, outer] = s.shape;
    let x = [inner, s.rows, s.groups * inner, inner];
    let y = [outer, s.rows, s.groups * outer, outer];
    let w = [inner, outer, inner, inner * outer];
    match kind {
        // yᵀ = w xᵀ
        Dense::Forward => (true, [true, false], [w, x, y]),
        // dxᵀ = wᵀ dyᵀ
        Dense::GradInput => (true, [false, false], [w, y, x]),
        // dwᵀ = xᵀ dy
        Dense::GradWeight => (false, [false, true], [x, y, w]),
    }
}

impl Blas {
    /// Loads the library.
    pub fn load() -> Result<Blas, Failure> {
        if let Some(path) = CUBLASLT.find() {
            super::preload(&path).map_err(Failure::World)?;
        }
        // SAFETY: looks for the library by name and loads it, which runs its initialisers; without
        // this question cudarc would panic where there is none.
        if !unsafe { sys::is_culib_present() } {
            let advice = CUBLASLT.advice;
            return Err(Failure::World(format!(
                "cuBLASLt, which multiplies matrices, is not installed: {advice}"
            )));
        }
        let handle = result::create_handle().map_err(failed)?;
        Ok(Blas { handle, plans: Mutex::default() })
    }

    /// Starts a product on a stream; operands and the result are held so, the addresses are of the result, the
    /// operands in the order of [`Dense`], and [`WORKSPACE`] bytes.
    pub fn run(
        &self,
        kind: Dense,
        sizes: Sizes,
        held: [Number; 2],
        [to, a, b, workspace]: [u64; 4],
        stream: *mut c_void,
    ) -> Result<(), Failure> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = match plans.entry((kind, sizes, held)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(self.plan(kind, sizes, held)?),
        };
        let (swapped, ..) = described(kind, sizes);
        let (left, right) = if swapped { (b, a) } else { (a, b) };
        let (one, keep) = (1_f32, if kind.adds() { 1_f32 } else { 0_f32 });
        // SAFETY: the table is locked, and with it the plan's descriptors; the addresses are of tensors as
        // long as the layouts say, which `Gpu::dense` has compared, on the GPU whose stream this is.
        unsafe {
            result::matmul(
                self.handle,
                plan.product.0,
                (&raw const one).cast(),
                (&raw const keep).cast(),
                left as *const c_void,
                plan.layouts[0].0,
                right as *const c_void,
                plan.layouts[1].0,
                to as *const c_void,
                plan.layouts[2].0,
                to as *mut c_void,
                plan.layouts[2].0,
                &raw const plan.how,
                workspace as *mut c_void,
                WORKSPACE,
                stream.cast(),
            )
        }
        .map_err(failed)
    }

    fn plan(
        &self,
        kind: Dense,
        sizes: Sizes,
        [operands, to]: [Number; 2],
    ) -> Result<Plan, Failure> {
        let (_, transposed, shapes) = described(kind, sizes);
        // Operands that are f32 in memory are rounded to bf16 on the way to the matrix units.
        let product = result::create_matmul_desc(
            match operands {
                Number::F32 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_16BF,
                Number::Bf16 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            },
            sys::cudaDataType_t::CUDA_R_32F,
        );
        let product = Product(product.map_err(failed)?);
        use sys::cublasLtMatmulDescAttributes_t as Of;
        let sides = [Of::CUBLASLT_MATMUL_DESC_TRANSA, Of::CUBLASLT_MATMUL_DESC_TRANSB];
        for (side, transposed) in sides.into_iter().zip(transposed) {
            // The library's names for "as it is" and "transposed".
            let operation = i32::from(transposed);
            let at = (&raw const operation).cast();
            // SAFETY: the descriptor was just made, and the value is four bytes long.
            unsafe { result::set_matmul_desc_attribute(product.0, side, at, 4) }.map_err(failed)?;
        }
        let [a, b, c] = shapes;
        let layout = |shape, number| Blas::layout(shape, sizes.groups, number);
        let layouts = [layout(a, operands)?, layout(b, operands)?, layout(c, to)?];
        let preference = Preference(result::create_matmul_pref().map_err(failed)?);
        let limit =
            sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
        let [a, b, c] = [layouts[0].0, layouts[1].0, layouts[2].0];
        // SAFETY: everything named here was just made and not freed; the limit is eight bytes long.
        let found = unsafe {
            let bytes = (&raw const WORKSPACE_BYTES).cast();
            result::set_matmul_pref_attribute(preference.0, limit, bytes, 8).map_err(failed)?;
            result::get_matmul_algo_heuristic(self.handle, product.0, a, b, c, c, preference.0)
        };
        let how = found.map_err(failed)?.algo;
        Ok(Plan { product, layouts, how })
    }

    fn layout(
        [rows, cols, distance, between]: Shape,
        groups: usize,
        number: Number,
    ) -> Result<Layout, Failure> {
        let number = match number {
            Number::F32 => sys::cudaDataType_t::CUDA_R_32F,
            Number::Bf16 => sys::cudaDataType_t::CUDA_R_16BF,
        };
        let layout =
            result::create_matrix_layout(number, rows as u64, cols as u64, distance as i64);
        let layout = Layout(layout.map_err(failed)?);
        use sys::cublasLtMatrixLayoutAttribute_t as Of;
        let (groups, between) = (groups as i32, between as i64);
        // SAFETY: the layout was just made; the values are four and eight bytes long, as the
        // attributes are declared.
        unsafe {
            let count = (&raw const groups).cast();
            let apart = (&raw const between).cast();
            result::set_matrix_layout_attribute(
                layout.0,
                Of::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                count,
                4,
            )
            .map_err(failed)?;
            result::set_matrix_layout_attribute(
                layout.0,
                Of::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                apart,
                8,
            )
            .map_err(failed)?;
        }
        Ok(layout)
    }
}

/// [`WORKSPACE`], at an address.
static WORKSPACE_BYTES: u64 = WORKSPACE as u64;

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: the handle is valid and not used again; plans do not need it. There is nothing to
        // do if freeing fails.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

fn failed(why: result::CublasError) -> Failure {
    Failure::World(format!("cuBLASLt: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a product as the library is asked to, and as the CPU does it.
    #[test]
    fn the_library_is_asked_for_the_same_product() {
        let sizes = Sizes { rows: 5, groups: 2, shape: [3, 4] };
        let draw = |n: usize, from: usize| -> Vec<f32> {
            (0..n).map(|i| ((i * 7 + from) % 11) as f32 - 5.0).collect()
        };
        let (x, w, y) = (draw(30, 1), draw(24, 2), draw(40, 3));
        for kind in [Dense::Forward, Dense::GradInput, Dense::GradWeight] {
            let [a, b] = match kind {
                Dense::Forward => [&x, &w],
                Dense::GradInput => [&y, &w],
                Dense::GradWeight => [&x, &y],
            };
            let (swapped, transposed, shapes) = described(kind, sizes);
            let n = match kind {
                Dense::Forward => 40,
                Dense::GradInput => 30,
                Dense::GradWeight => 24,
            };
            let (left, right) = if swapped { (b, a) } else { (a, b) };
            let (mut want, mut got) = (vec![0.0; n], vec![0.0; n]);
            crate::ops::dense::run(kind, &mut want, [a, b], sizes);
            let [of_left, of_right, of_to] = shapes;
            let inner = if transposed[0] { of_left[0] } else { of_left[1] };
            let at = |m: &[f32], s: Shape, turned: bool, g: usize, i: usize, j: usize| {
                let (i, j) = if turned { (j, i) } else { (i, j) };
                m[g * s[3] + j * s[2] + i]
            };
            for g in 0..sizes.groups {
                for (i, j) in (0..of_to[0]).flat_map(|i| (0..of_to[1]).map(move |j| (i, j))) {
                    got[g * of_to[3] + j * of_to[2] + i] = (0..inner)
                        .map(|k| {
                            at(left, of_left, transposed[0], g, i, k)
                                * at(right, of_right, transposed[1], g, k, j)
                        })
                        .sum();
                }
            }
            assert_eq!(got, want, "{kind:?}");
        }
    }
}
