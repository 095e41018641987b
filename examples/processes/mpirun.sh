#!/usr/bin/env bash
# Trains a spec by several processes on this machine: `examples/processes/mpirun.sh 4 specs/quickstart.yaml --out runs/four`.
# What was begun goes on, also with another number of processes.
set -euo pipefail
processes=$1
shift
# Each process gets cores of its own; `mpirun` says which where there are enough.
exec mpirun -n "$processes" "${LRC:-target/release/lrc}" train "$@" --resume
