"""R3GAN: Huang et al. 2024, "The GAN is dead; long live the GAN! A modern baseline GAN"."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Adam

from ganlab.augment import ADA, Augment, augmented
from ganlab.engine.batch import Batch
from ganlab.engine.optimizers import MakeOptimizer
from ganlab.engine.runtime import Runtime
from ganlab.models.adversarial import GANModule
from ganlab.networks import r3gan
from ganlab.objectives import RelativisticPaired
from ganlab.regularizers import R1, R2, Regularizer
from ganlab.schedules import Cosine
from ganlab.types import Images, ImageSpec, Labels, Scores, UserError

AUGMENT = ADA(p=Cosine(start=0.0, end=0.55, until_nimg=20_000_000), colour=0.5, cutout=1.0)


class R3GAN(GANModule):
    """Relativistic pairs with R1 and R2 at every step: the defaults are those of the authors' code for CIFAR-10.

    A fake has the label of the real that it is paired with. The generator's step takes new reals: those of
    `data.other`, a second stream of the same images. A pair of numbers is a schedule's first and last value: half a
    cosine over `decay_nimg` images.

    In bfloat16 the penalties' passes are in mixed precision too, as they are in every step. Two deviations, towards
    float32: the images, which that code makes in bfloat16, and the sum of R2's squares, which it takes in bfloat16.

    Args:
        image: sides that can be halved until the shorter one is from 4 to 7 px.
        width, widest, group_width, latent, full_stages: of both networks, see `networks.r3gan`.
        conditional: condition both networks on the class.
        gamma: weight of both penalties, each |gradient|^2 / 2.
        lr, beta2: Adam's, for both players; its beta1 is 0.
        ema_half_life: of the average, in reals shown.
        decay_nimg: images over which the schedules run.
        regularizers: of the discriminator, in place of both penalties.
        augment: applied to the reals and the fakes of both players.
    """

    BATCH = 512
    discriminator: r3gan.Discriminator
    REPLACES: ClassVar[Mapping[str, tuple[str, ...]]] = {"regularizers": ("gamma",)}

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 768,
        widest: int = 32,
        group_width: int = 16,
        latent: int = 64,
        conditional: bool = False,
        full_stages: int = 1,
        gamma: tuple[float, float] = (0.05, 0.005),
        lr: tuple[float, float] = (2e-4, 5e-5),
        beta2: tuple[float, float] = (0.9, 0.99),
        ema_half_life: tuple[float, float] = (0.0, 5_000_000.0),
        decay_nimg: int = 20_000_000,
        regularizers: Mapping[str, Regularizer] | None = None,
        augment: Augment | None = AUGMENT,
        runtime: Runtime = Runtime(),
    ) -> None:
        other = runtime.need_other("new reals for the generator's step", like=image)
        if conditional and other.classes != image.classes:
            raise UserError(f"data.other: has {other.classes} classes, but data {image.classes}; name the same images")

        def over(values: tuple[float, float]) -> Cosine:
            return Cosine(start=values[0], end=values[1], until_nimg=decay_nimg)

        adam: MakeOptimizer = partial(Adam, lr=over(lr), betas=(0.0, over(beta2)))  # type: ignore[arg-type]
        common: dict[str, Any] = {"image": image, "conditional": conditional, "full_stages": full_stages}
        common |= {"width": width, "widest": widest, "group_width": group_width}
        super().__init__(
            image=image,
            generator=r3gan.Generator(latent=latent, **common),
            discriminator=r3gan.Discriminator(**common),
            objective=RelativisticPaired(),
            optimizers={"generator": adam, "discriminator": adam},
            regularizers=regularizers or {"r1": R1(weight=over(gamma)), "r2": R2(weight=over(gamma))},
            augment=augment,
            ema_half_life=over(ema_half_life),
            fake_labels="data",
            runtime=runtime,
        )

    def prepare(self, player: str, batch: Batch) -> Batch:
        """Give the generator's step the reals of the other stream, and its fakes their labels."""
        if player == "discriminator":
            return batch
        new = {"real": batch.other, "labels": batch.other_labels, "fake_labels": batch.other_labels}
        return replace(batch, tensors={**batch.tensors, **new})

    def slope(
        self, images: Images, labels: Labels, change: Mapping[str, Tensor], *noise: Tensor
    ) -> tuple[Images, Scores]:
        """Return the gradients of the logits by images before augmentation, made of layers, and the logits.

        In the run's precision, except float16, whose range is too small for gradients that nothing scales.
        """
        seen, back = torch.func.vjp(partial(augmented, self.augment, change=change), images)  # type: ignore[misc]
        full = self.runtime.precision == "fp16"
        gradient, logits = self.call(self.discriminator.with_gradient, seen, labels, *noise, full=full)
        return back(gradient)[0], logits
