"""What Optuna and its dashboard make of a journal of `lrc search`: `optuna_journal.py read|ask|dashboard JOURNAL`; one JSON document
on stdout."""

import json
import sys
import threading
import urllib.request
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

what, journal = sys.argv[1:]
storage = JournalStorage(JournalFileBackend(journal))
study = optuna.load_study(study_name="study", storage=storage)
STATES = {"COMPLETE": "complete", "FAIL": "failed", "PRUNED": "pruned"}


def read():
    """Its trials, and the best of them."""
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
    return {"best": numbers, "trials": trials}


def ask():
    """Trials for lrc: all of it, a part of it, the same as before, what the space does not have."""
    first = study.trials[0]
    rate = 0.0123
    asked = []
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
    return asked


def dashboard():
    """What a browser hears from the dashboard: its list of studies, this one, the importances that it draws, the page."""
    from optuna_dashboard import wsgi

    class Silent(WSGIRequestHandler):
        def log_message(self, *_):
            pass

    server = make_server("127.0.0.1", 0, wsgi(storage), handler_class=Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def get(path):
        place = f"http://127.0.0.1:{server.server_port}{path}"
        # Nothing of what this machine says about proxies: the server is here.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(place, timeout=30) as answer:
            return answer.read().decode()

    studies = json.loads(get("/api/studies"))["study_summaries"]
    one = f"/api/studies/{studies[0]['study_id']}"
    return {
        "studies": studies,
        "study": json.loads(get(one)),
        "importances": json.loads(get(f"{one}/param_importances")),
        "page": get(f"/dashboard{one.removeprefix('/api')}"),
    }


print(json.dumps({"read": read, "ask": ask, "dashboard": dashboard}[what]()))
