"""Images as files: in a folder or in a zip."""

import os
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from ganlab.data.format.pictures import HEAD, has_more, open_picture, upright
from ganlab.data.make.account import Account, printable
from ganlab.data.make.sources.base import MEND, Source, stamp_of
from ganlab.data.make.sources.classes import NONE, Classes, by_folder, by_list
from ganlab.data.make.sources.kinds import HIDDEN, why_not
from ganlab.data.make.sources.names import Names
from ganlab.types import UserError

LIST = "dataset.json"
"""Name of a list of labels, as StyleGAN's data has it."""
ENCRYPTED = 1
"""Flag of a file in a zip."""
AT_ONCE = 16
"""Folders that are listed at once."""
MADE = "made by ganlab: a dataset, or a run"
OURS = ({"index.json", "samples.npy"}, {"pack.json", "shard-000000.tar"}, {"config.yaml", "checkpoints"})
"""What a folder holds that was made here: a dataset, a part of one, a run."""


@dataclass(frozen=True)
class Files(Source):
    """Image files by name."""

    names: Names

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # another process opens its own

    def __len__(self) -> int:
        return len(self.names)

    def describe(self, i: int) -> str:
        """Give the file's path."""
        return f"{self.path}/{printable(self.names[i])}"

    @abstractmethod
    def open(self, i: int) -> Any:
        """Open file `i` to read its bytes."""

    def image(self, i: int) -> Image.Image:
        """Decode a file as viewers show it."""
        try:
            with self.open(i) as file, open_picture(file) as picture:
                return upright(picture)
        except Exception as error:  # PIL's decoders raise errors of many kinds on damaged and on hostile files
            raise UserError(f"{self.describe(i)}: cannot be decoded ({error}){MEND}") from error

    def mode(self, i: int) -> str:
        """Read the header of a file."""
        try:
            with self.open(i) as file, open_picture(file) as picture:
                return picture.mode
        except Exception as error:  # as above
            raise UserError(f"{self.describe(i)}: cannot be decoded ({error}){MEND}") from error

    def has_more(self, i: int) -> bool:
        """Read the header of a file, which tells frames and pages whatever its name."""
        try:
            with self.open(i) as file, open_picture(file) as picture:
                return has_more(picture)
        except Exception:  # as above; it is told when it is decoded
            return False


@dataclass(frozen=True)
class Folder(Files):
    """Files in a folder."""

    def open(self, i: int) -> Any:
        """Open file `i` to read its bytes."""
        return (self.path / self.names[i]).open("rb")

    def stamp(self, i: int) -> list[Any]:
        """Stamp the file."""
        return [self.names[i], *stamp_of(self.path / self.names[i])]


def open_folder(path: Path, labels: str | None, without: Path | None) -> Folder:
    """List the images of a folder and of all folders in it, except the folder `without`."""
    account, lists, folders = Account(), list[str](), set[str]()

    def listed(name: str) -> bool:
        """Note a list of labels, and count what is left out."""
        if PurePosixPath(name).name == LIST:
            lists.append(name)
            return False
        why = why_not(name, lambda: _head(path / name))
        if why:
            account.leave(why, name)
        return not why

    try:
        found = list(filter(listed, _walk(path, without and without.resolve(), account, folders)))
    except OSError as error:
        raise UserError(f"{error.filename or path}: cannot be read ({error.strerror})") from error
    found.sort()
    names = Names(found)
    del found  # it takes three times as much
    classes = _classes(path, labels, names, lists, lambda name: (path / name).read_bytes(), account, wrapped=False)
    _say_empty(folders, names, classes, account)
    return Folder(path, classes, account, names)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _walk(root: Path, without: Path | None, account: Account, folders: set[str]) -> Iterator[str]:
    """Yield the files below a folder, links followed, and add the names of all folders to `folders`.

    Threads list several folders at once: a file system over a network answers each after a while.
    """
    waiting = [""]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="listing") as pool:
        while waiting:
            level, waiting = waiting, []
            for first in range(0, len(level), AT_ONCE):  # not all at once: entries are larger than names
                here = level[first : first + AT_ONCE]
                for folder, entries in zip(here, pool.map(_list, [root / folder for folder in here]), strict=True):
                    if folder and any(names <= {entry.name for entry in entries} for names in OURS):
                        account.leave(MADE, folder)
                        folders.discard(folder)
                        continue
                    for entry in entries:
                        name = f"{folder}/{entry.name}" if folder else entry.name
                        if entry.is_dir():
                            if why := _why_not_entered(entry, root / folder, without):
                                account.leave(why, name)
                            else:
                                folders.add(name)
                                waiting.append(name)
                        elif entry.is_file():
                            yield name
                        else:
                            account.leave("a broken link" if entry.is_symlink() else "not an ordinary file", name)


def _list(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def _why_not_entered(entry: os.DirEntry[str], parent: Path, without: Path | None) -> str:
    """Say why a folder is not looked into; nothing if it is."""
    here = Path(entry.path).resolve()
    if entry.name.startswith("."):
        return HIDDEN
    if here == without:
        return MADE
    if entry.is_symlink() and parent.resolve().is_relative_to(here):
        return "a link back to a folder that it is in"
    return ""


def _classes(
    path: Path,
    labels: str | None,
    names: Names,
    lists: list[str],
    read: Callable[[str], bytes],
    account: Account,
    *,
    wrapped: bool,
) -> Classes:
    """Take the classes from the list that `labels` names, from the only list there is, or from the sub-folders."""
    if labels == NONE:
        account.labels = "none, as was asked for"
        return Classes()
    if labels is not None and labels not in lists:
        try:
            return by_list(labels, "", Path(labels).expanduser().read_bytes(), names, account)
        except OSError as error:
            raise UserError(
                f"--labels {labels}: {error.strerror}; give a list of labels in {path} or on this machine, or none"
            ) from error
    if labels is None and len(lists) > 1:
        raise UserError(f"{path}: several lists of labels ({', '.join(sorted(lists)[:3])}); name one with --labels")
    for name in [labels] if labels else lists:
        where = name.rpartition("/")[0]
        return by_list(f"{path}/{printable(name)}", where, read(name), names, account)
    return by_folder(path, names, account, wrapped=wrapped)


def _say_empty(folders: set[str], names: Names, classes: Classes, account: Account) -> None:
    """Name the sub-folders that would be classes if they held an image."""
    if classes.names and account.labels.startswith("the names"):
        beside = {name.rpartition("/")[0] for name in names}
        level = min(place.count("/") for place in beside)
        held = {place.split("/")[level] for place in beside}
        for name in sorted(folders):
            if name.count("/") == level and name.split("/")[level] not in held:
                account.leave("a sub-folder without an image: no class", name)


@dataclass(frozen=True)
class Zip(Files):
    """Files in a zip."""

    @cached_property
    def archive(self) -> zipfile.ZipFile:
        """The open zip."""
        return zipfile.ZipFile(self.path)

    def open(self, i: int) -> Any:
        """Open file `i` to read its bytes."""
        return self.archive.open(self.names[i])

    def stamp(self, i: int) -> list[Any]:
        """Take the checksum that a zip has of each file."""
        return [self.names[i], self.archive.getinfo(self.names[i]).CRC]


def open_zip(path: Path, labels: str | None) -> Zip:
    """List the images of a zip; of several files of one name the last counts, as everywhere."""
    account, lists, folders, names = Account(), list[str](), set[str](), set[str]()
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename
                if info.flag_bits & ENCRYPTED:
                    raise UserError(f"{path}: encrypted; unpack it with its password, and give the folder")
                if info.is_dir():
                    folders.add(name.rstrip("/"))
                elif PurePosixPath(name).name == LIST and not why_not(f"{name}.png", None):
                    lists.append(name)
                elif name in names:
                    account.leave("an older file of the same name", name)
                elif why := why_not(name, lambda info=info: archive.open(info).read(HEAD)):  # type: ignore[misc]
                    account.leave(why, name)
                else:
                    names.add(name)
            found = Names(sorted(names))
            classes = _classes(path, labels, found, list(dict.fromkeys(lists)), archive.read, account, wrapped=True)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, zlib.error, LZMAError) as error:
        raise UserError(
            f"{path}: not a readable zip ({error}); copy it again, or unpack it and give the folder"
        ) from error
    _say_empty(folders, found, classes, account)
    return Zip(path, classes, account, found)
