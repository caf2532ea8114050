"""Jobs of several processes, and what becomes of them."""

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tiny_runs as runs
import torch
from repository import REPOSITORY
from torch import Tensor

LAUNCHED = REPOSITORY / "tests" / "launched"
PYTHON = sys.executable
IMAGES = 7_200


def write_config(folder: Path, dataset: Path) -> Path:
    """The tiny run with 150 rounds, a checkpoint every 25 rounds and a line of metrics every 5."""
    path = folder / "job.yaml"
    base = runs.write_config(folder, dataset)
    path.write_text(
        f"base: {base.name}\n"
        f"train: {{total_nimg: {IMAGES}, tick_nimg: 240, checkpoint_every_nimg: 1200, sample_every_nimg: 1_000_000}}\n"
        "machine: {precision: fp64}\n"
    )
    return path


def start(*words: object, log: Path | None = None, **environment: str) -> subprocess.Popen[str]:
    """Start a program in the repository, with this Python for the launchers."""
    return subprocess.Popen(
        [str(word) for word in words],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHON": sys.executable, **environment},
        stdout=subprocess.PIPE if log is None else log.open("w"),
        stderr=subprocess.STDOUT,
        text=True,
    )


def check_call(*words: object, **environment: str) -> str:
    """Run a program in the repository to its end, which must be a good one; return what it said."""
    process = start(*words, **environment)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


@functools.cache
def zygote() -> subprocess.Popen[str]:
    """The process from which the scripts of `launch` are forked; it ends with this one."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [PYTHON, LAUNCHED / "zygote.py"],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that its children can be killed with it
    )
    atexit.register(lambda: process.poll() is None and os.killpg(process.pid, signal.SIGKILL))
    return process


def launch(script: str, *arguments: object, seconds: float = 1200.0, **environment: str) -> str:
    """Run a script of tests/launched to its end, which must be a good one; return what it said.

    It is forked from a process that has imported torch, Lightning and ganlab, without jaxtyping's import hook.
    """
    server = zygote()
    assert server.stdin is not None and server.stdout is not None
    with tempfile.NamedTemporaryFile("r") as log:
        words = [str(LAUNCHED / script), *map(str, arguments)]
        print(json.dumps([words, {**os.environ, **environment}, log.name]), file=server.stdin, flush=True)
        if not select.select([server.stdout], [], [], seconds)[0]:
            os.killpg(server.pid, signal.SIGKILL)
            zygote.cache_clear()
            raise AssertionError(f"{script}: {seconds:g} s and no end:\n{log.read()}")
        code = server.stdout.readline().strip()
        said = log.read()
    assert code == "0", f"{script}: exit code {code}\n{said}"
    return said


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 90.0, pause: float = 0.1) -> Any:
    """Return the condition's value as soon as it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(pause)
    raise AssertionError(f"{seconds:g} s and still not: {what}")


def images_seen(run: Path) -> int:
    """Return where the metrics of a run stand."""
    lines = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
    return json.loads(lines[-1])["nimg"] if lines else 0


def free_ports(count: int) -> int:
    """Return the first of `count` neighbouring ports of this host that nobody uses."""
    for first in range(20_000, 30_000, count):
        with contextlib.ExitStack() as open_sockets, contextlib.suppress(OSError):
            for port in range(first, first + count):
                open_sockets.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise AssertionError("no free port")


def checkpoints(run: Path) -> list[int]:
    """Return the images seen at each checkpoint of a run."""
    return sorted(int(path.stem.removeprefix("nimg-")) for path in (run / "checkpoints").glob("nimg-*.ckpt"))


def tensors(values: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested dicts and lists, by its place."""
    if isinstance(values, Tensor):
        yield name, values
    elif isinstance(values, dict | list):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from tensors(value, f"{name}/{key}")


def end_of(run: Path) -> dict[str, Tensor]:
    """Return the weights, averages and optimizer states of a run that must be complete."""
    assert checkpoints(run)[-1] == IMAGES
    checkpoint = torch.load(run / "checkpoints" / f"nimg-{IMAGES:012d}.ckpt", weights_only=True)
    found = dict(tensors({key: checkpoint[key] for key in ("state_dict", "optimizer_states")}))
    assert len(found) > 50
    return found


def assert_same_end(run: Path, other: Path) -> None:
    """Two runs must have ended in the same weights, in float64, to 1e-10."""
    ours, theirs = end_of(run), end_of(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")
