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


def decode(data: bytes, image: ImageSpec) -> NDArray[np.uint8]:
    """Decode one PNG, JPEG or WebP file to uint8 [height, width, channels]; grey and colour become what `image` says.

    ValueError when it cannot be decoded or is of another size, found before any pixel is decoded.
    """
    if data[:2] == b"\xff\xd8":
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        _check_size(height, width, image)
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, JPEG_SPACES[image.channels])
        return pixels
    try:
        with Image.open(io.BytesIO(data), formats=["PNG", "WEBP"]) as picture:
            _check_size(picture.height, picture.width, image)
            return np.array(picture.convert(MODES[image.channels])).reshape(image.height, image.width, image.channels)
    except ValueError:
        raise
    except Exception as error:  # PIL's decoders raise errors of many kinds on damaged files
        raise ValueError(f"cannot be decoded: {error}") from error


def shrink(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Average boxes of pixels: [h, w, c] to [height, width, c], which must divide it."""
    boxes = pixels.reshape(height, pixels.shape[0] // height, width, pixels.shape[1] // width, -1)
    means: NDArray[np.uint8] = (boxes.mean((1, 3)) + 0.5).astype(np.uint8)
    return means


def _check_size(height: int, width: int, image: ImageSpec) -> None:
    if (height, width) != (image.height, image.width):
        raise ValueError(f"{height}x{width} pixels instead of {image.height}x{image.width}")
