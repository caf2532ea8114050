"""DCGAN: Radford et al. 2016, "Unsupervised representation learning with deep convolutional GANs"."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch.optim import Adam, Optimizer

from ganlab.augment import Augment
from ganlab.engine.game import GANModule
from ganlab.networks import dcgan
from ganlab.objectives import NonSaturating
from ganlab.regularizers import Regularizer
from ganlab.schedules import Schedule
from ganlab.types import ImageSpec, Precision


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
        batch_norm_group: normalise over so many consecutive images; None over the whole batch, of all processes.
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
        batch_norm_group: int | None = None,
        group: int = 4,
        seed: int = 0,
        attempt: int = 0,
        micro_batch: int | None = None,
        precision: Precision = "fp32",
    ) -> None:
        common: dict[str, Any] = {"image": image, "width": width, "conditional": conditional}
        common["norm_group"] = batch_norm_group
        adam = partial(Adam, lr=rate, betas=betas)
        super().__init__(
            image=image,
            generator=dcgan.Generator(latent=latent, **common),
            discriminator=dcgan.Discriminator(**common),
            objective=NonSaturating(),
            optimizers=optimizers or {"generator": adam, "discriminator": adam},
            regularizers=regularizers,
            augment=augment,
            rate_schedule=rate_schedule,
            ema_half_life=ema_half_life,
            group=group,
            seed=seed,
            attempt=attempt,
            micro_batch=micro_batch,
            precision=precision,
        )
