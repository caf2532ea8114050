"""What is an image of a source: told by the name of a file, and by its content where the name says nothing."""

from collections.abc import Callable
from mimetypes import MimeTypes
from pathlib import PurePosixPath

from ganlab.data.format.pictures import HEIF_SUFFIXES, NEEDS_HEIF, is_heif, is_signed, reads_heif, suffixes

ARCHIVES = (".tar", ".zip", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
UNREAD = (
    ".jxl",
    ".svg",
    ".eps",
    ".raw",
    ".dng",
    ".cr2",
    ".cr3",
    ".nef",
    ".arw",
    ".orf",
    ".rw2",
    ".raf",
    ".exr",
    ".hdr",
)
"""Images that other programs write and nothing here reads."""
HIDDEN = "hidden"
KNOWN = MimeTypes()
"""Python's own table of suffixes, not that of this machine."""


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder that it is in, is hidden: ._x.jpg holds attributes, not an image."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def why_not(name: str, head: Callable[[], bytes] | None) -> str:
    """Say why a file is not taken as an image; empty for an image.

    `head` reads its first bytes, which decide where the suffix is of no known kind; None: that would cost too much.
    """
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if ".." in path.parts:
        return "a path that leaves the archive (..)"
    if is_hidden(name):
        return HIDDEN
    if suffix in suffixes():
        return ""
    if suffix in HEIF_SUFFIXES:
        return NEEDS_HEIF
    if suffix in ARCHIVES:
        return "an archive in it: unpack it, or give it as a source of its own"
    kind = KNOWN.guess_type(f"x{suffix}")[0]
    if suffix in UNREAD or (kind or "").startswith("image/"):
        return f"a format that is not read ({suffix}): convert it, for example to PNG"
    if kind is None and head is not None:
        first = head()
        if is_signed(first):
            return ""
        if is_heif(first) and not reads_heif():
            return NEEDS_HEIF
    return f"not an image ({suffix or 'no suffix'})"
