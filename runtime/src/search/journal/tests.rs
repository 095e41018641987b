//! Journals with lines that nobody can read, and locks of processes that are gone.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use super::*;

/// What Optuna 5.0 wrote: a study, a trial that was enqueued, one that was asked and told.
const OPTUNA: &str = r#"{"op_code":0,"worker_id":"a-1","study_name":"s","directions":[2]}
{"op_code":4,"worker_id":"a-1","study_id":0,"datetime_start":null,"state":4,"value":null,"values":null,"distributions":{},"params":{},"user_attrs":{},"system_attrs":{"fixed_params":{"x":1.5}},"intermediate_values":{}}
{"op_code":4,"worker_id":"a-1","study_id":0,"datetime_start":"2026-01-01T00:00:00.000000+00:00"}
{"op_code":5,"worker_id":"a-1","trial_id":1,"param_name":"x","param_value_internal":0.25,"distribution":"{\"name\": \"FloatDistribution\", \"attributes\": {\"step\": null, \"low\": 0.0, \"high\": 2.0, \"log\": false}}"}
{"op_code":7,"worker_id":"a-1","trial_id":1,"step":10,"intermediate_value":NaN}
{"op_code":9,"worker_id":"a-1","trial_id":1,"system_attr":{"a":1}}
{"op_code":6,"worker_id":"a-1","trial_id":1,"state":1,"values":[3.5],"datetime_complete":"2026-01-01T00:01:00.000000+00:00"}
{"op_code":8,"worker_id":"a-1","trial_id":1,"user_attr":{"late":1}}
"#;

struct Place(PathBuf);

impl Place {
    fn new(name: &str, text: &str) -> Place {
        let folder =
            std::env::temp_dir().join(format!("lrc-journal-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("j.log"), text).unwrap();
        Place(folder)
    }

    fn open(&self) -> Journal {
        Journal::open(&self.0.join("j.log"), Duration::from_millis(300)).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_optuna_wrote_is_read_by_its_rules() {
    let place = Place::new("optuna", OPTUNA);
    let mut journal = place.open();
    journal.sync().unwrap();
    let (id, study) = journal.said.study("s").unwrap();
    assert_eq!((id, study.directions.as_slice()), (0, [2].as_slice()));
    let trials: Vec<&StoredTrial> = journal.said.trials_of(0).collect();
    assert_eq!(trials.len(), 2);
    assert_eq!(trials[0].state, State::Waiting);
    assert_eq!(trials[0].system["fixed_params"]["x"], 1.5);
    assert_eq!(
        (trials[1].state, trials[1].values.as_deref()),
        (State::Complete, Some([3.5].as_slice()))
    );
    assert_eq!(trials[1].params["x"].0, 0.25);
    assert!(trials[1].intermediate[&10].is_nan());
    assert!(!trials[1].notes.contains_key("late"), "a finished trial changes no more");
}

#[test]
fn lines_that_nobody_can_read_are_skipped_and_a_torn_end_is_set_aside() {
    let torn = r#"{"op_code":4,"study_id":0,"datetime"#;
    let odd = "\n{\"op_code\":77}\nnonsense\n{\"op_code\":4}\n";
    let place = Place::new("torn", &format!("{OPTUNA}{odd}{torn}"));
    let mut journal = place.open();
    let note = Operation::StudyNote(0, "k", json!(1));
    journal.locked(|writer| writer.add(std::slice::from_ref(&note))).unwrap();
    assert_eq!(journal.said.trials.len(), 2);
    assert_eq!(journal.said.study("s").unwrap().1.notes["k"], 1);
    let text = std::fs::read_to_string(place.0.join("j.log")).unwrap();
    assert!(text.starts_with(OPTUNA) && text.ends_with("}\n") && !text.contains(torn), "{text}");
    let aside = std::fs::read_to_string(place.0.join("j.log.quarantine")).unwrap();
    assert_eq!(aside.trim_end(), torn);
    // A last line that only lacks its end is a record.
    std::fs::write(place.0.join("j.log"), OPTUNA.trim_end()).unwrap();
    let mut journal = place.open();
    journal.locked(|writer| writer.add(&[note])).unwrap();
    assert_eq!(journal.said.study("s").unwrap().1.notes["k"], 1);
}

#[test]
fn the_lock_of_a_killed_process_is_broken_and_that_of_a_live_one_is_not() {
    let place = Place::new("lock", OPTUNA);
    let link = place.0.join("j.log.lock");
    std::os::unix::fs::symlink(place.0.join("j.log"), &link).unwrap();
    let began = std::time::Instant::now();
    let mut journal = place.open();
    journal.locked(|_| Ok(())).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(link.symlink_metadata().is_err(), "the lock is given free");
    // One that works for longer than the grace, then ends.
    let holder = std::thread::spawn({
        let mut journal = place.open();
        move || {
            journal.locked(|writer| {
                std::thread::sleep(Duration::from_millis(900));
                writer.add(&[Operation::StudyNote(0, "first", json!(1))])
            })
        }
    });
    std::thread::sleep(Duration::from_millis(150));
    let first = journal
        .locked(|writer| Ok(writer.said().study("s").unwrap().1.notes.contains_key("first")));
    assert!(first.unwrap(), "the other one was done before");
    holder.join().unwrap().unwrap();
}
