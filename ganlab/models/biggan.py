"""BigGAN: Brock et al. 2019, "Large scale GAN training for high fidelity natural image synthesis"."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Adam

from ganlab.augment import Augment
from ganlab.engine.averages import Decay
from ganlab.engine.runtime import Runtime
from ganlab.models.adversarial import GANModule
from ganlab.networks import biggan
from ganlab.networks.biggan import Attention, Weights
from ganlab.objectives import Hinge
from ganlab.regularizers import Orthogonal, Regularizer
from ganlab.types import Images, ImageSpec, Labels


class BigGAN(GANModule):
    """Large batches, wide networks, a latent for each layer, and truncation of the latents of samples.

    The defaults are the paper's (section 3, appendices B and C); its authors' public code has others, for smaller
    machines: 1e-4 and 4e-4, one discriminator step, no orthogonal regularisation, an average from the 20,000th step.
    The latents of samples are truncated by drawing numbers beyond a threshold again, with `--truncation`.

    Deviation: one power iteration of the spectral norms per step of their player; theirs iterates in every pass.

    Args:
        image: with classes; of 16 (ours), 32, 64, 128, 256 or 512 px, or of a size near: see `networks.biggan.PLANS`.
        generator_width, discriminator_width: channels next to a 128 px image; None is the paper's.
        latent, embedding, attention: of the networks; `attention` and `initial_weights` are of both.
        initial_weights: distribution of the initial weights.
        batch_norm_group: consecutive images per batch norm; None is the batch of all processes, as in the paper.
        orthogonal: beta of the orthogonal regularisation of the generator's weights but the embedding, 0 for none. Its
            gradient is that of the formula: the authors' code adds half of it for the same number.
        generator_lr, discriminator_lr, betas, eps: Adam's.
        ema_decay: of the generator's average, per generator step.
        ema_from_nimg: images shown before which the average is a copy: 40,000 generator steps of two batches of 2,048.

    The other arguments are `GANModule`'s.
    """

    BATCH = 2048
    architecture: ClassVar[Any] = biggan

    def __init__(
        self,
        *,
        image: ImageSpec,
        generator_width: int | None = None,
        discriminator_width: int | None = None,
        latent: int | None = None,
        embedding: int | None = 128,
        attention: Attention | None = 64,
        initial_weights: Weights = "orthogonal",
        batch_norm_group: int | None = None,
        orthogonal: float = 1e-4,
        generator_lr: float = 5e-5,
        discriminator_lr: float = 2e-4,
        betas: tuple[float, float] = (0.0, 0.999),
        eps: float = 1e-6,
        discriminator_steps: int = 2,
        ema_decay: float = 0.9999,
        ema_from_nimg: int = 163_840_000,
        regularizers: Mapping[str, Regularizer] | None = None,
        augment: Augment | None = None,
        runtime: Runtime = Runtime(),
    ) -> None:
        adam = partial(Adam, betas=betas, eps=eps)
        super().__init__(
            image=image,
            generator=self.architecture.Generator(
                image=image,
                width=generator_width,
                latent=latent,
                embedding=embedding,
                attention=attention,
                initial_weights=initial_weights,
                norm_group=batch_norm_group,
            ),
            discriminator=self.architecture.Discriminator(
                image=image, width=discriminator_width, attention=attention, initial_weights=initial_weights
            ),
            objective=Hinge(),
            optimizers={
                "generator": partial(adam, lr=generator_lr),
                "discriminator": partial(adam, lr=discriminator_lr),
            },
            regularizers=regularizers,
            generator_regularizers={"orthogonal": Orthogonal(weight=orthogonal)} if orthogonal else None,
            augment=augment,
            discriminator_steps=discriminator_steps,
            ema=Decay(ema_decay, from_nimg=ema_from_nimg),
            runtime=runtime,
        )

    def weights(self, name: str) -> list[Tensor]:
        """Return the weights that a player moves but the shared embedding, whose rows are not to be orthogonal."""
        shared = getattr(self.generator, "shared", None)
        return [weight for weight in super().weights(name) if shared is None or weight is not shared.weight]

    @property
    def layers(self) -> int:
        """The first layer and each block, which see parts of the latent."""
        parts = getattr(self.ema, "parts", 1)
        return parts if parts > 1 else 0

    def mixed(self, latents: Tensor, labels: Labels, truncation: float | None) -> Images:
        """Run the averaged generator with the part for layer k of row k."""
        parts = [row.chunk(self.layers, 1)[k] for k, row in enumerate(latents.unbind(1))]
        return self.averaged(torch.cat(parts, 1), labels)
