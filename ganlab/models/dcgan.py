"""DCGAN: Radford et al. 2016, "Unsupervised representation learning with deep convolutional GANs"."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from torch.optim import Adam, Optimizer

from ganlab.augment import Augment
from ganlab.models.base import GANModule
from ganlab.networks import dcgan
from ganlab.objectives import NonSaturating
from ganlab.regularizers import Regularizer
from ganlab.schedules import Schedule
from ganlab.types import ImageSpec


class DCGAN(GANModule):
    """Convolutions, batch norm, Adam: the defaults are those of the paper and of PyTorch's 64 px reference.

    Real and fake images go through the discriminator in separate batches, so that each is normalised by its own
    statistics. Unlike the reference, the generator's move draws fresh latents instead of reusing the discriminator's
    fakes. The average of the generator, the penalties and the schedule are ours: the paper has none.

    Args:
        image: square, 16, 32, 64, ... px.
        width: channels of the layer next to the image; 128 is the paper's, 64 the reference's.
        latent: dimensions of the latent.
        conditional: tell the networks the class.
        rate: Adam's learning rate, of both players.
        betas: Adam's.

    The other arguments are `GANModule`'s.
    """

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 64,
        latent: int = 100,
        conditional: bool = False,
        rate: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        optimizers: Mapping[str, Callable[..., Optimizer]] | None = None,
        regularizers: Mapping[str, Regularizer] | None = None,
        augment: Augment | None = None,
        rate_schedule: Schedule | None = None,
        ema_half_life: float = 10_000.0,
        group: int = 4,
        seed: int = 0,
        micro_batch: int | None = None,
        precision: Literal["fp64", "fp32", "tf32", "bf16"] = "fp32",
    ) -> None:
        adam = partial(Adam, lr=rate, betas=betas)
        super().__init__(
            image=image,
            generator=dcgan.Generator(image=image, width=width, latent=latent, conditional=conditional),
            discriminator=dcgan.Discriminator(image=image, width=width, conditional=conditional),
            objective=NonSaturating(),
            optimizers=optimizers or {"generator": adam, "discriminator": adam},
            regularizers=regularizers,
            augment=augment,
            rate_schedule=rate_schedule,
            ema_half_life=ema_half_life,
            group=group,
            seed=seed,
            micro_batch=micro_batch,
            precision=precision,
        )
