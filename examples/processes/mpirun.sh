#!/usr/bin/env bash
# Trains a spec by several processes on this machine: `examples/processes/mpirun.sh 4 specs/quickstart.yaml --out runs/four`.
# What was begun goes on, also with another number of processes. Signals save and stop; the status is that of `lrc train`.
set -euo pipefail
processes=$1
shift
# Each process gets cores of its own; `mpirun` says which where there are enough.
mpirun ${MPIRUN_FLAGS:-} -n "$processes" "${LRC:-target/release/lrc}" train "$@" --resume &
mpirun=$!
for signal in TERM INT USR1 HUP; do
    trap "kill -s $signal $mpirun" "$signal"
done
status=0
wait "$mpirun" || status=$?
# A signal ends the waiting, not the training.
while kill -0 "$mpirun" 2>/dev/null; do
    status=0
    wait "$mpirun" || status=$?
done
# Where a process is killed, mpirun says 137: a training that has failed, as by any other fault.
exit $((status == 137 ? 1 : status))
