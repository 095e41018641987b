//! NCCL: sums and copies between the GPUs of several processes, on the stream on which everything else runs. It is loaded when it is
//! first asked for.
#![expect(unsafe_code, reason = "asks NCCL for operations on addresses")]

use std::ffi::{c_char, c_void};

use cudarc::nccl::result::{self, NcclError};
use cudarc::nccl::sys;
use lrc_compiler::tile::Number;

use super::gpu::Gpu;
use crate::device::collectives::Collectives;
use crate::device::library::NCCL;
use crate::device::store::{Store, Tensor};
use crate::ground::error::Failure;

/// Words of what the processes of a communicator agree on before they meet.
pub const ID_WORDS: usize = 32;

/// One of the processes of a communicator.
pub struct Nccl {
    comm: sys::ncclComm_t,
    gpu: Gpu,
}

fn failed(why: NcclError) -> Failure {
    Failure::World(format!("NCCL has failed: {:?}; NCCL_DEBUG=INFO lets it say more", why.0))
}

/// Loads the library.
fn load() -> Result<(), Failure> {
    if let Some(path) = NCCL.find() {
        super::preload(&path).map_err(Failure::World)?;
    }
    // SAFETY: looks for the library by name and loads it, which runs its initialisers; without this question cudarc would panic
    // where there is none.
    if unsafe { sys::is_culib_present() } {
        return Ok(());
    }
    let advice = NCCL.advice;
    Err(Failure::World(format!(
        "NCCL, by which GPUs of several processes add up gradients, is not installed: {advice}"
    )))
}

/// What one process makes and tells the others, so that they meet.
pub fn id() -> Result<Vec<u32>, Failure> {
    load()?;
    let id = result::get_uniqueid().map_err(failed)?;
    let bytes: Vec<u8> = id.internal.iter().map(|byte| byte.cast_unsigned()).collect();
    Ok(bytes
        .chunks_exact(4)
        .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect())
}

impl Nccl {
    /// Meets the other processes, each with a GPU of its own.
    pub fn join(gpu: &Gpu, [rank, size]: [usize; 2], id: &[u32]) -> Result<Nccl, Failure> {
        load()?;
        gpu.bind()?;
        let mut internal: [c_char; 128] = [0; 128];
        let bytes = id.iter().flat_map(|word| word.to_le_bytes());
        internal.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte.cast_signed());
        let (narrow, mut comm) = (|n: usize| n as i32, std::ptr::null_mut());
        let id = sys::ncclUniqueId { internal };
        // SAFETY: the pointer is to a live handle, which is filled in; the GPU's context is current in this thread.
        unsafe { result::comm_init_rank(&raw mut comm, narrow(size), id, narrow(rank)) }
            .map_err(failed)?;
        Ok(Nccl { comm, gpu: gpu.clone() })
    }

    /// Starts an operation for each tensor, all as one.
    fn start(
        &self,
        store: &mut Store,
        each: &[(Tensor, usize)],
        one: impl Fn(*mut c_void, Tensor, i32) -> Result<result::NcclStatus, NcclError>,
    ) -> Result<(), Failure> {
        store.flush()?;
        self.gpu.bind()?;
        let addresses = each.iter().map(|(tensor, _)| store.address(*tensor));
        let addresses: Vec<u64> = addresses.collect::<Result<_, Failure>>()?;
        result::group_start().map_err(failed)?;
        for ((tensor, owner), address) in each.iter().zip(addresses) {
            one(address as *mut c_void, *tensor, *owner as i32).map_err(failed)?;
        }
        result::group_end().map_err(failed)?;
        Ok(())
    }
}

impl Collectives for Nccl {
    fn reduce(&mut self, store: &mut Store, each: &[(Tensor, usize)]) -> Result<(), Failure> {
        let (comm, stream) = (self.comm, self.gpu.stream());
        self.start(store, each, |address, tensor, owner| {
            debug_assert_eq!(tensor.number, Number::F32, "gradients are held in f32");
            let (kind, sum) = (sys::ncclDataType_t::ncclFloat32, sys::ncclRedOp_t::ncclSum);
            // SAFETY: `Store::address` has compared that the numbers lie in the tensor's memory, which lives until the stream has
            // run; NCCL lets an operation read and write one place.
            unsafe {
                result::reduce(
                    address,
                    address,
                    tensor.words,
                    kind,
                    sum,
                    owner,
                    comm,
                    stream.cast(),
                )
            }
        })
    }

    fn broadcast(&mut self, store: &mut Store, each: &[(Tensor, usize)]) -> Result<(), Failure> {
        let (comm, stream) = (self.comm, self.gpu.stream());
        self.start(store, each, |address, tensor, owner| {
            let (kind, bytes) =
                (sys::ncclDataType_t::ncclUint8, tensor.words * tensor.number.bytes());
            // SAFETY: as above; bytes are copied as they are.
            unsafe { result::broadcast(address, address, bytes, kind, owner, comm, stream.cast()) }
        })
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        // SAFETY: nobody else has the handle. What fails here fails at the end of everything.
        let _ = unsafe { result::comm_destroy(self.comm) };
    }
}
