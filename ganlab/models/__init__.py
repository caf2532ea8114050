"""The Lightning modules: the game, and one file for each paper."""

from ganlab.models.acgan import ACGAN
from ganlab.models.adversarial import GANModule
from ganlab.models.ali import ALI
from ganlab.models.alphagan import AlphaGAN
from ganlab.models.autoencoder import AdversarialAutoencoder
from ganlab.models.avb import AVB
from ganlab.models.bigan import BiGAN
from ganlab.models.biggan import BigGAN
from ganlab.models.biggan_deep import BigGANDeep
from ganlab.models.cyclegan import CycleGAN
from ganlab.models.dann import DANN
from ganlab.models.dcgan import DCGAN
from ganlab.models.denoising import DenoisingAutoencoder
from ganlab.models.dirac import DiracGAN
from ganlab.models.fanogan import FAnoGAN
from ganlab.models.gan import GAN
from ganlab.models.infogan import InfoGAN
from ganlab.models.lapgan import LAPGAN
from ganlab.models.likelihood import MaximumLikelihood
from ganlab.models.pix2pix import Pix2Pix
from ganlab.models.progressive import ProgressiveGAN
from ganlab.models.projected import ProjectedGAN
from ganlab.models.projection import ProjectionGAN
from ganlab.models.r3gan import R3GAN
from ganlab.models.sagan import SAGAN
from ganlab.models.semisupervised import SemiSupervisedGAN
from ganlab.models.semisupervised_autoencoder import SemiSupervisedAutoencoder
from ganlab.models.shaped_autoencoder import ShapedAutoencoder
from ganlab.models.sngan import SNGAN
from ganlab.models.stylegan2 import StyleGAN2
from ganlab.models.stylegan2_auto import StyleGAN2Auto
from ganlab.models.superresolution import SuperResolution
from ganlab.models.vae import VAE
from ganlab.models.vaegan import VAEGAN

__all__ = [
    "ACGAN",
    "ALI",
    "AVB",
    "DANN",
    "DCGAN",
    "GAN",
    "LAPGAN",
    "R3GAN",
    "SAGAN",
    "SNGAN",
    "VAE",
    "VAEGAN",
    "AdversarialAutoencoder",
    "AlphaGAN",
    "BiGAN",
    "BigGAN",
    "BigGANDeep",
    "CycleGAN",
    "DenoisingAutoencoder",
    "DiracGAN",
    "FAnoGAN",
    "GANModule",
    "InfoGAN",
    "MaximumLikelihood",
    "Pix2Pix",
    "ProgressiveGAN",
    "ProjectedGAN",
    "ProjectionGAN",
    "SemiSupervisedAutoencoder",
    "SemiSupervisedGAN",
    "ShapedAutoencoder",
    "StyleGAN2",
    "StyleGAN2Auto",
    "SuperResolution",
]
