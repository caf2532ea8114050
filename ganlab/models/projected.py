"""Projected GAN: Sauer et al. 2021, "Projected GANs converge faster"."""

from functools import partial

from torch.optim import Adam

from ganlab.augment import Augment, DiffAugment
from ganlab.engine.runtime import Runtime
from ganlab.models.adversarial import GANModule
from ganlab.networks import fastgan, projected
from ganlab.networks.pretrained import EfficientNetLite0, Features
from ganlab.objectives import OfPatches
from ganlab.schedules import Linear, Schedule
from ganlab.types import ImageSpec

AUGMENT = DiffAugment(cutout=0.2)
"""Its box is smaller than DiffAugment's own."""
HALF_LIFE = Linear(start=0.0, end=20_000.0, until_nimg=400_000)
"""A twentieth of the images shown, at most those of the paper's code for a batch of 64."""


class ProjectedGAN(GANModule):
    """FastGAN's generator against discriminators of frozen features: the values of the authors' code.

    Distances whose features were trained on ImageNet favour it: its discriminator sees such features too.

    Args:
        image: square, of 8, 16, 32, ... 1024 px.
        width: channels of the generator at 128 px.
        discriminator_width: channels of the largest map that the discriminator's networks see.
        latent: dimensions of the latent.
        features: the frozen network; None is EfficientNet-lite0 from an installed package.
        size: smaller images are enlarged to this size for the discriminator, px.
        norm_group: consecutive images of each of the generator's batch norms; None is the batch of all processes. The
            discriminator's take `train.group` images.
        lr, betas: Adam's, for both players.
        augment: see `GANModule`.
        ema_half_life: half-life of the generator's average, in reals shown.
    """

    BATCH = 64

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 128,
        discriminator_width: int = 64,
        latent: int = 256,
        features: Features | None = None,
        size: int = 224,
        norm_group: int | None = None,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.0, 0.99),
        augment: Augment | None = AUGMENT,
        ema_half_life: float | Schedule = HALF_LIFE,
        runtime: Runtime = Runtime(),
    ) -> None:
        adam = partial(Adam, lr=lr, betas=betas)
        super().__init__(
            image=image,
            generator=fastgan.Generator(image=image, width=width, latent=latent, norm_group=norm_group),
            discriminator=projected.Discriminator(
                features=features or EfficientNetLite0(), group=runtime.group, width=discriminator_width, size=size
            ),
            objective=OfPatches(),
            optimizers={"generator": adam, "discriminator": adam},
            augment=augment,
            ema_half_life=ema_half_life,
            runtime=runtime,
        )
