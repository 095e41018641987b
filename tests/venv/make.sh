#!/usr/bin/env bash
# Makes the virtual environment that a file of requirements asks for, at most once per machine, and prints its folder.
# Usage: tests/venv/make.sh FILE [MORE]. Packages of MORE, without what they ask for themselves, come into a folder of their own, which
# is printed too, for PYTHONPATH: they are few, and torch is not installed again. It lies in the user's cache, outside any clone, named by the file's hash and Python's version:
# torch with its libraries takes 5.6 GB. LRC_VENVS moves the folder of all of them.
set -euo pipefail
[[ ( $# == 1 || $# == 2 ) && -f "$1" && -f "${2:-$1}" ]] || { echo "usage: $0 REQUIREMENTS [MORE]" >&2; exit 2; }
python=$(python3 -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed"); print("%d.%d" % sys.version_info[:2])')
venvs="${LRC_VENVS:-${XDG_CACHE_HOME:-$HOME/.cache}/lrc/venvs}"
venv="$venvs/$(basename "${1%.txt}")-py$python-$(sha256sum "$1" | cut -c1-12)"
mkdir -p "$venvs"
# One at a time: who comes second finds it made. What a killed run left is made again.
exec 9>"$venvs/lock"
flock 9
if [[ ! -e "$venv/made" ]]; then
    echo "making a virtual environment of $1 in $venv, once" >&2
    rm -rf "$venv"
    python3 -m venv "$venv" >&2 || { echo "python3 -m venv failed; Debian's package is python3-venv" >&2; exit 1; }
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir -r "$1" >&2
    touch "$venv/made"
fi
echo "$venv"
[[ $# == 2 ]] || exit 0
more="$venvs/$(basename "${2%.txt}")-py$python-$(sha256sum "$2" | cut -c1-12)"
if [[ ! -e "$more/made" ]]; then
    rm -rf "$more"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --no-deps --target "$more" -r "$2" >&2
    touch "$more/made"
fi
echo "$more"
