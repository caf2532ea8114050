"""What games with an encoder share: images come back from their codes."""

from torch import Tensor

from ganlab.engine.game import Game
from ganlab.types import Images, Labels


class Autoencoding(Game):
    """A game that averages a network named `encoder` beside the one that decodes, which is its first average."""

    def made_from(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        """Return the reconstructions."""
        return {"reconstruction": self.averaged(self.encoded(images), labels)}
