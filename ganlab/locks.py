"""Locks between processes, on file systems with and without locks.

`plain` is `filelock`'s, for the processes of one host. `held` is ours, for a folder that many hosts may use: it tells
who holds it, and finds out that a holder on another host is gone, of which `filelock` does neither. `try_lock` is the
kernel's own, for locks that are shared, which `filelock` does not have without a database.
"""

import errno
import fcntl
import json
import logging
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock

from ganlab.types import UserError

BEAT = 5.0
"""Seconds between two signs of life of a holder."""
LOST = 4
"""Signs of life that a holder may miss, where the kernel cannot tell whether it lives."""
CONTENDED = (errno.EACCES, errno.EAGAIN)
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as its file says."""

    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    since: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    beats: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


@contextmanager
def held(file: Path, what: str, remedy: str) -> Iterator[None]:
    """Hold a lock while the context lasts; `file` says who holds it, and is removed in the end.

    Where the kernel's lock works, it decides between processes of one host. It does not reach other hosts on some
    shared file systems, and some file systems have none: so a holder also counts its beats in the file, and one whose
    count stands still is gone.

    Raises:
        UserError: another process holds it: the message begins with `what` and ends with `remedy`.
        OSError: the file cannot be written.
    """
    own = Holder()
    descriptor = take(file, own, what, remedy)
    stop = threading.Event()
    beating = threading.Thread(target=beat, args=(descriptor, own, stop), daemon=True)
    beating.start()
    try:
        yield
    finally:
        stop.set()
        beating.join()
        with suppress(OSError):  # its folder may be gone
            if is_at(file, descriptor):
                file.unlink()
        os.close(descriptor)


def take(file: Path, own: Holder, what: str, remedy: str) -> int:
    """Write `own` into the lock's file, and return its descriptor, which holds the kernel's lock."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            kernel = try_lock(descriptor)
            other = read(file)
            if kernel is False or (other is not None and is_alive(file, other, kernel=kernel is True)):
                raise UserError(f"{what}: in use by {other or 'another process'}; {remedy}")
            if is_at(file, descriptor):  # else a holder that ended has just removed it
                write(descriptor, own)
                time.sleep(0.0 if kernel else 0.2)  # without locks two may write, and the last one holds it
                if read(file) == own:
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def plain(file: Path) -> BaseFileLock:
    """Return a lock for the processes and threads of this host, not taken yet; its file may be removed by its holder.

    `FileLock` itself handles only one of the errors by which file systems say that they have no locks.
    """
    return FileLock(file) if has_locks(file.parent) else SoftFileLock(file)


@cache
def has_locks(folder: Path) -> bool:
    """Tell whether files in a folder can be locked; OSError if none can be made there."""
    with tempfile.TemporaryFile(dir=folder) as file:  # of the folder itself NFS would say yes
        return try_lock(file.fileno()) is not None


def try_lock(descriptor: int, *, shared: bool = False) -> bool | None:
    """Take the kernel's lock on an open file, alone or with others that share it.

    Returns False if another has it, and None where there are no locks.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in CONTENDED:
            return False
        if error.errno in WITHOUT_LOCKS:
            return None
        raise
    return True


def is_alive(file: Path, other: Holder, *, kernel: bool) -> bool:
    """Tell whether the holder that a file names still runs; `kernel` says that its host's lock was free."""
    if other.host == socket.gethostname():
        if kernel:
            return False
        try:
            os.kill(other.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # somebody else's process
            pass
    log.warning("%s: names %s; waiting up to %.0f s for a sign of life", file, other, LOST * BEAT)
    end = time.monotonic() + LOST * BEAT
    while time.monotonic() < end:
        time.sleep(BEAT / 10)
        if (now := read(file)) != other:
            return now is not None
    return False


def beat(descriptor: int, own: Holder, stop: threading.Event) -> None:
    """Count in the lock's file until `stop`."""
    beats = 0
    while not stop.wait(BEAT):
        beats += 1
        with suppress(OSError):
            write(descriptor, Holder(own.host, own.pid, own.since, own.token, beats))


def write(descriptor: int, holder: Holder) -> None:
    """Write a lock's file, for other hosts to see."""
    text = json.dumps(asdict(holder)).encode()
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))
    os.fsync(descriptor)


def read(file: Path) -> Holder | None:
    """Read a lock's file; None if it names nobody. Shared file systems show it anew when it is opened."""
    try:
        return Holder(**json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def is_at(file: Path, descriptor: int) -> bool:
    """Tell whether a descriptor is of the file that stands at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False
