"""Files as people bring them, and commands tried on them."""

import io
import json
import shlex
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tiny_runs as runs
from PIL import Image, ImageCms


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def noise(height: int = 12, width: int = 12, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


PNG, JPEG, OTHER = encoded(noise()), encoded(noise(), "JPEG"), encoded(noise(seed=1))
GIF = encoded(Image.new("L", (8, 8)), "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 9)])
TWO = {"a.png": PNG, "b.png": PNG}


def write(files: dict[str, bytes], folder: str | Path = ".") -> None:
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def fill(archive: tarfile.TarFile, members: Any) -> None:
    """Write members (name, bytes) or (name, bytes, changes of the header)."""
    for name, content, *changes in members:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        for key, value in dict(*changes).items():
            setattr(member, key, value)
        archive.addfile(member, io.BytesIO(content))


def tar(*members: Any, mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        fill(archive, members)
    return file.getvalue()


def zipped(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def listed(labels: Any, *, key: str = "labels") -> bytes:
    return json.dumps({key: labels}).encode()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{"images": np.zeros((3, 8, 8, 3), np.uint8)} | arrays)
    return file.getvalue()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def idx(*shape: int) -> bytes:
    return struct.pack(f">{1 + len(shape)}I", 0x800 + len(shape), *shape) + bytes(int(np.prod(shape)))


def flagged(archive: bytes) -> bytes:
    """Mark the first file of a zip as encrypted."""
    data = bytearray(archive)
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)


def swapped() -> bytes:
    """An ICC profile in which red is blue."""
    raw = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = range(132, 132 + 12 * int.from_bytes(raw[128:132], "big"), 12)
    red, blue = (next(at for at in entries if raw[at : at + 4] == tag) + 4 for tag in (b"rXYZ", b"bXYZ"))
    raw[red : red + 8], raw[blue : blue + 8] = raw[blue : blue + 8], raw[red : red + 8]
    return bytes(raw)


def sideways() -> bytes:
    picture = Image.new("RGB", (48, 48))
    picture.paste((0, 0, 255), (0, 0, 24, 48))  # as stored, the left half; as seen, the upper one
    exif = picture.getexif()
    exif[0x112] = 6
    return encoded(picture, exif=exif)


def palette() -> bytes:
    picture = Image.new("P", (12, 12), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    return encoded(picture, transparency=1)


def check(command: str, code: int, *said: str) -> str:
    """Run a command, which ends with a code and says some words; return all it said."""
    result = runs.ganlab(*shlex.split(command))
    assert result.exit_code == code, result.output
    for words in said:
        assert words in result.output, result.output
    return result.output
