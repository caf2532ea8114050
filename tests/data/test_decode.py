import io
import tracemalloc

import numpy as np
import pytest
from made import encoded, jpeg_bomb, png_bomb
from PIL import Image

from ganlab.data.format.decode import MODES, decode, decode_into
from ganlab.types import ImageSpec


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


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(16, 24), (8, 12), (4, 6), (2, 3), (5, 7)])
@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_smaller_buffers_hold_the_averages_of_boxes(image_format, height, width, channels):
    """Exactly for PNG, nearly for a JPEG that is decoded at fewer eighths; by Lanczos where boxes do not fit."""
    coarse = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    pixels = np.array(Image.fromarray(coarse).resize((48, 32), Image.Resampling.BICUBIC))
    data, out = encoded(pixels, image_format), np.empty((height, width, channels), np.uint8)
    decode_into(data, out, (32, 48))
    whole = decode(data, ImageSpec(32, 48, channels))
    if 32 % height == 0:
        boxes = whole.astype(float).reshape(height, 32 // height, width, 48 // width, channels).mean((1, 3))
        error = np.abs(out - np.floor(boxes + 0.5))
        assert error.max() == 0 if image_format == "png" else error.mean() < 3
    else:
        picture = Image.fromarray(whole[..., 0] if channels == 1 else whole)
        expected = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS)).reshape(out.shape)
        error = np.abs(out.astype(int) - expected)
        assert error.max() == 0 if image_format == "png" else error.mean() < 6
    with pytest.raises(ValueError, match="32x48 pixels instead of 32x32"):
        decode_into(data, out, (32, 32))


@pytest.mark.parametrize("bomb", [png_bomb, jpeg_bomb])
def test_bombs_are_not_decoded(bomb):
    data, out = bomb(20_000), np.empty((8, 8, 3), np.uint8)
    assert len(data) < 10**6
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"20000x20000 pixels, more than the 50,000,000|exceeds limit"):
        decode_into(data, out, None)
    with pytest.raises(ValueError, match=r"20000x20000 pixels instead of 8x8|exceeds limit"):
        decode_into(data, out, (8, 8))
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
    with pytest.raises(ValueError, match="64x64 pixels, more than the 4,000 of data"):
        decode_into(bomb(64), out, None, 4000)


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_the_bound_on_pixels_holds_for_images_of_the_very_size(image_format):
    data, out = encoded(np.zeros((64, 64, 3), np.uint8), image_format), np.empty((64, 64, 3), np.uint8)
    decode_into(data, out, (64, 64), 4096)
    with pytest.raises(ValueError, match="64x64 pixels, more than the 4,095 of data"):
        decode_into(data, out, (64, 64), 4095)


def test_pixels_that_bytes_cannot_hold_are_refused():
    deep = io.BytesIO()
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(deep, "png")
    with pytest.raises(ValueError, match="more than 8 bits"):
        decode(deep.getvalue(), ImageSpec(4, 4, 1))


def test_four_inks_become_colours():
    data = io.BytesIO()
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(data, "jpeg")
    red = decode(data.getvalue(), ImageSpec(8, 8, 3))
    assert red[..., 0].min() > 200 and red[..., 1:].max() < 60
