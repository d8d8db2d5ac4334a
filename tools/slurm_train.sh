#!/usr/bin/env bash
# Train on a Slurm cluster: bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of train.py]
# Environment: GPUS (4), GPUS_PER_NODE (4), CPUS_PER_TASK (5), SRUN_ARGS, PY_ARGS, PORT, PYTHON.
# SUBMIT=1 queues it with sbatch and --resume: SIGNAL_SECONDS (120) before the end of its time
# (SRUN_ARGS=--time=4:00:00) it saves, is requeued, and goes on.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 PARTITION JOB_NAME CONFIG [options of train.py]" >&2; exit 2; }
exec bash "$(dirname "$0")/slurm_run.sh" "$1" "$2" train.py "${@:3}"
