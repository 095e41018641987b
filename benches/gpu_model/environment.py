"""The virtual environment that the model runs in: outside the clone, named by the hash of its requirements."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def cache():
    """Where environments and results are kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "lrc-gpu-model"


def enter():
    """Runs this script again inside the environment, which is made on first use."""
    wanted = (HERE / "requirements.txt").read_bytes()
    folder = cache() / f"venv-{hashlib.sha256(wanted).hexdigest()[:16]}"
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        print("making", folder, file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", HERE / "requirements.txt"], check=True)
        (folder / "done").touch()
    os.execv(python, [python, *sys.argv])


def tool(name):
    """A tool of NVIDIA's that the wheel of Triton brings: nvdisasm or cuobjdump."""
    import triton

    return str(Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name)
