"""Images in an LMDB."""

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ganlab.data.format.pictures import HEAD, is_signed
from ganlab.data.make.account import Account
from ganlab.data.make.sources.base import stamp_of
from ganlab.data.make.sources.classes import Classes
from ganlab.data.make.sources.files import Files
from ganlab.data.make.sources.names import Names
from ganlab.types import UserError


@dataclass(frozen=True)
class Lmdb(Files):
    """Files in an LMDB, as LSUN ships its categories: image files by arbitrary keys, without labels."""

    @cached_property
    def reading(self) -> Any:
        """A read transaction."""
        return _lmdb(self.path).begin()

    def open(self, i: int) -> Any:
        """Open file `i`, read already."""
        return io.BytesIO(self.reading.get(self.names[i].encode("latin1")))

    @cached_property
    def whole(self) -> list[Any]:
        """The stamp of the database."""
        return stamp_of(self.path / "data.mdb")

    def stamp(self, i: int) -> list[Any]:
        """Stamp the database, and the key in it."""
        return [self.names[i], *self.whole]


def _lmdb(path: Path) -> Any:
    try:
        import lmdb
    except ImportError as error:
        raise UserError(f"{path}: an LMDB, which needs a package more: pip install lmdb") from error
    try:
        return lmdb.open(str(path), readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        raise UserError(f"{path}: not a readable LMDB ({error}); copy or download it again") from error


def open_lmdb(path: Path) -> Lmdb:
    """List the keys of a folder that holds a data.mdb, but for those whose values are no images."""
    account, names = Account("none: an LMDB of images has none"), Names()
    with _lmdb(path) as environment, environment.begin(buffers=True) as reading, reading.cursor() as cursor:
        for key, value in cursor:
            name = bytes(key).decode("latin1")
            if is_signed(bytes(value[:HEAD])):
                names.extend([name])
            else:
                account.leave("not an image", name)
    return Lmdb(path, Classes(), account, names)
