"""The Lightning modules: the game, and one file for each paper."""

from ganlab.models.adversarial import GANModule
from ganlab.models.dcgan import DCGAN
from ganlab.models.dirac import DiracGAN
from ganlab.models.progressive import ProgressiveGAN
from ganlab.models.projection import ProjectionGAN
from ganlab.models.sngan import SNGAN

__all__ = ["DCGAN", "SNGAN", "DiracGAN", "GANModule", "ProgressiveGAN", "ProjectionGAN"]
