#!/usr/bin/env bash
# Train on several GPUs (or CPU processes): bash tools/dist_train.sh CONFIG PROCESSES [options of train.py]
# Environment: PORT (29500), NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PYTHON, and MAX_RESTARTS (0):
# how often all processes start again when one dies; with --resume they go on from the last checkpoint.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 CONFIG PROCESSES [options of train.py]" >&2; exit 2; }
if [ "${MAX_RESTARTS:-0}" != 0 ] && [[ " ${*:3}" != *' --resume'* ]]; then
    echo 'error: MAX_RESTARTS needs --resume: without it a restart begins at iteration 0' >&2; exit 2
fi
if [ "${MAX_RESTARTS:-0}" != 0 ] && [ "${NNODES:-1}" != 1 ]; then
    echo 'error: MAX_RESTARTS is for one node' >&2; exit 2
fi
exec bash "$(dirname "$0")/dist_run.sh" "$2" train.py "$1" "${@:3}"
