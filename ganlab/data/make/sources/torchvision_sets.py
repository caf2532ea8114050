"""Images of torchvision's datasets."""

import hashlib
import inspect
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from ganlab.data.format.pictures import upright
from ganlab.data.make.account import Account
from ganlab.data.make.sources.base import Source
from ganlab.data.make.sources.classes import NONE, Classes, numbered
from ganlab.types import UserError

try:
    from torchvision import datasets
except ImportError:
    raise UserError("torchvision:... needs torchvision: pip install 'ganlab[torchvision]'") from None

STAMPED = 64
"""Number of images, spread over the dataset, in its hash."""


@dataclass(frozen=True)
class Torchvision(Source):
    """A torchvision dataset that is already downloaded."""

    dataset: Any

    @property
    def name(self) -> str:
        """The dataset's name and split."""
        return str(self.path).split(":")[1]

    def __len__(self) -> int:
        return len(self.dataset)

    @cached_property
    def few(self) -> str:
        """A hash of some images, since torchvision does not tell their files."""
        chosen = range(0, len(self), -(-len(self) // STAMPED))
        return hashlib.sha256(b"".join(self.image(i).tobytes() for i in chosen)).hexdigest()

    def stamp(self, i: int) -> list[Any]:
        """Stamp the dataset, and the position in it."""
        return [i, self.few]

    def describe(self, i: int) -> str:
        """Give the position in the dataset."""
        return f"{self.path}, image {i}"

    def image(self, i: int) -> Image.Image:
        """Take the first of what the dataset returns."""
        try:
            picture = self.dataset[i][0]
        except Exception as error:  # whatever a dataset of many raises
            raise UserError(f"{self.describe(i)}: cannot be decoded ({error}); download it again") from error
        if not isinstance(picture, Image.Image):
            raise UserError(f"{self.describe(i)}: {type(picture).__name__} where an image is expected")
        return upright(picture)


def open_torchvision(spelled: str, wanted: str | None = None) -> Torchvision:
    """Open `torchvision:NAME:ROOT` or `torchvision:NAME.SPLIT:ROOT` (default: train); nothing is downloaded."""
    _, name, root = spelled.split(":", 2)
    name, _, split = name.partition(".")
    kind = getattr(datasets, name, None) if name in datasets.__all__ else None
    if kind is None or "root" not in (parameters := inspect.signature(kind).parameters):
        raise UserError(f"{spelled}: torchvision has no dataset {name!r} in a folder; see torchvision.datasets")
    if split and "split" not in parameters and ("train" not in parameters or split not in ("train", "test")):
        raise UserError(f"{spelled}: torchvision's {name} has no split {split!r}; write torchvision:{name}:{root}")
    arguments: dict[str, Any] = {"split": split} if "split" in parameters else {"train": split == "train"}
    try:
        dataset = kind(root, **(arguments if split else {}))
        labels = _labels(dataset)
    except Exception as error:  # whatever a dataset of many raises
        raise UserError(
            f"{spelled}: torchvision cannot open it ({error}); download it first, whole: ganlab does not"
        ) from error
    path = Path(spelled)
    if wanted == NONE or labels is None:
        account = Account("none, as was asked for" if wanted == NONE else "none: the dataset's targets are no classes")
        return Torchvision(path, Classes(), account, dataset)
    names, account = getattr(dataset, "classes", None), Account("the dataset's targets")
    return Torchvision(path, numbered(path, labels, account, names and list(map(str, names))), account, dataset)


def _labels(dataset: Any) -> list[int] | None:
    """List the classes; None if the targets are of another kind, or -1, torchvision's value for none."""
    if not isinstance(dataset[0][1], int):
        return None
    listed = getattr(dataset, "targets", getattr(dataset, "labels", None))
    found = [int(label) for label in listed] if listed is not None else [dataset[i][1] for i in range(len(dataset))]
    return None if set(found) == {-1} else found
