#!/usr/bin/env bash
# What dist_train.sh and dist_test.sh share: dist_run.sh PROCESSES SCRIPT [arguments of the script]
set -euo pipefail
case $1 in
    '' | *[!0-9]* | 0) echo "error: the number of processes must be 1 or more, got '$1'" >&2; exit 2 ;;
esac
tools=$(cd "$(dirname "$0")" && pwd)
venv=$tools/../.venv/bin/python
python=${PYTHON:-$([ -x "$venv" ] && echo "$venv" || echo python)}
meet=(--node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}")
if [ "${MAX_RESTARTS:-0}" != 0 ]; then
    # Each start meets at a port of its own: at a shared one it may read where a dead process listened.
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    meet=(--rdzv_backend=c10d --rdzv_id=soma --rdzv_endpoint="127.0.0.1:${PORT:-29500}" --local_addr=127.0.0.1)
fi
trap '' USR1  # for the trainings, which save and stop at it; torchrun would die
# What torchrun adds to the last line of a training that was stopped is its own traceback.
exec "$python" -c '
import sys
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.run import main
try:
    main()
except SignalException as error:
    sys.exit(128 + error.sigval)
' \
    --nnodes="${NNODES:-1}" "${meet[@]}" \
    --max_restarts="${MAX_RESTARTS:-0}" --nproc_per_node="$1" "$tools/$2" "${@:3}" --launcher pytorch
