"""What a paper may override of its game, besides its losses, with what holds unless it does."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from PIL.Image import Image
from torch import Tensor

from ganlab.engine.batch import Batch
from ganlab.engine.samples import Sampling
from ganlab.seeding import Noise
from ganlab.types import Images, Labels, Logits, Phase


class Hooks(Sampling):
    """Base of `Game`, whose step calls these methods; how samples are made may be overridden too.

    State that a step updates is a buffer of the module: saved with it, and the same on all ranks.
    """

    BATCH: ClassVar[int] = 64
    """The paper's batch: reals in a round over all ranks, unless the run sets another."""
    REPLACES: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Arguments that replace others, which have no effect then: a config may not give both."""
    RECORDS: ClassVar[tuple[str, ...]] = ("loss",)
    """Names of what the losses return, penalties aside: no penalty may have one of these names."""
    LEARNS_CLASSES: ClassVar[tuple[str, ...]] = ()
    """The streams, `real` or `other`, from whose classes it learns; images without one (-1) are allowed there."""
    coupled: bool = False
    """Whether a sample's loss depends on the whole batch, over all ranks: micro-batches would change it."""

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw what a player's loss gets besides the reals: `n` samples of each; `labels` are those of the reals.

        Latents and labels of fakes; nothing for a game that makes no images of latents.
        """
        if not self.latent:
            return {}
        latents, fake_labels = self.draw_latents(n, noise, player)
        return {"latents": latents, "fake_labels": fake_labels}

    def takes_part(self, player: str) -> bool:
        """Tell whether a player may step in the round that starts now; the first one always does."""
        return True

    def prepare(self, player: str, batch: Batch) -> Batch:
        """Change a batch before its loss is computed, without a gradient; collectives are allowed here."""
        return batch

    def skips(self, player: str, found: Mapping[str, Tensor]) -> Tensor | None:
        """Return a number on the device, the same on all ranks: 1 skips the step, 0 makes it. None always makes it."""
        return None

    def feed_back(self, player: str, found: Mapping[str, Tensor]) -> None:
        """Update the game's state after a step, from what it recorded on this rank [n, ...] and `not_finite` [1]."""

    def scores_of(self, images: Images, labels: Labels | None = None) -> Logits | None:
        """Return what a network says of images, without labels as of class 0; None if no network judges them."""
        return None

    def picture(self) -> Image | None:
        """Return a picture of the game, to be shown instead of samples; None if it has none of its own."""
        return None

    @property
    def remarks(self) -> Sequence[str]:
        """Lines that `ganlab show` adds to the plan."""
        return ()

    @property
    def phases(self) -> Sequence[Phase]:
        """Size and batch of the rounds, from the first image on; one phase for a model that does not grow."""
        return [Phase(0, self.image, self.BATCH)]

    def plan(self, nimg: int) -> Phase:
        """Return the phase of a round that starts at `nimg`."""
        return [phase for phase in self.phases if phase.from_nimg <= nimg][-1]
