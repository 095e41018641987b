//! Mixers and models: graphs that Python calls on rows of numbers or on tokens.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use lrc_compiler::elaborate::Setting;
use lrc_compiler::graph::{Model, Prepared, build};
use lrc_dsl::Sources;
use lrc_dsl::ast::{Item, Kind, Role};
use lrc_runtime::config::open::of_run;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::model::between::{Between, Rows};
use lrc_runtime::model::fresh;
use lrc_runtime::ops::batch::Batch;
use lrc_runtime::ops::loss::NONE;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::numbers::{Handed, Lying, Numbers, hand_all};
use crate::recurrence::settings;
use crate::source::{Origin, Read, read};
use crate::{STACK, deep, device, errors};

type Job = Box<dyn FnOnce(&mut Between) + Send>;

/// A graph that lives in a thread of its own, which has a deep stack: what runs on devices stays where it was made.
#[pyclass(frozen)]
pub struct Graph {
    jobs: Mutex<Option<Sender<Job>>>,
    /// Name and shape of each parameter.
    #[pyo3(get)]
    parameters: Vec<(String, Vec<usize>)>,
    /// Numbers of a row of the hidden state, which is what comes out.
    #[pyo3(get)]
    width: usize,
    /// Tokens that exist; 1 for a mixer.
    #[pyo3(get)]
    vocab: usize,
    /// The parameter `[vocab, width]` that embeds tokens.
    #[pyo3(get)]
    embedding: usize,
    /// The parameter `[vocab, width]` that gives logits; the same if they are tied.
    #[pyo3(get)]
    head: usize,
    /// The soft cap of logits, if they have one.
    #[pyo3(get)]
    cap: Option<f64>,
    /// Fresh parameters, until they are taken.
    initial: Mutex<Option<Vec<Vec<f32>>>>,
}

/// The model of a mixer that stands alone: it reads rows, adds nothing to them, and its output is what is hidden.
fn around(mixer: &str, given: &BTreeMap<String, Setting>, width: usize) -> String {
    let said = |value: &Setting| match value {
        Setting::Number(x) => format!("{x}"),
        Setting::Truth(x) => format!("{x}"),
    };
    let args: Vec<String> = given.iter().map(|(name, x)| format!("{name} = {}", said(x))).collect();
    let args = args.join(", ");
    format!(
        "model alone_in_python(width = {width}) {{ vocab 1 residual f(x) {mixer}({args}) head x, untied }}"
    )
}

/// A mixer may read its stream alone.
fn refuse_inputs(read: &Read, mixer: &str) -> Result<(), Failure> {
    let inputs = read.namespace.get(mixer).into_iter().flat_map(|decl| &decl.items);
    let more = inputs.filter_map(|item| match item {
        Item::Declare { role: Role::In, names, .. } => names.first(),
        _ => None,
    });
    match more.into_iter().next() {
        None => Ok(()),
        Some((name, _)) => {
            let why = format!(
                "`{mixer}` reads `{}` beside its stream: take the model that gives it",
                name.text
            );
            Err(Failure::Usage(why))
        }
    }
}

/// What is asked for: a dictionary of Python's.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Wanted {
    source: String,
    /// "file", "text", "library", or "run" for the folder of one.
    kind: String,
    /// "mixer" or "model".
    what: String,
    name: Option<String>,
    seed: u64,
    device: String,
}

/// The model that is asked for.
fn model(py: Python, asked: &Wanted, mut given: BTreeMap<String, Setting>) -> PyResult<Model> {
    if asked.kind == "run" {
        let mut sources = Sources::default();
        let folder = Path::new(&asked.source);
        let opened = deep(py, || of_run(folder, &mut sources))?;
        return opened
            .map(|opened| opened.model)
            .map_err(|why| errors::exception(py, &sources, &why));
    }
    let wanted = if asked.what == "mixer" { Kind::Mixer } else { Kind::Model };
    let (source, kind, name) = (&asked.source, &asked.kind, asked.name.as_deref());
    let mut text = read(py, Origin::of(source, kind, wanted))?;
    let said = |sources: &Sources, failure: Failure| errors::exception(py, sources, &failure);
    let mut decl = text.choose(wanted, name).map_err(|why| said(&text.sources, why))?;
    if wanted == Kind::Mixer {
        let mixer = decl.name.text.clone();
        refuse_inputs(&text, &mixer).map_err(|why| said(&text.sources, why))?;
        let width = match given.remove("width") {
            Some(Setting::Number(x)) if x >= 1.0 && x.fract() == 0.0 => x as usize,
            _ => return Err(PyTypeError::new_err("a mixer needs a whole `width`")),
        };
        let added = text.sources.add("the call", around(&mixer, &given, width));
        let file = lrc_dsl::parse(added, text.sources.text(added)).0;
        let Some(made) = file.decls.into_iter().next() else {
            return Err(PyTypeError::new_err(format!(
                "`{mixer}` cannot be called with these settings"
            )));
        };
        decl = made;
        given.clear();
    }
    let mut diags = Vec::new();
    let made = deep(py, || build(&text.namespace, &decl, &given, &mut diags))?;
    made.ok_or_else(|| said(&text.sources, Failure::Invalid(diags)))
}

/// What a graph gives: hidden states, and the number of the pass.
type Made = (Numbers, u64);

#[pymethods]
impl Graph {
    /// The graph of a mixer or a model, with fresh parameters drawn as declared.
    #[new]
    fn new(py: Python, wanted: Wanted, given: &Bound<PyDict>) -> PyResult<Graph> {
        let device = device(&wanted.device)?;
        let model = model(py, &wanted, settings(given)?)?;
        let (width, vocab) = (model.width, model.vocab);
        let (embedding, head, cap) = (model.embedding.0, model.head.0, model.cap);
        let params = &model.graph.params;
        let parameters = params.iter().map(|p| (p.name.clone(), p.shape.clone())).collect();
        let initial = fresh(params, wanted.seed);
        let (jobs, inbox) = channel::<Job>();
        let (ready, is_ready) = channel();
        let own = initial.clone();
        let serve = move || match Between::new(device, Prepared::plain(model), &own) {
            Ok(mut between) => {
                drop(own);
                let _ = ready.send(Ok(()));
                inbox.into_iter().for_each(|job| job(&mut between));
            }
            Err(failure) => drop(ready.send(Err(failure))),
        };
        let builder = thread::Builder::new().stack_size(STACK);
        builder.spawn(serve).map_err(|why| PyRuntimeError::new_err(why.to_string()))?;
        let came = py.detach(move || is_ready.recv()).unwrap_or_else(|_| Err(ended()));
        came.map_err(|failure| errors::exception(py, &Sources::default(), &failure))?;
        let (jobs, initial) = (Mutex::new(Some(jobs)), Mutex::new(Some(initial)));
        Ok(Graph { jobs, parameters, width, vocab, embedding, head, cap, initial })
    }

    /// Fresh parameters; they can be taken once.
    fn fresh(&self) -> Vec<Numbers> {
        let mut initial = self.initial.lock().unwrap_or_else(PoisonError::into_inner);
        hand_all(initial.take().unwrap_or_default())
    }

    /// Takes other parameters.
    fn set(&self, py: Python, params: Vec<Bound<PyAny>>) -> PyResult<()> {
        let lying = Lying::<f32>::all(&params)?;
        for (given, (name, shape)) in lying.iter().zip(&self.parameters) {
            if given.numbers().len() != shape.iter().product::<usize>() {
                return Err(PyTypeError::new_err(format!("`{name}` must be {shape:?}")));
            }
        }
        let own: Vec<Vec<f32>> = lying.iter().map(|given| given.numbers().to_vec()).collect();
        self.ask(py, move |between| between.walk.set_params(&own))
    }

    /// Hidden states of tokens, or of rows in place of their embeddings.
    #[pyo3(signature = (tokens, x, bounds, training))]
    fn forward(
        &self,
        py: Python,
        tokens: Option<Bound<PyAny>>,
        x: Option<Bound<PyAny>>,
        bounds: Vec<usize>,
        training: bool,
    ) -> PyResult<Made> {
        let rows = bounds.last().copied().unwrap_or(0);
        if !bounds.is_sorted() || bounds.first() != Some(&0) {
            return Err(PyTypeError::new_err("bounds rise from 0"));
        }
        let tokens = match tokens {
            Some(tokens) => self.tokens(Lying::<i64>::new(&tokens)?.numbers())?,
            None => vec![0; rows],
        };
        let x = x.map(|x| Ok::<_, PyErr>(Lying::<f32>::new(&x)?.numbers().to_vec())).transpose()?;
        let fits = tokens.len() == rows && x.as_ref().is_none_or(|x| x.len() == rows * self.width);
        if !fits {
            return Err(PyTypeError::new_err("as many rows as the bounds say"));
        }
        let (targets, segment) = (vec![NONE; rows], None);
        let rows = Rows { batch: Batch { tokens, targets, bounds, segment }, x };
        let (hidden, number) = self.ask(py, move |between| between.forward(rows, training))?;
        Ok((f32::hand(hidden), number))
    }

    /// The gradients of rows, where these were given, and of parameters; None where the pass must run again first.
    fn backward(
        &self,
        py: Python,
        number: u64,
        d: Bound<PyAny>,
    ) -> PyResult<Option<(Option<Numbers>, Vec<Numbers>)>> {
        let d = Lying::<f32>::new(&d)?.numbers().to_vec();
        let made = self.ask(py, move |between| between.backward(number, &d))?;
        Ok(made.map(|made| (made.x.map(f32::hand), hand_all(made.params))))
    }
}

impl Graph {
    /// Has the graph's own thread do something, without Python's lock.
    fn ask<T: Send + 'static>(
        &self,
        py: Python,
        work: impl FnOnce(&mut Between) -> Result<T, Failure> + Send + 'static,
    ) -> PyResult<T> {
        let (give, take) = channel();
        let job: Job = Box::new(move |between| drop(give.send(work(between))));
        let sent = {
            let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok())
        };
        let done = py.detach(move || {
            if sent { take.recv().unwrap_or_else(|_| Err(ended())) } else { Err(ended()) }
        });
        done.map_err(|failure| errors::exception(py, &Sources::default(), &failure))
    }

    fn tokens(&self, given: &[i64]) -> PyResult<Vec<u32>> {
        let within = |token: &i64| usize::try_from(*token).is_ok_and(|token| token < self.vocab);
        if let Some(at) = given.iter().position(|token| !within(token)) {
            let why =
                format!("token {} at {at} is not below {}, the vocabulary", given[at], self.vocab);
            return Err(PyTypeError::new_err(why));
        }
        Ok(given.iter().map(|token| *token as u32).collect())
    }
}

/// The thread of a graph has come to an end.
fn ended() -> Failure {
    Failure::World("the graph's own thread has failed: please report it".into())
}
