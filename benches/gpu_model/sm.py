"""One multiprocessor of the model: warps issue in order, as their scoreboards and pipes allow.

Fixed latencies are the stall counts that the assembler wrote into the instructions, variable ones its scoreboards with
the latencies of `hardware.py`. Each of four schedulers issues one instruction a cycle. Shared memory takes as many
wavefronts as the real addresses need; device memory goes by sectors of 32 bytes, through an L1.
"""

import collections
import heapq

import numpy as np

from instructions import Decoder, to_predicate
from sass import ALL, LANE, NONE, WORD, disassemble

SHARED = ("lds", "sts", "ldsm", "stsm", "atoms")
DEVICE = ("ldg", "stg", "ldgsts", "atomg")
MEMORY = (*SHARED, *DEVICE, "ldl", "stl")
# Warp instructions after which a kernel is taken to run forever.
ENDLESS = 40_000_000


class Kernel:
    """A kernel's decoded code, for one set of arguments."""

    def __init__(self, path, nvdisasm, constants, hardware):
        self.code, labels = disassemble(path, nvdisasm)
        decoder = Decoder(constants, labels, hardware)
        self.offsets = {i.offset: i.at for i in self.code}
        for i in self.code:
            decoder.decode(i, self.offsets)
        self.missing, self.hardware = decoder.missing, hardware

    def hot_loop(self, counts):
        """Bytes of the largest loop, of those whose last instruction runs most often among jumps back."""
        back = [(i.target, i.at) for i in self.code if i.kind == "branch" and i.target is not None and i.target < i.at]
        ran = [(counts.get(last, 0), last - first + 1) for first, last in back if counts.get(last, 0)]
        return 16 * max((length for _, length in ran), default=0)


class Warp:
    """A warp's registers, where its lanes stand, and what it waits for."""

    def __init__(self, block, first, scheduler):
        self.R = np.zeros((256, 32), np.int64)
        self.R[1] = 0x100000  # the stack
        self.P = np.ones((8, 32), bool)
        self.U, self.UP = [0] * 72, [True] * 8
        self.block, self.scheduler, self.tid = block, scheduler, LANE + first
        self.groups, self.waiting = [(0, ALL)], []
        self.t, self.arrived, self.scoreboards = 0.0, 0.0, [0.0] * 8
        self.copies, self.open, self.wgmma = [], 0.0, 0.0
        self.saved, self.spent = {}, {}


class Block:
    """A block of threads."""

    def __init__(self, place, warps):
        self.place, self.alive, self.at_barrier, self.warps, self.mbarriers = place, warps, 0, [], {}


class Mbarrier:
    """A barrier in shared memory: arrivals and bytes that a phase still expects, and when phases were over."""

    def __init__(self, count):
        self.count, self.pending, self.bytes, self.latest, self.over = count, count, 0, 0.0, []

    def settle(self):
        if self.pending <= 0 and self.bytes <= 0:
            self.over.append(self.latest)
            self.pending, self.latest = self.pending + self.count, 0.0


class Multiprocessor:
    """Runs blocks of a kernel that sit on a multiprocessor together."""

    def __init__(self, kernel, regions, shared, warps, active=132, data=None):
        """`regions` are [(start, end)] of device memory, `data` its words that are not 0."""
        self.kernel, self.code, self.hardware = kernel, kernel.code, kernel.hardware
        self.regions, self.shared, self.warps_of_block, self.data = regions, shared, warps, data or {}
        hw = self.hardware
        self.bytes_per_cycle = min(hw["sm_bytes"], hw["hbm"] / hw["clock"] / active)

    def run(self, blocks):
        """Cycles until all of them have ended, and what they did."""
        hw = self.hardware
        self.count, self.ran = collections.Counter(), collections.Counter()
        self.critical, self.conflicts = collections.Counter(), collections.Counter()
        self.stalls, self.busy = collections.Counter(), collections.Counter()
        self.slots, self.pipes = [0.0] * 4, collections.defaultdict(float)
        self.lines, self.seen, self.memory_free = collections.OrderedDict(), set(), 0.0
        self.capacity = max(16, (hw["l1_bytes"] - self.shared * len(blocks)) // 32)
        self.heap, self.order = [], 0
        for n, place in enumerate(blocks):
            block = Block(place, self.warps_of_block)
            for k in range(self.warps_of_block):
                block.warps.append(Warp(block, 32 * k, (n * self.warps_of_block + k) % 4))
                self.push(0.0, block.warps[-1])
        end, steps = 0.0, 0
        while self.heap:
            begun, _, w = heapq.heappop(self.heap)
            pc, mask = w.groups[-1]
            i = self.code[pc]
            t, key = self.earliest(i, w, begun)
            if t > begun + 1e-6:  # others may issue before
                self.push(t, w)
                continue
            steps += 1
            if steps > ENDLESS:
                raise RuntimeError("it does not end")
            if self.issue(i, w, pc, mask, t, key):
                self.push(w.t, w)
            end = max(end, w.t)
        self.cycles = max(end, self.memory_free)  # stores may still be under way
        return self.cycles, self.count

    def push(self, t, w):
        self.order += 1
        heapq.heappush(self.heap, (t, self.order, w))

    def earliest(self, i, w, t):
        """When an instruction may issue, and the pipe that it then keeps."""
        t = max(w.t, t)
        if i.wait:
            for k in range(6):
                if i.wait >> k & 1 and w.scoreboards[k] > t:
                    t = w.scoreboards[k]
        kind, key = i.kind, None
        if kind == "copies_wait":
            done = w.copies[:max(0, len(w.copies) - i.count)]
            t = max([t, *done])
        elif kind == "wgmma_wait":
            t = max(t, w.wgmma)
        t = max(t, self.slots[w.scheduler])
        if kind in MEMORY:
            t = max(t, self.pipes["lsu"] - self.hardware["queue"])
        elif kind == "wgmma":
            t = max(t, self.pipes["tensor", w.scheduler] - 64)
        elif i.pipe:
            # Multiplications of whole numbers go by half of the units that multiply floats.
            key = "lsu" if i.pipe == "lsu" else (i.pipe, w.scheduler)
            t = max(t, self.pipes[key])
        return t, key

    def issue(self, i, w, pc, mask, t, key):
        """Does an instruction; says whether its warp goes on by itself."""
        m = mask
        if i.guard is not None:
            on = i.guard(w)
            m = ALL if mask is ALL and on is ALL else mask & on  # never the predicate itself, which may change
        lanes = 32 if m is ALL else np.count_nonzero(m)
        active = lanes > 0
        if lanes == 32:
            m = ALL
        waited, kind, latency = t - w.t, i.kind, 0.0
        if i.wait and waited > 0:
            self.stalls["scoreboard"] += waited
        if active and key:
            self.pipes[key] = t + i.busy
            self.busy[i.pipe] += i.busy
            latency = i.latency
        elif active and kind == "wgmma":
            self.of_group(i, w, t)
        elif active and kind in MEMORY:
            t, latency = self.memory(i, w, m, t)
            if kind == "ldgsts":
                w.open = max(w.open, t + latency)
        elif active and (kind == "bulk" or kind.startswith("mbarrier")):
            t, latency = self.asynchronous(i, w, m, t)
        if kind == "copies_commit":
            w.copies.append(w.open)
            w.open = 0.0
        elif kind == "copies_wait":
            w.copies = w.copies[max(0, len(w.copies) - i.count):]
        self.slots[w.scheduler] = t + 1
        self.ran[pc] += 1
        self.count["issued"] += 1
        if active:
            self.count[kind] += 1
            if kind in ("mma", "wgmma"):
                self.count["flop"] += i.size
            if i.sets < 6:
                w.scoreboards[i.sets] = max(w.scoreboards[i.sets], t + max(latency, 2))
            if i.reads < 6:
                w.scoreboards[i.reads] = max(w.scoreboards[i.reads], t + 12)
        before, w.t = w.t, t + max(i.stall, 1)
        w.spent[pc] = w.spent.get(pc, 0.0) + w.t - before
        return self.go_on(i, w, pc, mask, m, active)

    def go_on(self, i, w, pc, mask, m, active):
        """Moves the lanes on to where they go next."""
        kind = i.kind
        if kind == "branch":
            self.branch(i, w, pc, mask, m if active else NONE)
        elif kind == "return":
            target = self.kernel.offsets[int(i.reads_if(w)[int(m.argmax())])]
            w.groups[-1] = (target, mask)
            settle(w)
        elif kind == "exit":
            rest = NONE if m is ALL else mask & ~m
            w.groups.pop()
            if rest.any():
                w.groups.append((pc + 1, rest))
                settle(w)
            if not w.groups and not w.waiting:
                w.block.alive -= 1
                if w.block.alive == 0:
                    self.critical.update(w.spent)
                self.release(w.block, w.t)
                return False
        elif kind == "barrier":
            w.groups.pop()
            w.waiting.append((pc + 1, mask))
            if w.groups:
                settle(w)
                return True
            w.block.at_barrier += 1
            w.arrived = w.t
            if w.block.at_barrier == w.block.alive:  # the others wait for this one
                self.critical.update(w.spent)
                self.critical[pc] += self.hardware["bar"]
            w.spent = {}
            self.release(w.block, w.t)
            return False
        else:
            if active:
                # A load may overwrite its own address.
                at = np.array(i.address[-1](w)) if kind == "ldg" and self.data else None
                i.run(w, m)
                if at is not None:
                    self.deliver(i, w, m, at)
                elif kind in ("ldl", "stl"):
                    spilled(i, w, m)
            w.groups[-1] = (pc + 1, mask)
            if len(w.groups) > 1:
                settle(w)
        return True

    @staticmethod
    def branch(i, w, pc, mask, taken):
        if i.count and taken is not ALL and taken.any():
            taken = mask
        if taken is ALL or np.array_equal(taken, mask):
            w.groups[-1] = (i.target, mask)
        elif taken is not NONE:
            w.groups.pop()
            w.groups += [(i.target, taken), (pc + 1, mask & ~taken)]
        else:
            w.groups[-1] = (pc + 1, mask)
        settle(w)

    def release(self, block, now):
        """Lets warps go on from a barrier that all of them have reached."""
        if block.at_barrier < block.alive or block.alive == 0:
            return
        block.at_barrier = 0
        for w in block.warps:
            if w.waiting:
                self.stalls["barrier"] += now - w.arrived
                w.groups, w.waiting = w.waiting, []
                w.t = now + self.hardware["bar"]
                settle(w)
                self.push(w.t, w)

    def of_group(self, i, w, t):
        """A product of a warp group: each warp's part runs on the tensor unit of its scheduler."""
        key = ("tensor", w.scheduler)
        cycles = i.busy * i.size / (self.hardware["wgmma_flop"] / 4)
        self.pipes[key] = max(t, self.pipes[key]) + cycles
        self.busy["tensor"] += cycles
        w.wgmma = max(w.wgmma, self.pipes[key] + 40)

    def deliver(self, i, w, m, at):
        """Puts the words that are known at the addresses into the registers of a load."""
        to = next(x for x in i.args if x[0] in "RU" and not x.startswith("UP")).replace(".reuse", "")
        if to == "RZ":
            return
        for k in range(max(1, i.size // 4)):
            words = np.array([self.data.get(int(x) + 4 * k, 0) for x in at], np.int64)
            np.copyto(w.R[int(to[1:]) + k], words, where=m)

    def memory(self, i, w, m, t):
        """When an access issues, and how late its result comes."""
        on = m if i.reads_if is None else m & i.reads_if(w)
        if i.kind in SHARED:
            return self.shared_access(i, w, on, t)
        start = max(t, self.pipes["lsu"])
        if i.kind in ("ldl", "stl"):
            self.pipes["lsu"] = start + 4
            self.busy["lsu"] += 4
            self.count["spill"] += 1
            return t, self.hardware["l1"]
        return self.device_access(i, w, on, t, start)

    def shared_access(self, i, w, on, t):
        at = i.address[0](w)
        if i.kind in ("ldsm", "stsm"):
            waves, least = sum(wavefronts(at[8 * q:8 * q + 8], 16) for q in range(i.count)), i.count
            size = 128 * i.count
        else:
            at = at[on]
            if len(at) == 0:
                return t, 0
            waves, size = wavefronts(at, i.size), len(at) * i.size
            least = max(1, i.size * 32 // 128) if len(at) > 1 else 1
        if at.max() + i.size > self.shared + 0x800:
            raise RuntimeError(f"shared address {at.max():#x} at {i.text}")
        self.count["shared_bytes"] += size
        self.count["wavefronts"] += waves
        self.count["conflict"] += max(0, waves - least)
        self.conflicts[i.at] += max(0, waves - least)
        start = max(t, self.pipes["lsu"])
        self.pipes["lsu"] = start + waves
        self.busy["lsu"] += waves
        issue = max(t, start - self.hardware["queue"])
        latency = self.hardware["ldsm" if i.kind == "ldsm" else "lds"]
        return issue, (start - issue) + waves + latency - 1

    def device_access(self, i, w, on, t, start):
        at, waves = i.address[-1](w)[on], 1
        if i.kind == "ldgsts":
            to = i.address[0](w)[on]
            if len(to):
                waves = max(1, wavefronts(to, i.size))
                self.count["shared_bytes"] += len(to) * i.size
                self.count["wavefronts"] += waves
        if len(at) == 0:
            self.pipes["lsu"] = start + 1
            return t, self.hardware["lds"]
        self.inside(int(at.min()), int(at.max()) + i.size, i)
        sectors, lines = sectors_of(at, i.size)
        waves = max(waves, lines, (len(at) * i.size + 127) // 128)
        self.pipes["lsu"] = start + waves
        self.busy["lsu"] += waves
        issue = max(t, start - self.hardware["queue"])
        if i.kind == "stg":
            self.count["stored"] += len(at) * i.size
            self.stores(sectors, start)
            return issue, 12
        self.count["loaded"] += len(at) * i.size
        if i.kind == "atomg":
            self.stores(sectors, start)
            return issue, (start - issue) + self.hardware["atomic"]
        return issue, (start - issue) + self.fetch(sectors, start, i.kind == "ldg")

    def inside(self, first, last, i):
        if not any(low <= first and last <= high for low, high in self.regions):
            raise RuntimeError(f"device address {first:#x}..{last:#x} at {i.text}")

    def stores(self, sectors, start):
        self.count["store_sectors"] += len(sectors)
        self.transfer(32 * len(sectors), start)
        for x in sectors:
            self.lines.pop(x, None)

    def transfer(self, size, start):
        """Takes the multiprocessor's share of device memory's bandwidth."""
        cycles = size / self.bytes_per_cycle
        self.memory_free = max(self.memory_free, start) + cycles
        self.busy["memory"] += cycles

    def fetch(self, sectors, start, cached):
        """How late sectors come, from L1 where they lie there."""
        missed = far = 0
        for x in sectors:
            if cached and x in self.lines:
                self.lines.move_to_end(x)
                continue
            missed += 1
            if x not in self.seen:
                far += 1
                self.seen.add(x)
            if cached:
                self.lines[x] = True
                if len(self.lines) > self.capacity:
                    self.lines.popitem(last=False)
        self.count["missed"] += 32 * missed
        self.count["first_touched"] += 32 * far
        if not missed:
            return self.hardware["l1"]
        self.transfer(32 * missed, start)
        latency = self.hardware["dram" if far else "l2"]
        return max(latency, self.memory_free - start + self.hardware["l2"])

    def asynchronous(self, i, w, m, t):
        """Barriers in shared memory, and copies that no thread waits for."""
        if i.kind == "bulk":
            return self.bulk(i, w, t)
        if i.kind == "mbarrier":
            return t, 0
        lane = int(m.argmax())
        at, hw = int(i.address[0](w)[lane]), self.hardware
        if i.kind == "mbarrier_init":
            # The assembler holds a count of n as (0x100000 - n) << 1.
            w.block.mbarriers[at] = Mbarrier(0x100000 - (int(i.reads_if(w)[lane]) >> 1 & 0xFFFFF))
            return t, hw["mbarrier"]
        barrier = w.block.mbarriers[at]
        if i.kind == "mbarrier_arrive":
            barrier.pending -= int(m.sum())
            barrier.bytes += int(i.reads_if(w)[m].sum()) if i.reads_if else 0
            barrier.latest = max(barrier.latest, t + hw["mbarrier"])
            barrier.settle()
            return t, hw["mbarrier"]
        parity = int(i.reads_if(w)[lane]) >> 31 & 1
        # Over is the phase of that parity when the present one has the other.
        over = (len(barrier.over) & 1) != parity
        if over and barrier.over:
            t = max(t, barrier.over[-1])
        to_predicate(i.args[0], w, m, np.full(32, over))
        return t, hw["mbarrier"]

    def bulk(self, i, w, t):
        """A bulk copy: the bytes go at the speed of memory, without any lane."""
        size = 16 * int(i.reads_if(w)[0])
        loads = i.count == 1
        device = i.address[1 if loads else 0](w)
        self.inside(device, device + size, i)
        sectors = list(range(device >> 5, (device + size - 1 >> 5) + 1))
        start = max(t, self.pipes["copies"])
        self.pipes["copies"] = start + size / 128
        if not loads:
            self.count["stored"] += size
            self.stores(sectors, start)
            w.open = max(w.open, self.memory_free)
            return t, 0
        self.count["loaded"] += size
        done = start + self.fetch(sectors, start, False)
        _, at = i.address[0](w)
        barrier = w.block.mbarriers[at]
        barrier.bytes -= size
        barrier.latest = max(barrier.latest, done)
        barrier.settle()
        return t, 0


def settle(w):
    """Joins lanes that stand at the same place; those that are behind go first."""
    if len(w.groups) == 1:
        return
    by = {}
    for pc, m in w.groups:
        by[pc] = (by[pc] | m) if pc in by else m
    w.groups = sorted(((pc, ALL if m.all() else m) for pc, m in by.items()), key=lambda x: -x[0])


def spilled(i, w, m):
    """Registers that went to memory may hold addresses: they come back."""
    at = int(i.address[0](w)[0])
    name = next(x for x in i.args if x[0] == "R" and "[" not in x).replace(".reuse", "")
    for k in range(max(1, i.size // 4)):
        if i.kind == "stl":
            w.saved[at + 4 * k] = (w.R[int(name[1:]) + k] if name != "RZ" else NONE.astype(np.int64)).copy()
        elif name != "RZ":
            np.copyto(w.R[int(name[1:]) + k], w.saved.get(at + 4 * k, NONE), where=m)


KNOWN = {}


def wavefronts(at, size):
    """Accesses of 128 bytes that shared memory makes of lanes' addresses; patterns come again, moved."""
    key = (size, (at - (int(at[0]) & ~127)).tobytes())
    known = KNOWN.get(key)
    if known is None:
        if size <= 4:
            known = int(np.bincount(np.unique(at >> 2) & 31, minlength=32).max())
        else:
            together = 128 // size  # lanes of one wavefront without conflicts
            known = sum(banks(at[k:k + together], size) for k in range(0, len(at), together))
        KNOWN[key] = known
    return known


def banks(at, size):
    words = np.unique(np.concatenate([(at >> 2) + k for k in range(size // 4)]))
    return int(np.bincount(words & 31, minlength=32).max())


SECTORS = {}


def sectors_of(at, size):
    """The sectors of 32 bytes that lanes touch, and in how many lines of 128 bytes they lie."""
    base = int(at[0]) & ~127
    key = (size, (at - base).tobytes())
    known = SECTORS.get(key)
    if known is None:
        near = at - base
        sectors = np.unique(np.concatenate([near >> 5, (near + size - 1) >> 5]))
        known = SECTORS[key] = (sectors.tolist(), len(np.unique(sectors >> 2)))
    return [(base >> 5) + x for x in known[0]], known[1]
