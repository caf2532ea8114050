"""The Lightning modules: the game, and one file for each paper."""

from ganlab.models.adversarial import GANModule
from ganlab.models.ali import ALI
from ganlab.models.alphagan import AlphaGAN
from ganlab.models.autoencoder import AdversarialAutoencoder
from ganlab.models.avb import AVB
from ganlab.models.bigan import BiGAN
from ganlab.models.dcgan import DCGAN
from ganlab.models.progressive import ProgressiveGAN
from ganlab.models.projection import ProjectionGAN
from ganlab.models.sngan import SNGAN
from ganlab.models.vae import VAE
from ganlab.models.vaegan import VAEGAN

__all__ = [
    "ALI",
    "AVB",
    "DCGAN",
    "SNGAN",
    "VAE",
    "VAEGAN",
    "AdversarialAutoencoder",
    "AlphaGAN",
    "BiGAN",
    "GANModule",
    "ProgressiveGAN",
    "ProjectionGAN",
]
