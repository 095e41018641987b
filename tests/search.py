"""What Optuna makes of a journal of `lrc search`: `search.py read|ask JOURNAL`; one JSON document on stdout."""

import json
import sys

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

what, journal = sys.argv[1:]
study = optuna.load_study(
    study_name="study", storage=JournalStorage(JournalFileBackend(journal))
)
STATES = {"COMPLETE": "complete", "FAIL": "failed", "PRUNED": "pruned"}

if what == "read":
    best = sorted(study.best_trials, key=lambda trial: trial.values[0])
    trials = [
        {
            "number": trial.number,
            "state": STATES[trial.state.name],
            "params": trial.params,
            "values": trial.values,
        }
        for trial in study.trials
    ]
    # Of equal ones the first.
    seen, numbers = [], []
    for trial in best:
        if trial.values not in seen:
            seen.append(trial.values)
            numbers.append(trial.number)
    print(json.dumps({"best": numbers, "trials": trials}))
else:
    first = study.trials[0]
    rate = 0.0123
    asked = []
    # All of it, a part of it, the same as before, what the space does not have.
    for params, state in [
        ({**first.params, "optimizer.adamw.lr": rate}, "complete"),
        ({"model.set.hidden": 11, "optimizer.adamw.lr": rate}, "complete"),
        (first.params, "complete"),
    ]:
        study.enqueue_trial(params)
        asked.append({"number": len(study.trials) - 1, "params": params, "state": state})
    # Asked by Optuna's own sampler, without a hint: it takes the first that waits.
    study.enqueue_trial({"model.set.hidden": 4000})
    asked.append({"number": len(study.trials) - 1, "params": {}, "state": "failed"})
    trial = study.ask(first.distributions)
    assert trial.number == asked[0]["number"], trial.number
    print(json.dumps(asked))
