import io

import numpy as np
import pytest
from PIL import Image

from ganlab.data.decode import MODES, decode
from ganlab.types import ImageSpec


def encoded(pixels, image_format, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, image_format, **options)
    return file.getvalue()


@pytest.fixture
def colour():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("stored", [1, 3])
@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_decodes_as_pil_does_in_the_channels_asked_for(colour, image_format, stored, channels):
    data = encoded(colour[..., 0] if stored == 1 else colour, image_format)
    pixels = decode(data, ImageSpec(5, 7, channels))
    with Image.open(io.BytesIO(data)) as picture:
        expected = np.array(picture.convert(MODES[channels])).reshape(5, 7, channels)
    assert pixels.dtype == np.uint8 and pixels.shape == (5, 7, channels)
    # a JPEG's own luma is not quite that of its rounded RGB
    tolerance = 2 if (image_format, stored, channels) == ("jpeg", 3, 1) else 0
    assert np.abs(pixels.astype(int) - expected).max() <= tolerance


def test_keeps_alpha():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 4), np.uint8)
    assert (decode(encoded(pixels, "png"), ImageSpec(4, 4, 4)) == pixels).all()


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_refuses_another_size_and_damage(colour, image_format):
    data = encoded(colour, image_format)
    with pytest.raises(ValueError, match="5x7 pixels instead of 8x8"):
        decode(data, ImageSpec(8, 8, 3))
    for damaged in (data[: len(data) // 2], data[:2], data[:2] + bytes(40), b""):
        with pytest.raises(ValueError, match=r"JPEG|decoded|Premature"):
            decode(damaged, ImageSpec(5, 7, 3))


def test_looks_at_the_size_before_it_decodes(colour):
    data = encoded(np.zeros((64, 64, 3), np.uint8), "png")
    cut = data[:60]  # the header is whole, the pixels are not
    with pytest.raises(ValueError, match="64x64 pixels instead of 8x8"):
        decode(cut, ImageSpec(8, 8, 3))
