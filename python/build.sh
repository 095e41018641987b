#!/usr/bin/env bash
# Builds the wheel of the Python package: the engine, the command `lrc`, and what is written in Python. Needs a Rust
# toolchain and Python 3.11 or later; maturin is fetched into an environment of its own. `build.sh --release` also
# puts the wheel and an archive of the command into dist/. The wheel's name says which C library it needs at least.
set -euo pipefail
cd "$(dirname "$0")"
out=../target/wheels
case "${1:-}" in
    "") ;;
    --release) out=../dist ;;
    *) echo "build.sh: only --release is known" >&2; exit 2 ;;
esac
python=${PYTHON:-python3}
tools=../target/maturin
if ! command -v maturin >/dev/null && [[ ! -x "$tools/bin/maturin" ]]; then
    "$python" -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check "maturin==1.16.0"
fi
PATH="$PATH:$PWD/$tools/bin"

cargo build --release --locked --manifest-path ../Cargo.toml
# Where wheels keep commands.
mkdir -p data/scripts
strip -o data/scripts/lrc ../target/release/lrc
rm -rf ../target/wheels
CARGO_TARGET_DIR=../target maturin build --release --locked --interpreter "$python" --out "$out" >&2
if [[ "$out" == ../dist ]]; then
    version=$(data/scripts/lrc --version | cut -d' ' -f2)
    name="lrc-$version-$(uname -m)-linux"
    rm -rf "../target/$name" && mkdir -p "../target/$name"
    cp data/scripts/lrc ../README.md ../CHANGELOG.md ../LICENSE-APACHE ../LICENSE-MIT "../target/$name"
    tar -C ../target -czf "../dist/$name.tar.gz" "$name"
    (cd ../dist && sha256sum -- *.whl "$name.tar.gz" >SHA256SUMS && cat SHA256SUMS)
fi
ls "$out"/*.whl
