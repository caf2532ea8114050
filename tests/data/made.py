"""Files that the tests of data make."""

import struct
import tarfile
import zlib

import brought
import numpy as np
from PIL import Image


def encoded(pixels, image_format="png", **options):
    return brought.encoded(Image.fromarray(pixels), image_format, **options)


def arrays(source):
    return [np.array(source.image(i)) for i in range(len(source))]


def idx(array):
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def write_tar(path, *members):
    """Write members as `brought.fill` does; what was written before an error stays."""
    with tarfile.open(path, "w") as archive:
        brought.fill(archive, members)
    return path


def png_bomb(side):
    """A small PNG that claims so many pixels a side, and holds the first 64 rows of them, black."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes((side + 1) * min(side, 64)), 9))
    return b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b"")


def jpeg_bomb(side):
    """A small JPEG whose header claims so many pixels a side."""
    data = bytearray(encoded(np.zeros((16, 16), np.uint8), "jpeg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", side, side)
    return bytes(data)
