#!/usr/bin/env bash
# Builds the Python package and installs it with NumPy into a virtual environment, which is made where there is none:
# python/install.sh [FOLDER], by default .venv beside the README. PyTorch is taken as it is there; `--torch` before
# the folder installs it too.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
extra=""
if [[ "${1:-}" == --torch ]]; then extra="[torch]"; shift; fi
venv="${1:-$here/../.venv}"
python3 -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0])'
[[ -x "$venv/bin/python" ]] || python3 -m venv "$venv"
wheel=$(PYTHON=$(command -v python3) "$here/build.sh" | tail -1)
"$venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps "$here/$wheel"
"$venv/bin/pip" install --quiet --disable-pip-version-check "$here/$wheel$extra"
echo "installed; try: $venv/bin/python -c 'import lrc; print(lrc.library(\"gla\").text)'"
