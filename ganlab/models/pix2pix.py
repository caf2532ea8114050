"""pix2pix: Isola et al. 2017, "Image-to-image translation with conditional adversarial networks"."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Adam

from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Game, Loss
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.models.distances import l1, mean
from ganlab.networks import patch, unet
from ganlab.schedules import Schedule
from ganlab.seeding import Noise
from ganlab.types import Images, ImageSpec, Labels, UserError


class Pix2Pix(Game):
    """A generator from the upper image of a pair to the lower one; the discriminator judges pairs.

    The data are pairs, one above the other: `ganlab data pack INPUTS DEST --with TARGETS`. Each step draws its own
    dropout, the generator's only noise. The average, which is ours, runs without: a translation is a function of its
    input.

    Args:
        image: shape of a pair.
        width: channels next to the image, of both networks.
        l1_weight: lambda, of |G(x) - y|.
    """

    BATCH = 1
    RECORDS = ("loss", "l1")
    generator: nn.Module
    discriminator: nn.Module

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 64,
        l1_weight: float = 100.0,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        lr_schedule: Schedule | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        if image.height % 2:
            raise UserError(
                f"data.image: {image.height} px high is no pair of images, one above the other; make some with "
                "`ganlab data pack INPUTS DEST --with TARGETS`"
            )
        single = replace(image, height=image.height // 2)
        self.single, self.l1_weight = single, l1_weight
        player = partial(Player, optimizer=partial(Adam, lr=lr, betas=betas), lr_schedule=lr_schedule)
        generator = unet.Generator(image=single, width=width)
        self.dropped = generator.dropped
        size = min(single.height, single.width)
        super().__init__(
            image=image,
            networks={
                "generator": generator,
                "discriminator": patch.Discriminator(channels=2 * image.channels, size=size, width=width, affine=True),
            },
            players={"discriminator": player("discriminator"), "generator": player("generator")},
            averages={"generator": HalfLife(ema_half_life)},
            runtime=runtime,
        )

    def discriminator_loss(self, batch: Batch) -> Loss:
        """Eq. 1, halved, which slows it against the generator (section 3.3)."""
        given, target = batch.real.chunk(2, 2)
        with torch.no_grad():
            made = self.generate(given, batch)
        return {"loss": mean(softplus(-self.score(given, target)) + softplus(self.score(given, made))) / 2}

    def generator_loss(self, batch: Batch) -> Loss:
        """Eq. 4, with the non-saturating form of eq. 1."""
        given, target = batch.real.chunk(2, 2)
        made = self.generate(given, batch)
        return {"loss": mean(softplus(-self.score(given, made))), "l1": self.l1_weight * l1(made, target)}

    def generate(self, given: Images, batch: Batch) -> Images:
        """Run the live generator with the dropout of a batch."""
        return self.call(self.generator, given, *(batch[f"dropout {k}"] for k in range(len(self.dropped))))  # type: ignore[no-any-return]

    def score(self, given: Images, image: Images) -> Tensor:
        """Run the discriminator on pairs; logits of patches."""
        return self.call(self.discriminator, torch.cat([given, image], 1))  # type: ignore[no-any-return]

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw dropout."""
        shapes = enumerate(self.dropped)
        return {f"dropout {k}": noise.uniform(f"{player} dropout {k}", n, *shape) for k, shape in shapes}

    @property
    def inputs(self) -> tuple[ImageSpec, ...]:
        """Pairs, or inputs alone."""
        return self.image, self.single

    def made_from(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        """Return G(x); of a pair also the input x and the truth y."""
        given, *target = images.split(self.single.height, 2)
        return {"input": given, "made": self.ema(given)} | ({"truth": target[0]} if target else {})
