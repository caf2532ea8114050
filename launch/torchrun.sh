#!/usr/bin/env bash
# ganlab train under torchrun, on one node or many: launch/torchrun.sh CONFIG [key=value ...] [--machine FILE]
#
#   PROCESSES   processes on this node: one per GPU (default), or a number, as on a CPU
#   NODES       nodes of the job (default 1). With more, run this script on each of them, with the same RENDEZVOUS
#   RENDEZVOUS  host:port of any one of the nodes, at which they meet. Which node becomes the first is settled there, so
#               no node needs a number; a node that was restarted joins again under the same address
#   JOB         a name that only the nodes of this job share, so that jobs on one host do not meet
#   RESTARTS    how often the job begins again from its newest checkpoint after a process died (default 0). Each node
#               counts for itself
#   PYTHON      (default .venv/bin/python; where there is none, python3)
set -euo pipefail

PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}

# By default a restarted job reuses the store it met in, and finds there the addresses of processes that are dead: a
# third of the restarts over two nodes failed. With 1, each start has a store of its own.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1

if [ "${NODES:-1}" = 1 ]; then
    meet=(--standalone) # on a free port of this host
else
    # Whoever listens there must be torch's store: of another program torch would say so after a minute, in a traceback.
    : "${RENDEZVOUS:?host:port of one of the nodes}"
    host="${RENDEZVOUS%:*}" port="${RENDEZVOUS##*:}"
    if { timeout 5 bash -c "true </dev/tcp/$host/$port" && ! "$PYTHON" -c "
import signal
from torch.distributed import TCPStore
signal.alarm(5)  # to a program that says nothing it would wait for ever
TCPStore('$host', $port, is_master=False, wait_for_workers=False)"; } 2>/dev/null; then
        echo "launch/torchrun.sh: RENDEZVOUS=$RENDEZVOUS: port $port is in use by another program on $host; choose a" \
            "free port, the same on all nodes" >&2
        exit 2
    fi
    meet=(--rdzv-backend=c10d --rdzv-endpoint="$RENDEZVOUS" --rdzv-id="${JOB:-ganlab}")
fi

exec "$PYTHON" -m torch.distributed.run "${meet[@]}" \
    --nnodes="${NODES:-1}" --nproc-per-node="${PROCESSES:-gpu}" --max-restarts="${RESTARTS:-0}" \
    -m ganlab train "$@"
