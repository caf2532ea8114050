"""The bytes of shards: local ones in place, remote ones through a bounded cache on this node's disk."""

import errno
import math
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from threading import Lock, Thread

from filelock import Timeout

from ganlab.data.format.shards import Shard
from ganlab.data.read.location import Location
from ganlab.data.read.retries import Patience, Stopped
from ganlab.data.read.transfer import download
from ganlab.locks import plain
from ganlab.types import UserError

OPEN_FILES = 256
"""Largest number of open shards."""
DOWNLOADS = 4
"""Parallel downloads ahead of use, per process."""
TRIES = 50
"""Times, 20 ms apart, that a full disk is tried again: a removed shard takes room until its reader is done with it."""


class File:
    """An open file, closed when the last thread has released it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class Store:
    """The shards of a local folder; any thread may read.

    They are read, not memory-mapped: a truncated file under a map would kill the process, and a page fault would block
    every Python thread.
    """

    def __init__(self, folder: Path, shards: Sequence[Shard], open_files: int = OPEN_FILES) -> None:
        self.folder, self.shards, self.open_files = folder, shards, open_files
        self.files: OrderedDict[int, File] = OrderedDict()
        self.lock = Lock()

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Return bytes of a shard, fewer if it ends before; UserError if it cannot be read."""
        with self.lock:
            file = self.files.get(shard)
            if file is not None:
                self.files.move_to_end(shard)
        try:
            if file is None:
                file = self._open(shard)
                with self.lock:
                    self.files[shard] = file
                    while len(self.files) > self.open_files:
                        self.files.popitem(last=False)
            return os.pread(file.descriptor, size, offset)
        except OSError as error:
            raise UserError(f"{self.folder / self.shards[shard].name}: cannot be read: {error.strerror}") from error

    def place(self, shard: int) -> str:
        """Return where a shard lies, for messages."""
        return str(self.folder / self.shards[shard].name)

    def expect(self, shards: Iterable[int]) -> None:
        """Announce the shards that will be read next, in order."""

    def close(self) -> None:
        """Stop downloads."""

    def _open(self, shard: int) -> File:
        return File(self.folder / self.shards[shard].name)


class CachedStore(Store):
    """Remote shards: each is downloaded once per node, by the process that needs it first.

    Args:
        source: where the shards lie.
        folder: this dataset's folder in the cache, shared by the processes of a node.
        limit: bytes of all shards in the cache, including downloads: the least recently used are removed.
        window: number of shards that are read at once.
    """

    def __init__(
        self, source: Location, shards: Sequence[Shard], *, folder: Path, limit: int, window: int, patience: Patience
    ) -> None:
        super().__init__(folder, shards, open_files=window)
        self.source, self.cache, self.patience = source, folder.parent, patience
        self.limit = min(limit, shutil.disk_usage(folder).free + sum(size for _, size, _ in self._held()))
        sizes = sorted(shard.bytes for shard in shards)
        if (needed := sum(sizes[-window - 1 :])) > self.limit:
            raise UserError(
                f"data.cache: {limit:,} bytes in {self.cache}, of which the disk has {self.limit:,}, but the "
                f"{min(window, len(shards))} shards that are read at once and the next one take {needed:,}; give it "
                f"more, or fewer shards at once: data.window below {window} (images are then shuffled less well)"
            )
        self.ahead = self.limit // sizes[-1]
        self.wanted: list[int] = []
        self.fetching = 0
        self.failed: dict[str, tuple[float, UserError]] = {}

    def place(self, shard: int) -> str:
        """Return where a shard comes from, for messages."""
        return f"{self.source}{self.shards[shard].name}"

    def expect(self, shards: Iterable[int]) -> None:
        """Download the shards in this order, as many as the cache holds, and cancel all others."""
        wanted = list(dict.fromkeys(islice(shards, min(self.ahead, len(self.shards)))))
        for shard in reversed(wanted):  # what leaves the cache now is none of these, or the last of them
            with suppress(OSError):
                os.utime(self.folder / self.shards[shard].name)
        with self.lock:
            for shard in self.files.keys() - set(wanted):
                del self.files[shard]
            self.wanted = wanted
            for _ in range(min(DOWNLOADS, len(wanted)) - self.fetching):
                self.fetching += 1
                Thread(target=self._fetch_ahead, name="download", daemon=True).start()

    def close(self) -> None:
        """Stop the downloads, and drop what they have received."""
        self.patience.stopped.set()
        with self.lock:
            self.files.clear()

    def _fetch_ahead(self) -> None:
        while True:
            with self.lock:
                if not self.wanted or self.patience.stopped.is_set():
                    self.fetching -= 1
                    return
                shard = self.wanted.pop(0)
            with suppress(UserError, Stopped):  # the reader of the shard will raise the same
                self._fetch(self.shards[shard])

    def _open(self, number: int) -> File:
        shard = self.shards[number]
        path = self.folder / shard.name
        while True:
            with suppress(FileNotFoundError):
                file = File(path)
                if os.fstat(file.descriptor).st_size == shard.bytes:
                    os.utime(path)
                    return file
                path.unlink()  # only a power failure can leave this behind
            self._fetch(shard)

    def _fetch(self, shard: Shard) -> None:
        """Download a shard unless it exists; if another thread or process is doing so, wait for it.

        The holder of the part's lock owns it. The lock of a dead process is free, and the next owner resumes the
        download.
        """
        path = self.folder / shard.name
        part = path.with_name(f"{shard.name}.{shard.bytes}.part")  # its name states its final size
        try:
            if path.exists():
                return
            with locked(lock_of(part), self.patience):
                try:
                    if path.exists():
                        return
                    when, failure = self.failed.get(shard.name, (-math.inf, None))
                    if failure is not None and time.monotonic() - when < self.patience.total:
                        raise failure  # another thread has just lost its patience
                    self._reserve(part, shard.bytes)
                    self._download(shard, part)
                    part.rename(path)
                except UserError as error:
                    if error is not failure:
                        self.failed[shard.name] = (time.monotonic(), error)
                    raise
                finally:
                    part.unlink(missing_ok=True)
                    lock_of(part).unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(part, error) from error

    def _reserve(self, part: Path, size: int) -> None:
        """Create a part once the cache has room for all of it, unless it is there."""
        while True:
            with locked(self.cache / "lock", self.patience):
                new = 0 if part.exists() else size
                self._evict(part, self.limit - new)
                if not new or sum(size for _, size, _ in self._held()) + new <= self.limit:
                    part.touch()
                    return
            # until a shard that nobody will read any more, but that is still coming, is there
            if self.patience.stopped.wait(0.02):
                raise Stopped

    def _download(self, shard: Shard, part: Path) -> None:
        def write(data: bytes, offset: int) -> None:
            tries = 0
            while True:
                try:
                    return write_at(descriptor, data, offset)
                except OSError as error:
                    tries += 1
                    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                    if not full or (not self._evict_one(part) and tries > TRIES):
                        raise disk_error(part, error) from error
                if self.patience.stopped.wait(0.02):
                    raise Stopped

        descriptor = os.open(part, os.O_RDWR)
        try:
            download(self.source, shard.name, descriptor, write, shard.bytes, shard.sha256, self.patience)
        finally:
            os.close(descriptor)

    def _evict_one(self, keep: Path) -> bool:
        """Free the cache's files after another program has filled the disk."""
        with self.lock:
            self.files.clear()  # an open file uses disk space even after its removal
        with locked(self.cache / "lock", self.patience):
            return self._evict(keep, sum(size for _, size, _ in self._held()) - 1)

    def _evict(self, keep: Path, limit: int) -> bool:
        """Remove the least recently used files until at most `limit` bytes are used; tell whether there were any."""
        held = sorted(self._held())
        total, removed = sum(size for _, size, _ in held), False
        for _, size, path in held:
            if total <= limit:
                break
            if path != keep and _remove(path):
                total, removed = total - size, True
        return removed

    def _held(self) -> Iterator[tuple[float, int, Path]]:
        """List the shards of the cache, and downloads with their final size: time of use, bytes, path."""
        for path in [*self.cache.glob("*/*.tar"), *self.cache.glob("*/*.part")]:
            with suppress(FileNotFoundError):
                found = path.stat()
                yield found.st_mtime, int(path.suffixes[-2][1:]) if path.suffix == ".part" else found.st_size, path


def disk_error(path: Path, error: OSError) -> UserError:
    """Return the error for a cache whose disk fails or is full."""
    return UserError(
        f"{path}: {error.strerror}; name another folder in data.cache.folder, or allow it fewer data.cache.bytes"
    )


@contextmanager
def locked(file: Path, patience: Patience) -> Iterator[None]:
    """Hold a lock of this node's processes; wait for it as long as somebody needs it."""
    lock = plain(file)
    try:
        lock.acquire(poll_interval=0.02, cancel_check=patience.stopped.is_set)
    except Timeout:
        raise Stopped from None
    try:
        yield
    finally:
        lock.release()


def lock_of(part: Path) -> Path:
    """Return the file of the lock on a download."""
    return part.with_suffix(".lock")


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all bytes: a nearly full disk may write only a part at a time."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _remove(path: Path) -> bool:
    """Remove a file of the cache, unless it is being downloaded; tell whether it is gone."""
    if path.suffix == ".part":
        try:
            with plain(lock_of(path)).acquire(blocking=False):
                path.unlink(missing_ok=True)
                lock_of(path).unlink(missing_ok=True)
        except Timeout:
            return False
    path.unlink(missing_ok=True)
    return True
