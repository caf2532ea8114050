"""A cache on disk of tensors computed from many images on all ranks: killed passes resume, datasets are measured once.

A store is a folder named by the hash of its key, which holds everything that decides the tensors; each file contains
the whole key, and files with another key are never used. Chunk c belongs to rank c modulo the number of ranks, so a
pass can resume with more or fewer ranks. All ranks must see the folder.

Jobs share these folders. A job that uses one shares the lock of a file in it, which the kernel releases if the process
dies; only a job that gets that lock for itself deletes files, and none does where the file system has no locks. So the
cache holds, for each dataset, extractor and number of images, the moments, and the features if a metric needed them or
two jobs ran at once; and the files of killed jobs, until a job with the same key ends. The cache may be deleted when no
evaluation runs.
"""

import hashlib
import json
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ganlab import distributed
from ganlab.evaluation.images import BLOCK
from ganlab.files import atomic_write, cache_folder
from ganlab.locks import is_at, try_lock
from ganlab.metrics.moments import Moments
from ganlab.progress import Progress
from ganlab.types import UserError

FORMAT = 1
CHUNK = 16 * BLOCK
"""Images per file, the unit that a killed pass repeats."""
PARTS = 4
"""Moments are kept for this many interleaved parts, for the floor between two halves and for a standard error."""
ROUNDING = 3e-5
"""Relative rounding: features of one image differ by less, whatever else is in the batch."""

Tensors = dict[str, Tensor]
T = TypeVar("T")


def on_all(work: Callable[[], T]) -> T:
    """Do this rank's work, and wait for the others; an error on one rank is raised on all, as a UserError."""
    failure, done = None, list[T]()
    try:
        done.append(work())
    except Exception as error:
        if distributed.is_lost(error) or distributed.world_size() == 1:
            raise
        failure = str(error)
    distributed.agree(failure)
    return done[0]


def read(path: Path, name: str) -> Tensor:
    """Read one tensor of a file, and no other one."""
    with safe_open(path, "pt") as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor


class Store:
    """The tensors of `count` images, in chunks.

    Args:
        what: name of the work in the progress line.
        key: everything that decides the tensors.
        compute: returns the tensors of the block of images that starts at a number.
    """

    def __init__(self, what: str, key: Mapping[str, Any], count: int, compute: Callable[[int], Tensors]) -> None:
        self.what, self.count, self.compute = what, count, compute
        self.key = json.dumps({"format": FORMAT, "count": count, "chunk": CHUNK, **key}, sort_keys=True)
        self.folder = cache_folder() / "features" / hashlib.sha256(self.key.encode()).hexdigest()[:24]
        self.chunks = [self.folder / f"{number:06d}.safetensors" for number in range(-(-count // CHUNK))]
        self.total = self.folder / "moments.safetensors"
        self.lock = self.folder / "lock"
        """A file, since NFS locks folders on one host alone."""
        self.kept: frozenset[Path] | None = None
        """Files that `close` leaves; None leaves all."""
        self.descriptor: int | None = None

    def fill(self) -> None:
        """Compute what is missing; return on all ranks when everything is there, or raise the errors of any on all."""
        self.hold()
        on_all(lambda: deque(self._share(), maxlen=0))
        if missing := [path for path in self.chunks if not path.exists()]:
            raise UserError(
                f"{missing[0]}: made by another process and not seen by this one; "
                "name a folder that all nodes share in GANLAB_CACHE"
            )

    def load(self, name: str) -> Tensor:
        """Return one tensor of all images."""
        return torch.cat([read(path, name) for path in self.chunks])

    def names(self) -> list[str]:
        """Return the names of the tensors."""
        with safe_open(self.chunks[0], "pt") as file:
            return sorted(file.keys())

    def moments(self, device: torch.device, *, keep: bool) -> list[Moments]:
        """Return the moments of the features of images i with i % 4 = 0, 1, 2 and 3, over all ranks.

        Without `keep`, `close` deletes the features.

        Raises `UserError` for features that are all the same.
        """
        self.hold()
        there = torch.tensor(float(self._is_ours(self.total)), device=device)
        if distributed.average(there) == 1:  # another process may be writing it
            total = read(self.total, "total").to(device)
        else:
            total = self._sum(device)
            self._check(total)
            if distributed.rank() == 0:
                self._write(self.total, {"total": total})
            if not keep and self.kept is None:
                self.kept = frozenset({self.total})
        return [Moments(part) for part in total]

    def hold(self) -> None:
        """Keep other jobs from deleting the files."""
        while self.descriptor is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another job has just deleted it
                descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o666)
                if try_lock(descriptor, shared=True) is not False and is_at(self.lock, descriptor):
                    self.descriptor = descriptor
                else:  # another job is deleting it
                    os.close(descriptor)
                    time.sleep(0.01)

    def release(self) -> None:
        """Let other jobs delete the files."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def close(self) -> None:
        """Release on all ranks, and delete files that are not kept, unless another job holds them."""
        held = self.descriptor is not None
        self.release()
        if held and self.kept is not None:
            distributed.barrier()  # all ranks have released
            if distributed.rank() == 0:
                self._delete(self.kept)

    def _delete(self, kept: frozenset[Path]) -> None:
        with suppress(OSError):  # another job holds the folder, or it is gone, or is not empty
            descriptor = os.open(self.lock, os.O_RDWR)
            try:
                if try_lock(descriptor):
                    for path in set(self.folder.iterdir()) - kept - {self.lock}:
                        path.unlink()
                    self.lock.unlink()  # the last, since another job may then make a new one
                    self.folder.rmdir()
            finally:
                os.close(descriptor)

    def _share(self) -> Iterator[Path]:
        """Yield the files of this rank's chunks, which are computed where they do not exist."""
        own = range(distributed.rank(), len(self.chunks), distributed.world_size())
        images = sum(min(CHUNK, self.count - number * CHUNK) for number in own)
        with Progress(self.what, max(images, 1)) if distributed.rank() == 0 else nullcontext() as progress:
            for number in own:
                first, path = number * CHUNK, self.chunks[number]
                if not self._is_ours(path):
                    self._write(path, self._make(first, progress))
                elif progress is not None:
                    progress.update(min(CHUNK, self.count - first))
                yield path

    def _make(self, first: int, progress: Progress | None) -> Tensors:
        blocks = []
        for start in range(first, min(first + CHUNK, self.count), BLOCK):
            tensors = self.compute(start)
            blocks.append({name: tensor[: self.count - start].cpu() for name, tensor in tensors.items()})
            if progress is not None:
                progress.update(min(BLOCK, self.count - start))
        return {name: torch.cat([block[name] for block in blocks]) for name in blocks[0]}

    def _sum(self, device: torch.device) -> Tensor:
        total = on_all(lambda: self._sum_of_share(device))
        if dist.is_initialized():
            size = torch.tensor(total.shape[-1], device=device)
            dist.all_reduce(size, dist.ReduceOp.MAX)
            if not total.numel():  # a rank that had no chunk
                total = total.new_zeros(PARTS, int(size), int(size))
            dist.all_reduce(total)
        return total

    def _sum_of_share(self, device: torch.device) -> Tensor:
        total = torch.zeros(PARTS, 0, 0, dtype=torch.float64, device=device)
        for path in self._share():
            features = read(path, "features").to(device)
            if not total.numel():
                total = total.new_zeros(PARTS, 1 + features.shape[1], 1 + features.shape[1])
            for part in range(PARTS):
                total[part] += Moments.of(features[part::PARTS]).total
        return total

    def _check(self, total: Tensor) -> None:
        moments = sum((Moments(part) for part in total[1:]), Moments(total[0]))
        self.refuse_alike(moments.covariance.trace(), moments.mean)

    def refuse_alike(self, variance: Tensor, mean: Tensor) -> None:
        """Raise UserError for features whose variance, summed over the dimensions, is within rounding."""
        if variance <= ROUNDING**2 * mean.square().sum():
            raise UserError(f"{self.what}: the same for all {self.count:,} images: are they constant, or one picture?")

    def _is_ours(self, path: Path) -> bool:
        try:
            with safe_open(path, "pt") as file:
                return bool(file.metadata()["key"] == self.key)
        except (OSError, SafetensorError, TypeError, KeyError):
            return False

    def _write(self, path: Path, tensors: Tensors) -> None:
        own = path.with_suffix(f".{socket.gethostname()}-{os.getpid()}")  # another run may be making the same
        with atomic_write(own) as file:
            file.write(save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, {"key": self.key}))
        own.replace(path)
