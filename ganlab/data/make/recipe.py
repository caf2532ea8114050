"""Encoding: one picture of a source to the members of a shard, in parallel processes."""

import io
import itertools
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlab.data.format.decode import MODES, Crop, fit, sides
from ganlab.data.make.pairs import each_half
from ganlab.data.make.sources.base import Source
from ganlab.types import UserError, px

ImageFormat = Literal["png", "jpeg", "webp"]
SUFFIX: dict[ImageFormat, str] = {"png": "png", "jpeg": "jpg", "webp": "webp"}
SMALLEST = 4
"""Least side of the smallest copy in a pyramid, px."""
Made = dict[str, bytes] | UserError
"""The members of one image by suffix, or why it cannot be decoded."""
CHUNK = 8
"""Images per task of a worker; the next task waits when it is done."""


@dataclass(frozen=True)
class Recipe:
    """The format of every packed image."""

    size: tuple[int, int]
    """Height and width, px."""
    channels: int
    image_format: ImageFormat
    quality: int
    """JPEG quality, 1-100."""
    pyramid: tuple[int, ...] = ()
    """Heights of the smaller copies: all halvings of `size` down to the first."""
    crop: Crop = "center"
    """How pictures of another shape are brought to `size`."""
    pairs: bool = False
    """Pictures are two, one above the other; each is brought to `size`, and `pyramid` has heights of both."""

    def __post_init__(self) -> None:
        if min(self.size) < 1 or self.channels not in MODES or not 1 <= self.quality <= 100:
            raise UserError(
                f"size {px(*self.size)}, channels {self.channels}, quality {self.quality}: "
                "give a size from 1, channels 1, 3 or 4 and a quality of 1-100"
            )
        if self.image_format == "jpeg" and self.channels == 4:
            raise UserError("JPEG has no fourth channel; pack as png or webp, or with 3 channels")

    def members(self, picture: Image.Image) -> dict[str, bytes]:
        """Make the members of a sample by suffix: the image, then its copies, each a box average of the image.

        A copy is half as high as the one above it: the mean of 2x2 of its pixels, before it was rounded (as the data
        of Karras et al. 2018).
        """
        fitted = partial(fit, size=self.size, channels=self.channels, crop=self.crop)
        master = each_half(fitted, picture) if self.pairs else fitted(picture)
        suffix = SUFFIX[self.image_format]
        made = {suffix: encode(master, self.image_format, self.quality)}
        means = np.asarray(master, np.float64)  # h w c, or h w
        for height in reversed(self.pyramid):
            means = halve(means)
            pixels = Image.fromarray((means + 0.5).astype(np.uint8))
            made[f"r{height:03d}.{suffix}"] = encode(pixels, self.image_format, self.quality)
        return made

    def facts(self) -> dict[str, Any]:
        """Return what an index says of the format; a square has one number."""
        facts = {**asdict(self), "size": self.size[0] if len(set(self.size)) == 1 else self.size}
        del facts["pairs"]
        return facts

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what is packed."""
        height, width = self.size
        return (2 * height if self.pairs else height), width


def heights(size: int | tuple[int, int]) -> tuple[int, ...]:
    """List the heights of the pyramid of images of a size: halved until the shorter side is from 4 to 7 px.

    UserError if both sides cannot be halved so often.
    """
    height, width = size = sides(size)
    times = min(size).bit_length() - SMALLEST.bit_length()
    if times < 1 or height % 2**times or width % 2**times:
        raise UserError(
            f"size {px(height, width)}: a pyramid halves it until its shorter side is from {SMALLEST} to "
            f"{2 * SMALLEST - 1} px; choose a size that can be halved so often, such as 64, 256 or 96x64"
        )
    return tuple(height >> k for k in range(times, 0, -1))


def halve(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average 2x2 pixels: [h, w, ...] to [h / 2, w / 2, ...]."""
    means: NDArray[np.float64] = (pixels[::2, ::2] + pixels[1::2, ::2] + pixels[::2, 1::2] + pixels[1::2, 1::2]) / 4
    return means


def encode(picture: Image.Image, image_format: ImageFormat, quality: int) -> bytes:
    """Encode a picture as the bytes of a file: JPEG at `quality` in 4:4:4, PNG and WebP lossless."""
    options: dict[ImageFormat, dict[str, Any]] = {
        "png": {},
        "jpeg": {"quality": quality, "subsampling": 0},
        "webp": {"lossless": True, "exact": True},
    }
    picture.info.clear()  # profiles and dates of the source
    file = io.BytesIO()
    picture.save(file, image_format, **options[image_format])
    return file.getvalue()


@contextmanager
def encoded(source: Source, recipe: Recipe, chosen: NDArray[np.int64], workers: int) -> Iterator[Iterator[Made]]:
    """Yield what is made of each chosen image, in order, by this process or, from two `workers` on, by others."""
    chunks = [chosen[first : first + CHUNK] for first in range(0, len(chosen), CHUNK)]
    if workers == 1 or len(chunks) < 2:
        yield (_made(recipe, source, i) for i in map(int, chosen))
        return
    context = multiprocessing.get_context("forkserver")  # this process may have threads
    context.set_forkserver_preload([__name__])
    ends, processes = list[Any](), list[Any]()
    try:
        for _ in range(min(workers, len(chunks))):
            ours, theirs = context.Pipe()
            processes.append(context.Process(target=_work, args=(theirs, recipe, source), daemon=True))
            processes[-1].start()
            theirs.close()
            ends.append(ours)
        yield itertools.chain.from_iterable(_turns(ends, chunks))
    finally:
        for end in ends:
            end.close()
        for process in processes:
            process.join()


def _turns(ends: list[Connection], chunks: list[NDArray[np.int64]]) -> Iterator[list[Made]]:
    """Send the chunks to the workers round-robin, one ahead each, and return the results in the same order."""
    turns = itertools.cycle(ends)
    ahead = 2 * len(ends)
    for end, chunk in zip(turns, chunks[:ahead], strict=False):
        end.send(chunk)
    turns = itertools.cycle(ends)
    for number, end in zip(range(len(chunks)), turns, strict=False):
        try:
            made = end.recv()
            if number + ahead < len(chunks):
                end.send(chunks[number + ahead])
        except (EOFError, OSError) as error:
            raise UserError("a worker of the pack died, perhaps for want of memory; give fewer --workers") from error
        yield made


def _work(parent: Connection, recipe: Recipe, source: Source) -> None:
    """Encode what the parent sends until it ends or is killed."""
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            chosen = parent.recv()
            parent.send([_made(recipe, source, i) for i in chosen.tolist()])


def _made(recipe: Recipe, source: Source, i: int) -> Made:
    try:
        return recipe.members(source.image(i))
    except UserError as error:
        return error
    except ValueError as error:  # its crop refuses its shape
        return UserError(
            f"{source.describe(i)}: {error}; leave it out, or write --crop center (cut it) or --crop fit (pad it)"
        )
