"""What games with an encoder share: codes follow a prior, and images come back from their codes."""

from torch import Tensor, nn

from ganlab.engine.batch import Batch
from ganlab.engine.game import Game
from ganlab.types import Images, Labels, Latents, PerSample


class Autoencoding(Game):
    """A game that averages a network named `encoder` beside the one that decodes, which is its first average."""

    encoder: nn.Module

    def made_from(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        """Return the reconstructions."""
        return {"reconstruction": self.averaged(self.encoded(images), labels)}


class Variational(Autoencoding):
    """One whose encoder gives mean and log-variance of a normal distribution of codes (Kingma & Welling 2014)."""

    decoder: nn.Module

    def encode_and_decode(self, batch: Batch) -> tuple[Images, PerSample]:
        """Return reconstructions by one z of q(z | x), of the batch's "noise", and KL(q(z | x) || N(0, 1))."""
        mean, log_variance = self.call(self.encoder, batch.real)
        codes = reparametrized(mean, log_variance, batch["noise"])
        return self.call(self.decoder, codes), divergence(mean, log_variance)


def reparametrized(mean: Latents, log_variance: Latents, noise: Latents) -> Latents:
    """Return codes of the normal distribution that standard normal noise makes."""
    return mean + (log_variance / 2).exp() * noise


def divergence(mean: Latents, log_variance: Latents) -> PerSample:
    """Return the divergence KL(N(mean, variance) || N(0, 1)) of each sample (Kingma & Welling 2014, appendix B)."""
    return (mean.square() + log_variance.exp() - log_variance - 1).sum(1) / 2
