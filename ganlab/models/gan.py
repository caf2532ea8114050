"""The first GAN: Goodfellow et al. 2014, "Generative adversarial nets"."""

from functools import partial

from torch import Tensor
from torch.optim import SGD

from ganlab.engine.averages import Decay
from ganlab.engine.dynamics import Simultaneous
from ganlab.engine.optimizers import MakeOptimizer
from ganlab.engine.runtime import Runtime
from ganlab.models.adversarial import GANModule
from ganlab.networks import maxout
from ganlab.objectives import NonSaturating
from ganlab.schedules import Exponential, Linear, Schedule
from ganlab.seeding import Noise
from ganlab.types import ImageSpec, Labels

MOMENTUM = Linear(start=0.5, end=0.7, from_nimg=50_000, until_nimg=12_500_000)
"""From the first to the 250th epoch of 50,000 images."""
GENERATOR_LR = Exponential(start=0.1, factor=1 / 1.000004, every_nimg=100, least=1e-6)
DISCRIMINATOR_LR = Exponential(start=0.05, factor=1 / 1.000004, every_nimg=100, least=5e-7)
"""Divided at each batch of 100; half the generator's, see `GAN`."""


class GAN(GANModule):
    """Rectifiers against maxout and dropout, both updated from the same weights: the values of its code for MNIST.

    Both losses see the same latents and the same dropout. The code halves the discriminator's loss: with SGD that is
    half the learning rate, and the recorded loss remains the sum, 2 log 2 where nothing can be told apart. Samples are
    made with the newest weights, not with an average.

    Args:
        image: shape of the images.
        generator_width, discriminator_width: units of each hidden layer.
        generator_bound, discriminator_bound: the initial weights are uniform in [-bound, bound].
        latent: dimensions of the latent.
        keep_image, keep_hidden: shares of pixels and hidden units that dropout keeps in the discriminator.
        generator_lr, discriminator_lr, momentum: SGD's.
    """

    BATCH = 100

    def __init__(
        self,
        *,
        image: ImageSpec,
        generator_width: int = 1200,
        discriminator_width: int = 240,
        generator_bound: float = 0.05,
        discriminator_bound: float = 0.005,
        latent: int = 100,
        keep_image: float = 0.8,
        keep_hidden: float = 0.5,
        generator_lr: float | Schedule = GENERATOR_LR,
        discriminator_lr: float | Schedule = DISCRIMINATOR_LR,
        momentum: float | Schedule = MOMENTUM,
        runtime: Runtime = Runtime(),
    ) -> None:
        super().__init__(
            image=image,
            generator=maxout.Generator(image=image, width=generator_width, bound=generator_bound, latent=latent),
            discriminator=maxout.Discriminator(
                image=image,
                width=discriminator_width,
                bound=discriminator_bound,
                keep_image=keep_image,
                keep_hidden=keep_hidden,
            ),
            objective=NonSaturating(),
            optimizers={
                "generator": sgd(lr=generator_lr, momentum=momentum),
                "discriminator": sgd(lr=discriminator_lr, momentum=momentum),
            },
            ema=Decay(0.0),
            dynamics=Simultaneous(),
            runtime=runtime,
        )

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw the same for both losses."""
        return super().draw("discriminator", n, noise, labels)


def sgd(**scalars: float | Schedule) -> MakeOptimizer:
    """Return stochastic gradient descent with scheduled scalars, for which torch has no types."""
    return partial(SGD, **scalars)  # type: ignore[arg-type]
