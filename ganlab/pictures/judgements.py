"""Pictures of what a discriminator says: on a plane of latents, and of each pixel."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlab.pictures.axes import BLACK, GREY, Axes, round_up
from ganlab.pictures.points import HIGH, LOW, bands

UP, DOWN = np.array([178, 24, 43]), np.array([33, 102, 172])
"""Colours of pixels that D would have lighter, and darker."""
BRIGHT = 99
"""Percentile of the gradient that has the full colour."""


def latent_plane(values: NDArray[np.floating], extent: float, title: str) -> Image.Image:
    """Draw D(G(z)) on a plane [n, n], the lowest row first, with arrows along its gradient; the image is at its middle.

    Bands of colour are level sets, and the dark line is 0, where D cannot tell.
    """
    axes = Axes((-extent, extent), (-extent, extent), title)
    most = round_up(float(abs(values).max()))
    axes.background(bands(values / most))
    line = np.linspace(-extent, extent, len(values))
    places = np.stack(np.meshgrid(line, line), -1)
    rise = np.stack(np.gradient(values)[::-1], -1)
    axes.arrows(places[::2, ::2].reshape(-1, 2), rise[::2, ::2].reshape(-1, 2), 24.0, GREY)
    axes.dots(np.zeros((1, 2)), BLACK, 4.0)
    axes.label(f"D at {-most:g}", LOW)
    axes.label(f"D at {most:g}", HIGH)
    return axes.picture()


def pixel_field(gradients: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colour gradients [n, c, h, w] as images [n, h, w, 3]: red where D wants a pixel lighter, blue where darker."""
    signed = gradients.mean(1)[..., None]
    strength = np.clip(signed / max(float(np.percentile(abs(signed), BRIGHT)), 1e-30), -1, 1)
    colours = 255 + np.where(strength > 0, strength * (UP - 255), -strength * (DOWN - 255))
    found: NDArray[np.uint8] = colours.round().astype(np.uint8)
    return found
