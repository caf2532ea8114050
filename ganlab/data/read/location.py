"""Locations of shards: a local folder, a web server or an object store; and their notation."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from braceexpand import braceexpand

from ganlab.types import UserError

WEB = ("http", "https")
STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "hdfs", "ftp", "sftp")
"""Schemes that fsspec reads."""
ACCEPTED = f"a folder, or a URL of {', '.join(('file', *WEB, *STORES))}"
AT_MOST = 1_000_000
"""Largest number of shards that one URL may name."""
URL = re.compile(r"([A-Za-z][\w+.-]*)://([^/\s@?#]*@)?([^\s?#'\"]*)([?#][^\s'\"]*)?")
"""Scheme, user and password, host and path, query and fragment of each URL in a text."""
SIGNED = re.compile(
    r"[?&](x-(?:amz|goog|oss|ms)-[\w-]*|awsaccesskeyid|googleaccessid|key-pair-id|policy|signature|sig|[\w-]*token|"
    r"auth|(?:api[_-]?)?key|secret|password)=",
    re.IGNORECASE,
)
"""Query parameters that grant access to whoever has the URL."""


@dataclass(frozen=True)
class Location:
    """A local or remote folder."""

    scheme: str
    """Empty for a local folder."""
    base: str
    """Its path, or its URL up to the last slash."""
    query: str = ""
    """The query after each file's name in a URL."""

    def url(self, name: str) -> str:
        """Return the path or URL of a file in it."""
        return f"{self.base}{name}{self.query}"

    def __str__(self) -> str:
        return redact(self.base)


def parse(text: str, key: str = "data.url") -> tuple[Location, tuple[str, ...]]:
    """Read a folder, or shards of one folder: `{000..009}` is a range, `{a,b}` and `a.tar,b.tar` are lists.

    Returns the folder, and the names of the shards, none for all of them. Nothing is passed to a shell. `key` names the
    text in errors.
    UserError for unreadable schemes, for shards of several folders, and for secrets.
    """
    if Path(text).is_dir():
        return Location("", text), ()
    refuse_secrets(text, key)
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


def refuse_secrets(text: str, key: str) -> None:
    """Raise UserError where a URL, or a list of them, holds a password or a signature: it is saved with the run.

    A user name alone is no secret, except for web servers, where it may be a token; Azure puts a container there.
    """
    for scheme, user, _, query in URL.findall(text):
        found = "a user or password" if (user and scheme.lower() in WEB) or ":" in user else ""
        if signed := SIGNED.search(query):
            found = f"a secret ({signed[1]})"
        if found:
            raise UserError(
                f"{key}: {redact(text)}: was given with {found}, which would be saved with the run; leave it out: web "
                "servers' passwords belong in ~/.netrc (or the file that $NETRC names), keys of object stores in their "
                "own environment variables or credential files"
            )


def redact(text: str) -> str:
    """Remove what may be secret from the URLs in a text: users, passwords, queries and fragments."""
    return URL.sub(r"\1://\3", text)


def redact_all(values: Any) -> Any:
    """Redact every text in nested dicts, lists and tuples, for a config that leaves the run."""
    if isinstance(values, Mapping):
        return {name: redact_all(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [redact_all(value) for value in values]
    return redact(values) if isinstance(values, str) else values


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
    """Return the scheme of a URL, empty for a path; UserError if it cannot be read from."""
    scheme = match[1].lower() if (match := re.match(r"([A-Za-z][\w+.-]*):", url)) else ""
    netloc = urlsplit(url).netloc
    if scheme and (
        "::" in url or not (netloc in ("", "localhost") if scheme == "file" else netloc and scheme in WEB + STORES)
    ):
        why = "would run a shell, which data never does" if scheme == "pipe" else "cannot be read from"
        raise UserError(f"data.url: {redact(url)}: {why}; give {ACCEPTED}")
    return scheme
