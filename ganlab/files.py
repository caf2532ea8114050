"""Atomic file writes, hashes and the cache folder."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from platformdirs import user_cache_path


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that appears at `path` only when it is complete and on disk.

    The bytes go to `<path>.tmp` in the same folder, so that the rename stays on one file system. The name is
    fixed: the next process overwrites what a killed one left. On any error the old file stays unchanged.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename is None:  # of a full disk
            error.filename = str(path)
        raise
    sync_folder(path.parent)


def sha256_of(path: Path) -> str:
    """Hash a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def with_home(text: str) -> str:
    """Replace ~ by the home folder at the start of a path, of each path of a list, and after a scheme's colon."""
    return re.sub(r"(^|[,:])~(?=/|,|$)", lambda at: f"{at[1]}{Path.home()}", text)


def cache_folder() -> Path:
    """Return the folder for files that can be recomputed: $GANLAB_CACHE, else the system's (Linux: ~/.cache/ganlab)."""
    chosen = os.environ.get("GANLAB_CACHE")
    return Path(with_home(chosen)) if chosen else user_cache_path("ganlab", appauthor=False)
