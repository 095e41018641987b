#!/usr/bin/env python3
"""The model on tiny programs: what instructions do, how warps wait, what memory counts. Needs numpy alone, and no GPU."""

import unittest

import numpy as np

import sm
from hardware import setting
from instructions import Decoder
from sass import ALL, LANE, WORD, Instruction, Operand

# Control bits: stall 1, no scoreboard set or read or waited for.
PLAIN = 1 | 7 << 5 | 7 << 8


def control(stall=1, sets=7, reads=7, wait=0):
    return stall | sets << 5 | reads << 8 | wait << 11


def kernel(lines, constants=None, labels=None):
    """A kernel of lines of machine code, each a text or (text, control bits)."""
    made = sm.Kernel.__new__(sm.Kernel)
    both = [line if isinstance(line, tuple) else (line, PLAIN) for line in lines]
    made.code = [Instruction(n, 16 * n, text, bits, 0) for n, (text, bits) in enumerate(both)]
    made.hardware, made.offsets = setting(), {i.offset: i.at for i in made.code}
    decoder = Decoder(constants or {}, labels or {}, made.hardware)
    for i in made.code:
        decoder.decode(i, made.offsets)
    made.missing = decoder.missing
    return made


def run(lines, warps=1, blocks=1, shared=4096, constants=None, labels=None, data=None):
    """Runs it; gives the multiprocessor and its first warp."""
    made = kernel(lines, constants, labels)
    machine = sm.Multiprocessor(made, [(1 << 32, (1 << 32) + (1 << 20))], shared, warps, data=data)
    first, push = [], machine.push
    machine.push = lambda t, w: (first.append(w), push(t, w))
    machine.run([(n, 0, 0) for n in range(blocks)])
    assert not made.missing, made.missing
    return machine, first[0]


class Instructions(unittest.TestCase):
    def registers(self, *lines, **given):
        _, w = run([*lines, "EXIT"], **given)
        return w.R

    def test_a_load_may_overwrite_its_address(self):
        r = self.registers("MOV R2, 0x10", "MOV R3, 0x1", "LDG.E R2, desc[UR6][R2.64+0x4]", data={(1 << 32) + 0x14: 7})
        self.assertEqual(r[2].tolist(), [7] * 32)

    def test_whole_numbers_are_exact(self):
        r = self.registers("S2R R0, SR_TID.X", "IMAD R1, R0, 0x3, RZ", "VIADD R2, R1, 0xffffffff", "LEA R3, R0, R1, 0x2",
                           "SHF.R.S32.HI R4, RZ, 0x1f, R2", "LOP3.LUT R5, R0, 0x1, RZ, 0xc0, !PT", "IADD3 R6, -R0, 0x5, RZ",
                           "IMAD.HI.U32 R7, R0, 0x80000000, RZ", "PRMT R8, R0, 0x5410, R1", "VIMNMX R9, R6, RZ, PT")
        self.assertEqual(r[2].tolist(), [(3 * n - 1) & WORD for n in range(32)])
        self.assertEqual(r[3].tolist(), [7 * n for n in range(32)])
        self.assertEqual(r[4].tolist(), [WORD] + [0] * 31)
        self.assertEqual(r[5].tolist(), [n & 1 for n in range(32)])
        self.assertEqual(r[6].tolist(), [(5 - n) & WORD for n in range(32)])
        self.assertEqual(r[7].tolist(), [n >> 1 for n in range(32)])
        self.assertEqual(r[8].tolist(), [n | 3 * n << 16 for n in range(32)])
        self.assertEqual(r[9].tolist(), [min(5 - n, 0) & WORD for n in range(32)])

    def test_sums_of_64_bits_carry(self):
        r = self.registers("MOV R0, 0xffffffff", "MOV R1, 0x1", "IADD3 R2, P0, R0, 0x2, RZ",
                           "IADD3.X R3, R1, RZ, RZ, P0, !PT", "IMAD.WIDE.U32 R4, R0, R0, RZ")
        self.assertEqual((r[2][0], r[3][0]), (1, 2))
        self.assertEqual(int(r[4][7]) | int(r[5][7]) << 32, (2**32 - 1) ** 2)

    def test_comparisons_choose_lanes(self):
        r = self.registers("S2R R0, SR_TID.X", "ISETP.GE.AND P0, PT, R0, 0x10, PT", "SEL R1, RZ, 0x1, P0",
                           "PLOP3.LUT P1, PT, P0, PT, PT, 0x8, 0x0", "@P1 MOV R2, 0x7", "SHFL.BFLY PT, R3, R0, 0x1, 0x1f",
                           "SHFL.UP P2, R4, R0, 0x4, RZ", "SHFL.IDX PT, R5, R0, 0x3, 0x1f")
        self.assertEqual(r[1].tolist(), [1] * 16 + [0] * 16)
        self.assertEqual(r[2].tolist(), [7] * 16 + [0] * 16)
        self.assertEqual(r[3].tolist(), (LANE ^ 1).tolist())
        self.assertEqual(r[4].tolist(), [n - 4 if n >= 4 else n for n in range(32)])
        self.assertEqual(r[5].tolist(), [3] * 32)

    def test_constants_and_literals(self):
        r = self.registers("LDC.64 R0, c[0x0][0x210]", "MOV R2, 1", "IADD3 R3, R0, c[0x0][0x214], RZ",
                           constants={0x210: 5, 0x214: 6})
        self.assertEqual([r[0][0], r[1][0], r[3][0]], [5, 6, 11])
        self.assertEqual(int(r[2][0]), 0x3F800000)
        minus = Operand("-R1", lambda offset: 0)
        self.assertEqual(int(minus(type("W", (), {"R": np.ones((2, 32), np.int64)}))[0]), WORD)

    def test_what_has_no_model_is_counted(self):
        self.assertEqual(dict(kernel(["UTMALDG.2D [UR8], [UR4]", "EXIT"]).missing), {"UTMALDG.2D": 1})


class Flow(unittest.TestCase):
    def test_loops_end_and_lanes_that_part_come_together(self):
        lines = ["S2R R0, SR_TID.X", "MOV R1, RZ", "VIADD R1, R1, 0x1", "ISETP.LE.AND P0, PT, R1, R0, PT",
                 "@P0 BRA `(.L_x_0)", "EXIT"]
        machine, w = run(lines, labels={".L_x_0": 2})
        self.assertEqual(w.R[1].tolist(), list(range(1, 33)))
        self.assertEqual(machine.count["branch"], 31)  # the last one is taken by nobody
        self.assertEqual(machine.kernel.hot_loop(machine.ran), 3 * 16)

    def test_a_barrier_waits_for_the_last_warp(self):
        lines = ["S2R R0, SR_TID.X", "ISETP.GE.AND P0, PT, R0, 0x20, PT", "@P0 BRA `(.L_x_0)", ("NOP", control(15)),
                 ("NOP", control(15)), "BAR.SYNC.DEFER_BLOCKING 0x0", "EXIT"]
        machine, _ = run(lines, warps=2, labels={".L_x_0": 5})
        self.assertGreaterEqual(machine.stalls["barrier"], 30)
        self.assertGreaterEqual(machine.critical[3], 15)

    def test_calls_come_back(self):
        lines = ["MOV R2, 0x20", "CALL.REL.NOINC `($f)", "MOV R0, 0x9", "EXIT", "MOV R1, 0x8", "RET.REL.NODEC R2 `(k)"]
        _, w = run(lines, labels={"$f": 4})
        self.assertEqual([w.R[0][0], w.R[1][0]], [9, 8])


class Memory(unittest.TestCase):
    def test_banks_conflict_by_their_addresses(self):
        spread, same, apart = LANE * 4, LANE * 0, LANE * 128
        self.assertEqual([sm.wavefronts(x + 64, 4) for x in (spread, same, apart)], [1, 1, 32])
        self.assertEqual([sm.wavefronts(LANE * 16, 16), sm.wavefronts(LANE * 272, 16)], [4, 4])
        self.assertEqual(sm.wavefronts(LANE * 256, 16), 32)

    def test_sectors_are_those_of_the_addresses(self):
        self.assertEqual(sm.sectors_of((1 << 32) + LANE * 4, 4), ([(1 << 27) + n for n in range(4)], 1))
        self.assertEqual(len(sm.sectors_of((1 << 32) + LANE * 128, 4)[0]), 32)

    def test_loads_bring_known_words_and_take_their_time(self):
        lines = ["S2R R0, SR_TID.X", "MOV R2, RZ", "MOV R3, 0x1", "IMAD.WIDE.U32 R2, R0, 0x4, R2",
                 ("LDG.E R4, desc[UR4][R2.64]", control(sets=0)), ("VIADD R5, R4, 0x1", control(wait=1)), "EXIT"]
        machine, w = run(lines, data={(1 << 32) + 4 * n: n + 10 for n in range(32)})
        self.assertEqual(w.R[5].tolist(), [n + 11 for n in range(32)])
        self.assertGreaterEqual(machine.cycles, setting()["dram"])
        self.assertEqual([machine.count["missed"], machine.count["loaded"]], [128, 128])

    def test_copies_are_waited_for(self):
        lines = ["S2R R0, SR_TID.X", "MOV R2, RZ", "MOV R3, 0x1", "IMAD.WIDE.U32 R2, R0, 0x10, R2", "LEA R6, R0, 0x400, 0x4",
                 "LDGSTS.E.BYPASS.128 [R6], desc[UR4][R2.64]", "LDGDEPBAR", "DEPBAR.LE SB0, 0x0", "EXIT"]
        machine, _ = run(lines)
        self.assertGreaterEqual(machine.cycles, setting()["dram"])
        self.assertEqual(machine.count["loaded"], 512)

    def test_mbarriers_let_go_when_bulk_copies_have_come(self):
        lines = ["UMOV UR4, 0x1ffffe", "UMOV UR5, RZ", "SYNCS.EXCH.64 URZ, [UR6+0x400], UR4", "MOV R8, 0x1000",
                 "S2R R0, SR_TID.X", "ISETP.NE.AND P0, PT, R0, RZ, PT", "@!P0 SYNCS.ARRIVE.TRANS64 RZ, [UR6+0x400], R8",
                 "UMOV UR8, 0x480", "UMOV UR9, 0x400", "UMOV UR10, RZ", "UMOV UR11, 0x1", "UMOV UR12, 0x100",
                 "UBLKCP.S.G [UR8], [UR10], UR12", "SYNCS.PHASECHK.TRANS64.TRYWAIT P1, [UR6+0x400], RZ", "@!P1 BRA `(.L_x_0)",
                 "EXIT"]
        machine, w = run(lines, shared=8192, labels={".L_x_0": 13})
        self.assertTrue(w.P[1].all())
        self.assertGreaterEqual(machine.cycles, 4096 / machine.bytes_per_cycle)
        self.assertEqual(machine.count["loaded"], 4096)

    def test_a_scoreboard_that_nobody_waits_for_costs_nothing(self):
        machine, _ = run([("LDS R0, [RZ]", control(sets=0)), "EXIT"])
        self.assertLess(machine.cycles, 10)
        self.assertIs(ALL.all(), np.True_)


if __name__ == "__main__":
    unittest.main()
