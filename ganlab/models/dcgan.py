"""DCGAN: Radford et al. 2016, "Unsupervised representation learning with deep convolutional GANs"."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from torch.optim import Adam

from ganlab.augment import Augment
from ganlab.engine.averages import RAMPED
from ganlab.engine.optimizers import MakeOptimizer
from ganlab.engine.runtime import Runtime
from ganlab.models.adversarial import GANModule
from ganlab.networks import dcgan
from ganlab.objectives import NonSaturating
from ganlab.regularizers import Regularizer
from ganlab.schedules import Schedule
from ganlab.types import ImageSpec


class DCGAN(GANModule):
    """Convolutions, batch norm, Adam: the defaults are those of the paper and of PyTorch's 64 px reference.

    Reals and fakes are normalised apart; unlike the reference, each step draws fresh latents. `width`: channels next to
    the image, 128 in the paper; `conditioning`: how D gets the class; `batch_norm_group`: None is all images.
    """

    BATCH = 128

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 64,
        latent: int = 100,
        conditional: bool = False,
        conditioning: Literal["projection", "concat"] = "projection",
        batch_norm_group: int | None = None,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        optimizers: Mapping[str, MakeOptimizer] | None = None,
        regularizers: Mapping[str, Regularizer] | None = None,
        augment: Augment | None = None,
        lr_schedule: Schedule | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        common: dict[str, Any] = {"image": image, "width": width, "conditional": conditional}
        super().__init__(
            image=image,
            generator=dcgan.Generator(**common, latent=latent, norm_group=batch_norm_group),
            discriminator=dcgan.Discriminator(**common, conditioning=conditioning, norm_group=batch_norm_group),
            objective=NonSaturating(),
            optimizers=optimizers or dict.fromkeys(("generator", "discriminator"), partial(Adam, lr=lr, betas=betas)),
            regularizers=regularizers,
            augment=augment,
            lr_schedule=lr_schedule,
            ema_half_life=ema_half_life,
            runtime=runtime,
        )
