"""Jobs of several processes, forked from one that has imported everything: importing takes longer than most tests."""

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path


def fork(act: Callable[[], object], log: Path | None = None, **environment: object) -> int:
    """Start a process that does something and ends as a program would; return its id.

    What it says is added to `log`.
    """
    if pid := os.fork():
        return pid
    code = 1
    try:  # nothing may unwind into what the caller would clean up
        os.environ.update({name: str(value) for name, value in environment.items()})
        if log is not None:
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(file, 1)
            os.dup2(file, 2)
        act()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        try:
            sys.stdout.flush()  # fails where the disk is full
        finally:
            os._exit(code)


def job(processes: int, act: Callable[[], object], log: Path | None = None, **environment: object) -> list[int]:
    """Start the processes of one job, as torchrun would; return their ids, by rank.

    Rank r says what it says in `<log>-r.log`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        fork(
            act,
            log and log.with_name(f"{log.name}-{rank}.log"),
            **{**shared, "RANK": rank, "LOCAL_RANK": rank, "TORCHELASTIC_RUN_ID": "none", **environment},
        )
        for rank in range(processes)
    ]


def finish(*pids: int) -> list[int]:
    """Wait for processes, and return how they ended; after a bad end the others, who may wait for it, are killed."""
    ended: dict[int, int] = {}
    while ended.keys() != set(pids):
        pid, status = os.wait()
        ended[pid] = os.waitstatus_to_exitcode(status)
        if ended[pid]:
            for other in set(pids) - ended.keys():
                os.kill(other, signal.SIGKILL)
    return [ended[pid] for pid in pids]
