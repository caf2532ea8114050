"""Image files to pixels."""

import io

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from ganlab.types import ImageSpec

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""PIL's name for pixels of so many channels."""
JPEG_SPACES = {1: "GRAY", 3: "RGB", 4: "RGBA"}
FOUR_INKS = ("CMYK", "YCCK")
"""Colours of a JPEG that are left to PIL."""
MAX_PIXELS = 50_000_000
"""Of one image, unless somebody allows more: some 150 MB once decoded."""


def decode(data: bytes, image: ImageSpec) -> NDArray[np.uint8]:
    """Decode one PNG, JPEG or WebP file to uint8 [height, width, channels]; grey and colour become what `image` says.

    ValueError when it cannot be decoded or is of another size, found before any pixel is decoded.
    """
    pixels = np.empty((image.height, image.width, image.channels), np.uint8)
    decode_into(data, pixels, (image.height, image.width))
    return pixels


def decode_into(
    data: bytes, out: NDArray[np.uint8], stored: tuple[int, int] | None, max_pixels: int = MAX_PIXELS
) -> None:
    """Decode one PNG, JPEG or WebP file into `out`, uint8 [height, width, channels], shrunk or enlarged to fit.

    `stored` is the height and width it must have, no less than those of `out`: then it is shrunk by averaging. None
    takes any, of at most `max_pixels`: its centre is cropped to a square and resized with antialiasing (`out` must then
    be square). A JPEG is decoded at as few eighths of its size as suffice. ValueError as `decode`.
    """
    try:
        if data[:2] == b"\xff\xd8":
            if stored == out.shape[:2] and out[..., 0].size <= max_pixels and _fills(out, data):
                return
            height, width, space, _ = simplejpeg.decode_jpeg_header(data)
            _check_size(height, width, stored, max_pixels)
            if space not in FOUR_INKS:
                _decode_jpeg(data, out, stored)
                return
        with Image.open(io.BytesIO(data), formats=["PNG", "WEBP", "JPEG"]) as picture:
            _check_size(picture.height, picture.width, stored, max_pixels)
            if picture.mode[0] in "IF":
                raise ValueError(f"pixels of more than 8 bits (PIL's mode {picture.mode})")
            _fill(out, picture.convert(MODES[out.shape[2]]), stored)
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # PIL's decoders raise errors of many kinds on damaged files
        raise ValueError(f"cannot be decoded: {error}") from error


def _fills(out: NDArray[np.uint8], data: bytes) -> bool:
    """Decode a JPEG of this very size, the usual case, whose header is so read but once; False where it is none."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, JPEG_SPACES[out.shape[2]], buffer=out)
    except ValueError:  # too large, of four inks, damaged: the header tells
        return False
    return pixels.shape == out.shape


def _decode_jpeg(data: bytes, out: NDArray[np.uint8], stored: tuple[int, int] | None) -> None:
    height, width, channels = out.shape
    spare = 1 if stored else 2  # what Lanczos makes of eighths is worse, the fewer pixels it has to choose from
    pixels = simplejpeg.decode_jpeg(data, JPEG_SPACES[channels], min_height=spare * height, min_width=spare * width)
    if pixels.shape == out.shape:
        out[:] = pixels
    else:
        _fill(out, Image.fromarray(pixels[..., 0] if channels == 1 else pixels), stored)


def _fill(out: NDArray[np.uint8], picture: Image.Image, stored: tuple[int, int] | None) -> None:
    height, width, channels = out.shape
    picture = fit(picture, height, channels) if stored is None else shrink(picture, height, width)
    out[:] = np.asarray(picture).reshape(out.shape)


def shrink(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Average boxes of pixels; where they do not divide the picture, resize it with antialiasing (Lanczos)."""
    if picture.height % height or picture.width % width:
        return picture.resize((width, height), Image.Resampling.LANCZOS)
    return picture.reduce((picture.width // width, picture.height // height))


def fit(picture: Image.Image, size: int, channels: int) -> Image.Image:
    """Crop a picture to its centre square, then resize it to size x size (antialiased Lanczos, up or down)."""
    picture = picture.convert(MODES[channels])
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.LANCZOS)


def _check_size(height: int, width: int, stored: tuple[int, int] | None, max_pixels: int) -> None:
    if stored is not None and (height, width) != stored:
        raise ValueError(f"{height}x{width} pixels instead of {stored[0]}x{stored[1]}")
    if height * width > max_pixels:
        raise ValueError(f"{height}x{width} pixels, more than the {max_pixels:,} of data.max_pixels")
