"""Super-resolution: SRGAN (Ledig et al. 2017) and ESRGAN (Wang et al. 2018), without a network for perception."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Loss
from ganlab.engine.optimizers import value_at
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.models.distances import l1
from ganlab.models.enlarging import Enlarging
from ganlab.networks.superresolution import Discriminator
from ganlab.schedules import Schedule
from ganlab.seeding import Noise
from ganlab.types import ImageSpec, Labels, UserError


class SuperResolution(Enlarging):
    """A generator that enlarges images; the discriminator tells its images from the real ones that were made small.

    Small images are means over squares of real ones. The generator's output is added to their bicubic enlargement. The
    papers compare features of a VGG network that was trained on ImageNet; here they are the discriminator's own
    (Larsen et al. 2016; Wang et al. 2018b), so nothing is downloaded.

    Args:
        image: shape of the large images.
        generator: of `networks.superresolution`: small images to what their enlargement lacks.
        discriminator_width: channels of its first convolution.
        pretrain_nimg: images of the first stage, in which the generator alone steps, by |G(x) - y| alone.
        features_weight: of the distance in the discriminator's maps.
        adversarial_weight: of the adversarial loss.
        batch_norm_group: consecutive images per batch norm of the discriminator; None is the whole batch.
    """

    BATCH = 16
    RECORDS = ("loss", "features", "adversarial", "real_logit", "fake_logit")
    generator: nn.Module
    discriminator: nn.Module

    def __init__(
        self,
        *,
        image: ImageSpec,
        generator: nn.Module,
        discriminator_width: int = 64,
        batch_norm_group: int | None = None,
        pretrain_nimg: int = 0,
        features_weight: float = 1.0,
        adversarial_weight: float | Schedule = 5e-3,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        lr_schedule: Schedule | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        self.scale = int(generator.scale)  # type: ignore[arg-type]
        if image.height % self.scale or image.width % self.scale:
            raise UserError(f"data.image: {image.height}x{image.width} px are no multiples of the scale, {self.scale}")
        self.pretrain_nimg = pretrain_nimg
        self.features_weight, self.adversarial_weight = features_weight, adversarial_weight
        player = partial(Player, optimizer=partial(Adam, lr=lr, betas=betas), lr_schedule=lr_schedule)
        super().__init__(
            image=image,
            networks={
                "generator": generator,
                "discriminator": Discriminator(image=image, width=discriminator_width, norm_group=batch_norm_group),
            },
            players={"generator": player("generator"), "discriminator": player("discriminator")},
            averages={"generator": HalfLife(ema_half_life)},
            runtime=runtime,
        )

    def takes_part(self, player: str) -> bool:
        """Leave the discriminator out of the first stage."""
        return player == "generator" or self.clock.nimg >= self.pretrain_nimg

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw nothing; after the first stage, give the weight of the adversarial loss [n]."""
        if player == "discriminator" or self.clock.nimg < self.pretrain_nimg:
            return {}
        weight = value_at(self.adversarial_weight, self.clock.nimg)
        return {"weight": torch.full((n,), weight, dtype=self.real_dtype, device=self.device)}

    def generator_loss(self, batch: Batch) -> Loss:
        """Wang et al. 2018, eq. 3, with the non-saturating loss of Ledig et al. 2017, eq. 6."""
        made = self.enlarge(partial(self.call, self.generator), self.shrink(batch.real))
        near = l1(made, batch.real)
        if "weight" not in batch:
            return {"loss": near}
        logits, maps = self.call(self.discriminator, made)
        with torch.no_grad():
            _, targets = self.call(self.discriminator, batch.real)
        features = self.features_weight * torch.stack([l1(*pair) for pair in zip(maps, targets, strict=True)]).mean(0)
        return {"loss": near, "features": features, "adversarial": batch["weight"] * F.softplus(-logits)}

    def discriminator_loss(self, batch: Batch) -> Loss:
        """-log D(y) - log(1 - D(G(x)))."""
        with torch.no_grad():
            made = self.enlarge(partial(self.call, self.generator), self.shrink(batch.real))
        (real, _), (fake, _) = self.call(self.discriminator, batch.real), self.call(self.discriminator, made)
        return {"loss": F.softplus(-real) + F.softplus(fake)}, {"real_logit": real, "fake_logit": fake}
