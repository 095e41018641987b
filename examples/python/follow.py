"""Follows a run and sends each new line of its `metrics.jsonl` somewhere: a service that takes JSON, or standard output.

    python examples/python/follow.py runs/mine [URL]

Each line is one POST; a service that wants other names or a key gets them in `sent`. It ends when the run has, and may be started before it.
"""

import json
import sys
import time
import urllib.request
from pathlib import Path


def lines(folder: Path, wait: float = 1.0):
    """Whole lines of a run's metrics, old ones and new ones, until the run has a summary."""
    file, rest = folder / "metrics.jsonl", b""
    position = 0
    while True:
        ended = (folder / "summary.json").exists()
        if file.exists():
            with file.open("rb") as opened:
                opened.seek(position)
                new = opened.read()
            position += len(new)
            *whole, rest = (rest + new).split(b"\n")
            yield from map(json.loads, whole)
        if ended:
            return
        time.sleep(wait)


def sent(url: str, run: str, line: dict) -> None:
    """One line, as the service wants it."""
    body = json.dumps({"run": run, **line}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


def main(folder: str, url: str | None = None) -> None:
    """Follows a run to its end."""
    for line in lines(Path(folder)):
        if url is None:
            print(json.dumps(line), flush=True)
        else:
            sent(url, Path(folder).name, line)


if __name__ == "__main__":
    main(*sys.argv[1:3])
