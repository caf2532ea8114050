"""Denoising autoencoder: Alain & Bengio 2014.

"What regularized auto-encoders learn from the data-generating distribution".
"""

from functools import partial

import torch
from PIL import Image
from torch import Tensor, nn
from torch.func import jacrev, vmap
from torch.optim import Adam

from ganlab.engine.averages import RAMPED, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.game import Game, Loss
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.networks import points
from ganlab.pictures.fields import EXTENT, spinning
from ganlab.pictures.points import where
from ganlab.schedules import Schedule
from ganlab.seeding import Noise
from ganlab.types import Images, ImageSpec, Labels


class DenoisingAutoencoder(Game):
    """A game of one player in the plane: r(x + std noise) is to be x.

    v(x) = r(x) - x is then about std^2 times the gradient of the data's log-density (theorem 1), yet no loss makes it a
    gradient: its curl, which the picture shows, need not be 0.
    """

    denoiser: nn.Module

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 64,
        layers: int = 2,
        std: float = 0.1,
        lr: float = 1e-3,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        self.std = std
        super().__init__(
            image=image,
            networks={"denoiser": points.Denoiser(image=image, width=width, layers=layers)},
            players={"denoiser": Player("denoiser", optimizer=partial(Adam, lr=lr))},
            averages={"denoiser": HalfLife(ema_half_life)},
            runtime=runtime,
        )
        self.seen = torch.empty(0, 2)

    def denoiser_loss(self, batch: Batch) -> Loss:
        """|r(x + std noise) - x|^2."""
        again = self.call(self.denoiser, batch.real + self.std * batch["noise"])
        return {"loss": (again - batch.real).square().flatten(1).sum(1)}

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw the noise."""
        return {"noise": noise.normal("noise", n, 2)[:, :, None, None]}

    def prepare(self, player: str, batch: Batch) -> Batch:
        """Keep the points, for a picture."""
        self.seen = batch.real.flatten(1)
        return batch

    def field(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return v [n, 2] at places [n, 2], by the average, and its curl [n]."""

        def v(place: Tensor) -> Tensor:
            moved: Images = self.ema(place[None, :, None, None])
            return moved.flatten() - place

        slopes = vmap(jacrev(v))(places)  # n output input
        return vmap(v)(places), slopes[:, 1, 0] - slopes[:, 0, 1]

    @torch.no_grad()
    def picture(self) -> Image.Image:
        """Draw the points, v, and its curl."""
        places = torch.from_numpy(where(EXTENT)).to(self.device, self.real_dtype)
        ways, curl = (found.cpu().numpy() for found in self.field(places))
        title = f"denoising of std {self.std:g}, {self.clock.nimg:,} reals shown"
        return spinning(self.seen.cpu().numpy(), ways, curl, title=title)
