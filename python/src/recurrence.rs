//! Recurrences: declared, fitted to shapes, called.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::elaborate::{Setting, Signature, elaborate};
use lrc_dsl::ast::{Decl, File, Kind, Role};
use lrc_dsl::print;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::recurrence::fitted;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};

use crate::fitted::Fitted;
use crate::source::{Origin, Shared, read};
use crate::{deep, errors};

/// A declared recurrence.
#[pyclass(frozen)]
pub struct Recurrence {
    text: Shared,
    decl: Decl,
    signature: Signature,
    /// Names of outputs and states; complex ones have two parts.
    #[pyo3(get)]
    outs: Vec<String>,
    #[pyo3(get)]
    states: Vec<String>,
    fitted: Mutex<HashMap<String, Arc<fitted::Fitted>>>,
}

/// Settings as Python gives them.
pub(crate) fn settings(given: &Bound<PyDict>) -> PyResult<BTreeMap<String, Setting>> {
    let mut all = BTreeMap::new();
    for (name, value) in given {
        let value = if value.is_instance_of::<PyBool>() {
            Setting::Truth(value.extract()?)
        } else {
            Setting::Number(value.extract()?)
        };
        all.insert(name.extract()?, value);
    }
    Ok(all)
}

#[pymethods]
impl Recurrence {
    /// The recurrence of a file, a text or the library: `kind` is "file", "text" or "library".
    #[new]
    #[pyo3(signature = (source, kind, name=None))]
    fn new(py: Python, source: &str, kind: &str, name: Option<&str>) -> PyResult<Recurrence> {
        let text = read(py, Origin::of(source, kind, Kind::Recurrence))?;
        let decl = text
            .choose(Kind::Recurrence, name)
            .map_err(|failure| errors::exception(py, &text.sources, &failure))?;
        let mut diags = Vec::new();
        let signature = Signature::of(&decl, &mut diags);
        // At its declared sizes, so that what is wrong with the text is said before it is called.
        let made = deep(py, || elaborate(&decl, &BTreeMap::new(), &mut diags))?;
        let Some(made) = made else {
            return Err(errors::exception(py, &text.sources, &Failure::Invalid(diags)));
        };
        let names = |slots: &[Slot]| slots.iter().map(|slot| slot.name.clone()).collect();
        let (outs, states) = (names(&made.outs), names(&made.states));
        let (text, fitted) = (Arc::new(text), Mutex::default());
        Ok(Recurrence { text, decl, signature, outs, states, fitted })
    }

    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        &self.decl.name.text
    }

    /// The words that stand above it.
    #[getter]
    fn docs(&self) -> &[String] {
        &self.decl.docs
    }

    /// Its text, as the printer writes it.
    #[getter]
    fn text(&self) -> String {
        print::print(&File::of(vec![self.decl.clone()]))
    }

    /// Inputs, parameters and settings: name and declared axes, or default, of each.
    #[getter]
    fn signature<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let said = PyDict::new(py);
        for (key, role) in [("inputs", Role::In), ("params", Role::Param)] {
            let own = self.signature.variables.iter().filter(|variable| variable.role == role);
            let each = own.map(|variable| {
                let axes: Vec<String> = variable.shape.axes.iter().map(print::expr).collect();
                (variable.name.clone(), axes, variable.count.as_ref().map(print::expr))
            });
            said.set_item(key, each.collect::<Vec<_>>())?;
        }
        let defaults = self.signature.settings.iter();
        let defaults: Vec<(String, String)> =
            defaults.map(|(name, value)| (name.clone(), print::expr(value))).collect();
        said.set_item("settings", defaults)?;
        Ok(said)
    }

    /// Rows per token of each input, at the given settings.
    fn counts(&self, given: &Bound<PyDict>) -> PyResult<Vec<usize>> {
        Ok(fitted::counts(&self.decl, &self.signature, &settings(given)?))
    }

    /// Fits it to the shapes of tensors by name.
    fn fit(
        &self,
        py: Python,
        shapes: BTreeMap<String, Vec<usize>>,
        given: &Bound<PyDict>,
    ) -> PyResult<Fitted> {
        let given = settings(given)?;
        let text = Arc::clone(&self.text);
        let said = |failure: Failure| errors::exception(py, &text.sources, &failure);
        let fit = fitted::Fit::new(&self.decl, &shapes, &given).map_err(said)?;
        let key = fit.key();
        let known = {
            let fitted = self.fitted.lock().unwrap_or_else(PoisonError::into_inner);
            fitted.get(&key).cloned()
        };
        let of = match known {
            Some(of) => of,
            None => {
                let made = deep(py, || fitted::Fitted::new(&self.decl, &fit))?.map_err(said)?;
                let made = Arc::new(made);
                let mut all = self.fitted.lock().unwrap_or_else(PoisonError::into_inner);
                if all.len() >= REMEMBERED {
                    all.clear();
                }
                all.insert(key, Arc::clone(&made));
                made
            }
        };
        Ok(Fitted { text: Arc::clone(&text), of, fit })
    }
}

/// Shapes that a recurrence remembers.
const REMEMBERED: usize = 64;
