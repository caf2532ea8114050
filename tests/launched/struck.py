"""Jobs of two processes of `ganlab train`, to one of which something befalls: how do they end?

Usage: struck.py CONFIG FOLDER TIMEOUT. Prints as JSON for each case and rank that should end by itself its exit code
and the seconds since the mishap.
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import forks

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


def run(name, config, folder, timeout):
    """Start a job; strike it once it is under way, and tell the others so; leave in a file how it ended."""
    victim, number = CASES[name]
    arguments = [config, f"run={folder / name}", f"machine.timeout_seconds={timeout}", "train.total_nimg=1_000_000_000"]
    if number is None:
        arguments += ["model._target_=sleeper.Sleeper", "--trust", "sleeper"]
    asleep = folder / f"{name}.asleep"
    pids = forks.job(2, lambda: main(["train", *arguments]), folder / name, SLEEPER=victim, ASLEEP=asleep)
    try:
        sign, end = folder / name / "metrics.jsonl" if number else asleep, time.monotonic() + 60
        while not (sign.exists() and sign.stat().st_size):
            assert time.monotonic() < end, (folder / f"{name}-0.log").read_text()
            time.sleep(0.05)
        if number is not None:
            os.kill(pids[victim], number)
        begin, ends = time.monotonic(), {}
        (folder / f"{name}.struck").touch()
        expected = {1 - victim} if number in (signal.SIGKILL, signal.SIGSTOP) else {0, 1}
        while ends.keys() < expected and time.monotonic() < begin + 3 * timeout + 15:
            for rank in expected - ends.keys():
                pid, status = os.waitpid(pids[rank], os.WNOHANG)
                if pid:
                    ends[rank] = os.waitstatus_to_exitcode(status), time.monotonic() - begin
            time.sleep(0.05)
        (folder / f"{name}.json").write_text(json.dumps(ends))
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def run_all(config, folder, timeout):
    """Begin with a job when the last one was struck: from then on nobody of it works, they only wait."""
    jobs = []
    for name in CASES:
        jobs.append(forks.fork(lambda name=name: run(name, config, folder, timeout)))
        while not (folder / f"{name}.struck").exists():
            assert os.waitpid(jobs[-1], os.WNOHANG) == (0, 0), f"{name} was never struck"
            time.sleep(0.05)
    assert not any(forks.finish(*jobs))
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in CASES}


if __name__ == "__main__":
    print(json.dumps(run_all(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
