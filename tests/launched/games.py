"""Games of two, three and four players with toy networks, each a paper's rules in a few lines.

All are named in configs as `games.<class>`, with `--trust games`. Images are of 8 px and one channel.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Adam, RMSprop

from ganlab import distributed
from ganlab.constraints import WeightClip
from ganlab.engine.averages import Decay, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.dynamics import Dynamics, Simultaneous
from ganlab.engine.game import Game, Loss
from ganlab.engine.penalties import judge
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.models import GANModule
from ganlab.networks.pretrained import Features
from ganlab.objectives import NonSaturating
from ganlab.regularizers import R1, Regularizer
from ganlab.schedules import Linear
from ganlab.seeding import Noise
from ganlab.types import ImageSpec, Labels

LATENT, PIXELS = 4, 64
ADAM = partial(Adam, lr=2e-3, betas=(0.5, 0.99))


class Generator(nn.Module):
    """Latents to images."""

    latent, classes = LATENT, 0

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(LATENT, 8), nn.Softplus(), nn.Linear(8, PIXELS), nn.Tanh())

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """[n, 4] to [n, 1, 8, 8]."""
        images: Tensor = self.layers(latents).unflatten(1, (1, 8, 8))
        return images


class Encoder(nn.Module):
    """Images to latents."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 8), nn.Softplus(), nn.Linear(8, LATENT))

    def forward(self, images: Tensor) -> Tensor:
        """[n, 1, 8, 8] to [n, 4]."""
        codes: Tensor = self.layers(images)
        return codes


class Judge(nn.Module):
    """Anything, flattened and side by side, to logits."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, 8), nn.Softplus(), nn.Linear(8, 1))

    def forward(self, *inputs: Tensor) -> Tensor:
        """[n, ...] and more to [n]."""
        logits: Tensor = self.layers(torch.cat([each.flatten(1) for each in inputs], 1))
        return logits[:, 0]


class Scales(nn.Module):
    """Images to maps at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        pairs = [(3, 4, 4), (4, 2, 2), (2, 3, 2), (3, 2, 2)]
        self.layers = nn.ModuleList(nn.Conv2d(before, after, by, stride=by) for before, after, by in pairs)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[n, 3, h, w] to four maps."""
        maps = [images]
        for layer in self.layers:
            maps.append(torch.tanh(layer(maps[-1])))
        return maps[1:]


class FewFeatures(Features):
    """A frozen network for a projected discriminator, with random weights."""

    def __init__(self) -> None:
        super().__init__(Scales(), (4, 2, 3, 2))


class JudgeOfImages(Judge):
    """Images to logits, as a game of two has it."""

    classes = 0

    def __init__(self) -> None:
        super().__init__(PIXELS)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """[n, 1, 8, 8] to [n]."""
        return super().forward(images)


def apart(real: Tensor, fake: Tensor) -> Tensor:
    """Return the logistic loss of who tells them apart."""
    return softplus(-real) + softplus(fake)


class Duel(GANModule):
    """The adversarial game of two networks that are smooth and tiny, under any dynamics."""

    def __init__(self, *, image: ImageSpec, dynamics: Dynamics, runtime: Runtime = Runtime()) -> None:
        pixels = image.channels * image.height * image.width
        super().__init__(
            image=image,
            generator=Sketch(image, pixels),
            discriminator=Critic(pixels),
            objective=NonSaturating(),
            optimizers={"generator": ADAM, "discriminator": ADAM},
            regularizers={"r1": R1(weight=0.5)},
            ema_half_life=50.0,
            dynamics=dynamics,
            runtime=runtime,
        )


class Sketch(nn.Module):
    """Latents to images, unbounded."""

    latent, classes = LATENT, 0

    def __init__(self, image: ImageSpec, pixels: int) -> None:
        super().__init__()
        self.shape = (image.channels, image.height, image.width)
        self.layers = nn.Sequential(nn.Linear(LATENT, 3), nn.Tanh(), nn.Linear(3, pixels))

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """[n, 4] to [n, c, h, w]."""
        images: Tensor = self.layers(latents).unflatten(1, self.shape)
        return images


class Critic(nn.Module):
    """Images to logits."""

    classes = 0

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 3), nn.Softplus(), nn.Linear(3, 1))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """[n, c, h, w] to [n]."""
        logits: Tensor = self.layers(images)
        return logits[:, 0]


class BiGAN(Game):
    """Pairs of image and code (Donahue et al. 2017, eq. 3 and 4); one player moves two networks."""

    generator: nn.Module
    encoder: nn.Module
    discriminator: nn.Module

    def __init__(
        self,
        *,
        image: ImageSpec,
        regularizers: Mapping[str, Regularizer] | None = None,
        runtime: Runtime = Runtime(),
    ) -> None:
        super().__init__(
            image=image,
            networks={"generator": Generator(), "encoder": Encoder(), "discriminator": Judge(PIXELS + LATENT)},
            players={
                "discriminator": Player(
                    "discriminator", optimizer=ADAM, regularizers=regularizers or {"r1": R1(weight=2.0, every=2)}
                ),
                "generator": Player("generator", "encoder", optimizer=ADAM),
            },
            averages={"generator": HalfLife(50.0), "encoder": HalfLife(25.0)},
            runtime=runtime,
        )

    def score(self, images: Tensor, codes: Tensor, full: bool = False) -> Tensor:
        """Run the discriminator on pairs."""
        logits: Tensor = self.call(self.discriminator, images, codes, full=full)
        return logits

    def pairs(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """Return (x, E(x)) and (G(z), z)."""
        real = batch.real, self.call(self.encoder, batch.real)
        return {"real": real, "fake": (self.call(self.generator, batch.latents), batch.latents)}

    def discriminator_loss(self, batch: Batch) -> Loss:
        """Eq. 3."""
        with torch.no_grad():
            pairs = self.pairs(batch)
        penalties, logits = judge(self.score, pairs, batch)
        return {"loss": apart(logits["real"], logits["fake"]), **penalties}

    def generator_loss(self, batch: Batch) -> Loss:
        """Eq. 4, the non-saturating form."""
        logits = {at: self.score(*pair) for at, pair in self.pairs(batch).items()}
        return {"loss": apart(logits["fake"], logits["real"])}


class Autoencoder(Game):
    """An adversarial autoencoder (Makhzani et al. 2016): three players, two of which move the encoder."""

    generator: nn.Module
    encoder: nn.Module
    critic: nn.Module

    def __init__(self, *, image: ImageSpec, simultaneous: bool = False, runtime: Runtime = Runtime()) -> None:
        super().__init__(
            image=image,
            networks={"encoder": Encoder(), "generator": Generator(), "critic": Judge(LATENT)},
            players={
                "autoencoder": Player("encoder", "generator", optimizer=ADAM),
                "critic": Player("critic", optimizer=partial(ADAM, lr=Linear(until_nimg=100, start=2e-3, end=5e-4))),
                "encoder": Player("encoder", optimizer=ADAM, every=2),
            },
            averages={"generator": Decay(0.9), "encoder": HalfLife(50.0)},
            dynamics=Simultaneous() if simultaneous else None,
            runtime=runtime,
        )

    def autoencoder_loss(self, batch: Batch) -> Loss:
        """Reconstruction."""
        again = self.call(self.generator, self.call(self.encoder, batch.real))
        return {"loss": (again - batch.real).square().flatten(1).mean(1)}

    def critic_loss(self, batch: Batch) -> Loss:
        """Codes of the prior against those of images."""
        with torch.no_grad():
            codes = self.call(self.encoder, batch.real)
        return {"loss": apart(self.call(self.critic, batch.latents), self.call(self.critic, codes))}

    def encoder_loss(self, batch: Batch) -> Loss:
        """Codes like the prior's."""
        return {"loss": softplus(-self.call(self.critic, self.call(self.encoder, batch.real)))}


class AlphaGAN(Game):
    """Four players (Rosca et al. 2017): encoder, generator, and a critic of codes and one of images."""

    generator: nn.Module
    encoder: nn.Module
    codes: nn.Module
    images: nn.Module

    def __init__(self, *, image: ImageSpec, runtime: Runtime = Runtime()) -> None:
        critics = {name: Judge(inputs) for name, inputs in (("codes", LATENT), ("images", PIXELS))}
        super().__init__(
            image=image,
            networks={"encoder": Encoder(), "generator": Generator(), **critics},
            players={
                name: Player(name, optimizer=ADAM, every=every)
                for name, every in (("encoder", 1), ("generator", 1), ("codes", every_third), ("images", 2))
            },
            averages={"generator": HalfLife(50.0)},
            runtime=runtime,
        )

    def again(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return codes and what is made of them."""
        codes = self.call(self.encoder, batch.real)
        return codes, self.call(self.generator, codes)

    def encoder_loss(self, batch: Batch) -> Loss:
        """Reconstruct, with codes like the prior's."""
        codes, again = self.again(batch)
        near = (again - batch.real).abs().flatten(1).mean(1)
        return {"loss": softplus(-self.call(self.codes, codes)), "reconstruction": near}

    def generator_loss(self, batch: Batch) -> Loss:
        """Reconstruct, and make images like the real ones of codes and of latents."""
        _, again = self.again(batch)
        made = self.call(self.generator, batch.latents)
        near = (again - batch.real).abs().flatten(1).mean(1)
        return {
            "loss": softplus(-self.call(self.images, again)) + softplus(-self.call(self.images, made)),
            "reconstruction": near,
        }

    def codes_loss(self, batch: Batch) -> Loss:
        """Codes of the prior against those of images."""
        with torch.no_grad():
            codes = self.call(self.encoder, batch.real)
        return {"loss": apart(self.call(self.codes, batch.latents), self.call(self.codes, codes))}

    def images_loss(self, batch: Batch) -> Loss:
        """Real images against those of codes and of latents."""
        with torch.no_grad():
            again, made = self.again(batch)[1], self.call(self.generator, batch.latents)
        real, *fakes = (self.call(self.images, each) for each in (batch.real, again, made))
        return {"loss": apart(real, fakes[0]) + softplus(fakes[1])}


def every_third(steps: int) -> int:
    """Step in the first round, and then in every third."""
    return 3 if steps else 1


class Remembering(Game):
    """Two players with all that a step may leave behind or look back at.

    The critic sees fakes of a pool that all ranks share; noise on its images grows with a state that it feeds back; its
    step is left out while it is too good; its weights are clipped, and its optimizer has no mask of its own.
    """

    generator: nn.Module
    critic: nn.Module
    pool: Tensor
    strength: Tensor

    POOL = 8

    def __init__(self, *, image: ImageSpec, runtime: Runtime = Runtime()) -> None:
        rmsprop = partial(RMSprop, lr=1e-2)
        super().__init__(
            image=image,
            networks={"generator": Generator(), "critic": Judge(PIXELS)},
            players={
                "critic": Player("critic", optimizer=rmsprop, constraints={"clip": WeightClip(bound=0.3)}),
                "generator": Player("generator", optimizer=ADAM, reals=False, batch=2.0),
            },
            averages={"generator": HalfLife(50.0)},
            runtime=runtime,
        )
        dtype = runtime.dtype
        self.register_buffer("pool", torch.zeros(self.POOL, 1, 8, 8, dtype=dtype))
        self.register_buffer("strength", torch.full((), 0.1, dtype=dtype))

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw noise on the images too."""
        return super().draw(player, n, noise, labels) | {"noise": noise.normal(f"{player} noise", n, 1, 8, 8)}

    def prepare(self, player: str, batch: Batch) -> Batch:
        """Swap each second fake with one of the pool: every rank does so with those of all ranks."""
        if player == "generator":
            return batch
        made = self.call(self.generator, batch.latents)
        n, everyone = len(made), distributed.gather_tensor(made)
        draw = Noise(self.runtime.seed, self.clock.nimg, 0, dtype=self.real_dtype)  # one block: the same on all ranks
        slots = draw.uniform("slots", self.POOL).argsort()[: len(everyone) // 2].to(made.device)
        shown = everyone.clone()
        shown[::2] = self.pool[slots]
        self.pool[slots] = everyone[::2]
        start = distributed.rank() * n
        return replace(batch, tensors={**batch.tensors, "fake": shown[start : start + n]})

    def critic_loss(self, batch: Batch) -> Loss:
        """Images with noise apart."""
        real, fake = (
            self.call(self.critic, images + self.strength * batch["noise"]) for images in (batch.real, batch["fake"])
        )
        return {"loss": apart(real, fake)}, {"real_logit": real}

    def generator_loss(self, batch: Batch) -> Loss:
        """Images with noise like the real ones."""
        made = self.call(self.generator, batch.latents) + self.strength * batch["noise"]
        return {"loss": softplus(-self.call(self.critic, made))}

    def skips(self, player: str, found: Mapping[str, Tensor]) -> Tensor | None:
        """Leave the critic's step out while its loss is low."""
        if player == "generator":
            return None
        return (distributed.average(found["loss"].double().mean()) < 1.3862).float()

    def feed_back(self, player: str, found: Mapping[str, Tensor]) -> None:
        """Raise the noise where the critic is sure of the reals."""
        if player == "critic":
            sure = distributed.average(found["real_logit"].double().sign().mean())
            self.strength.add_(0.01 * sure.to(self.strength.dtype)).clamp_(min=0)


GAMES: dict[str, dict[str, object]] = {
    "BiGAN": {"_target_": "games.BiGAN"},
    "autoencoder": {"_target_": "games.Autoencoder"},
    "autoencoder, simultaneous": {"_target_": "games.Autoencoder", "simultaneous": True},
    "alpha-GAN": {"_target_": "games.AlphaGAN"},
    "remembering": {"_target_": "games.Remembering"},
}


def destroy() -> None:
    """Leave the process group together."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
