"""A film of pictures that a run has written."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ganlab.files import atomic_write

FRAMES = 100
"""Largest number of pictures in a film, evenly chosen."""
LARGEST = 1024
"""Largest side, px; larger pictures are shrunk."""
DURATION = 8000
"""Milliseconds of the whole film, but no picture is shown for less than 40 or more than 400."""
LAST = 2000
"""Milliseconds for which the last picture is shown."""


def write_film(pictures: Sequence[Path], path: Path) -> Path:
    """Write pictures in their order, if they have the last one's size, as a GIF, which browsers and slides show."""
    count = min(len(pictures), FRAMES)
    frames = [shrunk(pictures[(len(pictures) - 1) * k // max(count - 1, 1)]) for k in range(count)]
    *others, last = [frame for frame in frames if frame.size == frames[-1].size]
    each = min(max(DURATION // count, 40), 400)
    with atomic_write(path) as file:
        film = [*others, last]
        durations = [*[each] * len(others), LAST]
        film[0].save(file, "GIF", save_all=True, append_images=film[1:], duration=durations, loop=0)
    return path


def shrunk(path: Path) -> Image.Image:
    """Read a picture, no larger than `LARGEST`."""
    with Image.open(path) as picture:
        frame = picture.convert("RGB")
    frame.thumbnail((LARGEST, LARGEST))
    return frame
