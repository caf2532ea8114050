"""The projection discriminator: Miyato & Koyama 2018, "cGANs with projection discriminator"."""

from typing import ClassVar

from ganlab.models.sngan import SNGAN


class ProjectionGAN(SNGAN):
    """A conditional SN-GAN: conditional batch norm in the generator, an inner product in the discriminator.

    The defaults are those of the authors' code for CIFAR-10; the arguments and the deviations are SN-GAN's. The labels
    of the fakes are drawn uniformly over the classes, or with `fake_labels: data` are those of the reals.
    """

    conditional_networks: ClassVar[bool] = True
