"""What makes the shipped configs small enough for a CPU's seconds."""

import inspect
from collections.abc import Iterator
from typing import Any

from ganlab.experiment.frame import Config
from ganlab.experiment.targets import resolve

SMALL = dict.fromkeys(("width", "generator_width", "discriminator_width", "width_max"), 8) | {"latent": 12}
"""BigGAN cuts its latent into 2 parts at 8 px, 3 at 16."""


def narrowed(config: Config, **values: int) -> list[str]:
    """Return the overrides that give each part a width of 8 and a latent of 12, and what it takes of `values`."""
    return list(smaller(config.as_dict()["model"], "model", SMALL | values))


def smaller(part: Any, key: str, values: dict[str, int]) -> Iterator[str]:
    """Yield the overrides of a part and the parts within."""
    if isinstance(part, dict):
        if "_target_" in part:
            takes = inspect.signature(resolve(part["_target_"], object, ["ganlab", "torch"])).parameters
            yield from (f"{key}.{name}={value}" for name, value in values.items() if name in takes)
        for name, inner in part.items():
            yield from smaller(inner, f"{key}.{name}", values)
