#!/usr/bin/env bash
# What slurm_train.sh and slurm_test.sh share: slurm_run.sh PARTITION JOB_NAME SCRIPT [arguments of the script]
# With SUBMIT=1 sbatch gets it, which starts a copy: slurm_run.sh --batch TOOLS SCRIPT [arguments]
set -euo pipefail
read -ra srun_args <<<"${SRUN_ARGS:-}"
read -ra py_args <<<"${PY_ARGS:-}"
gpus=${GPUS:-4}
case $gpus${GPUS_PER_NODE:-}${CPUS_PER_TASK:-} in
    *[!0-9]*) echo 'error: GPUS, GPUS_PER_NODE and CPUS_PER_TASK must be whole numbers' >&2; exit 2 ;;
esac
per_node=${GPUS_PER_NODE:-$((gpus < 4 ? gpus : 4))}
resources=(--gres="gpu:$per_node" --ntasks="$gpus" --ntasks-per-node="$per_node")
step=(--cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1)
if [ "$1" = --batch ]; then
    tools=$2
else
    tools=$(cd "$(dirname "$0")" && pwd)
    resources+=(--partition="$1" --job-name="$2")
fi
script=$3
arguments=("${@:4}")
venv=$tools/../.venv/bin/python
python=${PYTHON:-$([ -x "$venv" ] && echo "$venv" || echo python)}
command=("$python" -u "$tools/$script" "${arguments[@]}" "${py_args[@]}" --launcher slurm)
export MASTER_PORT=${PORT:-$((20000 + RANDOM % 10000))}

if [ "$1" = --batch ]; then
    if [ "$script" = train.py ]; then command+=(--resume); fi  # which starts anew where nothing is
    srun "${step[@]}" "${command[@]}" &
    srun=$! asked=
    # The signal that the time is nearly over comes to this shell only, which passes it on.
    trap 'asked=1; kill -USR1 "$srun" || :' USR1
    while status=0; wait "$srun" || status=$?; kill -0 "$srun" 2>/dev/null; do :; done
    if [ "$asked" ] && [ "$status" = 0 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
    exit "$status"
elif [ "${SUBMIT:-0}" = 1 ]; then
    if [ "$script" = train.py ]; then
        resources+=(--requeue --open-mode=append "--signal=B:USR1@${SIGNAL_SECONDS:-120}")
    fi
    exec sbatch "${resources[@]}" "${step[0]}" "${srun_args[@]}" "$tools/slurm_run.sh" --batch "$tools" \
        "$script" "${arguments[@]}"
else
    exec srun "${resources[@]}" "${step[@]}" "${srun_args[@]}" "${command[@]}"
fi
