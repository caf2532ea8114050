"""Maximum likelihood: a generator whose density is exact, without an adversary (Danihelka et al. 2017, section 2)."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

from torch.optim import Adam

from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Game, Loss
from ganlab.engine.optimizers import MakeOptimizer
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.metrics.likelihood import bits_per_dimension
from ganlab.networks.realnvp import Generator
from ganlab.schedules import Schedule
from ganlab.types import ImageSpec


class MaximumLikelihood(Game):
    """A game of one player. The same generator in a `GANModule` is the adversary's side of the comparison.

    Args:
        generator: an invertible network, which knows the density of an image.
        lr, betas: of Adam (Dinh et al. 2017, section 4.1); `optimizers` replaces it, by "generator".
        image, lr_schedule, ema_half_life, runtime: as in `GANModule`.
    """

    generator: Generator
    BATCH = 64
    REPLACES: ClassVar[Mapping[str, tuple[str, ...]]] = {"optimizers": ("lr", "betas")}

    def __init__(
        self,
        *,
        image: ImageSpec,
        generator: Generator,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        optimizers: Mapping[str, MakeOptimizer] | None = None,
        lr_schedule: Schedule | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        optimizer = (optimizers or {"generator": partial(Adam, lr=lr, betas=betas)})["generator"]
        super().__init__(
            image=image,
            networks={"generator": generator},
            players={"generator": Player("generator", optimizer=optimizer, lr_schedule=lr_schedule)},
            averages={"generator": HalfLife(ema_half_life)},
            dequantize=True,  # a density of whole numbers could grow without bound
            runtime=runtime,
        )

    def generator_loss(self, batch: Batch) -> Loss:
        """-log p(x), in bits per dimension of bytes."""
        return {"loss": bits_per_dimension(self.call(self.generator.log_prob, batch.real, full=True), batch.real)}
