"""Strike runs of the shipped small configs again and again, let them go on, and compare their ends with calm runs'.

Each config is shrunk to 16 px and to networks 8 wide, on random images from a web server. At random moments one of its
processes is killed (SIGKILL) or asked to stop (SIGTERM, SIGHUP), finds the disk full (no file may grow beyond 4 KiB any
more), or loses the server for a second. Prints a table: what befell each run, how many checkpoints that left half
written, and whether all that training goes on from (weights, averages, buffers, optimizers, clock) is the same, bit for
bit. `benchmarks/leaks.py` looks for what a long run does not give back.
"""

import functools
import http.server
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch

import ganlab.commands.train  # before the forks
from ganlab.cli import main as ganlab
from ganlab.experiment.checkpoints import newest
from ganlab.experiment.config import load
from ganlab.experiment.frame import Config

REPOSITORY = Path(__file__).parents[1]
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / "tests" / "launched")]

import forks  # noqa: E402
from jobs import free_ports  # noqa: E402
from killed import told  # noqa: E402
from small import narrowed  # noqa: E402
from tiny_runs import pack_noise  # noqa: E402
from web import Quiet  # noqa: E402

FOLDERS = "toy", "digits", "fashion", "signs"
SIZES = {"fashion/r3gan.yaml": 8, "digits/realnvp_mle.yaml": 8, "digits/realnvp_wgan.yaml": 8}
"""Of networks that halve their channels with each size, or are made for one; the others take 16 px."""
BATCH, STEPS_PER_STRIKE, LEAST_STEPS = 16, 10, 100
COMPARED = ("state_dict", "optimizer_states", "ganlab")
STRIKES = ("SIGKILL", "SIGTERM", "SIGHUP", "full disk", "no server")
STOPPED, EARLY = 75, "with nothing to save; the same command goes on\n"
PATIENCE = 1200.0
"""Seconds within which a run must come to its next strike, or to its end."""
SMALL_FILE = 4096


def shipped() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (REPOSITORY / "configs" / folder).glob("*.yaml"))


def shrinking(config: Config, name: str, folder: Path, strikes: int) -> list[str]:
    """Return the overrides that make a short run of a small model; random images go to `folder`."""
    steps, side = max(LEAST_STEPS, STEPS_PER_STRIKE * strikes), SIZES.get(name, 16)
    group = min(config.train.group, BATCH // 2)  # two processes share a batch
    groups = {"group": group} if group < config.train.group else {}
    lengths = {"train_nimg": 100 * BATCH, "fade_nimg": 100 * BATCH, "pretrain_nimg": 20 * BATCH}
    found = narrowed(config, **lengths, group_width=4, **groups)
    for key, stream in (("data", config.data), ("data.other", config.data.other)):
        if stream is not None and not stream.url.startswith("toy:"):
            assert stream.image is not None, f"declare {key}.image"
            place = folder / key
            place.mkdir()
            packed = 2 * side if stream.crop else side
            pack_noise(place, classes=stream.image.classes, channels=stream.image.channels, size=packed)
            image = f"height: {side}, width: {side}, channels: {stream.image.channels}, classes: {stream.image.classes}"
            found += [f"{key}.url={place / 'shards'}", f"{key}.image={{{image}}}"]
            found += [f"{key}.crop={side}"] * (stream.crop is not None)
    return [
        *found,
        f"train.batch={BATCH}",
        f"train.group={group}",
        f"train.total_nimg={steps * BATCH}",
        f"train.tick_nimg={2 * BATCH}",
        f"train.checkpoint_every_nimg={3 * BATCH}",
        f"train.sample_every_nimg={20 * BATCH}",
        "train.micro_batch=null",
        "data.window=1",  # so that a cache of two shards will do; both runs have the same order
        "evaluation.every_nimg=null",
        "machine.device=cpu",
        "machine.threads=1",
        "logging.wandb=disabled",
    ]


class Server:
    """A web server in a process of its own, always on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_ports(1)
        self.start()

    def start(self) -> None:
        self.pid = forks.fork(self.serve, self.folder / "server.log")

    def serve(self) -> None:
        handler = functools.partial(Quiet, directory=self.folder, user="")
        http.server.ThreadingHTTPServer(("127.0.0.1", self.port), handler).serve_forever()

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@dataclass
class Run:
    """`ganlab train` of a config in a folder, on `ranks` processes, which may be started again and again."""

    words: list[str]
    folder: Path
    ranks: int
    pids: list[int] = field(default_factory=list)
    stale: int | None = None

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    def start(self) -> None:
        self.stale = self.metrics.stat().st_ino if self.metrics.exists() else None  # one that goes on writes a new one
        words = ["train", *self.words, f"run={self.folder}"]
        if self.ranks == 1:
            self.pids = [forks.fork(lambda: ganlab(words), self.log(0))]
        else:
            self.pids = forks.job(self.ranks, lambda: ganlab(words), self.folder)

    def log(self, rank: int) -> Path:
        return self.folder.with_name(f"{self.folder.name}-{rank}.log")

    def reach(self, nimg: int) -> None:
        """Wait until the run has shown so many images."""
        end = time.monotonic() + PATIENCE
        while told(self.metrics, self.stale) < nimg:
            alive = all(os.waitpid(pid, os.WNOHANG) == (0, 0) for pid in self.pids)
            assert alive and time.monotonic() < end, f"did not come to {nimg} images:\n{self.log(0).read_text()}"
            time.sleep(0.005)

    def end(self) -> list[int]:
        """Wait for the processes; return their exit codes. After a bad end the others, who may wait, are killed."""
        codes: dict[int, int] = {}
        end = time.monotonic() + PATIENCE
        while codes.keys() != set(self.pids):
            assert time.monotonic() < end, f"does not end:\n{self.log(0).read_text()}"
            for pid in set(self.pids) - codes.keys():
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    codes[pid] = os.waitstatus_to_exitcode(status)
                    others = [] if codes[pid] in (0, STOPPED) else set(self.pids) - codes.keys()
                    for other in others:
                        os.kill(other, signal.SIGKILL)
            time.sleep(0.01)
        found, self.pids = [codes[pid] for pid in self.pids], []
        return found

    def suffer(self, strike: str, draw: random.Random, server: Server) -> None:
        """Let something befall a run that is under way."""
        if strike == "no server":
            server.end()
            time.sleep(1.0)
            server.start()
            return
        if strike == "full disk":
            _, most = resource.prlimit(self.pids[0], resource.RLIMIT_FSIZE)
            resource.prlimit(self.pids[0], resource.RLIMIT_FSIZE, (SMALL_FILE, most))
            codes = self.end()
            assert codes[0] not in (0, STOPPED, -signal.SIGKILL), f"{strike}: {codes}:\n{self.log(0).read_text()}"
            return
        victim = draw.randrange(self.ranks)
        os.kill(self.pids[victim], signal.Signals[strike])
        codes = self.end()
        if strike == "SIGKILL":
            as_it_should = codes[victim] == -signal.SIGKILL
        else:  # before the first round nothing is agreed on: one process stops, and the others lose it
            early = self.log(victim).read_text().endswith(EARLY)
            as_it_should = set(codes) == {STOPPED} or (early and codes[victim] == STOPPED)
        assert as_it_should, f"{strike} of rank {victim}: {codes}:\n{self.log(0).read_text()}"


def struck(run: Run, strikes: list[str], draw: random.Random, server: Server) -> int:
    """Train to the end through all strikes, at moments drawn over the run; return the half-written checkpoints."""
    train = load(Path(run.words[0]), run.words[1:]).train
    last, torn = train.total_nimg // train.batch - 20, 0  # so that the run does not end before it is struck
    for step, strike in zip(sorted(draw.choices(range(1, last), k=len(strikes))), strikes, strict=True):
        if not run.pids:
            run.start()
        run.reach(step * BATCH)
        time.sleep(draw.uniform(0, 0.05))
        run.suffer(strike, draw, server)
        torn += any((run.folder / "checkpoints").glob("nimg-*.tmp"))
    if not run.pids:
        run.start()
    assert run.end() == [0] * run.ranks, run.log(0).read_text()
    return torn


def differing(ours: Any, theirs: Any, name: str = "") -> list[str]:
    """Return the places at which two nests of plain values and tensors are not the same, bit for bit."""
    if isinstance(ours, torch.Tensor):
        same = isinstance(theirs, torch.Tensor) and ours.dtype == theirs.dtype and torch.equal(ours, theirs)
        return [] if same else [name]
    if type(ours) is not type(theirs):
        return [name]
    if isinstance(ours, dict):
        if ours.keys() != theirs.keys():
            return [name]
        return [place for key in ours for place in differing(ours[key], theirs[key], f"{name}/{key}")]
    if isinstance(ours, list | tuple):
        if len(ours) != len(theirs):
            return [name]
        return [
            place for i, pair in enumerate(zip(ours, theirs, strict=True)) for place in differing(*pair, f"{name}/{i}")
        ]
    return [] if ours == theirs else [name]


def end_of(run: Path) -> dict[str, Any]:
    """Read the last checkpoint of a run."""
    found = newest(run / "checkpoints")
    assert found is not None, f"{run}: no checkpoint"
    return {key: found[1][key] for key in COMPARED}


def compared(path: Path, ranks: int, strikes: int, draw: random.Random) -> tuple[str, bool]:
    """Run a config undisturbed and struck; return the row's end, and whether both ends are the same."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        words = [str(path), *shrinking(load(path), path.relative_to(path.parents[1]).as_posix(), folder, strikes)]
        calm = Run(words, folder / "undisturbed", ranks)
        calm.start()
        assert calm.end() == [0] * ranks, calm.log(0).read_text()
        kinds = draw.choices(STRIKES if "data.url" in "".join(words) else STRIKES[:-1], k=strikes)
        server = Server(folder)
        try:
            remote = [word.replace(f"url={folder}", f"url=http://127.0.0.1:{server.port}") for word in words]
            streams = [[tar.stat().st_size for tar in shards.glob("*.tar")] for shards in folder.glob("*/shards")]
            room = max(1, 2 * sum(map(max, streams)))  # for the shard that is read and the next one
            cache = [f"data.cache.folder={folder / 'cache'}", f"data.cache.bytes={room}"]
            run = Run([*remote, *cache], folder / "struck", ranks)
            torn = struck(run, kinds, draw, server)
        finally:
            server.end()
        places = differing(end_of(calm.folder), end_of(run.folder))
    suffered = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(kinds).items()))
    said = f"no: {', '.join(places[:3])}" if places else "yes"
    return f"{suffered} | {torn} | {said} |", not places


@click.command()
@click.argument("configs", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--only", multiple=True, help="Configs whose names hold this: toy/, digits/dcgan.")
@click.option("--kills", default=20, show_default=True, type=click.IntRange(min=1), help="Strikes of each run.")
@click.option("--ranks", default=(1, 2), multiple=True, show_default=True, help="Processes of a run.")
@click.option("--hours", default=12.0, show_default=True, help="Begin no new run after these.")
@click.option("--seed", default=0, show_default=True, help="Of the strikes.")
def soak(
    configs: tuple[Path, ...], only: tuple[str, ...], kills: int, ranks: tuple[int, ...], hours: float, seed: int
) -> None:
    """Print the table, of all small CONFIGS unless some are named; end with 1 if a run was not the same."""
    signal.signal(signal.SIGHUP, lambda *_: None)  # under nohup the runs would rightly not heed it
    end, failed = time.monotonic() + 3600 * hours, False
    chosen = [path.resolve() for path in configs] or shipped()
    print("| config | processes | what befell it | half-written checkpoints | bit-identical |\n|---|---|---|---|---|")
    for path in [path for path in chosen if not only or any(word in str(path) for word in only)]:
        for count in ranks:
            name = f"{path.parent.name}/{path.stem}"
            if time.monotonic() > end:
                print(f"| {name} | {count} | no time left | | |")
                continue
            try:
                row, same = compared(path, count, kills, random.Random(f"{seed} {name} {count}"))
            except AssertionError as error:  # the others are still of use
                row, same = f"broke: {str(error).splitlines()[0]} | | |", False
                print(error, file=sys.stderr)
            print(f"| {name} | {count} | {row}", flush=True)
            failed = failed or not same
    sys.exit(failed)


if __name__ == "__main__":
    soak()
