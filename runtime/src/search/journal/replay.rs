//! What the records of a journal add up to, by Optuna's rules: numbers count up, finished trials change no more.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::time;

/// Where a trial is, with Optuna's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Somebody trains it, or it is paused.
    Running,
    /// It has its values.
    Complete,
    /// It was not worth to go on with.
    Pruned,
    /// It has no values.
    Fail,
    /// It was asked for, and nobody has begun.
    Waiting,
}

const STATES: [State; 5] =
    [State::Running, State::Complete, State::Pruned, State::Fail, State::Waiting];

impl State {
    fn of(value: &Value) -> Option<State> {
        STATES.get(value.as_u64()? as usize).copied()
    }

    /// Whether it changes no more.
    pub fn finished(self) -> bool {
        matches!(self, State::Complete | State::Pruned | State::Fail)
    }

    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Complete => "complete",
            State::Pruned => "pruned",
            State::Fail => "failed",
            State::Waiting => "waiting",
        }
    }
}

/// A study of a journal.
#[derive(Clone, Debug, Default)]
pub struct StoredStudy {
    /// Its name.
    pub name: String,
    /// 1 to minimise, 2 to maximise, for each objective.
    pub directions: Vec<u64>,
    /// What programs have noted.
    pub notes: Map<String, Value>,
    /// Its trials, in order.
    pub trials: Vec<usize>,
}

/// A trial of a journal.
#[derive(Clone, Debug)]
pub struct StoredTrial {
    /// Among all of the journal.
    pub id: usize,
    /// Within its study.
    pub number: usize,
    /// Where it is.
    pub state: State,
    /// Numbers of parameters by name, and their distribution.
    pub params: BTreeMap<String, (f64, Value)>,
    /// Values of the objectives.
    pub values: Option<Vec<f64>>,
    /// The first objective at tokens.
    pub intermediate: BTreeMap<i64, f64>,
    /// What programs have noted.
    pub notes: Map<String, Value>,
    /// What Optuna has noted.
    pub system: Map<String, Value>,
}

/// Something that is added to a journal.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A study with its directions.
    CreateStudy(String, Vec<u64>),
    /// A note on a study.
    StudyNote(usize, &'static str, Value),
    /// A note on a study by which Optuna itself goes.
    StudySystem(usize, &'static str, Value),
    /// A trial that begins: its study, numbers and distributions of its parameters, notes.
    CreateTrial(usize, Vec<(String, f64, Value)>, Map<String, Value>),
    /// A parameter of a trial: number and distribution.
    Param(usize, String, f64, Value),
    /// A trial begins, or ends with its values.
    State(usize, State, Option<Vec<f64>>),
    /// The first objective of a trial at tokens.
    Intermediate(usize, i64, f64),
    /// A note on a trial.
    Note(usize, &'static str, Value),
}

impl Operation {
    /// The record, without who writes it.
    pub(super) fn to_json(&self) -> Value {
        let now = || time::iso(time::now());
        match self {
            Operation::CreateStudy(name, directions) => {
                json!({"op_code": 0, "study_name": name, "directions": directions})
            }
            Operation::StudyNote(study, key, value) => {
                json!({"op_code": 2, "study_id": study, "user_attr": {*key: value}})
            }
            Operation::StudySystem(study, key, value) => {
                json!({"op_code": 3, "study_id": study, "system_attr": {*key: value}})
            }
            Operation::CreateTrial(study, params, notes) => {
                let named = |value: &dyn Fn(&(String, f64, Value)) -> Value| {
                    params.iter().map(|one| (one.0.clone(), value(one))).collect::<Map<_, _>>()
                };
                json!({
                    "op_code": 4, "study_id": study, "datetime_start": now(), "state": 0,
                    "value": null, "values": null,
                    "distributions": named(&|(_, _, domain)| json!(domain.to_string())),
                    "params": named(&|(_, x, _)| super::super::space::json_number(*x)),
                    "user_attrs": notes, "system_attrs": {}, "intermediate_values": {},
                })
            }
            Operation::Param(trial, name, x, domain) => json!({
                "op_code": 5, "trial_id": trial, "param_name": name,
                "param_value_internal": super::super::space::json_number(*x),
                "distribution": domain.to_string(),
            }),
            Operation::State(trial, state, values) => {
                let number = STATES.iter().position(|known| known == state).unwrap_or(3);
                let mut record =
                    json!({"op_code": 6, "trial_id": trial, "state": number, "values": values});
                let when = if state.finished() { "datetime_complete" } else { "datetime_start" };
                record[when] = json!(now());
                record
            }
            Operation::Intermediate(trial, step, value) => json!({
                "op_code": 7, "trial_id": trial, "step": step, "intermediate_value": value,
            }),
            Operation::Note(trial, key, value) => {
                json!({"op_code": 8, "trial_id": trial, "user_attr": {*key: value}})
            }
        }
    }
}

/// What the records so far add up to.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// Studies by their number; a deleted one is nothing.
    pub studies: Vec<Option<StoredStudy>>,
    /// Trials of all studies.
    pub trials: Vec<StoredTrial>,
}

/// A field of a record, or why it cannot be read.
fn need<'v>(record: &'v Value, name: &str) -> Result<&'v Value, String> {
    record.get(name).ok_or_else(|| format!("it has no `{name}`"))
}

fn size(record: &Value, name: &str) -> Result<usize, String> {
    let number = need(record, name)?.as_u64();
    number.map(|x| x as usize).ok_or_else(|| format!("`{name}` is no number"))
}

/// A number; JSON of Python has words for what is none.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// Python's words for what is no finite number, as JSON has it.
fn parsed(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().or_else(|| {
        let plain = ["-Infinity", "Infinity", "NaN"].iter().fold(text.to_string(), |text, word| {
            [": ", ":", "[", ", ", ","].iter().fold(text, |text, before| {
                text.replace(&format!("{before}{word}"), &format!("{before}null"))
            })
        });
        serde_json::from_str(&plain).ok()
    })
}

fn notes(record: &Value, name: &str) -> Map<String, Value> {
    record.get(name).and_then(Value::as_object).cloned().unwrap_or_default()
}

fn distribution(value: &Value) -> Result<Value, String> {
    let text = value.as_str().ok_or("a distribution is no text")?;
    serde_json::from_str(text).map_err(|_| "a distribution cannot be read".into())
}

impl Replay {
    /// A study by its name.
    pub fn study(&self, name: &str) -> Option<(usize, &StoredStudy)> {
        let all = self.studies.iter().enumerate();
        all.filter_map(|(id, study)| Some((id, study.as_ref()?))).find(|(_, s)| s.name == name)
    }

    /// The trials of a study, in order.
    pub fn trials_of(&self, study: usize) -> impl Iterator<Item = &StoredTrial> {
        let ids = self.studies.get(study).and_then(Option::as_ref).map(|study| &study.trials);
        ids.into_iter().flatten().filter_map(|id| self.trials.get(*id))
    }

    /// Takes in a line; says why one is skipped.
    pub(super) fn line(&mut self, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Err("it is blank".into());
        }
        let record = parsed(text).ok_or("it is no JSON")?;
        let code = need(&record, "op_code")?.as_u64().ok_or("`op_code` is no number")?;
        match code {
            0 => self.create_study(&record),
            1 => {
                let at = size(&record, "study_id")?;
                if let Some(study) = self.studies.get_mut(at) {
                    *study = None;
                }
                Ok(())
            }
            2 | 3 => {
                let at = size(&record, "study_id")?;
                if let Some(Some(study)) = self.studies.get_mut(at).filter(|_| code == 2) {
                    study.notes.extend(notes(&record, "user_attr"));
                }
                Ok(())
            }
            4 => self.create_trial(&record),
            5..=9 => self.change_trial(code, &record),
            // Only another program's: Optuna skips it too.
            10 => Ok(()),
            other => Err(format!("nobody knows the operation {other}")),
        }
    }

    fn create_study(&mut self, record: &Value) -> Result<(), String> {
        let name = need(record, "study_name")?.as_str().ok_or("`study_name` is no text")?;
        let directions = need(record, "directions")?.as_array().ok_or("`directions` is no list")?;
        if self.study(name).is_none() {
            self.studies.push(Some(StoredStudy {
                name: name.into(),
                directions: directions.iter().filter_map(Value::as_u64).collect(),
                ..StoredStudy::default()
            }));
        }
        Ok(())
    }

    fn create_trial(&mut self, record: &Value) -> Result<(), String> {
        let study = size(record, "study_id")?;
        let state = record.get("state").map_or(Some(State::Running), State::of);
        let state = state.ok_or("nobody knows its `state`")?;
        let mut params = BTreeMap::new();
        for (name, x) in notes(record, "params") {
            let domain = record.get("distributions").and_then(|all| all.get(&name));
            let domain = distribution(domain.ok_or("a parameter has no distribution")?)?;
            params.insert(name, (number(&x), domain));
        }
        let one = record.get("value").filter(|x| !x.is_null()).map(|x| vec![number(x)]);
        let many = record.get("values").and_then(Value::as_array);
        let id = self.trials.len();
        let Some(Some(of)) = self.studies.get_mut(study) else { return Ok(()) };
        let number_of = of.trials.len();
        of.trials.push(id);
        let steps = notes(record, "intermediate_values").into_iter();
        self.trials.push(StoredTrial {
            id,
            number: number_of,
            state,
            params,
            values: many.map(|all| all.iter().map(number).collect()).or(one),
            intermediate: steps.filter_map(|(k, x)| Some((k.parse().ok()?, number(&x)))).collect(),
            notes: notes(record, "user_attrs"),
            system: notes(record, "system_attrs"),
        });
        Ok(())
    }

    fn change_trial(&mut self, code: u64, record: &Value) -> Result<(), String> {
        let at = size(record, "trial_id")?;
        let Some(trial) = self.trials.get_mut(at).filter(|trial| !trial.state.finished()) else {
            return Ok(());
        };
        match code {
            5 => {
                let name = need(record, "param_name")?.as_str().ok_or("`param_name` is no text")?;
                let x = number(need(record, "param_value_internal")?);
                let domain = distribution(need(record, "distribution")?)?;
                trial.params.insert(name.into(), (x, domain));
            }
            6 => {
                let state = State::of(need(record, "state")?).ok_or("nobody knows its `state`")?;
                if let Some(values) = record.get("values").and_then(Value::as_array) {
                    trial.values = Some(values.iter().map(number).collect());
                }
                trial.state = state;
            }
            7 => {
                let step = need(record, "step")?.as_i64().ok_or("`step` is no number")?;
                trial.intermediate.insert(step, number(need(record, "intermediate_value")?));
            }
            8 => trial.notes.extend(notes(record, "user_attr")),
            _ => trial.system.extend(notes(record, "system_attr")),
        }
        Ok(())
    }
}
