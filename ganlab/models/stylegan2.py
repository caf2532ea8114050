"""StyleGAN2: Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN"."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from ganlab.augment import Augment
from ganlab.engine.batch import Batch
from ganlab.engine.game import Loss
from ganlab.engine.optimizers import lazy
from ganlab.engine.penalties import judge
from ganlab.engine.runtime import Runtime
from ganlab.models.adversarial import GANModule
from ganlab.networks import stylegan2
from ganlab.networks.stylegan2 import Architecture
from ganlab.objectives import NonSaturating
from ganlab.regularizers import R1, PathLength, Regularizer
from ganlab.regularizers.outputs import follow
from ganlab.schedules import Schedule
from ganlab.seeding import Noise
from ganlab.types import Images, ImageSpec, Labels

R1_EVERY, PATH_LENGTH_EVERY = 16, 4
REGULARIZERS = MappingProxyType({"r1": R1(weight=10.0, every=R1_EVERY)})
GENERATOR_REGULARIZERS = MappingProxyType({"path_length": PathLength(weight=2.0, every=PATH_LENGTH_EVERY)})
W_MEAN_DECAY = 0.995


class StyleGAN2(GANModule):
    """A mapping network, modulated convolutions with noise, and lazy R1 and path length: configuration F at 1024 px.

    Deviations from the authors' code: a due penalty is added to the loss of its step, where the code makes a step of
    its own, so the path length is of the whole batch, not of half of it; the discriminator steps first; the layer from
    which on a second latent takes over is drawn for each sample, not for a batch on one GPU; the running means of w
    and of the path length are those of all processes; features are not clamped. Samples have constant maps of noise.

    Args:
        image: square, of 8, 16, 32, ... 1024 px.
        width_base, width_max: channels at a size are `width_base / size`, at most `width_max`.
        latent: dimensions of the latent.
        style_width: dimensions of w, and width of the mapping network.
        mapping_layers: layers of the mapping network.
        architecture: of the generator; its colours are summed over the sizes.
        discriminator_architecture: of the discriminator.
        conditional: condition both networks on the class; the fakes have the labels of the reals.
        mixing: share of the samples whose layers from a random one on have the w of a second latent.
        lr, betas: Adam's, for both players; corrected for the lazy penalties as in appendix B.
        ema_half_life: of the generator's average, in reals shown.

    The discriminator takes the minibatch deviation over groups of `train.group` consecutive samples. The other
    arguments are `GANModule`'s.
    """

    BATCH = 32
    RECORDS = (*GANModule.RECORDS, "w")
    generator: stylegan2.Generator

    def __init__(
        self,
        *,
        image: ImageSpec,
        width_base: int = 32768,
        width_max: int = 512,
        latent: int = 512,
        style_width: int = 512,
        mapping_layers: int = 8,
        architecture: Architecture = "skip",
        discriminator_architecture: Architecture = "resnet",
        conditional: bool = False,
        mixing: float = 0.9,
        lr: float = 0.002,
        betas: tuple[float, float] = (0.0, 0.99),
        regularizers: Mapping[str, Regularizer] = REGULARIZERS,
        generator_regularizers: Mapping[str, Regularizer] = GENERATOR_REGULARIZERS,
        augment: Augment | None = None,
        ema_half_life: float | Schedule = 10_000.0,
        runtime: Runtime = Runtime(),
    ) -> None:
        adam = partial(Adam, lr=lr, betas=betas)
        common: dict[str, Any] = {"image": image, "conditional": conditional}
        common |= {"width_base": width_base, "width_max": width_max}
        style: dict[str, Any] = {"latent": latent, "style_width": style_width, "mapping_layers": mapping_layers}
        super().__init__(
            image=image,
            generator=stylegan2.Generator(architecture=architecture, **style, **common),
            discriminator=stylegan2.Discriminator(
                architecture=discriminator_architecture, group=runtime.group, **common
            ),
            objective=NonSaturating(),
            optimizers={"generator": lazy(adam, PATH_LENGTH_EVERY), "discriminator": lazy(adam, R1_EVERY)},
            regularizers=regularizers,
            generator_regularizers=generator_regularizers,
            augment=augment,
            ema_half_life=ema_half_life,
            fake_labels="data",
            runtime=runtime,
        )
        self.mixing = mixing

    def fakes(self, batch: Batch) -> Images:
        """Make images of the batch's latents and noise."""
        return self.images_of(self.styles(batch)[1], *self.maps(batch))

    def generator_loss(self, batch: Batch) -> Loss:
        """-log D(G(z)), and the due path length, at the w of every layer; the first w is fed back."""
        first, w = self.styles(batch)
        penalties, made = judge(self.images_of, {"latents": (w, *self.maps(batch))}, batch)
        fake = self.judged(*self.seen(batch, "fake", made.pop("latents"), batch.fake_labels))
        return {"loss": self.objective.generator(fake), **penalties}, {**made, "w": first}

    def styles(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the w of the latents [n, style_width], and that of each layer [n, layers, style_width], mixed."""
        w = self.call(self.generator.mapping, batch.latents, batch.fake_labels)
        layers = self.generator.repeated(w)
        if not self.mixing:
            return w, layers
        second = self.generator.repeated(self.call(self.generator.mapping, batch["mixed"], batch.fake_labels))
        after = torch.arange(layers.shape[1], device=w.device) >= batch["cut"][:, None]
        return w, torch.where(after[..., None], second, layers)

    def maps(self, batch: Batch) -> list[Tensor]:
        """Return the noise of every layer."""
        return [batch[f"map {number}"] for number in range(len(self.generator.noise_sizes))]

    def images_of(self, w: Tensor, *maps: Tensor, full: bool = False) -> Images:
        """Run the live generator on the w of every layer."""
        return self.call(self.generator.synthesize, w, *maps, full=full)  # type: ignore[no-any-return]

    def truncated(self, latents: Tensor, labels: Labels, truncation: float | Tensor, noise: Noise, name: str) -> Images:
        """Run the averaged network with w at `truncation` of its distance from its mean: 0 gives one image, 1 all.

        (Karras et al. 2019, appendix B.) The mean is over all classes.
        """
        assert isinstance(self.ema, stylegan2.Generator)
        w = self.ema.mapping(latents.to(self.device), labels.to(self.device))
        return self.ema.synthesize(self.ema.repeated(self.ema.w_mean.lerp(w, truncation)))

    @property
    def layers(self) -> int:
        """Those that w reaches."""
        return len(self.generator.noise_sizes) + 1

    def mixed(self, latents: Tensor, labels: Labels, truncation: float | None) -> Images:
        """Run the averaged generator with the w of row k in layer k."""
        assert isinstance(self.ema, stylegan2.Generator)
        w = self.ema.mapping(latents.flatten(0, 1), labels.repeat_interleave(self.layers))
        w = w.unflatten(0, (-1, self.layers))
        return self.ema.synthesize(w if truncation is None else self.ema.w_mean.lerp(w, truncation))

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw the noise of every layer too, a second latent, and the layer from which on it takes over."""
        found = super().draw(player, n, noise, labels)
        sizes = self.generator.noise_sizes
        found |= {f"map {i}": noise.normal(f"{player} map {i}", n, 1, s, s) for i, s in enumerate(sizes)}
        if self.mixing:
            found["mixed"] = noise.normal(f"{player} mixed latents", n, self.generator.latent)
            coin, place = noise.uniform(f"{player} cut", n, 2).unbind(1)
            found["cut"] = torch.where(coin < self.mixing, 1 + (place * len(sizes)).long(), len(sizes) + 1)
        return found

    def feed_back(self, player: str, found: Mapping[str, Tensor]) -> None:
        """Let the mean of w follow the generator's steps."""
        super().feed_back(player, found)
        if player == "generator":
            follow(self.generator.w_mean, found["w"].mean(0), W_MEAN_DECAY)
