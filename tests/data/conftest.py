import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganlab.data.pack import pack


@pytest.fixture(scope="session")
def shared():
    """Real images, where there are any beside the project."""
    folder = Path(os.environ.get("GANLAB_SHARED", Path(__file__).parents[3] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real images at {folder / 'data'} (set GANLAB_SHARED)")
    return folder / "data"


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder of 3 classes x 8 PNGs of noise, 20 x 14 pixels."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for name in ("ant", "bee", "cat"):
        (folder / name).mkdir()
        for i in range(8):
            Image.fromarray(draw.integers(0, 256, (14, 20, 3), np.uint8)).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def _packed(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    pack(photos, folder, size=8, shard_samples=10)
    return folder


@pytest.fixture
def packed(_packed, tmp_path):
    """The photos in shards of 10, 10 and 4, for a test to damage."""
    return Path(shutil.copytree(_packed, tmp_path / "packed"))


@pytest.fixture
def flip():
    """Flip one bit of a file."""

    def flip(path, byte, bit=0):
        data = bytearray(path.read_bytes())
        data[byte] ^= 1 << bit
        path.write_bytes(data)

    return flip
