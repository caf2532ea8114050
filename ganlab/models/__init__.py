"""The Lightning modules: the game, and one file for each paper."""

from ganlab.models.acgan import ACGAN
from ganlab.models.adversarial import GANModule
from ganlab.models.dann import DANN
from ganlab.models.dcgan import DCGAN
from ganlab.models.infogan import InfoGAN
from ganlab.models.progressive import ProgressiveGAN
from ganlab.models.projection import ProjectionGAN
from ganlab.models.semisupervised import SemiSupervisedGAN
from ganlab.models.sngan import SNGAN

__all__ = [
    "ACGAN",
    "DANN",
    "DCGAN",
    "SNGAN",
    "GANModule",
    "InfoGAN",
    "ProgressiveGAN",
    "ProjectionGAN",
    "SemiSupervisedGAN",
]
