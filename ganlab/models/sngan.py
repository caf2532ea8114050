"""SN-GAN: Miyato et al. 2018, "Spectral normalization for generative adversarial networks"."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Literal

from torch.optim import Adam

from ganlab.augment import Augment
from ganlab.engine.averages import RAMPED
from ganlab.engine.optimizers import MakeOptimizer
from ganlab.engine.runtime import Runtime
from ganlab.models.adversarial import GANModule
from ganlab.networks import resnet
from ganlab.objectives import Hinge
from ganlab.regularizers import Regularizer
from ganlab.schedules import Linear, Schedule
from ganlab.types import ImageSpec


class SNGAN(GANModule):
    """Residual networks, spectral norm, hinge loss: the defaults are those of the authors' code for CIFAR-10.

    Deviations from that code: one power iteration per discriminator step (theirs iterates in every forward pass, eleven
    times per generator step), with which sigma may be off by a tenth while two singular values cross; the generator
    steps after the discriminator's five steps, not before them. As in that code, the generator normalises the fakes of
    both players by their own batch, so that all of them enter its running statistics. The paper has no average of the
    generator; ours has a half-life of about thirty of its steps and makes the samples.

    Args:
        image: of 16, 32, 48, 64 or 128 px, or another size near one of these: see `networks.resnet.plan_of`.
        generator_width: channels of the generator next to the image; None is the paper's for that size.
        discriminator_width: the same for the discriminator.
        latent: dimensions of the latent.
        batch_norm_group: consecutive images per batch norm; None is the batch of all processes.
        lr, betas: Adam's, for both players, unless `optimizers` are given.
        lr_schedule: falls from 1 to 0 over the run; the paper's has 16 million images, 50,000 generator steps of five
            batches of 64 each.
        generator_batch: 2 for 32 and 128 px, in the papers 1 for 48 and 64 px.

    The other arguments are `GANModule`'s.
    """

    conditional_networks: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image: ImageSpec,
        generator_width: int | None = None,
        discriminator_width: int | None = None,
        latent: int = 128,
        batch_norm_group: int | None = None,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.0, 0.9),
        optimizers: Mapping[str, MakeOptimizer] | None = None,
        regularizers: Mapping[str, Regularizer] | None = None,
        augment: Augment | None = None,
        lr_schedule: Schedule | None = Linear(),
        discriminator_steps: int = 5,
        generator_batch: float = 2.0,
        ema_half_life: float | Schedule = RAMPED,
        fake_labels: Literal["uniform", "data"] = "uniform",
        dequantize: bool = True,
        runtime: Runtime = Runtime(),
    ) -> None:
        adam = partial(Adam, lr=lr, betas=betas)
        conditional = self.conditional_networks
        super().__init__(
            image=image,
            generator=resnet.Generator(
                image=image, width=generator_width, latent=latent, conditional=conditional, norm_group=batch_norm_group
            ),
            discriminator=resnet.Discriminator(image=image, width=discriminator_width, conditional=conditional),
            objective=Hinge(),
            optimizers=optimizers or {"generator": adam, "discriminator": adam},
            regularizers=regularizers,
            augment=augment,
            lr_schedule=lr_schedule,
            discriminator_steps=discriminator_steps,
            generator_batch=generator_batch,
            ema_half_life=ema_half_life,
            fake_labels=fake_labels,
            dequantize=dequantize,
            runtime=runtime,
        )
