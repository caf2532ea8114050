"""SAGAN: Zhang et al. 2019, "Self-attention generative adversarial networks"."""

from collections.abc import Mapping
from functools import partial

from torch.optim import Adam

from ganlab.augment import Augment
from ganlab.engine.averages import RAMPED
from ganlab.engine.runtime import Runtime
from ganlab.models.adversarial import GANModule
from ganlab.networks import biggan
from ganlab.networks.biggan import Attention
from ganlab.objectives import Hinge
from ganlab.regularizers import Regularizer
from ganlab.schedules import Schedule
from ganlab.types import ImageSpec


class SAGAN(GANModule):
    """Self-attention, spectral norm in both networks, and a learning rate for each player.

    The paper has no average of the generator; ours makes the samples.

    Args:
        image: with classes; of 16, 32, 64, 128, 256 or 512 px, or of a size near: see `networks.biggan.PLANS`. The
            paper's are of 128 px.
        generator_width, discriminator_width: channels next to a 128 px image.
        latent: dimensions of the latent.
        attention: height of the map that attends to itself in both networks, px.
        batch_norm_group: consecutive images per batch norm; None is the batch of all processes.
        generator_lr, discriminator_lr, betas: Adam's.

    The other arguments are `GANModule`'s.
    """

    BATCH = 256

    def __init__(
        self,
        *,
        image: ImageSpec,
        generator_width: int = 64,
        discriminator_width: int = 64,
        latent: int = 128,
        attention: Attention | None = 64,
        batch_norm_group: int | None = None,
        generator_lr: float = 1e-4,
        discriminator_lr: float = 4e-4,
        betas: tuple[float, float] = (0.0, 0.9),
        ema_half_life: float | Schedule = RAMPED,
        regularizers: Mapping[str, Regularizer] | None = None,
        augment: Augment | None = None,
        runtime: Runtime = Runtime(),
    ) -> None:
        super().__init__(
            image=image,
            generator=biggan.Generator(
                image=image,
                width=generator_width,
                latent=latent,
                embedding=None,
                attention=attention,
                initial_weights="glorot",
                norm_group=batch_norm_group,
            ),
            discriminator=biggan.Discriminator(
                image=image, width=discriminator_width, attention=attention, initial_weights="glorot"
            ),
            objective=Hinge(),
            optimizers={
                "generator": partial(Adam, lr=generator_lr, betas=betas),
                "discriminator": partial(Adam, lr=discriminator_lr, betas=betas),
            },
            regularizers=regularizers,
            augment=augment,
            ema_half_life=ema_half_life,
            runtime=runtime,
        )
