"""A study driven from a script: which learning rate, and how does the best one's loss fall?

    python examples/python/search.py STUDY.yaml [FOLDER]
"""

import sys

import lrc


def main(study: str, out: str | None = None) -> dict:
    """Runs the trials, or goes on with those of the folder, and gives the best one."""
    found = lrc.search(study, out=out, resume=True)
    best = next(trial for trial in found["trials"] if trial["number"] == found["best"][0])
    losses = lrc.runs.read(best["folder"]).metrics["loss"]
    print(f"of {len(found['trials'])} trials, number {best['number']} is the best: {best['params']}")
    print(f"its loss fell from {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} steps")
    return best


if __name__ == "__main__":
    main(*sys.argv[1:3])
