"""What games that translate images between two domains share."""

from typing import Literal

from torch import Tensor, nn

from ganlab.engine.game import Game
from ganlab.types import Images, Labels, Pixels


class Translating(Game):
    """A game that averages `a_to_b` first, and `b_to_a`: a is the domain of the data, b of their other stream."""

    a_to_b: nn.Module
    b_to_a: nn.Module
    b_to_a_ema: nn.Module

    def made_from(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        """Return G(a) and F(G(a))."""
        made = self.ema(images)
        return {"to b": made, "back to a": self.b_to_a_ema(made)}

    def made_from_other(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        """Return F(b) and G(F(b))."""
        made = self.b_to_a_ema(images)
        return {"to a": made, "back to b": self.ema(made)}

    def translate(self, images: Tensor, to: Literal["a", "b"] = "b") -> Pixels:
        """Translate images [n, c, h, w], uint8 or in [-1, 1], with the averaged generators; uint8."""
        return self.remake(images, other=to == "a")[f"to {to}"]
