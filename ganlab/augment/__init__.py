"""Augmentation of what the discriminator sees, in both players' steps; penalties are on the images before it.

StyleGAN2-ADA's entry is `augment: {_target_: ganlab.augment.ADA}`; R3GAN's, for CIFAR-10, is
`augment: {_target_: ganlab.augment.ADA, p: SCHEDULE, colour: 0.5, cutout: 1.0}`, with any schedule of images shown.
"""

from ganlab.augment.ada import ADA, Adaptive
from ganlab.augment.base import Augment, augmented, change_of, drawn
from ganlab.augment.diffaugment import DiffAugment
from ganlab.augment.plain import InstanceNoise, MirrorFlip

__all__ = [
    "ADA",
    "Adaptive",
    "Augment",
    "DiffAugment",
    "InstanceNoise",
    "MirrorFlip",
    "augmented",
    "change_of",
    "drawn",
]
