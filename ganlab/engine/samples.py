"""Sampling with a game's averaged networks: from a seed, of which image i is always the same, or from real images."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ganlab.classes import numbers_of
from ganlab.engine import sharding
from ganlab.layers.batchnorm import keeps_statistics, restarted
from ganlab.pictures.grids import to_uint8
from ganlab.priors import Normal, Prior
from ganlab.seeding import SAMPLE_BATCH, Noise
from ganlab.types import Images, ImageSpec, Labels, Latents, Pixels, UserError, px

AVERAGE = "_ema"
"""End of the names of all averages but the first, which is `ema`, after the names of their networks."""


def blocks(numbers: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Group numbers of images by the block of `SAMPLE_BATCH` that they lie in: its first number, and they."""
    for block, wanted in groupby(sorted(set(numbers)), lambda i: i // SAMPLE_BATCH):
        yield block * SAMPLE_BATCH, list(wanted)


class Sampling(pl.LightningModule):
    """A module whose average `ema` maps latents and labels to images, or whose averages make images of real ones.

    Args:
        image: shape of its images.
        dtype: dtype of latents and images.
    """

    ema: nn.Module
    encoder_ema: nn.Module
    prior: Prior | None = None
    """Of the latents; None is N(0, 1)."""
    average_names: dict[str, str]
    """Attributes that hold the averages, by the names of their networks; the first one is `ema`."""
    columns: int | None = None
    """Samples in a row of a grid, where their order has a meaning."""

    def __init__(self, image: ImageSpec, dtype: torch.dtype) -> None:
        super().__init__()
        self.image, self.real_dtype = image, dtype

    @property
    def averaged_networks(self) -> list[nn.Module]:
        """The averages, `ema` first."""
        return [getattr(self, at) for at in self.average_names.values()]

    @property
    def latent(self) -> int:
        """Dimensions of the latent; 0 for a game that makes no images of latents."""
        return self.prior.dims if self.prior else int(getattr(self.ema, "latent", 0))

    @property
    def normal(self) -> bool:
        """Whether its latents are all standard normal numbers."""
        plain = type(self).draw_latents is Sampling.draw_latents
        return plain and self.prior in (None, Normal(dims=self.latent))

    @property
    def classes(self) -> int:
        """Number of classes that samples can be conditioned on; 0 for none."""
        return int(getattr(self.ema, "classes", 0))

    @torch.no_grad()
    def sample(
        self,
        n: int | Sequence[int],
        seed: int = 0,
        labels: Sequence[int | str] | None = None,
        truncation: float | None = None,
    ) -> Tensor:
        """Make uint8 images [n, c, h, w] with the averaged network: the first `n` of a seed, or those of some numbers.

        Image i of a seed is always the same. `labels` are names or numbers of classes: image i gets label i, and they
        are repeated as often as needed; None draws them uniformly. `truncation` is that of `truncated`; None for none.
        """
        numbers = range(n) if isinstance(n, int) else n
        if not self.latent:
            of_reals = "; it makes some of real images: --from IMAGES" if self.remakes() else ""
            raise UserError(f"{type(self).__name__}: makes no images of a seed{of_reals}")
        if not numbers or min(numbers) < 0:
            raise UserError(f"n: {n} images; ask for at least 1, or for numbers from 0")
        if labels is not None:
            if not self.classes:
                raise UserError("labels: this generator takes none; it was trained without classes")
            if not labels:
                raise UserError("labels: none given; name at least one, or leave the argument out to draw them")
        chosen = None if labels is None else numbers_of(labels, self.image)
        made: dict[int, Tensor] = {}
        for start, wanted in blocks(numbers):
            images, _ = self.synthesize(start, seed, "sample", chosen, truncation)
            made |= zip(wanted, to_uint8(images)[[i - start for i in wanted]], strict=True)
        return torch.stack([made[i] for i in numbers])

    @torch.no_grad()
    def synthesize(
        self, start: int, seed: int, name: str, labels: Sequence[int] | None = None, truncation: float | None = None
    ) -> tuple[Images, Labels]:
        """Make the `SAMPLE_BATCH` images from number `start` on with the averaged network; `start` is a multiple."""
        noise = Noise(seed, 0, start, dtype=self.real_dtype)  # drawn on the CPU: the same on every machine
        latents, classes = self.draw_latents(SAMPLE_BATCH, noise, name)
        if labels is not None:
            classes = torch.tensor([labels[i % len(labels)] for i in range(start, start + SAMPLE_BATCH)])
        sharding.gather(*self.averaged_networks)
        if truncation is None:
            images = self.averaged(latents.to(self.device), classes.to(self.device))
        else:
            images = self.truncated(latents, classes, truncation, noise, name)
        sharding.release(*self.averaged_networks)
        return images, classes

    def averaged(self, latents: Latents, labels: Labels) -> Images:
        """Run the averaged network; images have the full size, even while training is at a smaller one."""
        return self.ema(latents, labels)  # type: ignore[no-any-return]

    def truncated(self, latents: Latents, labels: Labels, truncation: float, noise: Noise, name: str) -> Images:
        """Run the averaged network with less variety, for better images (Brock et al. 2019, section 3.1).

        Here numbers of the latents beyond +-truncation are drawn again, from `noise` under a name that begins with
        `name`, until they are within. For a game to override where truncation means something else, or nothing: then it
        raises a UserError. Latents and labels are on the CPU.
        """
        latents = self.redrawn(latents, truncation, noise, name)
        return self.averaged(latents.to(self.device), labels.to(self.device))

    def redrawn(self, latents: Latents, truncation: float, noise: Noise, name: str) -> Latents:
        """Draw numbers of latents beyond +-truncation again; `UserError` if they are not standard normal."""
        if not self.normal:
            raise UserError(
                f"truncation: {truncation}, but the latents of {type(self).__name__} are not all standard normal "
                "numbers, which could be cut off; leave it out"
            )
        if not truncation > 0:
            raise UserError(f"truncation: {truncation}: write a number above 0, such as 0.5")
        return within(latents, truncation, noise.uniform(f"{name} truncation", *latents.shape))

    @property
    def layers(self) -> int:
        """Layers of the averaged network that may see different latents, as `mixed` takes them; 0 for none."""
        return 0

    def mixed(self, latents: Tensor, labels: Labels, truncation: float | None) -> Images:
        """Run the averaged network with latents of its own for each layer [n, layers, latent], truncated or not.

        For a game with `layers` to override. Latents that were `redrawn` are within the truncation.
        """
        raise NotImplementedError(type(self).__name__)

    @torch.no_grad()
    def stand(self, passes: int, truncation: float | None = None, seed: int = 0) -> None:
        """Give the averaged network standing statistics: those of `passes` batches of its own samples, averaged.

        Its batch norms then have the statistics of its own weights, and of latents that are truncated like those of the
        samples, instead of the live network's in training (Brock et al. 2019, appendix D).
        """
        if not keeps_statistics(self.ema):
            raise UserError(f"standing: {type(self).__name__} has no batch norm with running statistics; leave it out")
        with restarted(self.ema, SAMPLE_BATCH) as begin:
            for number in range(passes):
                begin(number)
                self.synthesize(number * SAMPLE_BATCH, seed, "standing", truncation=truncation)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Latents:
        """Return the codes [n, latent] of uint8 images [n, c, h, w], or of floats in [-1, 1].

        Only for games that average a network named `encoder`, which is used in evaluation mode.
        """
        if not hasattr(self, "encoder_ema"):
            raise UserError(
                f"encode: a {type(self).__name__} has no encoder; `ganlab invert` searches for codes instead"
            )
        sharding.gather(self.encoder_ema)
        codes = self.encoded(self.as_floats(images.to(self.device)))
        sharding.release(self.encoder_ema)
        return codes

    def encoded(self, images: Images) -> Latents:
        """Run the averaged encoder: of several outputs, the first one is the code, or its mean if it is random."""
        outputs = self.encoder_ema(images)
        return outputs[0] if isinstance(outputs, tuple) else outputs  # type: ignore[no-any-return]

    def draw_latents(self, n: int, noise: Noise, name: str) -> tuple[Latents, Labels]:
        """Draw latents from the prior, and labels uniformly (-1 where the network takes none)."""
        prior = self.prior or Normal(dims=self.latent)
        latents = prior.draw(f"{name} latents", n, noise)
        if not self.classes:
            return latents, torch.full((n,), -1, device=latents.device)
        return latents, noise.classes(f"{name} labels", n, self.classes)

    # --- from real images

    @property
    def inputs(self) -> tuple[ImageSpec, ...]:
        """Shapes of the images that `made_from` takes, those of the data first."""
        return (self.image,)

    def made_from(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        """Return what the averaged networks make of real images, by title; empty for a game that makes nothing of them.

        For a game to override. It is a function of each image: the same in every call. The first title is the output.
        A picture shows the images themselves before it, or in their place what is given the title "input".
        """
        return {}

    def made_from_other(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        """Return the same for images of the data's other stream."""
        return {}

    def remakes(self, other: bool = False) -> bool:
        """Tell whether the game makes something of real images, or of those of the other stream."""
        name = "made_from_other" if other else "made_from"
        return getattr(type(self), name) is not getattr(Sampling, name)

    @torch.no_grad()
    def remake(self, images: Tensor, labels: Labels | None = None, *, other: bool = False) -> dict[str, Pixels]:
        """Return real images and what the averaged networks make of them, as uint8 [n, c, h, w], by title.

        The input is first, then the output.

        Args:
            images: uint8, or floats in [-1, 1], of one of the shapes of `inputs`.
            labels: their classes [n]; None for none.
            other: they are of the data's other stream.
        """
        if not self.remakes(other):
            stream = "the data's other stream" if other else "the data"
            raise UserError(f"{type(self).__name__}: makes nothing of images of {stream}; leave --from out")
        make = self.made_from_other if other else self.made_from
        shape = tuple(images.shape[1:])
        if shape not in [(image.channels, image.height, image.width) for image in self.inputs]:
            raise UserError(f"images: {told(shape)}; {type(self).__name__} takes {self.inputs_in_words}")
        labels = torch.full((len(images),), -1) if labels is None else labels
        sharding.gather(*self.averaged_networks)
        made = list[dict[str, Pixels]]()
        for block, of in zip(images.split(SAMPLE_BATCH), labels.split(SAMPLE_BATCH), strict=True):
            real = self.as_floats(block.to(self.device))
            found = {"input": real} | make(real, of.to(self.device))
            made.append({title: to_uint8(part) for title, part in found.items()})
        sharding.release(*self.averaged_networks)
        return {title: torch.cat([part[title] for part in made]) for title in made[0]}

    def as_floats(self, images: Tensor) -> Images:
        """Map uint8 images to [-1, 1]; floats stay."""
        floats = images.to(self.real_dtype, memory_format=torch.channels_last)
        return floats.div(127.5).sub(1.0) if images.dtype == torch.uint8 else floats

    @property
    def inputs_in_words(self) -> str:
        """Name the shapes of `inputs`."""
        return " or ".join(told((image.channels, image.height, image.width)) for image in self.inputs)


def within(latents: Latents, bound: float, shares: Tensor) -> Latents:
    """Replace normal numbers beyond +-bound by draws of a normal number that is within: its quantiles of `shares`.

    Drawing again until a number is within has the same distribution, but no bound on the number of draws.
    """
    beyond = float(torch.special.ndtr(torch.tensor(-bound, dtype=torch.float64)))
    quantiles = torch.special.ndtri(beyond + shares.double() * (1 - 2 * beyond)).clamp(-bound, bound)
    return torch.where(latents.abs() <= bound, latents, quantiles.to(latents.dtype))


def told(shape: Sequence[int]) -> str:
    """Write a shape [c, h, w] as a person does."""
    channels, height, width = shape
    return f"{px(height, width)} px in {channels} channel{'s' * (channels > 1)}"
