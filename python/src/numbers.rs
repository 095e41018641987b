//! Arrays of Python that are read where they lie, and numbers that Python reads where the engine left them.
#![expect(unsafe_code, reason = "the buffer protocol is pointers; each is checked here, once")]

use std::ffi::{CStr, c_int, c_void};

use lrc_compiler::memory;
use lrc_compiler::num::Real;
use pyo3::buffer::{Element, PyBuffer};
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::kept::Behind;

/// An array that stays where it is while this lives.
pub struct Lying<T: Element>(PyBuffer<T>);

impl<T: Element> Lying<T> {
    /// A view of an object's numbers, if they are of this type and lie one after the other.
    pub fn new(object: &Bound<PyAny>) -> PyResult<Lying<T>> {
        let buffer = PyBuffer::<T>::get(object)?;
        if !buffer.is_c_contiguous() {
            return Err(PyTypeError::new_err("the array's numbers do not lie one after the other"));
        }
        Ok(Lying(buffer))
    }

    /// Of several.
    pub fn all(objects: &[Bound<PyAny>]) -> PyResult<Vec<Lying<T>>> {
        objects.iter().map(Lying::new).collect()
    }

    /// Of several, some of which may be missing.
    pub fn some(objects: &[Option<Bound<PyAny>>]) -> PyResult<Vec<Option<Lying<T>>>> {
        objects.iter().map(|one| one.as_ref().map(Lying::new).transpose()).collect()
    }

    /// The numbers. As with every array of Python, nobody may write to them while they are read.
    pub fn numbers(&self) -> &[T] {
        if self.0.item_count() == 0 {
            return &[];
        }
        // SAFETY: Python keeps the memory of an exported buffer in place until it is released, which dropping
        // `self` does; type, alignment and contiguity were checked, and the count is of whole numbers.
        unsafe { std::slice::from_raw_parts(self.0.buf_ptr() as *const T, self.0.item_count()) }
    }
}

// SAFETY: what is shared between threads is the memory of the buffer, which does not move; it is released where
// the lock is held.
unsafe impl<T: Element> Sync for Lying<T> {}

/// Numbers that the engine has made, in their own memory: a buffer of `f32` or `f64` for `numpy.frombuffer` and
/// `torch.frombuffer`. The memory goes back to the engine once nobody holds the buffer.
#[pyclass(frozen)]
pub struct Numbers {
    data: Owned,
    shape: Box<[isize; 1]>,
    strides: Box<[isize; 1]>,
    _behind: Option<Behind>,
}

enum Owned {
    F32(Parts<f32>),
    F64(Parts<f64>),
}

/// A vector taken apart: others write to its memory.
struct Parts<R: Real> {
    pointer: *mut R,
    length: usize,
    capacity: usize,
}

// SAFETY: it owns its memory; nothing in this program reads or writes it before it is put together again.
unsafe impl<R: Real> Send for Parts<R> {}
// SAFETY: as above: a shared reference gives the address only.
unsafe impl<R: Real> Sync for Parts<R> {}

impl<R: Real> Parts<R> {
    fn of(numbers: Vec<R>) -> Parts<R> {
        let mut numbers = std::mem::ManuallyDrop::new(numbers);
        Parts { pointer: numbers.as_mut_ptr(), length: numbers.len(), capacity: numbers.capacity() }
    }
}

impl<R: Real> Drop for Parts<R> {
    fn drop(&mut self) {
        // SAFETY: these are the parts of a vector that was not dropped, each of which ends here once.
        memory::give(unsafe { Vec::from_raw_parts(self.pointer, self.length, self.capacity) });
    }
}

/// Numbers that Python can be given.
pub trait Handed: Real + Element {
    /// As an object.
    fn hand(numbers: Vec<Self>) -> Numbers;
}

impl Handed for f32 {
    fn hand(numbers: Vec<f32>) -> Numbers {
        Numbers::new(numbers.len(), size_of::<f32>(), Owned::F32(Parts::of(numbers)))
    }
}

impl Handed for f64 {
    fn hand(numbers: Vec<f64>) -> Numbers {
        Numbers::new(numbers.len(), size_of::<f64>(), Owned::F64(Parts::of(numbers)))
    }
}

/// Several.
pub fn hand_all<R: Handed>(all: Vec<Vec<R>>) -> Vec<Numbers> {
    all.into_iter().map(R::hand).collect()
}

impl Numbers {
    fn new(length: usize, bytes: usize, data: Owned) -> Numbers {
        let (shape, strides) = (Box::new([length as isize]), Box::new([bytes as isize]));
        Numbers { data, shape, strides, _behind: None }
    }

    /// The same, with something that lives as long.
    pub fn with(self, behind: Behind) -> Numbers {
        Numbers { _behind: Some(behind), ..self }
    }

    /// Where they lie.
    pub fn address(&self) -> usize {
        self.view().0 as usize
    }

    /// Address, bytes of a number and its format.
    fn view(&self) -> (*mut c_void, isize, &'static CStr) {
        match &self.data {
            Owned::F32(parts) => (parts.pointer.cast(), size_of::<f32>() as isize, c"f"),
            Owned::F64(parts) => (parts.pointer.cast(), size_of::<f64>() as isize, c"d"),
        }
    }
}

#[pymethods]
impl Numbers {
    fn __len__(&self) -> usize {
        self.shape[0] as usize
    }

    /// # Safety
    /// Python calls it, with a view of its own.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("there is no view to fill"));
        }
        let numbers = slf.get();
        let (address, bytes, format) = numbers.view();
        // SAFETY: the view is Python's own and not null. What it points to lives as long as this object, which the
        // view holds; shape and strides are read only, as the protocol says.
        unsafe {
            (*view).buf = address;
            (*view).len = numbers.shape[0] * bytes;
            (*view).readonly = 0;
            (*view).itemsize = bytes;
            (*view).format = if flags & ffi::PyBUF_FORMAT == ffi::PyBUF_FORMAT {
                format.as_ptr().cast_mut()
            } else {
                std::ptr::null_mut()
            };
            (*view).ndim = 1;
            (*view).shape = numbers.shape.as_ptr().cast_mut();
            (*view).strides = numbers.strides.as_ptr().cast_mut();
            (*view).suboffsets = std::ptr::null_mut();
            (*view).internal = std::ptr::null_mut();
            (*view).obj = slf.into_any().into_ptr();
        }
        Ok(())
    }

    /// # Safety
    /// Python calls it; nothing was allocated for the view.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {}
}
