"""The Lightning modules: the game, and one file for each paper."""

from ganlab.models.adversarial import GANModule
from ganlab.models.cyclegan import CycleGAN
from ganlab.models.dcgan import DCGAN
from ganlab.models.lapgan import LAPGAN
from ganlab.models.pix2pix import Pix2Pix
from ganlab.models.progressive import ProgressiveGAN
from ganlab.models.projection import ProjectionGAN
from ganlab.models.sngan import SNGAN
from ganlab.models.superresolution import SuperResolution

__all__ = [
    "DCGAN",
    "LAPGAN",
    "SNGAN",
    "CycleGAN",
    "GANModule",
    "Pix2Pix",
    "ProgressiveGAN",
    "ProjectionGAN",
    "SuperResolution",
]
