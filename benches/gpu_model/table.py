#!/usr/bin/env python3
"""Makes the table of lrc's kernels against flash-linear-attention's, both on the model, without a GPU.

    python3 benches/gpu_model/table.py target/release/lrc [--out docs/performance.md] [--work FOLDER]
        [--only gated_delta_rule-128,…] [--ranges gated_delta_rule-128,…]

It is printed, or put into a page between the two comments that name this script.

lrc's kernels are compiled by the lrc that is given (which needs NVRTC), FLA's by its own Python code (compile_fla.py);
the first run makes a virtual environment of some gigabytes. What has been told of a launch is kept in FOLDER and told
again as long as its code, its arguments and the model are the same.
"""

import argparse
import datetime
import importlib.metadata
import multiprocessing
import subprocess
import sys
from pathlib import Path

import environment
from hardware import ASSUMED, SETTINGS

HERE = Path(__file__).resolve().parent
SHAPE = (4, 4096, 8)
# The recurrences, with the width of their heads.
ROWS = [("gated_delta_rule", 128), ("delta_rule", 128), ("simple_gla", 128), ("gated_delta_rule", 64), ("kda", 128),
        ("gla", 128), ("rwkv7", 128), ("gated_delta_rule", 256)]
PHASES = [("saving", "forward, saving"), ("backward", "backward")]
# Machine code of a loop beyond which instructions may come late.
LOOP = 64 << 10


def arguments():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("lrc")
    parse.add_argument("--out")
    parse.add_argument("--work", default=str(environment.cache() / "work"))
    parse.add_argument("--only")
    parse.add_argument("--ranges", help="rows told under all settings of hardware.py, not the assumed one alone [default: all]")
    parse.add_argument("--fla-alone", action="store_true", help="tell FLA's side only, to have it ready")
    parse.add_argument("--most", type=int, default=5, help="configurations that FLA's tuner may choose among")
    return parse.parse_args()


def compile_lrc(lrc, op, width, out):
    shape = ",".join(map(str, SHAPE))
    sizes = [x for name in ("dk", "dv") for x in ("--set", f"{name}={width}")]
    file = HERE.parent.parent / "specs" / "recurrences" / f"{op}.arch"
    subprocess.run([lrc, "compile", file, "--emit", "cubin,launch", "--arch", "sm_90a", "--shape", shape, "--dtype", "bf16",
                    *sizes, "--out", out],
                   check=True, stdout=subprocess.DEVNULL)


def compile_fla(op, width, most, out):
    if (out / "launches.json").exists():
        return
    shape = ",".join(map(str, SHAPE))
    subprocess.run([sys.executable, HERE / "compile_fla.py", out, "--op", op, "--shape", shape, "--width", str(width),
                    "--most", str(most)], check=True, stdout=subprocess.DEVNULL)


def tell(task):
    """One launch in one setting; a process of its own each."""
    import runner

    folder, launch, name, what, results = task
    try:
        return runner.Results(results).of(folder, launch, name, what)
    except (RuntimeError, ValueError, KeyError, IndexError, StopIteration, subprocess.CalledProcessError) as why:
        return {"failed": f"{launch['kernel']} {launch.get('config', '')}: {why!r}"}


class Side:
    """What one side launches for a call."""

    def __init__(self, name, folder, results, settings):
        import runner

        self.settings = settings
        self.name, self.folder, self.results = name, str(folder), str(results)
        self.groups = [group for group in runner.read(folder) if group[0]["phase"] in dict(PHASES)]

    def choose(self, pool):
        """Takes of each launch's configurations the one that looks fastest, or the faster of two that look alike."""
        tasks = [(g, l) for g, group in enumerate(self.groups) if len(group) > 1 for l in group]
        told = pool.map(tell, [(self.folder, l, "assumed", "quick", self.results) for _, l in tasks], chunksize=1)
        for g, group in enumerate(self.groups):
            times = [(x, n) for n, ((at, _), x) in enumerate(zip(tasks, told)) if at == g and not isinstance(x, dict)]
            if times:
                best = min(times)[0]
                self.groups[g] = [tasks[n][1] for x, n in sorted(times)[:2] if x <= 1.15 * best]
        both = [(g, l) for g, group in enumerate(self.groups) if len(group) > 1 for l in group]
        told = pool.map(tell, [(self.folder, l, "assumed", "result", self.results) for _, l in both], chunksize=1)
        for g, group in enumerate(self.groups):
            times = [(x["seconds"], n) for n, ((at, _), x) in enumerate(zip(both, told)) if at == g and "failed" not in x]
            if times:
                self.groups[g] = [both[min(times)[1]][1]]
        self.launches = [group[0] for group in self.groups]

    def run(self, pool):
        """Tells every launch in every setting."""
        tasks = [(self.folder, l, name, "result", self.results) for name in self.settings for l in self.launches]
        told = pool.map(tell, tasks, chunksize=1)
        count = len(self.launches)
        self.told = {name: told[n * count:(n + 1) * count] for n, name in enumerate(self.settings)}
        self.failed = sorted({x["failed"] for x in told if "failed" in x}
                             | {f"{x['kernel']}: {m}" for x in told for m in x.get("missing", {})})

    def of(self, phase, name="assumed"):
        both = zip(self.launches, self.told[name])
        return [told for launch, told in both if launch["phase"] == phase]

    def seconds(self, phase, name="assumed"):
        """From the first kernel's start to the last one's end."""
        return sum(x["seconds"] + ASSUMED["launch"] for x in self.of(phase, name))

    def bytes(self, phase):
        """Moved, and compulsory: arguments, results and what is saved, each once, at two bytes a number."""
        moved = sum(x["count"].get("missed", 0) + 32 * x["count"].get("store_sectors", 0) for x in self.of(phase))
        tensors = {}
        for launch in self.launches:
            for arg in launch["args"] if launch["phase"] == phase else []:
                if arg.get("role") in ("argument", "result", "saved"):
                    size = 2 if arg["dtype"] == "bfloat16" else 4
                    tensors[arg["tensor"]] = max(tensors.get(arg["tensor"], 0), 2 * arg["ptr"] // size)
        return moved, sum(tensors.values())


def span(values, form):
    """A value with its range over the settings."""
    low, high = min(values), max(values)
    if len(values) == 1:
        return form.format(low)
    return f"{form.format(values[0])} ({form.format(low)} to {form.format(high)})"


def summary(pairs):
    lines = ["| recurrence, D | pass | FLA, ms | launches | lrc, ms | launches | lrc / FLA | warp instructions, M: FLA, lrc "
             "| 10⁹ operations of matrix units: FLA, lrc | bytes ÷ compulsory: FLA, lrc |", "|" + "---|" * 10]
    for (op, width), (fla, lrc) in pairs.items():
        for phase, words in PHASES:
            a, b = ([side.seconds(phase, name) for name in side.settings] for side in (fla, lrc))
            sums = [[sum(x["count"].get(k, 0) for x in side.of(phase)) for side in (fla, lrc)] for k in ("issued", "flop")]
            bytes_of = [side.bytes(phase) for side in (fla, lrc)]
            ratios = [y / x for x, y in zip(a, b)]
            lines.append(
                f"| {op}, {width} | {words} | {span([1e3 * x for x in a], '{:.2f}')} | {len(fla.of(phase))} "
                f"| {span([1e3 * x for x in b], '{:.2f}')} | {len(lrc.of(phase))} | **{span(ratios, '{:.2f}')}** "
                f"| {sums[0][0] / 1e6:.0f}, {sums[0][1] / 1e6:.0f} | {sums[1][0] / 1e9:.0f}, {sums[1][1] / 1e9:.0f} "
                f"| {', '.join(f'{m / max(1, c):.1f}' for m, c in bytes_of)} |")
    return lines


def kernels(pairs):
    lines = ["| kernel | D | µs | registers | stack (spills), bytes | blocks at a time × warps | shared KiB | MB moved | busiest unit "
             "| bank conflicts | largest loop, KiB | jumps on data |", "|" + "---|" * 12]
    for (_, width), sides in pairs.items():
        for side in sides:
            seen = set()
            for phase, _ in PHASES:
                for x in side.of(phase):
                    if "registers" not in x or (x["kernel"], phase) in seen:
                        continue
                    seen.add((x["kernel"], phase))
                    lines.append(kernel_line(side.name, x, width))
    return lines


def kernel_line(side, x, width):
    count = x["count"]
    moved = count.get("missed", 0) + 32 * count.get("store_sectors", 0)
    units = {pipe: busy / (1 if pipe in ("lsu", "memory") else 4) / x["ran_cycles"] for pipe, busy in x["busy"].items()}
    pipe = max(units, key=units.get, default="")
    waves = max(1, count.get("wavefronts", 0))
    loop = f"**{x['loop_bytes'] / 1024:.0f}**" if x["loop_bytes"] > LOOP else f"{x['loop_bytes'] / 1024:.1f}"
    return (f"| {side} {x['kernel']} | {width} | {1e6 * x['seconds']:.0f} | {x['registers']} | {x['stack']} "
            f"| {x['together']} of {x['resident']} × {x['warps']} | {x['shared'] / 1024:.0f} | {moved / 1e6:.0f} "
            f"| {pipe} {100 * units.get(pipe, 0):.0f} % | {100 * count.get('conflict', 0) / waves:.0f} % | {loop} "
            f"| {x['data_branches']} |")


def gaps(pairs, least=0.04, most=4):
    """What lrc's passes spend their time with: steps of the plans on the critical path, by kind, and the largest of them."""
    lines = []
    for (op, width), (fla, lrc) in pairs.items():
        for phase, words in PHASES:
            whole, steps = lrc.seconds(phase), []
            for x in lrc.of(phase):
                total = sum(x.get("critical", {}).values())
                steps += [(x["seconds"] * c / total, x["kernel"], text) for text, c in x.get("critical", {}).items()]
                if not total or not x["critical"]:
                    steps.append((x["seconds"], x["kernel"], "all of it"))
            kinds = {}
            for seconds, kernel, text in steps:
                kind = kernel if text == "all of it" else text.split()[0]
                kinds[kind] = kinds.get(kind, 0.0) + seconds / whole
            by_kind = sorted(kinds.items(), key=lambda item: -item[1])
            told = ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in by_kind if share >= 0.02)
            steps.sort(reverse=True)
            largest = "; ".join(f"{kernel.removeprefix(op + '_')} {shorten(text)} {100 * s / whole:.0f} %"
                                for s, kernel, text in steps[:most] if s / whole >= least)
            ratio = whole / fla.seconds(phase)
            lines.append(f"* {op}, {width}, {words} ({ratio:.2f} × FLA): {told}. Largest: {largest or 'none above 4 %'}.")
    return lines


def shorten(text, most=90):
    text = text.replace("|", "/").replace("`", "")
    return "`" + (text if len(text) <= most else text[:most - 1] + "…") + "`"


def document(pairs, lrc, failed):
    version = subprocess.run([lrc, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("fla-core", "triton", "torch"))
    today = datetime.datetime.now(datetime.timezone.utc).date()
    lines = [f"Modelled on {today} with {version} at {commit.stdout.strip()}, {packages}; {SHAPE[0]} sequences of {SHAPE[1]} "
             f"tokens, {SHAPE[2]} heads, kernels of sm_90a. Nothing of it was measured.", ""]
    lines += [*summary(pairs), "", *gaps(pairs), "", "<details><summary>Every kernel</summary>", "", *kernels(pairs), "",
              "</details>"]
    if failed:
        lines += ["", "Not told: " + "; ".join(failed) + "."]
    return "\n".join(lines) + "\n"


MARKS = ["<!-- made by benches/gpu_model/table.py -->", "<!-- end of what benches/gpu_model/table.py made -->"]


def put(path, text):
    """Writes a page, or what stands between the marks of one."""
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    if all(mark in page for mark in MARKS):
        before, after = page.split(MARKS[0])[0], page.split(MARKS[1])[1]
        text = f"{before}{MARKS[0]}\n\n{text}\n{MARKS[1]}{after}"
    path.write_text(text, encoding="utf-8")


def main():
    a = arguments()
    rows = [row for row in ROWS if not a.only or f"{row[0]}-{row[1]}" in a.only.split(",")]
    work, pairs, failed = Path(a.work), {}, []
    with multiprocessing.Pool() as pool:
        for op, width in rows:
            name = f"{op}-{width}"
            ours, theirs = work / "lrc" / name, work / "fla" / name
            compile_fla(op, width, a.most, theirs)
            sides = []
            if not a.fla_alone:
                compile_lrc(a.lrc, op, width, ours)
            for side, folder in (("FLA", theirs), ("lrc", ours))[:1 if a.fla_alone else 2]:
                all_settings = a.ranges is None or name in a.ranges.split(",")
                made = Side(side, folder, work / "results", list(SETTINGS) if all_settings else ["assumed"])
                made.choose(pool)
                made.run(pool)
                sides.append(made)
                failed += [f"{name} {side}: {why}" for why in made.failed]
            if any(side.failed for side in sides):
                print(f"{name}: not told: {failed[-1]}", file=sys.stderr, flush=True)
                continue
            if a.fla_alone:
                continue
            pairs[op, width] = sides
            for phase, words in PHASES:
                x, y = (side.seconds(phase) for side in sides)
                print(f"{name} {words}: FLA {1e3 * x:.3f} ms, lrc {1e3 * y:.3f} ms, {y / x:.2f}", file=sys.stderr, flush=True)
            text = document(pairs, a.lrc, failed)
            if a.out:
                put(Path(a.out), text)
    if not a.out and pairs:
        print(document(pairs, a.lrc, failed), end="")


if __name__ == "__main__":
    environment.enter()
    main()
