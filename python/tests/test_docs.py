"""The samples of docs/python.md, one after the other, and the examples."""

import http.server
import importlib.util
import json
import re
import threading
import time
from pathlib import Path

import lrc
import pytest
from test_command import ARCH, SPEC

ROOT = Path(__file__).resolve().parents[2]


def test_the_samples_of_the_page_run(capsys):
    samples = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.S)
    assert len(samples) >= 7
    names: dict = {}
    for sample in samples:
        exec(compile(sample, "docs/python.md", "exec"), names)
    said = capsys.readouterr().out
    assert "unknown name `y`" in said and "nothing is wrong" in said and "E0201" in said


def example(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"examples/python/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_gpt_of_the_example_learns(capsys):
    nanogpt = example("nanogpt")
    assert nanogpt.rule.text.strip() in lrc.recurrence(nanogpt.rule.text).text
    first, last = nanogpt.main(30)
    assert last < 0.75 * first
    assert "bits per byte" in capsys.readouterr().out


def test_a_script_drives_a_study(tmp_path, capfd):
    (tmp_path / "bits.arch").write_text(ARCH)
    (tmp_path / "spec.yaml").write_text(SPEC.replace("100000", "3"))
    (tmp_path / "study.yaml").write_text(
        "name: s\nspec: spec.yaml\ntrials: 2\nspace: {optimizer.adamw.lr: [1e-3, 1e-2]}\n"
        "objectives: {loss: minimise}\nsampler: {random: }\n"
    )
    best = example("search").main(str(tmp_path / "study.yaml"), str(tmp_path / "out"))
    assert best["state"] == "complete"
    assert "of 2 trials" in capfd.readouterr().out


def test_a_run_is_followed_to_its_end(tmp_path):
    received = []

    class Service(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Service) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        run, follow = tmp_path / "mine", example("follow")
        run.mkdir()
        url = f"http://127.0.0.1:{service.server_port}"
        follower = threading.Thread(target=follow.main, args=(str(run), url))
        follower.start()
        with (run / "metrics.jsonl").open("w") as metrics:
            for piece in ('{"step":1,"loss":2.0}\n{"st', 'ep":2,"loss":1.5}\n'):
                metrics.write(piece)
                metrics.flush()
                time.sleep(1.2)
        (run / "summary.json").write_text("{}")
        follower.join(10)
        service.shutdown()
    assert received == [{"run": "mine", "step": 1, "loss": 2.0}, {"run": "mine", "step": 2, "loss": 1.5}]
