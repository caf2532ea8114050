"""StyleGAN2-ADA for one's own images, with values by a rule: Karras et al. 2020b, `auto` of its code."""

from collections.abc import Sequence
from dataclasses import dataclass

from ganlab.augment import ADA, Augment
from ganlab.engine.runtime import Runtime
from ganlab.models.stylegan2 import R1_EVERY, StyleGAN2
from ganlab.regularizers import R1
from ganlab.schedules import Linear
from ganlab.types import ImageSpec, Phase, UserError

ADAPTIVE = ADA()


@dataclass(frozen=True)
class Auto:
    """The rule: values for images of `size` px on a number of GPUs."""

    size: int
    gpus: int

    @property
    def batch(self) -> int:
        """Reals in a round."""
        return max(min(self.gpus * min(4096 // self.size, 32), 64), self.gpus)

    @property
    def width_base(self) -> int:
        """As in `StyleGAN2`."""
        return 32768 if self.size >= 512 else 16384

    @property
    def lr(self) -> float:
        """Adam's learning rate."""
        return 0.002 if self.size >= 1024 else 0.0025

    @property
    def r1(self) -> float:
        """Weight of R1."""
        return 2e-4 * self.size**2 / self.batch

    @property
    def ema_half_life(self) -> Linear:
        """Of the average, in reals shown: 10,000 at a batch of 32, but at most a twentieth of the run so far."""
        images = self.batch * 10_000 / 32
        return Linear(start=0.0, end=images, until_nimg=int(20 * images))

    def told(self) -> Sequence[str]:
        """Explain the values."""
        return (
            f"auto        for {self.size} px on {self.gpus} GPU{'s' * (self.gpus > 1)}, by the rule of its authors:",
            f"            batch {self.batch}: on each GPU 4096 / size, at most 32; 64 in all",
            f"            width_base {self.width_base}: 32768 from 512 px on, 16384 below",
            f"            lr {self.lr}: 0.002 from 1024 px on, 0.0025 below",
            f"            R1 {self.r1:.4g}: 2e-4 size^2 / batch; the value to tune: try 5 times more and less",
            f"            half-life {self.ema_half_life.end:,.0f} images: 10,000 at a batch of 32; less at the start",
        )


class StyleGAN2Auto(StyleGAN2):
    """StyleGAN2-ADA whose values follow from the size of the images and the number of GPUs; `ganlab show` tells them.

    Args:
        image: square, of 8, 16, 32, ... 1024 px.
        gpus: that the rule counts on: it sets the batch, and by it R1. Any number of processes gives the same run.
        r1: weight of R1, of all values the one to be tuned; None is the rule's.
        mapping_layers, conditional, augment: as in `StyleGAN2`.
    """

    def __init__(
        self,
        *,
        image: ImageSpec,
        gpus: int = 1,
        r1: float | None = None,
        mapping_layers: int = 2,
        conditional: bool = False,
        augment: Augment | None = ADAPTIVE,
        runtime: Runtime = Runtime(),
    ) -> None:
        if not 1 <= gpus <= 16:
            raise UserError(f"model.gpus: {gpus}: the rule is for 1 to 16 GPUs, with 64 images at most")
        self.rule = rule = Auto(image.height, gpus)
        super().__init__(
            image=image,
            width_base=rule.width_base,
            mapping_layers=mapping_layers,
            conditional=conditional,
            lr=rule.lr,
            regularizers={"r1": R1(weight=rule.r1 if r1 is None else r1, every=R1_EVERY)},
            augment=augment,
            ema_half_life=rule.ema_half_life,
            runtime=runtime,
        )

    @property
    def phases(self) -> Sequence[Phase]:
        """One phase, with the rule's batch."""
        return [Phase(0, self.image, self.rule.batch)]

    @property
    def remarks(self) -> Sequence[str]:
        """The values, and why."""
        return self.rule.told()
