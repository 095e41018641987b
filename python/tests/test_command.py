"""The commands as functions."""

import signal
import subprocess
import sys
import time

import lrc
import numpy
import pytest

BROKEN = "recurrence r { in x : [d] state s : [d] s[t] = s[t-1] + y out o = s[t] }"


def test_check_finds_everything_and_shows_it():
    assert lrc.check("recurrence r { in x : [d] state s : [d] s[t] = s[t-1] + x out o = s[t] }") == []
    found = lrc.check(BROKEN)
    assert [finding["code"] for finding in found] == ["E0201"]
    assert "^" in str(found) and "unknown name `y`" in found.text


def test_explain_and_params_are_those_of_the_command(tmp_path):
    text = "recurrence r { in x : [d] state s : [d] s[t] = 0.5 * s[t-1] + x out o = s[t] }"
    assert "strategy: scan" in lrc.explain(text)
    assert lrc.explain("E0201").startswith("E0201: ")
    model = 'use "mixers/attention.arch"\nmodel m(width = 8) { vocab 5 residual x + f(x) attention(heads = 2) head x, tied }'
    (tmp_path / "m.arch").write_text(model)
    small, large = lrc.params(tmp_path / "m.arch"), lrc.params(model, width=16)
    assert large["parameters"] > 2 * small["parameters"] > 0


def test_failures_are_exceptions_with_what_was_said(tmp_path):
    (tmp_path / "broken.arch").write_text(BROKEN)
    with pytest.raises(lrc.Invalid, match="unknown name `y`"):
        lrc.command("check", tmp_path / "broken.arch", quiet=True)
    with pytest.raises(lrc.Failed) as failed:
        lrc.command("check", tmp_path / "nothing.arch", quiet=True)
    assert failed.value.status == 1 and "nothing.arch" in str(failed.value)
    with pytest.raises(lrc.Failed) as failed:
        lrc.command("chekc", quiet=True)
    assert failed.value.status == 2


SPEC = """
name: bits
model: {file: bits.arch}
batch: 4
length: 100000 steps
task: {parity: {length: 12}}
"""
ARCH = 'use "mixers/deltanet.arch"\nmodel m(width = 8) { vocab 4 residual x + f(x) deltanet(heads = 1, dk = 4, dv = 4) head x, tied }'


def test_a_stopped_run_saves_and_is_read(tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "bits.arch").write_text(ARCH)
    # Whoever starts the tests in the background has it ignore what Ctrl-C sends.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; import lrc; lrc.train({str(tmp_path / 'spec.yaml')!r}, out={str(tmp_path / 'run')!r})"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as process:
        metrics = tmp_path / "run" / "metrics.jsonl"
        end = time.monotonic() + 60
        while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < end:
            time.sleep(0.05)
        # To Python alone: in a notebook, the child is not in the terminal's group.
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode != 0
    assert "KeyboardInterrupt" in said
    run = lrc.runs.read(tmp_path / "run")
    assert len(run.checkpoints) == 1 and len(run.metrics["loss"]) == int(run.checkpoints[0].name[5:])


def test_runs_are_read_while_they_are_written(tmp_path):
    with pytest.raises(lrc.Failed, match="no run's folder"):
        lrc.runs.read(tmp_path)
    lines = '{"step":1,"loss":2.0}\n{"step":2,"loss":null,"lr":0.1}\n{"eval":{"loss":1.0},"step":2}\n{"step":3,"lo'
    (tmp_path / "metrics.jsonl").write_text(lines)
    run = lrc.runs.read(tmp_path)
    assert list(run.metrics["step"]) == [1, 2] and numpy.isnan(run.metrics["loss"][1]) and len(run.evals) == 1
    (tmp_path / "metrics.jsonl").write_text('{"step":1,"lo\n{"step":2,"loss":1.0}\n')
    with pytest.raises(lrc.Failed, match="line 1"):
        lrc.runs.read(tmp_path)


def test_trials_of_a_study_are_those_of_the_command(tmp_path):
    (tmp_path / "bits.arch").write_text(ARCH)
    (tmp_path / "spec.yaml").write_text(SPEC.replace("100000", "3"))
    (tmp_path / "study.yaml").write_text(
        "name: s\nspec: spec.yaml\ntrials: 2\nspace: {optimizer.adamw.lr: [1e-3, 1e-2]}\n"
        "objectives: {loss: minimise}\nsampler: {random: }\n"
    )
    study = lrc.search(tmp_path / "study.yaml", out=tmp_path / "a", quiet=True)
    lrc.command("search", tmp_path / "study.yaml", "--out", tmp_path / "b", quiet=True)
    read = lambda out: [(run.folder.name, list(run.metrics["loss"])) for run in map(lrc.runs.read, sorted((tmp_path / out / "trials").iterdir()))]
    assert len(study["trials"]) == 2 and read("a") == read("b")
