"""The Lightning modules: the game, and one file for each paper."""

from ganlab.models.base import GANModule
from ganlab.models.dcgan import DCGAN
from ganlab.models.progressive import ProgressiveGAN

__all__ = ["DCGAN", "GANModule", "ProgressiveGAN"]
