"""Where shards lie: a folder here, a web server or an object store; and how a person writes it."""

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlsplit

from braceexpand import braceexpand

from ganlab.types import UserError

WEB = ("http", "https")
STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "hdfs", "ftp", "sftp")
"""Schemes that are left to fsspec."""
ACCEPTED = f"a folder, or a URL of {', '.join(('file', *WEB, *STORES))}"
AT_MOST = 1_000_000
"""Shards that one URL may name."""


@dataclass(frozen=True)
class Location:
    """A folder, here or elsewhere."""

    scheme: str
    """Empty for a folder on this machine."""
    base: str
    """Its path, or its URL as far as the last slash; with the credentials that a person wrote into it."""
    query: str = ""
    """What follows each file's name in a URL: a signature, perhaps."""

    def url(self, name: str) -> str:
        """Return where a file in it lies, for those who fetch it; it may hold secrets."""
        return f"{self.base}{name}{self.query}"

    def __str__(self) -> str:
        return redact(self.base)


def parse(text: str) -> tuple[Location, tuple[str, ...]]:
    """Read a folder, or shards of one folder: `{000..009}` is a range, `{a,b}` and `a.tar,b.tar` are lists.

    Returns the folder, and the names of the shards, none for all of them. Nothing is ever given to a shell.
    UserError for what cannot be read from, and for shards of several folders.
    """
    if Path(text).is_dir():
        return Location("", text), ()
    pieces = text.split(",") if all(_is_shard(piece) for piece in text.split(",")) else [text]
    try:
        urls = list(islice((url for piece in pieces for url in braceexpand(piece, escape=False)), AT_MOST + 1))
    except ValueError as error:
        raise UserError(f"{redact(text)}: {error}; write a range as {{000..009}} and a list as {{a,b}}") from None
    if len(urls) > AT_MOST:
        raise UserError(f"{redact(text)}: more than {AT_MOST:,} shards; name fewer, or their folder")
    if len(urls) == 1 and not _is_shard(urls[0]):
        return _folder(urls[0]), ()
    if wrong := [url for url in urls if not _is_shard(url)]:
        raise UserError(f"{redact(wrong[0])}: not a .tar; in a range or list, name shards")
    folders, names = zip(*(_split(url) for url in urls), strict=True)
    if other := next((folder for folder in folders if folder != folders[0]), None):
        raise UserError(f"{folders[0]} and {other}: shards of one dataset lie in one folder; index each of them")
    if len(set(names)) < len(names):
        raise UserError(f"{redact(text)}: names a shard twice")
    return folders[0], names


def redact(text: str) -> str:
    """Take user names, passwords, queries and fragments out of the URLs in a text."""
    return re.sub(r"(?<=://)[^/\s@]*@", "", re.sub(r"(://[^\s?#'\"]*)[?#][^\s'\"]*", r"\1", text))


def _is_shard(url: str) -> bool:
    return url.split("?")[0].endswith(".tar")


def _split(url: str) -> tuple[Location, str]:
    path, mark, query = url.partition("?") if _scheme(url) else (url, "", "")
    folder, slash, name = path.rpartition("/")
    return _folder((folder + slash or ".") + mark + query), name


def _folder(url: str) -> Location:
    scheme = _scheme(url)
    parts = urlsplit(url)
    if not scheme:
        return Location("", url)
    if scheme == "file":
        return Location("", unquote(parts.path))
    return Location(scheme, f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/", parts.query and f"?{parts.query}")


def _scheme(url: str) -> str:
    """Return the scheme of a URL that may be read from, empty for a path."""
    scheme = match[1].lower() if (match := re.match(r"([A-Za-z][\w+.-]*):", url)) else ""
    netloc = urlsplit(url).netloc
    if scheme and (
        "::" in url or not (netloc in ("", "localhost") if scheme == "file" else netloc and scheme in WEB + STORES)
    ):
        why = "would run a shell, which data never does" if scheme == "pipe" else "cannot be read from"
        raise UserError(f"data.url: {redact(url)}: {why}; give {ACCEPTED}")
    return scheme
