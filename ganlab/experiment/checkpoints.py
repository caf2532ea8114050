"""Checkpoint files: whole or not there, with their sha256 beside them, written behind the game's back.

`nimg-000000064000.ckpt` is what `torch.save` makes of plain values and tensors, and `nimg-000000064000.json` holds its
sha256, its size and the metrics of its moment. The second is written first: a checkpoint is never without it.
"""

import hashlib
import json
import logging
import math
import os
import pickle
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from ganlab.files import atomic_write, sha256_of
from ganlab.types import UserError

FORMAT = 1

log = logging.getLogger(__name__)


def path_at(folder: Path, nimg: int) -> Path:
    """Return where the checkpoint at `nimg` images lies."""
    return folder / f"nimg-{nimg:012d}.ckpt"


def found(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, oldest first."""
    return sorted(folder.glob("nimg-*.ckpt"))


def newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Read the newest checkpoint that is whole; None where there is none at all.

    A damaged one is reported and the one before it is taken. Raises `UserError` if all of them are damaged.
    """
    complaints = []
    for path in reversed(found(folder)):
        try:
            checkpoint = read(path)
        except UserError as error:
            complaints.append(str(error))
            continue
        for complaint in complaints:
            log.warning("%s; going on from %s", complaint, path.name)
        return path, checkpoint
    if complaints:
        raise UserError("; ".join(complaints) + "; delete them to begin anew")
    return None


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; anything but plain values and tensors in it is refused.

    Raises `UserError` for a file that is damaged, incomplete, or not one of ours.
    """
    try:
        sha256 = sha256_of(path)
        if (expected := facts_of(path).get("sha256", "nothing")) != sha256:
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
    """Return what stands beside a checkpoint; nothing where that is missing or torn."""
    try:
        facts = json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


class Writer:
    """Writes one checkpoint at a time on a thread of its own: the game waits for a copy of the tensors, no longer.

    Args:
        keep: the newest so many checkpoints are kept.
        best: a metric; the checkpoint with the lowest value of it is kept too.
    """

    def __init__(self, keep: int, best: str | None = None) -> None:
        self.keep, self.best = keep, best
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.writing: Future[None] | None = None

    def submit(self, checkpoint: dict[str, Any], path: Path) -> None:
        """Copy the tensors and begin to write; waits for the one before, and raises what went wrong with it."""
        self.wait()
        copy = apply_to_collection(
            checkpoint, Tensor, lambda tensor: torch.empty_like(tensor, device="cpu").copy_(tensor)
        )
        self.writing = self.pool.submit(self._write, copy, path)

    def wait(self) -> None:
        """Return when nothing is being written. Raises `UserError` if the last one could not be."""
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
            except RuntimeError as error:  # what torch says when the file below it cannot be written
                raise error.__context__ or error from None
            file.flush()
            os.fsync(file.fileno())  # a full disk shows here, before anything is said of the file
            facts = {"sha256": hashing.sha256.hexdigest(), "metrics": checkpoint.get("metrics", {})}
            with atomic_write(path.with_suffix(".json")) as beside:
                beside.write(json.dumps(facts).encode())
        self._prune(path.parent)

    def _prune(self, folder: Path) -> None:
        paths = found(folder)
        kept = {path.stem for path in paths[-self.keep :]}
        values = {path.stem: facts_of(path).get("metrics", {}).get(self.best) for path in paths}
        if finite := {stem: value for stem, value in values.items() if value is not None and math.isfinite(value)}:
            kept.add(min(finite, key=lambda stem: finite[stem]))
        for file in folder.glob("nimg-*"):
            if file.stem not in kept:
                file.unlink()


class Hashing:
    """A file that hashes what passes into it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.sha256 = file, hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        """Write and hash."""
        self.sha256.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        """Flush the file below."""
        self.file.flush()
