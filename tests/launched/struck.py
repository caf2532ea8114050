"""Two processes of `ganlab train` at a time, one of which something befalls: how do they end?

Usage: struck.py CONFIG FOLDER TIMEOUT. Forks, because importing takes longer than everything else. Prints as JSON for
each case and rank that should end by itself its exit code and the seconds since the mishap.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import ganlab.commands.train  # noqa: F401 (before the forks)
from ganlab.cli import main

CASES = {  # whom it strikes, and with what; who falls asleep does it by itself
    "told to end": (1, signal.SIGUSR1),
    "first told to end": (0, signal.SIGTERM),
    "killed": (1, signal.SIGKILL),
    "stopped": (1, signal.SIGSTOP),
    "first killed": (0, signal.SIGKILL),
    "first stopped": (0, signal.SIGSTOP),
    "asleep": (1, None),
    "first asleep": (0, None),
}


def fork(rank, port, log, arguments):
    if pid := os.fork():
        return pid
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    file = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    try:
        main(["train", *arguments])
    except SystemExit as end:
        os._exit(end.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(1)


def run(name, config, folder, timeout):
    victim, number = CASES[name]
    arguments = [config, f"run={folder / name}", f"machine.timeout_seconds={timeout}", "train.total_nimg=1_000_000_000"]
    if number is None:
        os.environ["SLEEPER"] = str(victim)
        arguments += ["model._target_=sleeper.Sleeper", "--trust", "sleeper"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids = [fork(rank, port, folder / f"{name}-{rank}.log", arguments) for rank in range(2)]
    try:
        metrics, end = folder / name / "metrics.jsonl", time.monotonic() + 60
        while not (metrics.exists() and metrics.stat().st_size):
            assert time.monotonic() < end, (folder / f"{name}-0.log").read_text()
            time.sleep(0.05)
        if number is not None:
            os.kill(pids[victim], number)
        begin, ends = time.monotonic(), {}
        expected = {1 - victim} if number in (signal.SIGKILL, signal.SIGSTOP) else {0, 1}
        while ends.keys() < expected and time.monotonic() < begin + 3 * timeout + 15:
            for rank in expected - ends.keys():
                pid, status = os.waitpid(pids[rank], os.WNOHANG)
                if pid:
                    ends[rank] = os.waitstatus_to_exitcode(status), time.monotonic() - begin
            time.sleep(0.05)
        return ends
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    print(json.dumps({name: run(name, sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])) for name in CASES}))
