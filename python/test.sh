#!/usr/bin/env bash
# Runs the tests of the Python package: builds its engine and the command `lrc` unoptimised, and makes the environment
# that they run in once per machine (5.6 GB with PyTorch, outside the clone). `--build` only builds. Everything else goes
# to pytest.
set -euo pipefail
cd "$(dirname "$0")"
cargo build --locked --target-dir ../target
# Beside the package's own files, where an installed one has it too; replaced whole, since somebody may be running it.
cp ../target/debug/lib_lrc.so lrc/_lrc.abi3.so.part
mv lrc/_lrc.abi3.so.part lrc/_lrc.abi3.so
if [[ -z "${LRC:-}" ]]; then
    [[ -x ../target/debug/lrc ]] || cargo build --locked --manifest-path ../Cargo.toml
    export LRC="$PWD/../target/debug/lrc"
fi
# Where ./test keeps it.
nvrtc=(../target/nvrtc/*/nvidia/cuda_nvrtc/lib)
[[ -n "${LRC_NVRTC:-}" || ! -d "${nvrtc[-1]}" ]] || export LRC_NVRTC="$PWD/${nvrtc[-1]}"
venv=$(../tests/venv/make.sh ../tests/venv/torch.txt)
[[ "${1:-}" == --build ]] && exit
PYTHONPATH="$PWD" exec "$venv/bin/python" -m pytest "$@"
