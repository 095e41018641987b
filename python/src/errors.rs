//! Failures as Python's exceptions: `lrc.Invalid` with its findings, `lrc.Failed` with what happened.

use lrc_dsl::{Diag, Severity, Sources, render};
use lrc_runtime::ground::error::Failure;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// Which words Python has for how bad a finding is.
fn severity(of: Severity) -> &'static str {
    match of {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// A finding as a dictionary: code, severity, message, place, label, helps.
pub fn finding<'py>(
    py: Python<'py>,
    sources: &Sources,
    diag: &Diag,
) -> PyResult<Bound<'py, PyDict>> {
    let said = PyDict::new(py);
    said.set_item("code", diag.code)?;
    said.set_item("severity", severity(diag.severity))?;
    said.set_item("message", &diag.message)?;
    said.set_item("place", diag.span.map(|span| sources.place(span).to_string()))?;
    said.set_item("label", &diag.label)?;
    said.set_item("helps", &diag.helps)?;
    Ok(said)
}

/// All findings.
pub fn findings<'py>(
    py: Python<'py>,
    sources: &Sources,
    diags: &[Diag],
) -> PyResult<Bound<'py, PyList>> {
    let all: PyResult<Vec<_>> = diags.iter().map(|diag| finding(py, sources, diag)).collect();
    PyList::new(py, all?)
}

/// The exception of a failure: an invalid text is shown with its carets.
pub fn exception(py: Python, sources: &Sources, failure: &Failure) -> PyErr {
    let made = || -> PyResult<PyErr> {
        let module = py.import("lrc.errors")?;
        let error = match failure {
            Failure::Invalid(diags) => {
                let text = format!("\n{}", render(sources, diags, false));
                module.getattr("Invalid")?.call1((text, findings(py, sources, diags)?))?
            }
            other => module.getattr("Failed")?.call1((other.to_string(), other.status()))?,
        };
        Ok(PyErr::from_value(error))
    };
    made().unwrap_or_else(|error| error)
}
