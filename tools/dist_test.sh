#!/usr/bin/env bash
# Test on several GPUs (or CPU processes): bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of test.py]
# Environment: PORT (29500), NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PYTHON.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 CONFIG CHECKPOINT PROCESSES [options of test.py]" >&2; exit 2; }
exec bash "$(dirname "$0")/dist_run.sh" "$3" test.py "$1" "$2" "${@:4}"
