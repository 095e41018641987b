"""Runs what launches.json lists on the model: lrc's launches and flash-linear-attention's alike.

A launch is {phase, kernel, file, symbol, grid, warps, shared, args} as `lrc compile --emit cubin,launch` and
compile_fla.py write it; one without a file is a kernel that only moves the bytes of its arguments. Where
`length_from` names an argument, a block goes through a sequence: it runs for two short lengths, and what a token
costs follows from the difference.
"""

import collections
import hashlib
import json
import random
import re
import subprocess
from pathlib import Path

import environment
from hardware import setting
from sm import Kernel, Multiprocessor

# Where arguments begin in the constant bank.
FIRST = {"sm_80": 0x160, "sm_86": 0x160, "sm_89": 0x160, "sm_90": 0x210, "sm_90a": 0x210}
# Rounds of a loop over chunks that are run, and how many draws of blocks where blocks differ.
ROUNDS, DRAWS = (3, 5), 2
# FLA's chunks are at most so long, and divide it.
CHUNK = 64


def used(path):
    """Registers of a thread and bytes of its stack, as cuobjdump says them."""
    done = subprocess.run([environment.tool("cuobjdump"), "-res-usage", path], capture_output=True, text=True, check=True)
    found = re.search(r"REG:(\d+) STACK:(\d+)", done.stdout + done.stderr)
    return int(found.group(1)), int(found.group(2))


def resident(registers, shared, warps, hw):
    """Blocks that a multiprocessor holds at a time."""
    of_registers = hw["registers"] // (32 * ((registers + 7) // 8 * 8) * warps)
    return max(1, min(of_registers, hw["shared_in_all"] // (shared + 1024), hw["warps"] // warps, hw["blocks"]))


def memory_of(launch, length=None):
    """The constant bank, where device memory may be touched, and its words that are not 0."""
    grid, first = launch["grid"], FIRST[launch["arch"]]
    bank = {0: 32 * launch["warps"], 4: 1, 8: 1, 0xC: grid[0], 0x10: grid[1], 0x14: grid[2], 0x28: 0x100000}
    regions, data, free, offset, placed = [], {}, 1 << 32, first, {}
    for arg in launch["args"]:
        if "ptr" in arg:
            offset = (offset + 7) // 8 * 8
            at = 0
            if arg["ptr"]:
                at = placed.get(arg.get("tensor"))
                if at is None:
                    at = free
                    free += (arg["ptr"] + 0x3FFFFF) // 0x100000 * 0x100000
                    regions.append((at - (64 << 10), at + arg["ptr"] + (1 << 20)))
                    placed[arg.get("tensor", len(placed) + (1 << 30))] = at
                words = arg.get("words", [])
                if length and arg["name"] == launch.get("length_from"):
                    words = [n * length for n in range(len(words))]
                data.update({at + 4 * n: word for n, word in enumerate(words) if word})
            bank[offset], bank[offset + 4] = at & 0xFFFFFFFF, at >> 32
            offset += 8
            continue
        value, wide = arg["value"], "64" in arg["type"]
        if length and arg["name"] == launch.get("length_from"):
            value = length
        if isinstance(value, float):
            value = 0x3DB504F3  # no kernel here looks at it
        offset = (offset + 7) // 8 * 8 if wide else offset
        bank[offset] = int(value) & 0xFFFFFFFF
        if wide:
            bank[offset + 4] = int(value) >> 32 & 0xFFFFFFFF
        offset += 8 if wide else 4
    return bank, regions, data


def places(grid, count, draw):
    """Blocks that sit on a multiprocessor together: those that start at once go to all in turn."""
    total = grid[0] * grid[1] * grid[2]
    first = random.Random(draw).randrange(total) if draw else 0
    all_places = []
    for n in range(count):
        at = (first + n * 132) % total
        all_places.append((at % grid[0], at // grid[0] % grid[1], at // grid[0] // grid[1]))
    return all_places


class Launch:
    """A launch with its code, run as often as asked."""

    def __init__(self, folder, launch, hw):
        self.launch, self.hw, self.path = launch, hw, f"{folder}/{launch['file']}.cubin"
        self.registers, self.stack = used(self.path)
        self.resident = resident(self.registers, launch["shared"], launch["warps"], hw)
        self.total = launch["grid"][0] * launch["grid"][1] * launch["grid"][2]
        self.together = min(self.resident, -(-self.total // hw["sms"]))

    def simulate(self, length=None, blocks=None, draw=0):
        bank, regions, data = memory_of(self.launch, length)
        kernel = Kernel(self.path, environment.tool("nvdisasm"), bank, self.hw)
        active = min(self.hw["sms"], self.total)
        sm = Multiprocessor(kernel, regions, self.launch["shared"], self.launch["warps"], active, data)
        cycles, count = sm.run(places(self.launch["grid"], blocks or self.together, draw))
        return cycles, count, sm

    def measured(self, quick=False):
        """Cycles of the blocks that run together, what they did, and the cycles of each step on the critical path."""
        blocks = 1 if quick else self.together
        if self.launch.get("length_from"):
            return self.by_rounds(blocks)
        differ = sum(x > 1 for x in self.launch["grid"]) > 2
        runs = [self.simulate(blocks=blocks, draw=draw) for draw in range(DRAWS if differ and not quick else 1)]
        cycles = sum(run[0] for run in runs) / len(runs)
        return cycles, mean(run[1] for run in runs), mean(run[2].critical for run in runs), runs[0][2], 1

    def by_rounds(self, blocks):
        tokens = next(arg.get("words", [0, arg.get("value")])[1] for arg in self.launch["args"]
                      if arg["name"] == self.launch["length_from"])
        chunk = self.launch.get("chunk", CHUNK)
        few, many = (min(n * chunk, tokens) for n in ROUNDS)
        one, two = self.simulate(few, blocks), self.simulate(many, blocks)
        if many == few:
            return two[0], two[1], two[2].critical, two[2], 1
        more = (tokens - few) / (many - few)

        def at(a, b):
            return {k: a.get(k, 0) + more * (b[k] - a.get(k, 0)) for k in b}
        return (one[0] + more * (two[0] - one[0]), at(one[1], two[1]), at(one[2].critical, two[2].critical), two[2],
                tokens // chunk)

    def seconds(self, cycles, blocks):
        rounds = self.total / (self.hw["sms"] * blocks)
        if self.launch.get("length_from"):
            rounds = -(-self.total // (self.hw["sms"] * blocks))  # all blocks are as long
        return max(1.0, rounds) * cycles / self.hw["clock"]

    def quick(self):
        """A rough time, by which configurations are chosen among: one block alone, and what all together need of each unit."""
        cycles, count, _, sm, _ = self.measured(quick=True)
        scale = self.together
        # Busy cycles of a loop's short run are scaled like its instructions; most pipes are four.
        longer = count["issued"] / max(1, sm.count["issued"])
        units = [longer * x / (1 if pipe in ("lsu", "memory") else 4) for pipe, x in sm.busy.items()]
        return self.seconds(max(cycles, scale * max([*units, count["issued"] / 4])), self.together)

    def result(self):
        """What the table shows of it."""
        cycles, count, critical, sm, chunks = self.measured()
        code = sm.code
        lines = by_line(critical, code)
        return {"phase": self.launch["phase"], "kernel": self.launch["kernel"], "config": self.launch.get("config", ""),
                "seconds": self.seconds(cycles, self.together), "cycles": cycles, "chunks": chunks,
                "registers": self.registers, "stack": self.stack, "shared": self.launch["shared"],
                "warps": self.launch["warps"], "blocks": self.total, "resident": self.resident,
                "together": self.together, "count": {k: x * self.total / self.together for k, x in count.items()},
                "busy": dict(sm.busy), "stalls": dict(sm.stalls), "ran_cycles": sm.cycles, "loop_bytes": sm.kernel.hot_loop(sm.ran),
                "data_branches": data_branches(code), "missing": dict(sm.kernel.missing),
                "critical": steps(self.launch, lines)}


def mean(counters):
    """The mean of what several runs counted."""
    counters = list(counters)
    names = set().union(*counters)
    return {k: sum(c.get(k, 0) for c in counters) / len(counters) for k in names}


def by_line(critical, code):
    lines = collections.Counter()
    for at, cycles in critical.items():
        lines[code[at].where] += cycles
    return lines


def steps(launch, lines):
    """Cycles of lines put together by the steps of the plan, where the launch lists them."""
    if not launch.get("steps"):
        return {}
    all_steps = collections.Counter()
    for line, cycles in lines.items():
        before = [text for first, text in launch["steps"] if first <= line]
        all_steps[before[-1] if before else "outside of steps"] += cycles
    return dict(all_steps)


def data_branches(code):
    """Jumps that a comparison of floats decides."""
    of_floats, found = set(), 0
    for i in code:
        outs = [x for x in i.args[:2] if re.match(r"U?P\d$", x)]
        if i.parts[0] in ("FSETP", "HSETP2", "FCHK"):
            of_floats.update(outs)
        elif i.parts[0] == "PLOP3" and any(x.lstrip("!") in of_floats for x in i.args[2:5]):
            of_floats.update(outs)
        else:
            of_floats.difference_update(outs)
        guard = re.match(r"@!?(U?P\d)\s", i.text)
        found += bool(i.kind == "branch" and guard and guard.group(1) in of_floats)
    return found


def moves(launch, hw):
    """A kernel that only moves bytes, by the bytes of its arguments."""
    size = sum(arg["ptr"] for arg in launch["args"])
    return {"phase": launch["phase"], "kernel": launch["kernel"], "config": "", "seconds": size / hw["hbm"],
            "count": {"missed": size}, "missing": {}}


def read(folder):
    """The launches of a folder, put together by those that are configurations of one."""
    launches = json.loads(Path(folder, "launches.json").read_text(encoding="utf-8"))
    groups = collections.OrderedDict()
    for n, launch in enumerate(launches):
        groups.setdefault(launch.get("group", f"one {n}"), []).append(launch)
    return list(groups.values())


class Results:
    """What has been told of launches, kept from run to run as long as launch, code and model are the same."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        here = Path(__file__).parent
        names = ("hardware.py", "instructions.py", "runner.py", "sass.py", "sm.py")
        self.model = b"".join((here / name).read_bytes() for name in names)

    def of(self, folder, launch, name, what):
        """`what` is `quick` or `result`."""
        hw = setting(name)
        if "file" not in launch:
            return moves(launch, hw)
        code = Path(folder, launch["file"] + ".cubin").read_bytes()
        told = json.dumps({k: x for k, x in launch.items() if k not in ("file", "group", "phase")}, sort_keys=True).encode()
        key = hashlib.sha256(b"\0".join([self.model, code, told, name.encode(), what.encode()])).hexdigest()
        known = self.folder / f"{key}.json"
        if known.exists():
            made = json.loads(known.read_text(encoding="utf-8"))
        else:
            made = getattr(Launch(folder, launch, hw), what)()
            known.write_text(json.dumps(made), encoding="utf-8")
        return made | {"phase": launch["phase"]} if what == "result" else made
