"""Pairs of images that belong together by name, packed one above the other."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from ganlab.data.make.sources import open_source
from ganlab.data.make.sources.base import GREY, Source
from ganlab.data.make.sources.classes import NONE
from ganlab.data.make.sources.files import Files
from ganlab.types import UserError

ALPHA = ("LA", "PA", "RGBA")
NAMED_AT_MOST = 5
"""Largest number of images without a partner that a message names."""


@dataclass(frozen=True)
class Pairs(Source):
    """Images of one source, each above its partner of another one; classes are those of the first."""

    upper: Source
    lower: Source
    partners: list[int]
    """The number of each upper image's partner."""

    @property
    def channels(self) -> int | None:
        """The larger number of both sources; None if one is unknown."""
        above, below = self.upper.channels, self.lower.channels
        return None if above is None or below is None else max(above, below)

    def __len__(self) -> int:
        return len(self.upper)

    def mode(self, i: int) -> str:
        """Return the mode that holds both."""
        return _common(self.upper.mode(i), self.lower.mode(self.partners[i]))

    def stamp(self, i: int) -> list[Any]:
        """Stamp both images."""
        return [*self.upper.stamp(i), *self.lower.stamp(self.partners[i])]

    def describe(self, i: int) -> str:
        """Name both images."""
        return f"{self.upper.describe(i)} and {self.lower.describe(self.partners[i])}"

    def image(self, i: int) -> Image.Image:
        """Decode both; the lower one is resized to the upper one's size. UserError if their shapes differ."""
        above, below = self.upper.image(i), self.lower.image(self.partners[i])
        if above.width * below.height != below.width * above.height:
            raise UserError(
                f"{self.describe(i)}: {above.width}x{above.height} and {below.width}x{below.height} px: the images of "
                "a pair show the same part of a scene; bring both to one shape"
            )
        mode = _common(above.mode, below.mode)
        return stack(above.convert(mode), below.convert(mode).resize(above.size, Image.Resampling.LANCZOS))


def _common(*modes: str) -> str:
    """Return the mode that holds images of two modes."""
    return "L" if set(modes) <= set(GREY) else "RGBA" if set(modes) & set(ALPHA) else "RGB"


def open_pairs(upper: Path | str, lower: Path | str, labels: str | None) -> Pairs:
    """Match two sources by name: the path of each image in its source without its suffix, or its number in an array.

    `labels` is as for `open_source`, of the upper one.

    UserError names images without a partner, and two of one name.
    """
    sources = open_source(upper, labels), open_source(lower, NONE)
    here, there = map(_numbers, sources)
    for source, own, others in ((sources[0], here, there), (sources[1], there, here)):
        if alone := [source.describe(number) for name, number in own.items() if name not in others]:
            more = f" and {len(alone) - NAMED_AT_MOST:,} more" if len(alone) > NAMED_AT_MOST else ""
            raise UserError(
                f"{', '.join(alone[:NAMED_AT_MOST])}{more}: no partner of the same name in the other source, of which "
                f"{', '.join(list(others)[:3])} are names; add the partners, or move these away"
            )
    first, second = sources
    account = deepcopy(first.account)
    account.add(second.account)
    return Pairs(first.path, first.classes, account, first, second, [there[name] for name in here])


def _numbers(source: Source) -> dict[str, int]:
    if not isinstance(source, Files):
        return {str(i): i for i in range(len(source))}
    found = dict[str, int]()
    for i in range(len(source)):
        name = source.names[i]
        stem = PurePosixPath(name).with_suffix("").as_posix()
        if stem in found:
            raise UserError(f"{source.describe(i)}: a second image called {stem}; pairs are matched by that name")
        found[stem] = i
    return found


def stack(above: Image.Image, below: Image.Image) -> Image.Image:
    """Put an image above another one of its size and mode."""
    both = Image.new(above.mode, (above.width, 2 * above.height))
    both.paste(above, (0, 0))
    both.paste(below, (0, above.height))
    return both


def each_half(change: Callable[[Image.Image], Image.Image], pair: Image.Image) -> Image.Image:
    """Change both images of a pair alike."""
    high = pair.height // 2
    return stack(*(change(pair.crop((0, top, pair.width, top + high))) for top in (0, high)))
