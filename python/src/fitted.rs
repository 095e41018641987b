//! Calls of recurrences at their sizes, on arrays where they lie.

use std::sync::Arc;

use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::form::{Cotangents, Kept};
use lrc_runtime::device::Device;
use lrc_runtime::device::store::Machine;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::recurrence::fitted::{self, Given};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::kept::{self, Either, Pass};
use crate::numbers::{Handed, Lying, Numbers, hand_all};
use crate::source::Shared;
use crate::{deep, device, errors};

/// A recurrence at its sizes.
#[pyclass(frozen)]
pub struct Fitted {
    /// The text, which findings point into.
    pub text: Shared,
    /// The recurrence.
    pub of: Arc<fitted::Fitted>,
    /// What the shapes said.
    pub fit: fitted::Fit,
}

/// What a call is given: a dictionary of Python's.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Called<'py> {
    inputs: Vec<Bound<'py, PyAny>>,
    params: Vec<Bound<'py, PyAny>>,
    /// States before the first token, where given.
    initial: Vec<Option<Bound<'py, PyAny>>>,
    /// Row at which each sequence starts, and the total.
    bounds: Vec<usize>,
    /// Whether the arrays hold f64 rather than f32.
    double: bool,
    device: String,
}

/// Arrays of one precision.
struct Arrays<R: Handed> {
    inputs: Vec<Lying<R>>,
    params: Vec<Lying<R>>,
    initial: Vec<Option<Lying<R>>>,
    bounds: Vec<usize>,
}

/// What flows in from behind.
struct Flows<R: Handed> {
    outs: Vec<Option<Lying<R>>>,
    finals: Vec<Option<Lying<R>>>,
}

impl<R: Handed> Flows<R> {
    fn given(&self) -> Cotangents<'_, R> {
        Cotangents {
            outs: self.outs.iter().map(|one| one.as_ref().map(Lying::numbers)).collect(),
            finals: self.finals.iter().map(|one| one.as_ref().map(Lying::numbers)).collect(),
        }
    }
}

/// What a call gives: outputs, states after the last token, what is kept.
type Made = (Vec<Numbers>, Vec<Numbers>, Option<Numbers>);

/// Gradients of inputs, parameters and states before the first token.
type Gradients = (Vec<Numbers>, Vec<Numbers>, Vec<Numbers>);

impl<R: Handed> Arrays<R> {
    fn new(called: &Called) -> PyResult<Arrays<R>> {
        Ok(Arrays {
            inputs: Lying::all(&called.inputs)?,
            params: Lying::all(&called.params)?,
            initial: Lying::some(&called.initial)?,
            bounds: called.bounds.clone(),
        })
    }

    fn given(&self) -> Given<'_, R> {
        Given {
            bounds: self.bounds.clone(),
            inputs: self.inputs.iter().map(Lying::numbers).collect(),
            params: self.params.iter().map(Lying::numbers).collect(),
            initial: self.initial.iter().map(|one| one.as_ref().map(Lying::numbers)).collect(),
        }
    }
}

/// A precision and how it is told from the other where both can be kept.
trait Precise: Handed {
    fn keep(kept: Kept<Self>) -> Either;
    fn kept(of: &Either) -> Option<&Kept<Self>>;
}

impl Precise for f32 {
    fn keep(kept: Kept<f32>) -> Either {
        Either::F32(kept)
    }
    fn kept(of: &Either) -> Option<&Kept<f32>> {
        match of {
            Either::F32(kept) => Some(kept),
            Either::F64(_) => None,
        }
    }
}

impl Precise for f64 {
    fn keep(kept: Kept<f64>) -> Either {
        Either::F64(kept)
    }
    fn kept(of: &Either) -> Option<&Kept<f64>> {
        match of {
            Either::F64(kept) => Some(kept),
            Either::F32(_) => None,
        }
    }
}

impl Fitted {
    /// Runs without Python's lock; on a deep stack where something is still to be planned.
    fn run<T: Send>(
        &self,
        py: Python,
        planned: bool,
        work: impl FnOnce() -> Result<T, Failure> + Send,
    ) -> PyResult<T> {
        let done = if planned { py.detach(work) } else { deep(py, work)? };
        done.map_err(|failure| errors::exception(py, &self.text.sources, &failure))
    }

    fn forward_in<R: Precise>(&self, py: Python, arrays: &Arrays<R>, keep: bool) -> PyResult<Made> {
        let given = arrays.given();
        let planned = self.of.planned(&arrays.bounds);
        let (outputs, kept) = self.run(py, planned, || self.of.forward(&given, keep))?;
        let kept = keep.then(|| {
            let bounds = arrays.bounds.clone();
            kept::hold(Pass { kept: R::keep(kept), of: self.number(), bounds })
        });
        Ok((hand_all(outputs.outs), hand_all(outputs.finals), kept))
    }

    fn backward_in<R: Precise>(
        &self,
        py: Python,
        arrays: &Arrays<R>,
        kept: Option<usize>,
        flows: [&[Option<Bound<PyAny>>]; 2],
    ) -> PyResult<Gradients> {
        let pass = kept.and_then(kept::find);
        let pass = pass.filter(|pass| pass.of == self.number() && pass.bounds == arrays.bounds);
        let flows = self.flows::<R>(&arrays.bounds, flows)?;
        let (given, flows) = (arrays.given(), flows.given());
        let made = self.run(py, self.of.planned(&arrays.bounds), || {
            let kept = pass.as_deref().and_then(|pass| R::kept(&pass.kept));
            self.of.backward(&given, kept, &flows)
        })?;
        Ok((hand_all(made.inputs), hand_all(made.params), hand_all(made.initial)))
    }

    /// What flows into outputs and states, if it is as large as these.
    fn flows<R: Handed>(
        &self,
        bounds: &[usize],
        [outs, finals]: [&[Option<Bound<PyAny>>]; 2],
    ) -> PyResult<Flows<R>> {
        let (r, rows) = (&self.of.recurrence, bounds.last().copied().unwrap_or(0));
        let flows = Flows { outs: Lying::some(outs)?, finals: Lying::some(finals)? };
        self.fits(&flows.outs, r.outs.iter(), rows)?;
        self.fits(&flows.finals, r.states.iter(), bounds.len().saturating_sub(1))?;
        Ok(flows)
    }

    /// Where kernels run; None for the processor itself.
    fn machine(&self, py: Python, called: &Called) -> PyResult<Option<Machine>> {
        let device = device(&called.device)?;
        if device != Device::Cpu && called.double {
            return Err(PyTypeError::new_err("kernels compute in f32: give f32 or smaller"));
        }
        device.machine().map_err(|why| errors::exception(py, &self.text.sources, &why))
    }

    /// Refuses what flows in with other than the expected numbers.
    fn fits<'a, R: Handed>(
        &self,
        flows: &[Option<Lying<R>>],
        slots: impl ExactSizeIterator<Item = &'a Slot>,
        rows: usize,
    ) -> PyResult<()> {
        if flows.len() != slots.len() {
            return Err(PyTypeError::new_err("one gradient, or None, for each output and state"));
        }
        let heads = self.of.heads().unwrap_or(1);
        for (flow, slot) in flows.iter().zip(slots) {
            let want = rows * heads * slot.shape.iter().product::<usize>();
            if flow.as_ref().is_some_and(|flow| flow.numbers().len() != want) {
                let message = format!("the gradient of `{}` must have {want} numbers", slot.name);
                return Err(PyTypeError::new_err(message));
            }
        }
        Ok(())
    }

    /// Tells one from the other while both live.
    fn number(&self) -> usize {
        Arc::as_ptr(&self.of) as usize
    }
}

/// Name and shape of each.
fn shapes(slots: &[Slot]) -> Vec<(String, Vec<usize>)> {
    slots.iter().map(|slot| (slot.name.clone(), slot.shape.clone())).collect()
}

#[pymethods]
impl Fitted {
    /// Sizes that were bound, as text.
    #[getter]
    fn sizes(&self) -> &str {
        &self.fit.sizes
    }

    /// Sequences, and tokens of each.
    #[getter]
    fn batch(&self) -> [usize; 2] {
        self.fit.batch()
    }

    /// Heads of outputs and states; None where no tensor has an axis of them.
    #[getter]
    fn heads(&self) -> Option<usize> {
        self.of.heads()
    }

    /// Name and shape, for one token and head, of each output.
    #[getter]
    fn outs(&self) -> Vec<(String, Vec<usize>)> {
        shapes(&self.of.recurrence.outs)
    }

    /// Name and shape, for one head, of each state.
    #[getter]
    fn states(&self) -> Vec<(String, Vec<usize>)> {
        shapes(&self.of.recurrence.states)
    }

    /// Runs forward on arrays that lie where they are: outputs, states, and a number behind which is kept what the
    /// gradient needs, where that is wanted.
    fn forward(&self, py: Python, given: Called, keep: bool) -> PyResult<Made> {
        if let Some(machine) = self.machine(py, &given)? {
            let arrays = Arrays::<f32>::new(&given)?;
            let given = arrays.given();
            let made = self.run(py, false, || self.of.forward_on(&machine, &given))?;
            let kept = keep.then(|| f32::hand(vec![0.0]));
            return Ok((hand_all(made.outs), hand_all(made.finals), kept));
        }
        if given.double {
            self.forward_in::<f64>(py, &Arrays::new(&given)?, keep)
        } else {
            self.forward_in::<f32>(py, &Arrays::new(&given)?, keep)
        }
    }

    /// The gradients of everything given to [`Fitted::forward`], from what flows into outputs and states; `kept` is the
    /// address of the number that it gave.
    fn backward(
        &self,
        py: Python,
        given: Called,
        kept: Option<usize>,
        outs: Vec<Option<Bound<PyAny>>>,
        finals: Vec<Option<Bound<PyAny>>>,
    ) -> PyResult<Gradients> {
        let flows = [&outs[..], &finals[..]];
        if let Some(machine) = self.machine(py, &given)? {
            let arrays = Arrays::<f32>::new(&given)?;
            let flows = self.flows(&arrays.bounds, flows)?;
            let (given, flows) = (arrays.given(), flows.given());
            let made = self.run(py, false, || self.of.backward_on(&machine, &given, &flows))?;
            return Ok((hand_all(made.inputs), hand_all(made.params), hand_all(made.initial)));
        }
        if given.double {
            self.backward_in::<f64>(py, &Arrays::new(&given)?, kept, flows)
        } else {
            self.backward_in::<f32>(py, &Arrays::new(&given)?, kept, flows)
        }
    }
}
