"""Checkpoint files: written atomically on a thread while training goes on, with their sha256 beside them.

`nimg-000000064000.ckpt` is `torch.save` of plain values and tensors, and `nimg-000000064000.json` holds its sha256 and
the metrics at that time. The .json is written first, so that a checkpoint never lacks it.
"""

import hashlib
import json
import logging
import math
import os
import pickle
import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from ganlab import distributed
from ganlab.experiment.records import Events
from ganlab.files import atomic_write, sha256_of
from ganlab.types import UserError

FORMAT = 1

log = logging.getLogger(__name__)

GENERATOR, HUB = "generator.safetensors", "model.safetensors"
"""What an exported folder holds instead of checkpoints, and one for the Hugging Face Hub."""


def exported(folder: Path) -> Path | None:
    """Return the weights of an exported folder; None if it is none."""
    return next((folder / name for name in (GENERATOR, HUB) if (folder / name).exists()), None)


def path_at(folder: Path, nimg: int) -> Path:
    """Return the path of the checkpoint at `nimg` images."""
    return folder / f"nimg-{nimg:012d}.ckpt"


def found(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, oldest first."""
    return sorted(folder.glob("nimg-*.ckpt"))


@dataclass(frozen=True)
class Choice:
    """The checkpoint that a run resumes from; all ranks must see the same one."""

    path: str
    sha256: str
    nimg: int
    attempt: int

    def __str__(self) -> str:
        return f"{self.path} (sha256 {self.sha256[:12]}, {self.nimg:,} images, attempt {self.attempt})"


def newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Read the newest undamaged checkpoint; None if there is none at all.

    A damaged one is reported and the one before it is used. Raises `UserError` if all of them are damaged.
    """
    complaints = []
    for path in reversed(found(folder)):
        try:
            checkpoint = read(path)
        except UserError as error:
            complaints.append(str(error))
            continue
        for complaint in complaints:
            log.warning("%s; resuming from %s", complaint, path.name)
        return path, checkpoint
    if complaints:
        raise UserError("; ".join(complaints) + "; bring whole ones, or delete them to start over")
    return None


def choice_of(path: Path, saved: dict[str, Any]) -> Choice:
    """Return the identity of a checkpoint that has been read."""
    ours = saved["ganlab"]
    return Choice(str(path), facts_of(path)["sha256"], ours["clock"]["nimg"], ours["attempt"])


def read_agreed(choice: Choice | None, folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """Read on every rank the checkpoint that rank 0 has chosen and verified; None if it found none.

    Args:
        choice: rank 0's choice.
        folder: folder of checkpoints, as this rank sees it.
        fingerprint: fingerprint of the dataset, as this rank sees it.

    Raises:
        UserError: on all ranks, if one of them cannot see that file, or sees another dataset.
    """
    saved, failure = None, None
    here = f"on {socket.gethostname()}"
    if (first := distributed.decide(lambda: fingerprint)) != fingerprint:
        failure = f"{here}: sees another dataset (fingerprint {fingerprint}, and rank 0's is {first})"
    elif choice is None and (others := found(folder)):
        failure = f"{here}: sees {others[-1]}, and rank 0 sees no checkpoint; give all one folder with run=PATH"
    elif choice is not None and distributed.rank() == 0:
        saved = read(Path(choice.path), verified=True)
    elif choice is not None:
        try:
            saved = read(Path(choice.path), verified=True)
            if (own := choice_of(Path(choice.path), saved)) != choice:
                failure = f"{here}: sees {own}, and rank 0 {choice}; give all one folder with run=PATH"
        except (UserError, KeyError) as error:
            failure = f"{here}: cannot resume from rank 0's checkpoint: {error}; give all one folder with run=PATH"
    distributed.agree(failure)
    return saved


def read(path: Path, *, verified: bool = False) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, memory-mapped; anything but plain values and tensors in it is refused.

    Args:
        path: the file.
        verified: skip the check of its sha256.

    Raises:
        UserError: it is damaged, incomplete, or not a checkpoint of ganlab.
    """
    try:
        if not verified:
            sha256 = sha256_of(path)
            if (expected := facts_of(path).get("sha256")) is None:
                raise UserError(
                    f"{path}: cannot be checked without {path.stem}.json, which has its sha256; copy that too"
                )
            if expected != sha256:
                raise UserError(f"{path}: damaged: its sha256 is {sha256}, and {path.stem}.json says {expected}")
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, UnicodeDecodeError):
        raise UserError(
            f"{path}: refused: it holds more than tensors and plain values, and unpickling that could run any program"
        ) from None
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    ours = checkpoint.get("ganlab") if isinstance(checkpoint, dict) and "config" in checkpoint else None
    if not isinstance(ours, dict) or ours.get("format") != FORMAT:
        raise UserError(f"{path}: not a checkpoint of `ganlab train`, format {FORMAT}")
    return checkpoint


def facts_of(path: Path) -> dict[str, Any]:
    """Return the facts in the .json beside a checkpoint; empty if that is missing or damaged."""
    try:
        facts = json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


class Writer:
    """Writes one checkpoint at a time on its own thread: training waits only for a copy of the tensors.

    Args:
        keep: number of newest checkpoints to keep.
        best: a metric; the checkpoint with its best value is kept too.
        highest: the best value is the highest one.
        events: record of each checkpoint.
    """

    def __init__(
        self, keep: int, best: str | None = None, *, highest: bool = False, events: Events | None = None
    ) -> None:
        self.keep, self.best, self.highest, self.events = keep, best, highest, events
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.writing: Future[None] | None = None
        self.warned = False

    def submit(self, checkpoint: dict[str, Any], path: Path) -> None:
        """Copy the tensors and start writing; first waits for the checkpoint before, and raises its error."""
        self.wait()
        copy = apply_to_collection(
            checkpoint, Tensor, lambda tensor: torch.empty_like(tensor, device="cpu").copy_(tensor)
        )
        copy["ganlab"] = {**copy["ganlab"], "format": FORMAT}
        self.writing = self.pool.submit(self._write, copy, path)

    def judge(self, path: Path, values: Mapping[str, float]) -> None:
        """Add the values of an evaluation to the .json beside a checkpoint, once it is written."""
        self.wait()
        self.look_for_best(values)
        if path.exists():
            facts = facts_of(path)
            self._describe(path, {**facts, "metrics": {**facts.get("metrics", {}), **values}})
            self._prune(path.parent)

    def look_for_best(self, names: Iterable[str]) -> None:
        """Warn once if `keep_best` is a metric of the same kind as these names, but none of them."""
        there = list(names)
        if self.best is None or self.warned or self.best in there:
            return
        if there and any(("/" in name) == ("/" in self.best) for name in there):
            log.warning("train.keep_best: there is no %s; there are %s", self.best, ", ".join(there))
            self.warned = True

    def wait(self) -> None:
        """Wait until nothing is being written. Raises `UserError` if the last checkpoint could not be written."""
        writing, self.writing = self.writing, None
        if writing is not None:
            try:
                writing.result()
            except OSError as error:
                raise UserError(
                    f"{error.filename or 'checkpoint'}: cannot be written: {error.strerror}; the checkpoints before it "
                    "are whole; make room, then run the same command"
                ) from error

    def _write(self, checkpoint: dict[str, Any], path: Path) -> None:
        with atomic_write(path) as file:
            hashing = Hashing(file)
            try:
                torch.save(checkpoint, hashing)  # type: ignore[arg-type]
            except RuntimeError as error:  # torch's error if the file cannot be written
                raise error.__context__ or error from None
            file.flush()
            os.fsync(file.fileno())  # a full disk raises here, before the .json is written
            facts = {"sha256": hashing.sha256.hexdigest(), "metrics": checkpoint.get("metrics", {})}
            self._describe(path, facts)
        self._prune(path.parent)
        if self.events is not None:
            ours = checkpoint["ganlab"]
            self.events.add(
                "checkpoint", ours["clock"]["nimg"], ours["attempt"], file=path.name, sha256=facts["sha256"]
            )

    def _describe(self, path: Path, facts: Mapping[str, Any]) -> None:
        with atomic_write(path.with_suffix(".json")) as beside:
            beside.write(json.dumps(facts).encode())

    def _prune(self, folder: Path) -> None:
        paths = found(folder)
        kept = {path.stem for path in paths[-self.keep :]}
        values = {path.stem: facts_of(path).get("metrics", {}).get(self.best) for path in paths}
        if finite := {stem: value for stem, value in values.items() if value is not None and math.isfinite(value)}:
            choose = max if self.highest else min
            kept.add(choose(finite, key=lambda stem: finite[stem]))
        for file in folder.glob("nimg-*"):
            if file.stem not in kept:
                file.unlink()


class Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.sha256 = file, hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        """Write and hash."""
        self.sha256.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        """Flush the file."""
        self.file.flush()
