#!/usr/bin/env bash
# Test on a Slurm cluster: bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of test.py]
# Environment: GPUS (4), GPUS_PER_NODE (4), CPUS_PER_TASK (5), SRUN_ARGS, PY_ARGS, PORT, PYTHON; SUBMIT=1 queues it.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: $0 PARTITION JOB_NAME CONFIG CHECKPOINT [options of test.py]" >&2; exit 2; }
exec bash "$(dirname "$0")/slurm_run.sh" "$1" "$2" test.py "${@:3}"
