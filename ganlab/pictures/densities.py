"""Points of one coordinate: densities of reals and fakes, with the discriminator's curve."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlab.pictures.axes import CRITIC, FAKE, GREY, REAL, Axes, round_up

BINS = 100
CURVE = 257
"""Points of D's curve."""


def where(extent: float) -> NDArray[np.float64]:
    """Return the numbers of which D is asked [CURVE]."""
    return np.linspace(-extent, extent, CURVE)


def densities(
    real: NDArray[np.floating],
    fake: NDArray[np.floating],
    curve: NDArray[np.floating] | None = None,
    *,
    extent: float,
    title: str,
) -> Image.Image:
    """Draw histograms of reals and fakes [n] from -extent to extent, and D's output [CURVE] if there is a D.

    The densities' axis depends on the reals alone, so that a film has one; a higher peak of the fakes is cut. D's axis
    is at the right: 0, where D cannot tell, is in the middle, and it ends with D's values where there are points.
    """
    edges, x = np.linspace(-extent, extent, BINS + 1), where(extent)
    heights = [np.histogram(each, edges)[0] / max(len(each), 1) / (edges[1] - edges[0]) for each in (real, fake)]
    right = None
    if curve is not None:
        most = round_up(float(abs(np.interp(np.concatenate([real, fake]), x, curve)).max()))
        right = -most, most
    axes = Axes((-extent, extent), (0.0, 1.6 * float(heights[0 if len(real) else 1].max() or 1)), title, right)
    for name, values, height, colour in zip(("reals", "fakes"), (real, fake), heights, (REAL, FAKE), strict=True):
        if len(values):
            outline = edges.repeat(2)[1:-1], height.repeat(2)
            axes.area(*outline, colour)
            axes.line(*outline, colour, 1.5)
            axes.label(f"{name} {values.mean():.2f} \N{PLUS-MINUS SIGN} {values.std():.2f}", colour)
    if curve is not None and right is not None:
        middle = axes.y[1] / 2
        axes.line([-extent, extent], [middle, middle], GREY, 0.5)
        axes.line(x, middle + middle * np.clip(curve / right[1], -2, 2), CRITIC)
        axes.label("D (right axis)", CRITIC)
    return axes.picture()
