"""Pictures of other programs: the formats that are read, and how a picture looks upright, in sRGB and in 8 bits."""

import io
import warnings
from functools import cache, lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # twice as many pixels are an error

FORMATS = (
    *("PNG", "JPEG", "WEBP", "AVIF", "JPEG2000", "TIFF", "GIF", "BMP", "DIB", "PPM", "PSD", "QOI", "SGI"),
    *("SUN", "PCX", "DDS", "ICO", "ICNS", "XBM", "XPM"),
    "TGA",  # has no signature, so it is tried last
)
"""What Pillow decodes by itself to one picture: no EPS, which would run Ghostscript, no films, no mere stubs."""
SIGNED = ("PNG", "JPEG", "WEBP", "AVIF", "JPEG2000", "TIFF", "GIF", "PSD", "QOI")
"""Formats whose first bytes are taken by no other kind of file."""
HEIF_SUFFIXES = (".heic", ".heif", ".hif")
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
NEEDS_HEIF = "HEIC, which needs a package more: pip install pillow-heif"
HEAD = 32
"""First bytes that tell the format."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation."""
SAME = 2
"""Largest difference, of 255, of a profile that counts as sRGB: other programs round otherwise."""


@cache
def reads_heif() -> bool:
    """Whether pillow-heif is installed; Pillow then reads HEIC."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


@cache
def suffixes() -> frozenset[str]:
    """List the suffixes of the formats that are read, such as `.jpg`."""
    Image.init()
    return frozenset(suffix for suffix, kind in Image.EXTENSION.items() if kind in (*FORMATS, "MPO")) | frozenset(
        HEIF_SUFFIXES if reads_heif() else ()
    )


def is_signed(head: bytes) -> bool:
    """Whether the first `HEAD` bytes of a file are those of an image."""
    Image.init()
    return any(Image.OPEN[kind][1](head) is True for kind in SIGNED) or (is_heif(head) and reads_heif())  # type: ignore[misc]


def is_heif(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a HEIC, whatever its name."""
    return head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS and b"avif" not in head[:HEAD]


def open_picture(file: Any) -> Image.Image:
    """Read the header of a picture, whose format its content tells; an error of any kind if there is none."""
    head = file.read(HEAD)
    file.seek(0)
    if not head:
        raise OSError("an empty file")
    if is_heif(head) and not reads_heif():
        raise OSError(NEEDS_HEIF)
    try:
        return Image.open(file, formats=[*FORMATS, *(["HEIF"] if reads_heif() else [])])
    except UnidentifiedImageError:
        raise OSError("cannot identify its format: no image, or of a format that is not read") from None


def has_more(picture: Image.Image) -> bool:
    """Whether a file has more frames or pages than the first, which is taken; a phone's depth map is none."""
    return picture.format != "MPO" and bool(getattr(picture, "is_animated", False))


def upright(picture: Image.Image) -> Image.Image:
    """Decode a picture as viewers show it: turned as its EXIF says, its colours in sRGB, 16 bits scaled to 8.

    Of several frames the first is taken. Raises ValueError for 32-bit pixels, and errors of any kind for damage.
    """
    of_16_bits = _of_16_bits(picture)
    check_depth(picture)
    picture.load()  # a TIFF turns itself
    turn, profile = orientation(picture), picture.info.get("icc_profile", b"")
    if of_16_bits:  # Pillow would clip at 255
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return turned(in_srgb(picture, profile), turn)


def _of_16_bits(picture: Image.Image) -> bool:
    return picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PPM")


def check_depth(picture: Image.Image) -> None:
    """Raise ValueError for pixels of 32 bits, whose range no header tells."""
    if picture.mode in ("I", "F") and not _of_16_bits(picture):
        raise ValueError("32-bit pixels")


def orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) where there is none or it is damaged."""
    try:
        return int(picture.getexif().get(0x112, 1))
    except Exception:  # Pillow raises errors of many kinds on damaged EXIF, which viewers ignore
        return 1


def turned(picture: Image.Image, turn: int) -> Image.Image:
    """Turn or mirror a picture as an EXIF orientation says."""
    return picture.transpose(TURNS[turn]) if turn in TURNS else picture


def in_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Convert the colours of an embedded ICC profile to sRGB; one that cannot be used is ignored, as by viewers."""
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if not profile and picture.mode != "LAB":
        return picture
    if picture.mode == "LA":
        grey = in_srgb(picture.getchannel("L"), profile)
        return Image.merge("LA", (grey, picture.getchannel("A")))
    transform = _to_srgb(profile, picture.mode)
    if transform is None:
        return picture
    converted: Image.Image = transform.apply(picture)
    return converted.convert("L") if picture.mode == "L" else converted


@lru_cache(maxsize=64)
def _to_srgb(profile: bytes, mode: str) -> Any:
    """Build the transform of a profile; None where it is damaged, is of another mode, or changes nothing."""
    try:
        given = ImageCms.createProfile("LAB") if mode == "LAB" else ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(given, srgb, mode, "RGBA" if mode == "RGBA" else "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    if mode not in ("RGB", "RGBA", "L"):
        return transform
    levels = np.arange(0, 256, 51, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(36, 6, 3)
    probe = Image.fromarray(grid) if mode != "L" else Image.fromarray(grid[..., 0])
    probe = probe.convert(mode)
    change = np.asarray(probe.convert("RGB"), int) - np.asarray(transform.apply(probe).convert("RGB"), int)
    return transform if np.abs(change).max() > SAME else None
