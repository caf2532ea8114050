"""The pictures of a page that is one file: as WebP, within a budget."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from ganlab.pages.run import Picture

BUDGET = 8_000_000
"""Bytes of all pictures of a page, which grow by a third as text."""
LOSSLESS = 60_000
"""Bytes up to which a picture is kept as it is."""
SMALL = 1_000_000
"""Pixels above which nobody tries."""
QUALITY = 88
STEPS = ((24, 1024), (12, 1024), (12, 640), (6, 640), (3, 512), (1, 384))
"""Pictures of a kind and their largest side, px; the first that keep within the budget are taken."""


@dataclass(frozen=True)
class Shown:
    """A picture in a page."""

    url: str
    """With the picture in it."""
    width: int
    height: int
    nimg: int


def shown(kinds: Sequence[Sequence[Picture]]) -> list[list[Shown]]:
    """Return the pictures of each kind, evenly chosen with the first and the last one, all within the budget."""
    for most, side in STEPS:
        found = [[encoded(picture, side) for picture in chosen(kind, most)] for kind in kinds]
        if sum(len(each.url) for kind in found for each in kind) * 3 / 4 <= BUDGET:
            return found
    return [[] for _ in kinds]


def chosen(pictures: Sequence[Picture], most: int) -> list[Picture]:
    """Return at most so many pictures, evenly, with the last one, and from two on the first."""
    count = min(len(pictures), most)
    return [pictures[len(pictures) - 1 - (len(pictures) - 1) * k // max(count - 1, 1)] for k in range(count)][::-1]


def encoded(picture: Picture, side: int) -> Shown:
    """Encode a picture: lossless while it is small, else at most `side` px."""
    with Image.open(picture.path) as image:
        image.load()
    data = webp(image, lossless=True) if image.width * image.height <= SMALL else b""
    if not data or len(data) > LOSSLESS:
        image.thumbnail((side, side))
        data = webp(image, quality=QUALITY)
    url = f"data:image/webp;base64,{base64.b64encode(data).decode()}"
    return Shown(url, image.width, image.height, picture.nimg)


def webp(image: Image.Image, **options: int | bool) -> bytes:
    """Encode an image."""
    out = io.BytesIO()
    image.save(out, "WEBP", **options)
    return out.getvalue()
