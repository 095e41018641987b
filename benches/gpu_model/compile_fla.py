"""Compiles what flash-linear-attention launches for one call, without a GPU, and writes it as `lrc compile` does.

    python compile_fla.py OUT --op gated_delta_rule --shape 4,4096,8 --width 128 [--most 6]

FLA's own Python code runs on CPU tensors of the real shapes, forward and then backward by torch; a stand-in for Triton's
driver says that an H100 is there. Every launch is compiled instead of started, for at most `--most` configurations of its
autotuner, and written to OUT/launches.json; what torch itself would launch (zeros, additions, casts) is written as bytes.
"""

import argparse
import inspect
import json
import os
import re
import sys

import environment

SHARED = 232448
NAME = "NVIDIA H100 80GB HBM3"


def arguments():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("out")
    parse.add_argument("--op", required=True)
    parse.add_argument("--shape", default="4,4096,8")
    parse.add_argument("--width", type=int, default=128)
    parse.add_argument("--most", type=int, default=5)
    return parse.parse_args()


def pretend(torch):
    """Says everywhere that an H100 is there."""
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    class Utils:
        @staticmethod
        def get_device_properties(_):
            return {"max_shared_mem": SHARED, "multiprocessor_count": 132, "max_num_regs": 65536, "warpSize": 32}

    class Driver:
        utils = Utils()
        get_current_device = staticmethod(lambda: 0)
        set_current_device = staticmethod(lambda device: None)
        get_current_stream = staticmethod(lambda device: 0)
        get_device_capability = staticmethod(lambda device=0: (9, 0))
        get_current_target = staticmethod(lambda: GPUTarget("cuda", 90, 32))
        get_active_torch_device = staticmethod(lambda: torch.device("cpu"))

    class Properties:
        multi_processor_count = 132
        shared_memory_per_block_optin = SHARED
        shared_memory_per_block = 49152
        total_memory = 80 << 30
        name = NAME

    driver.set_active(Driver())
    torch.cuda.get_device_name = lambda device=0: NAME
    torch.cuda.get_device_capability = lambda device=0: (9, 0)
    torch.cuda.device_count = lambda: 1
    torch.cuda.current_device = lambda: 0
    torch.cuda.get_device_properties = lambda device=0: Properties()


class Recorder:
    """What a call launches, with every tensor's number, bytes and role."""

    def __init__(self, out, most):
        self.out, self.most, self.launches, self.phase = out, most, [], "saving"
        self.numbers, self.roles, self.kept = {}, {}, []

    def tensor(self, name, x):
        self.kept.append(x)  # so that no other tensor comes to lie where it lay
        place = x.untyped_storage().data_ptr()
        number = self.numbers.setdefault(place, len(self.numbers))
        return {"name": name, "ptr": x.numel() * x.element_size(), "dtype": str(x.dtype).removeprefix("torch."),
                "tensor": number}

    def role(self, role, tensors):
        for x in tensors:
            if x is not None:
                self.kept.append(x)
                self.roles.setdefault(x.untyped_storage().data_ptr(), role)

    def compile(self, jit, args, kwargs, config, group):
        grid = kwargs.pop("grid")
        kwargs.pop("warmup", None)
        named = {**dict(zip(jit.arg_names, args)), **kwargs}
        grid = list(grid(named) if callable(grid) else grid)
        grid += [1] * (3 - len(grid))
        record = {"phase": self.phase, "arch": "sm_90a", "kernel": jit.fn.__name__, "grid": grid, "group": group,
                  "config": re.sub(r", num_ctas.*", "", str(config or ""))}
        made = jit.really_run(*args, grid=grid, warmup=True, **kwargs)
        if made.metadata.shared > SHARED:  # no GPU could start it: a tuner passes over it
            return False
        record["file"] = f"{self.phase}_{len(self.launches):03d}_{jit.fn.__name__}"
        with open(f"{self.out}/{record['file']}.cubin", "wb") as file:
            file.write(made.asm["cubin"])
        record |= {"symbol": made.metadata.name, "shared": made.metadata.shared, "warps": made.metadata.num_warps}
        constant = {place[0] for place in made.src.constants}
        record["args"] = []
        for at, name in enumerate(jit.arg_names):
            kind, value = made.src.signature.get(name), named.get(name)
            if at in constant or kind == "constexpr":
                continue
            is_tensor = hasattr(value, "untyped_storage")
            record["args"].append(self.tensor(name, value) if is_tensor else {"name": name, "value": value, "type": kind})
        if serial(jit):
            record["length_from"] = "T"
        self.launches.append(record)
        print(self.phase, record["kernel"], record["config"], grid, flush=True)
        return True

    def write(self):
        for record in self.launches:
            for x in record["args"]:
                place = next((p for p, n in self.numbers.items() if n == x.get("tensor")), None)
                if place is not None:
                    x["role"] = self.roles.get(place, "temporary")
        with open(f"{self.out}/launches.json", "w", encoding="utf-8") as file:
            json.dump(self.launches, file, indent=1)


def intercept(recorder):
    """Compiles launches instead of starting them, and tries an autotuner's configurations one after the other."""
    from triton.runtime import autotuner
    from triton.runtime.jit import JITFunction

    JITFunction.really_run = JITFunction.run
    groups = iter(range(1 << 30))

    def run(self, *args, grid=None, warmup=False, **kwargs):
        if not recorder.compile(self, args, {**kwargs, "grid": grid}, None, next(groups)):
            raise RuntimeError(f"{self.fn.__name__} wants more shared memory than there is")

    def tuned(self, *args, **kwargs):
        self.nargs = dict(zip(self.arg_names, args))
        group, tried = next(groups), 0
        for config in ordered(self, kwargs):
            if tried == recorder.most:
                return
            function, given = self.fn, {**kwargs, **config.all_kwargs()}
            while not isinstance(function, JITFunction):  # heuristics below the tuner
                for name, value in function.values.items():
                    given[name] = value({**dict(zip(function.arg_names, args)), **given})
                function = function.fn
            tried += recorder.compile(function, args, given, config, group)

    JITFunction.run = run
    autotuner.Autotuner.run = tuned
    from fla.ops.utils.cache import CachedAutotuner
    CachedAutotuner.run = tuned


def ordered(tuner, kwargs):
    """Configurations in the order in which they are tried: wide tiles first; deep pipelines where a block goes through
    a sequence, where that matters, and elsewhere one for each number of warps."""
    from triton.runtime.jit import JITFunction

    configs = tuner.prune_configs(kwargs) if len(tuner.configs) > 1 else tuner.configs
    function = tuner.fn
    while not isinstance(function, JITFunction):
        function = function.fn

    def size(config):
        return sum(x for x in config.kwargs.values() if isinstance(x, int))
    if serial(function):
        return sorted(configs, key=lambda c: (-c.num_stages, -size(c), abs(c.num_warps - 4)))
    by = {}
    for c in sorted(configs, key=lambda c: abs(c.num_stages - 3)):
        by.setdefault((str(c.kwargs), c.num_warps), c)
    return sorted(by.values(), key=lambda c: (-size(c), abs(c.num_warps - 3)))


def serial(function):
    """Whether a block goes through a sequence: a kernel's text then has a loop over its chunks."""
    return re.search(r"range\([^)]*\bNT\b", inspect.getsource(function.fn)) is not None


def torch_launches(recorder, torch):
    """A mode in which torch's own kernels are written down: those that do something, by the bytes that they move."""
    from torch.utils._python_dispatch import TorchDispatchMode

    views = ("empty", "new_empty", "view", "detach", "as_strided", "expand", "permute", "transpose", "unsqueeze", "squeeze", "select",
             "slice", "alias", "t.", "is_", "_local_scalar", "size", "stride", "reshape", "lift")

    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            made = function(*args, **(kwargs or {}))
            name = function.__name__
            tensors = [x for x in (*args, made) if isinstance(x, torch.Tensor)]
            if tensors and not name.startswith(views) and max(x.numel() for x in tensors) > 1:
                # What is written in place is one tensor, read and written.
                args_of = [recorder.tensor(f"x{n}", x) for n, x in enumerate(tensors)]
                recorder.launches.append({"phase": recorder.phase, "arch": "sm_90a", "kernel": "torch." + name,
                                          "args": args_of})
                print(recorder.phase, "torch", name, flush=True)
            return made

    return Mode()


def call(op, torch, B, T, H, D):
    """The function of FLA's, and its inputs: bf16, decays and what is given so in FLA's layers f32."""
    bf16, f32 = torch.bfloat16, torch.float32
    def draw(*shape, dtype=bf16):
        return torch.empty(*shape, dtype=dtype).requires_grad_()
    wide = [draw(B, T, H, D) for _ in range(3)]
    scalar, decays = draw(B, T, H, dtype=f32), draw(B, T, H, D, dtype=f32)
    if op == "gated_delta_rule":
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule as f
        return f, [*wide, scalar, draw(B, T, H)], {}
    if op == "delta_rule":
        from fla.ops.delta_rule import chunk_delta_rule as f
        return f, [*wide, draw(B, T, H)], {}
    if op == "simple_gla":
        from fla.ops.simple_gla import chunk_simple_gla as f
        return f, [*wide, scalar], {}
    if op == "gla":
        from fla.ops.gla import chunk_gla as f
        return f, [*wide, decays], {}
    if op == "kda":
        from fla.ops.kda import chunk_kda as f
        return f, [*wide, decays, draw(B, T, H)], {}
    if op == "rwkv7":
        # With the bound that RWKV-7's decays have, FLA takes its faster scheme, of chunks of 64.
        from fla.ops.rwkv7 import chunk_rwkv7 as f
        r, k, v = wide
        w, a, b = (draw(B, T, H, D) for _ in range(3))
        return f, [r, w, k, v, a, b], {"lower_bound": -0.6065306597126334}
    sys.exit(f"--op {op}: no such operator")


def main():
    a = arguments()
    os.makedirs(a.out, exist_ok=True)
    os.environ.setdefault("TRITON_CACHE_DIR", str(environment.cache() / "triton"))
    os.environ["FLA_TILELANG"] = "0"
    os.environ["FLA_DISABLE_BACKEND_DISPATCH"] = "1"
    import torch

    pretend(torch)
    recorder = Recorder(a.out, a.most)
    import fla.utils  # noqa: F401

    intercept(recorder)
    B, T, H = (int(x) for x in a.shape.split(","))
    function, inputs, options = call(a.op, torch, B, T, H, a.width)
    recorder.role("argument", inputs)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        with torch_launches(recorder, torch):
            out = function(*inputs, output_final_state=False, **options)[0]
    recorder.role("result", [out])
    recorder.role("saved", saved)
    recorder.phase = "backward"
    given = torch.empty_like(out)
    recorder.role("argument", [given])
    with torch_launches(recorder, torch):
        gradients = torch.autograd.grad(out, inputs, given)
    recorder.role("result", gradients)
    recorder.write()


if __name__ == "__main__":
    environment.enter()
    main()
