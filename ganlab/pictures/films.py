"""Films of any frames, in the format that their name ends in; of the pictures that a run has written."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageOps

from ganlab.files import atomic_write
from ganlab.pictures.captions import below
from ganlab.types import UserError

TICK = 40
"""Milliseconds that a frame is shown at least, and in multiples of: a GIF counts hundredths of a second."""
FRAMES = 100
"""Largest number of pictures in a timelapse, evenly chosen."""
LARGEST = 1024
"""Largest side, px; larger pictures are shrunk."""
WHOLE, LONGEST, LAST = 200, 10, 50
"""Ticks of a whole timelapse, the most that one of its pictures is shown, and those of the last picture."""
PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    ".webp": ("WEBP", {"quality": 80, "method": 3}),
    ".gif": ("GIF", {}),
    ".png": ("PNG", {}),
    ".apng": ("PNG", {}),
    ".avif": ("AVIF", {"quality": 80}),
}
"""Formats that Pillow writes, and that begin anew at their end."""
VIDEOS = {
    ".mp4": ("mp4", "libx264", {"crf": "18"}),
    ".webm": ("webm", "libvpx-vp9", {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "4"}),
}
"""Formats that PyAV writes: container, codec and its options."""


def refuse_format(path: Path) -> None:
    """Refuse a file of a format that cannot be written, before its frames are made."""
    suffix = path.suffix.lower()
    if suffix not in PICTURES | VIDEOS:
        known = ", ".join([*PICTURES, *VIDEOS])
        raise UserError(f"{path}: no format of films; let its name end in one of {known}")
    if suffix in VIDEOS:
        try:
            import av  # noqa: F401
        except ImportError:
            raise UserError(f"{path}: {suffix} needs `pip install 'ganlab[video]'`; or write a .webp") from None


def write_film(frames: Iterable[Image.Image], ticks: Sequence[int], path: Path) -> None:
    """Write frames of one size, RGB; frame k is shown for `ticks[k]` times 40 ms. Both sides are made even."""
    suffix = path.suffix.lower()
    with atomic_write(path) as file:
        if suffix in VIDEOS:
            write_video(map(even, frames), ticks, file, *VIDEOS[suffix])
            return
        first, *rest = map(even, frames)
        kind, options = PICTURES[suffix]
        if kind == "WEBP":
            options = options | {"lossless": enlarged(first)}
        durations = [TICK * tick for tick in ticks]
        first.save(file, kind, save_all=True, append_images=rest, duration=durations, loop=0, **options)


def enlarged(frame: Image.Image) -> bool:
    """Tell whether most pixels equal the next one, as in enlarged pictures and plots: lossless coding suits them best.

    Of digits it took a third of the bytes, of photographs six times as many.
    """
    pixels = np.asarray(frame)
    return bool((pixels[:, 1:] == pixels[:, :-1]).all(-1).mean() > 0.5)


def write_video(
    frames: Iterable[Image.Image], ticks: Sequence[int], file: IO[bytes], container: str, codec: str, options: Any
) -> None:
    """Write frames as a video of constant rate, one at a time."""
    import av

    frames = iter(frames)
    first = next(frames)
    with av.open(file, "w", format=container) as film:
        stream = film.add_stream(codec, rate=1000 // TICK, options=options)
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        for picture, count in zip(chain([first], frames), ticks, strict=True):
            for _ in range(count):
                film.mux(stream.encode(av.VideoFrame.from_image(picture)))
        film.mux(stream.encode(None))


def write_timelapse(pictures: Sequence[Path], path: Path) -> None:
    """Write a film of a run's pictures, `nimg-<images>.png` in their order, that says how many images had been shown.

    Pictures of another size than the last one are left out; at most `FRAMES` are shown, and the last one stays.
    """
    count = min(len(pictures), FRAMES)
    chosen = [pictures[(len(pictures) - 1) * k // max(count - 1, 1)] for k in range(count)]
    size = size_of(chosen[-1])
    chosen = [picture for picture in chosen if size_of(picture) == size]
    each = min(max(WHOLE // len(chosen), 1), LONGEST)
    write_film(captioned(chosen), [*[each] * (len(chosen) - 1), LAST], path)


def captioned(pictures: Sequence[Path]) -> Iterator[Image.Image]:
    """Read pictures, no larger than `LARGEST`, with the images shown below them."""
    for path in pictures:
        with Image.open(path) as picture:
            frame = picture.convert("RGB")
        frame.thumbnail((LARGEST, LARGEST))
        yield below(frame, f"{int(path.stem.removeprefix('nimg-')):,} images")


def size_of(path: Path) -> tuple[int, int]:
    """Return width and height of a picture."""
    with Image.open(path) as picture:
        return picture.size


def even(frame: Image.Image) -> Image.Image:
    """Add a white column and row where a side is odd: videos have half as many colours as pixels."""
    width, height = frame.size
    return ImageOps.expand(frame, (0, 0, width % 2, height % 2), "white") if width % 2 or height % 2 else frame
