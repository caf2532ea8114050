"""ADA: Karras et al. 2020, "Training generative adversarial networks with limited data"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ganlab.augment import bands, colour, corruption, geometry
from ganlab.augment.base import Augment
from ganlab.distributed import average, world_size
from ganlab.schedules import Schedule
from ganlab.seeding import Noise
from ganlab.types import Images, Scores, UserError

PIECES = (geometry.DRAWS, colour.DRAWS, bands.DRAWS, corruption.NOISE_DRAWS, corruption.CUTOUT_DRAWS)
UNIFORM, NORMAL = ([draws[kind] for draws in PIECES] for kind in (0, 1))
"""Random numbers that each piece takes for an image. All are drawn, so that no piece changes another one's."""


@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """A probability that rises while the discriminator overfits, and else falls (section 3.1).

    Overfitting is r_t = E sign D(x), of the augmented reals of the last four steps, above `target`. After them p
    moves by the share of `over_nimg` images that they showed. It begins at 0 and has no upper bound: from 1 on every
    coin is heads. Positive logits must say real.
    """

    target: float = 0.6
    over_nimg: int = 500_000
    EVERY: ClassVar[int] = 4

    def __post_init__(self) -> None:
        if not -1 <= self.target <= 1:
            raise UserError(f"model.augment.p.target: {self.target}: a mean of signs is in [-1, 1]; the paper has 0.6")
        if self.over_nimg <= 0:
            raise UserError(f"model.augment.p.over_nimg: {self.over_nimg}: must be more than 0")

    def remember(self, memory: Tensor, real: Scores, steps: int) -> None:
        """Update p, the sum of signs and the reals that it is of, after step number `steps`; no host sync."""
        shown = len(real) * world_size()
        sign = average(real.to(memory.dtype).sign().nan_to_num().mean())  # a step that is not finite says nothing
        memory[1:] += torch.stack([sign * shown, torch.full_like(sign, shown)])
        if (steps + 1) % self.EVERY == 0:
            p, signs, reals = memory.unbind()
            moved = p + (signs / reals - self.target).sign() * reals / self.over_nimg
            memory.copy_(torch.stack([moved.clamp(min=0), torch.zeros_like(p), torch.zeros_like(p)]))


@dataclass(frozen=True, kw_only=True)
class ADA(Augment):
    """The paper's pipeline: geometry, colours, frequency bands, noise, cutout; each operation tosses its own coin.

    A coin is heads with probability p times the strength of the operation's kind; 0 leaves the kind out. With p = 0 the
    images stay, bit for bit. The defaults are `bgc`, which the paper uses everywhere.

    Args:
        p: a number, a schedule (R3GAN's), or fed back from the discriminator.
        blit: mirroring, quarter turns and whole-pixel shifts.
        geometry: scaling, turning, stretching and fractional shifts.
        colour: brightness, contrast, luma, hue and saturation.
        filter: amplification of four frequency bands.
        noise: normal noise.
        cutout: a grey square of half the sides.
    """

    p: float | Schedule | Adaptive = Adaptive()
    blit: float = 1.0
    geometry: float = 1.0
    colour: float = 1.0
    filter: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0

    def __post_init__(self) -> None:
        numbers = {"blit": self.blit, "geometry": self.geometry, "colour": self.colour, "filter": self.filter}
        numbers |= {"noise": self.noise, "cutout": self.cutout}
        numbers |= {"p": self.p} if isinstance(self.p, int | float) else {}
        if wrong := [f"{name}: {value}" for name, value in numbers.items() if value < 0]:
            raise UserError(f"model.augment.{', '.join(wrong)}: must not be negative; 0 leaves it out")

    def draw(self, shape: Sequence[int], noise: Noise, name: str, memory: Tensor | None = None) -> dict[str, Tensor]:
        """Draw coins and magnitudes; `memory` holds p where it is fed back."""
        n, channels, height, width = shape
        if channels not in (1, 3, 4) or min(height, width) < 2:
            raise UserError(f"model.augment: ADA, but images of {channels}x{height}x{width}; remove it")
        drawn = {
            "uniform": noise.uniform(f"{name} uniform", n, sum(UNIFORM)),
            "normal": noise.normal(f"{name} normal", n, sum(NORMAL)),
        }
        drawn["p"] = torch.ones_like(drawn["uniform"][:, 0]) * self.probability(noise.nimg, memory)
        if self.noise:
            drawn["noise"] = noise.normal(f"{name} noise", *shape)
        return drawn

    def probability(self, nimg: int, memory: Tensor | None) -> float | Tensor:
        """Return p at `nimg`, which its memory holds if it is fed back."""
        if isinstance(self.p, Adaptive):
            assert memory is not None
            return memory[0]
        return self.p(nimg) if isinstance(self.p, Schedule) else self.p

    def __call__(self, images: Images, drawn: Mapping[str, Tensor]) -> Images:
        """Run the pipeline, in the paper's order."""
        p = drawn["p"]
        uniform, normal = drawn["uniform"].split(UNIFORM, 1), drawn["normal"].split(NORMAL, 1)
        if self.blit or self.geometry:
            size = images.shape[2], images.shape[3]
            inverse = geometry.inverse_maps(uniform[0], normal[0], self.blit * p, self.geometry * p, *size)
            images = geometry.warped(images, inverse)
        if self.colour:
            images = colour.recoloured(images, uniform[1], normal[1], self.colour * p)
        if self.filter:
            images = bands.amplified(images, uniform[2], normal[2], self.filter * p)
        if self.noise:
            images = corruption.noised(images, uniform[3], normal[3], drawn["noise"], self.noise * p)
        return corruption.cut_out(images, uniform[4], self.cutout * p) if self.cutout else images

    def memory(self) -> Tensor | None:
        """P, the sum of the signs of real logits, and their number; None where p is given."""
        return torch.zeros(3) if isinstance(self.p, Adaptive) else None

    def remember(self, memory: Tensor, real: Scores, steps: int) -> None:
        """Update p."""
        assert isinstance(self.p, Adaptive)
        self.p.remember(memory, real, steps)
