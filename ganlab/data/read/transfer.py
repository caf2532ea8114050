"""Downloads from web servers and object stores, with retries.

The retries are ours: `urllib3.Retry` counts attempts and ends with an answer's headers, and fsspec's object stores each
have their own. Here a transfer of any kind goes on where it broke off, for as long as bytes come.
"""

import base64
import hashlib
import http.client
import io
import logging
import netrc
import os
import random
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fsspec.core import url_to_fs

from ganlab.data.format.tars import is_shard
from ganlab.data.read.location import WEB, Location, redact
from ganlab.types import UserError

log = logging.getLogger(__name__)

T = TypeVar("T")
PIECE, BLOCK = 16 * 2**20, 2**18
"""Bytes per request to an object store, and per read from a connection."""
TRY_AGAIN = (408, 425, 429)
"""HTTP statuses, besides 5xx, that are worth a retry."""
STRANGE = 3
"""Retries after an unknown error."""
TOLD = 4
"""Failed attempts after which a person is told why they wait."""
LONGEST_PAUSE = 10.0
LEAST = 2**14
"""Bytes that count as progress: a source that sends one byte now and then must still time out."""
CHECKS = 3
"""Downloads of a file with a wrong checksum before it counts as damaged."""


class Stopped(Exception):  # noqa: N818 (not an error)
    """The transfer is no longer wanted."""


class Refused(Exception):  # noqa: N818 (it becomes a UserError)
    """The source refuses, and a retry would not help."""


class NotInFile(Refused):
    """The file ends before the requested bytes; `size` is its size if the server states it."""

    def __init__(self, message: str, size: int | None) -> None:
        super().__init__(message)
        self.size = size


@dataclass(frozen=True)
class Patience:
    """Timeouts and pauses of retries, in seconds."""

    answer: float = 30.0
    """Timeout of one answer, or of its next 16 KiB."""
    total: float = 300.0
    """Timeout without 16 KiB of progress, over all attempts: a slow source may take longer, a dead one may not."""
    pause: float = 0.2
    """Pause before the second attempt; doubled before each further one, up to ten seconds, and varied by half."""
    stopped: Event = field(default_factory=Event)
    """Set to stop all attempts."""


def persist(place: str, attempt: Callable[[], T], patience: Patience, progress: Callable[[], int] = lambda: 0) -> T:
    """Retry until an attempt succeeds; UserError, naming `place`, for a refusal or after the timeout.

    `progress` returns the bytes received so far: enough new ones restart the timeout.
    """
    best, since, tries = progress(), time.monotonic(), 0
    while not patience.stopped.is_set():
        try:
            return attempt()
        except (Refused, FileNotFoundError, PermissionError) as error:
            raise UserError(f"{place}: {_say(error)}; not tried again") from error
        except (UserError, Stopped):
            raise
        except Exception as error:  # fsspec's file systems raise what their libraries do
            if (now := progress()) >= best + LEAST:
                best, since, tries = now, time.monotonic(), 0
            tries += 1
            pause = min(LONGEST_PAUSE, patience.pause * 2 ** (tries - 1)) * random.uniform(0.5, 1.5)  # noqa: S311
            pause = max(pause, _retry_after(error))
            if tries == TOLD:
                log.warning("%s: %s; trying again, for %.0f s without news", place, _say(error), patience.total)
            known = isinstance(error, OSError | http.client.HTTPException)
            if time.monotonic() + pause - since > patience.total or (not known and tries > STRANGE):
                raise UserError(
                    f"{place}: {_say(error)}; given up after {tries} attempts without news; "
                    "is the source up, and the network?"
                ) from error
            patience.stopped.wait(pause)
    raise Stopped


def stream(place: Location, name: str, start: int, stop: int | None, patience: Patience) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, bytes) of a file from `start` on in one attempt; `stop` is its size, if known.

    A server without ranges starts at 0. A broken connection ends the stream or raises OSError.
    """
    if place.scheme in WEB:
        yield from _from_web(place.url(name), start, patience)
    else:
        yield from _from_store(place.url(name), start, stop)


def fetch(place: Location, name: str, patience: Patience) -> bytes:
    """Return a whole file of unknown size."""
    return persist(
        f"{place}{name}", lambda: b"".join(data for _, data in stream(place, name, 0, None, patience)), patience
    )


def download(
    place: Location,
    name: str,
    descriptor: int,
    write: Callable[[bytes, int], None],
    size: int | None,
    sha256: str,
    patience: Patience,
) -> None:
    """Complete an open file that holds the first bytes of a remote one; `size` and `sha256` if known.

    `write(data, offset)` writes into it. UserError, with both checksums, if the checksum is wrong each time.
    """

    def attempt() -> None:
        end = have()
        for offset, data in stream(place, name, end, size, patience):
            end = offset + len(data)
            if size is not None and end > size:
                raise Refused(f"longer than the {size:,} bytes that the index says")
            write(data, offset)
        if size is not None and end < size:
            raise ConnectionError(f"{end:,} of {size:,} bytes came")

    def have() -> int:
        return os.fstat(descriptor).st_size

    for _ in range(CHECKS):
        if size is None or have() < size:
            persist(f"{place}{name}", attempt, patience, have)
        with open(descriptor, "rb", closefd=False) as file:
            file.seek(0)
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found == sha256 or not sha256:
            return
        os.ftruncate(descriptor, 0)
    raise UserError(
        f"{place}{name}: damaged: its sha256 is {found}, the index says {sha256}, after {CHECKS} downloads; upload it "
        "again from where it was packed"
    )


def _from_web(url: str, start: int, patience: Patience) -> Iterator[tuple[int, bytes]]:
    try:
        answer = _ask(url, {"Range": f"bytes={start}-"} if start else {}, patience)
    except NotInFile as error:
        if error.size == start:
            return  # nothing is missing: the download was stopped between its last byte and its end
        answer = _ask(url, {}, patience)  # the existing bytes are of another file
    with answer:
        expected = answer.length
        offset = first = start if answer.status == http.client.PARTIAL_CONTENT else 0
        noted, since = offset, time.monotonic()
        while data := answer.read1(BLOCK):
            yield offset, data
            offset += len(data)
            if patience.stopped.is_set():
                raise Stopped
            if offset - noted >= LEAST:
                noted, since = offset, time.monotonic()
            elif time.monotonic() - since > patience.answer:
                raise TimeoutError(f"{offset - noted:,} bytes in {patience.answer:g} s")
        if expected is not None and offset - first < expected:
            raise ConnectionError(f"{offset - first:,} of {expected:,} bytes came")


def _ask(url: str, headers: dict[str, str], patience: Patience, method: str = "GET") -> Any:
    """Open a URL, with its host's credentials from ~/.netrc, which are not sent to redirected hosts."""
    request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 (http or https: see `parse`)
    if user := _user(urlsplit(url).hostname or ""):
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(user.encode()).decode()}")
    try:
        return urllib.request.urlopen(request, timeout=patience.answer)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code in TRY_AGAIN or error.code >= 500:
            raise
        message = f"HTTP {error.code} {error.reason}"
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            size = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
            raise NotInFile(message, int(size[1]) if size else None) from error
        raise Refused(message) from error


def _user(host: str) -> str:
    """Return NAME:PASSWORD for a host, empty if there is none."""
    try:
        found = netrc.netrc(os.environ.get("NETRC") or Path.home() / ".netrc").authenticators(host)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):  # the file may be for other programs
        return ""
    return f"{found[0]}:{found[2]}" if found else ""


def _from_store(url: str, start: int, stop: int | None) -> Iterator[tuple[int, bytes]]:
    files, path = _files(url)
    if stop is None:
        stop = files.size(path)
    for offset in range(start, stop, PIECE):
        data = files.cat_file(path, start=offset, end=min(offset + PIECE, stop))
        yield offset, data
        if len(data) < min(PIECE, stop - offset):
            raise ConnectionError(f"{len(data):,} of {min(PIECE, stop - offset):,} bytes came")


def _files(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the path in it."""
    try:
        files, path = url_to_fs(url)
    except ImportError as error:
        raise Refused(f"{error} (pip install it)") from error
    return files, path


def list_shards(place: Location, patience: Patience) -> tuple[str, ...]:
    """Name the tars in a folder, in order; UserError if there are none, or the source cannot list them."""

    def listed() -> list[str]:
        files, path = _files(place.url(""))
        return [name.rpartition("/")[2] for name in files.ls(path, detail=False)]

    if place.scheme in WEB:
        raise UserError(f"{place}: a web server does not list its files; name the shards: {place}NAME-{{000..009}}.tar")
    if place.scheme:
        found = persist(str(place), listed, patience)
    else:
        found = [path.name for path in Path(place.base).glob("*")]
    if not (names := tuple(sorted(filter(is_shard, found)))):
        raise UserError(f"{place}: no shards (*.tar); is it the right folder?")
    return names


class RemoteFile(io.RawIOBase):
    """A remote file, of which only the bytes that are read are fetched."""

    def __init__(self, place: Location, name: str, patience: Patience) -> None:
        self.place, self.name, self.patience = place, name, patience
        self.at, self.size = 0, persist(f"{place}{name}", self._size, patience)

    def readable(self) -> bool:
        """Return True: it can be read."""
        return True

    def seekable(self) -> bool:
        """Return True: it can be sought in."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset."""
        self.at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence]
        return self.at

    def readinto(self, buffer: Any) -> int:
        """Fetch the next bytes."""
        stop = min(self.at + len(buffer), self.size)
        data = persist(f"{self.place}{self.name}", lambda: self._range(stop), self.patience) if self.at < stop else b""
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)

    def _size(self) -> int:
        if self.place.scheme not in WEB:
            files, path = _files(self.place.url(self.name))
            return int(files.size(path))
        with _ask(self.place.url(self.name), {}, self.patience, method="HEAD") as answer:
            size = answer.headers["Content-Length"]  # `answer.length` is of its body: a HEAD has none
            if size is None:
                raise Refused("the server does not say how long it is")
            return int(size)

    def _range(self, stop: int) -> bytes:
        url = self.place.url(self.name)
        if self.place.scheme in WEB:
            with _ask(url, {"Range": f"bytes={self.at}-{stop - 1}"}, self.patience) as answer:
                if answer.status != http.client.PARTIAL_CONTENT:
                    raise Refused("the server sends no ranges; download the shards, and index their folder")
                data: bytes = answer.read(stop - self.at)
        else:
            files, path = _files(url)
            data = files.cat_file(path, start=self.at, end=stop)
        if len(data) < stop - self.at:
            raise ConnectionError(f"{len(data):,} of {stop - self.at:,} bytes came")
        return data


def _retry_after(error: Exception) -> float:
    text = error.headers.get("Retry-After", "") if isinstance(error, urllib.error.HTTPError) else ""
    return min(LONGEST_PAUSE, float(text)) if re.fullmatch(r"\d{1,6}", text) else 0.0


def _say(error: Exception) -> str:
    return redact(str(error)) if isinstance(error, Refused) else f"{type(error).__name__}: {redact(str(error))}"
