"""The projection discriminator: Miyato & Koyama 2018, "cGANs with projection discriminator"."""

from typing import ClassVar

from ganlab.models.sngan import SNGAN


class ProjectionGAN(SNGAN):
    """SN-GAN that knows the class: conditional batch norm in the generator, an inner product in the discriminator.

    The defaults are those of the authors' code for CIFAR-10; the arguments and the departures are SN-GAN's. The fakes'
    labels are drawn uniformly over the classes, or with `fake_labels: data` are those of the reals in the batch.
    """

    conditional_networks: ClassVar[bool] = True
