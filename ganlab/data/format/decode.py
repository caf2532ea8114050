"""Decoding of image files."""

import io
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from ganlab.data.format.pictures import in_srgb, open_picture, orientation, turned, upright
from ganlab.types import ImageSpec, UserError, px

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""PIL's mode, by number of channels."""
JPEG_SPACES = {1: "GRAY", 3: "RGB", 4: "RGBA"}
FOUR_INKS = ("CMYK", "YCCK")
"""Colour spaces of a JPEG that PIL decodes."""
MAX_PIXELS = 50_000_000
"""Default limit of one image's pixels: some 150 MB decoded."""
Crop = Literal["center", "fit", "none"]
"""How a picture of another shape becomes one of the dataset's: see `fit`."""


def decode(data: bytes, image: ImageSpec) -> NDArray[np.uint8]:
    """Decode one PNG, JPEG or WebP file to uint8 [height, width, channels], converted to the channels of `image`.

    Raises ValueError if it cannot be decoded, or, before decoding, if it has another size.
    """
    pixels = np.empty((image.height, image.width, image.channels), np.uint8)
    decode_into(data, pixels, (image.height, image.width))
    return pixels


def decode_into(
    data: bytes,
    out: NDArray[np.uint8],
    stored: tuple[int, int] | None,
    max_pixels: int = MAX_PIXELS,
    crop: Crop = "center",
) -> None:
    """Decode one image file into `out`, uint8 [height, width, channels], shrunk or enlarged to fit.

    `stored` is the height and width that it must have, at least those of `out`: a PNG, JPEG or WebP of our own, which
    is shrunk by averaging. None accepts what other programs write, of at most `max_pixels`: it is turned upright and
    brought to sRGB as `upright` does, and to the shape of `out` by `crop` as `fit` does. A JPEG is decoded at the
    fewest eighths of its size that suffice. Raises ValueError like `decode`.
    """
    try:
        if data[:2] == b"\xff\xd8":
            if stored == out.shape[:2] and out[..., 0].size <= max_pixels and _fills(out, data):
                return
            height, width, space, _ = simplejpeg.decode_jpeg_header(data)
            _check_size(height, width, stored, max_pixels)
            if space not in FOUR_INKS:
                _decode_jpeg(data, out, stored, space, crop)
                return
        if stored is None:
            with open_picture(io.BytesIO(data)) as picture:
                _check_size(picture.height, picture.width, None, max_pixels)
                _fill(out, upright(picture), None, crop)
            return
        with Image.open(io.BytesIO(data), formats=["PNG", "WEBP", "JPEG"]) as picture:
            _check_size(picture.height, picture.width, stored, max_pixels)
            if picture.mode[0] in "IF":
                raise ValueError(f"pixels of more than 8 bits (PIL's mode {picture.mode})")
            _fill(out, picture.convert(MODES[out.shape[2]]), stored, crop)
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # PIL's decoders raise errors of many kinds on damaged files
        raise ValueError(f"cannot be decoded: {error}") from error


def _fills(out: NDArray[np.uint8], data: bytes) -> bool:
    """Decode a JPEG of exactly this size, the usual case, reading its header only once; False for other files."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, JPEG_SPACES[out.shape[2]], buffer=out)
    except ValueError:  # too large, CMYK or damaged: the header decides
        return False
    return pixels.shape == out.shape


def _decode_jpeg(data: bytes, out: NDArray[np.uint8], stored: tuple[int, int] | None, space: str, crop: Crop) -> None:
    height, width, channels = out.shape
    spare = 1 if stored else 2  # Lanczos on a JPEG's eighths needs spare pixels
    turn, profile = (1, b"") if stored else _tags(data)
    if turn > 4:
        height, width = width, height
    decoded = JPEG_SPACES[channels] if not profile else "GRAY" if space.upper().startswith("GRAY") else "RGB"
    pixels = simplejpeg.decode_jpeg(data, decoded, min_height=spare * height, min_width=spare * width)
    if pixels.shape == out.shape and turn == 1 and not profile:
        out[:] = pixels
    else:
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        _fill(out, turned(in_srgb(picture, profile), turn), stored, crop)


def _tags(data: bytes) -> tuple[int, bytes]:
    """Return the EXIF orientation and the ICC profile of a JPEG; only one with such segments is opened for them."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] in (0xE1, 0xE2):
            with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
                return orientation(picture), picture.info.get("icc_profile", b"")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 1, b""


def _fill(out: NDArray[np.uint8], picture: Image.Image, stored: tuple[int, int] | None, crop: Crop) -> None:
    height, width, channels = out.shape
    picture = shrink(picture, height, width) if stored else fit(picture, (height, width), channels, crop)
    out[:] = np.asarray(picture).reshape(out.shape)


def shrink(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Average boxes of pixels; if they do not divide the picture, resize it with antialiasing (Lanczos)."""
    if picture.height % height or picture.width % width:
        return picture.resize((width, height), Image.Resampling.LANCZOS)
    return picture.reduce((picture.width // width, picture.height // height))


def fit(picture: Image.Image, size: int | tuple[int, int], channels: int, crop: Crop = "center") -> Image.Image:
    """Bring a picture to a size, (height, width) or a square's side, with antialiased Lanczos, up or down.

    A picture of another shape is cropped to its centre (`center`), or shown whole on black, transparent if there is a
    fourth channel (`fit`), or refused with ValueError if it would differ by a pixel or more (`none`).
    """
    height, width = sides(size)
    picture = picture.convert(MODES[channels])
    if crop == "fit":
        return _padded(picture, width, height)
    if crop == "center":
        picture = picture.crop(_centre(picture.width, picture.height, width, height))
    elif why := other_shape((picture.height, picture.width), (height, width)):
        raise ValueError(why)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def other_shape(found: tuple[int, int], size: tuple[int, int]) -> str:
    """Say that pictures of a (height, width) are of another shape than a size; empty if less than a pixel is amiss."""
    if abs(found[1] * size[0] - found[0] * size[1]) < min(found):
        return ""
    return f"{found[0]}x{found[1]} pixels are of another shape than {size[0]}x{size[1]}, which --crop none refuses"


def _padded(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Shrink or enlarge a whole picture until it touches two sides of a page, black or transparent."""
    share = min(width / picture.width, height / picture.height)
    inside = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    page = Image.new(picture.mode, (width, height))
    page.paste(picture.resize(inside, Image.Resampling.LANCZOS), ((width - inside[0]) // 2, (height - inside[1]) // 2))
    return page


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return height and width; one number is a square's side. `UserError` for more pixels than are read by default."""
    height, width = (size, size) if isinstance(size, int) else size
    if height * width > MAX_PIXELS:
        raise UserError(f"size {px(height, width)}: more than {MAX_PIXELS:,} pixels an image; choose a smaller one")
    return height, width


def _centre(width: int, height: int, to_width: int, to_height: int) -> tuple[int, int, int, int]:
    """Return the largest centred box of a shape: left, top, right, bottom."""
    wide = min(width, max(1, round(height * to_width / to_height)))
    high = min(height, max(1, round(width * to_height / to_width)))
    left, top = (width - wide) // 2, (height - high) // 2
    return left, top, left + wide, top + high


def _check_size(height: int, width: int, stored: tuple[int, int] | None, max_pixels: int) -> None:
    if stored is not None and (height, width) != stored:
        raise ValueError(f"{height}x{width} pixels instead of {stored[0]}x{stored[1]}")
    if height * width > max_pixels:
        raise ValueError(f"{height}x{width} pixels, more than the {max_pixels:,} of data.max_pixels")
