"""CycleGAN: Zhu et al. 2017, "Unpaired image-to-image translation using cycle-consistent adversarial networks"."""

from dataclasses import replace
from functools import partial

from torch import nn
from torch.optim import Adam

from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Loss
from ganlab.engine.player import Player
from ganlab.engine.pool import Pool
from ganlab.engine.runtime import Runtime
from ganlab.models.distances import l1, mean
from ganlab.models.translating import Translating
from ganlab.networks import patch, translation
from ganlab.schedules import Linear, Schedule
from ganlab.types import ImageSpec


class CycleGAN(Translating):
    """Two generators that invert each other, between the images of `data` (domain a) and of `data.other` (domain b).

    Both generators step together, then both discriminators. These see images of the generators after their step; the
    authors' PyTorch code takes those from before. The averages are ours, and so is the order of domain b: a permutation
    per epoch, where the authors draw with replacement.

    Args:
        width: channels next to the image, of all networks.
        blocks: residual blocks of a generator: 9 from 256 px, 6 below.
        cycle_weight: lambda, of |G(F(b)) - b| + |F(G(a)) - a|.
        identity_weight: of |G(b) - b| + |F(a) - a|, which keeps colours (section 5.2): half of lambda for paintings.
        pool: past images of each generator that the discriminators see.
        lr_schedule: None keeps `lr` for the first half of the run, then lowers it to 0.
    """

    BATCH = 1
    RECORDS = ("loss", "cycle", "identity")
    discriminator_a: nn.Module
    discriminator_b: nn.Module

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 64,
        blocks: int = 9,
        cycle_weight: float = 10.0,
        identity_weight: float = 0.0,
        pool: int = 50,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        lr_schedule: Schedule | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        runtime.need_other("domain b", image)
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight
        if lr_schedule is None and runtime.total_nimg is not None:
            lr_schedule = Linear(from_nimg=runtime.total_nimg // 2, until_nimg=runtime.total_nimg)
        player = partial(Player, optimizer=partial(Adam, lr=lr, betas=betas), lr_schedule=lr_schedule)
        generator = partial(translation.Generator, image=image, width=width, blocks=blocks)
        size = min(image.height, image.width)
        discriminator = partial(patch.Discriminator, channels=image.channels, size=size, width=width)
        super().__init__(
            image=image,
            networks={
                "a_to_b": generator(),
                "b_to_a": generator(),
                "discriminator_a": discriminator(),
                "discriminator_b": discriminator(),
            },
            players={
                "generators": player("a_to_b", "b_to_a"),
                "discriminators": player("discriminator_a", "discriminator_b"),
            },
            averages={"a_to_b": HalfLife(ema_half_life), "b_to_a": HalfLife(ema_half_life)},
            runtime=runtime,
        )
        self.pool_a, self.pool_b = (Pool(pool, image, runtime.dtype) for _ in range(2))

    def generators_loss(self, batch: Batch) -> Loss:
        """Eq. 3, with least squares for eq. 1 (section 4)."""
        a, b = batch.real, batch.other
        made_b, made_a = self.call(self.a_to_b, a), self.call(self.b_to_a, b)
        judged_b, judged_a = self.call(self.discriminator_b, made_b), self.call(self.discriminator_a, made_a)
        again_a, again_b = self.call(self.b_to_a, made_b), self.call(self.a_to_b, made_a)
        terms = {"loss": mean((judged_b - 1).square()) + mean((judged_a - 1).square())}
        terms["cycle"] = self.cycle_weight * (l1(again_a, a) + l1(again_b, b))
        if self.identity_weight:
            same = l1(self.call(self.a_to_b, b), b) + l1(self.call(self.b_to_a, a), a)
            terms["identity"] = self.identity_weight * same
        return terms

    def discriminators_loss(self, batch: Batch) -> Loss:
        """Least squares for eq. 1, halved, which slows the discriminators (section 4)."""
        real_a, made_a = (self.call(self.discriminator_a, images) for images in (batch.real, batch["made_a"]))
        real_b, made_b = (self.call(self.discriminator_b, images) for images in (batch.other, batch["made_b"]))
        of_a, of_b = (mean((real - 1).square() + made.square()) for real, made in ((real_a, made_a), (real_b, made_b)))
        return {"loss": (of_a + of_b) / 2}

    def prepare(self, player: str, batch: Batch) -> Batch:
        """Give the discriminators images of the generators and of the pools."""
        if player == "generators":
            return batch
        made_b = self.pool_b.exchange(self.call(self.a_to_b, batch.real), "b", self.noise(0))
        made_a = self.pool_a.exchange(self.call(self.b_to_a, batch.other), "a", self.noise(0))
        return replace(batch, tensors={**batch.tensors, "made_a": made_a, "made_b": made_b})
