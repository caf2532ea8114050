"""What an augmentation is, and how a game draws and applies it."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from ganlab.seeding import Noise
from ganlab.types import Images, Scores


@runtime_checkable  # for `ganlab.experiment.parts`, which checks classes against it
class Augment(Protocol):
    """A random, differentiable change of images, the same kind for reals and fakes; its noise is from `seeding`."""

    def draw(self, shape: Sequence[int], noise: Noise, name: str, memory: Tensor | None = None) -> dict[str, Tensor]:
        """Draw the random numbers for images of a shape, from `noise` under `name`; the time is `noise.nimg`.

        Each tensor has samples along its first dimension. One named `p` [n] is recorded, as `augment_p`.
        """
        ...

    def __call__(self, images: Images, drawn: Mapping[str, Tensor]) -> Images:
        """Return the images, changed as drawn: a pure function of each sample."""
        ...

    def memory(self) -> Tensor | None:
        """Return what it remembers before the first step; None for nothing."""
        return None

    def remember(self, memory: Tensor, real: Scores, steps: int) -> None:
        """Update its memory after step number `steps` of the discriminator, the same on all ranks.

        `real` holds this rank's logits of augmented reals, of which a positive one says real.
        """
        return


def drawn(
    augment: Augment | None,
    shape: Sequence[int],
    noise: Noise,
    player: str,
    memory: Tensor | None = None,
    kinds: Sequence[str] = ("real", "fake"),
) -> dict[str, Tensor]:
    """Draw for images of one shape and some kinds in a player's step, under the names that `change_of` reads."""
    if augment is None:
        return {}
    return {
        f"augment {kind} {name}": values
        for kind in kinds
        for name, values in augment.draw(shape, noise, f"{player} {kind}", memory).items()
    }


def change_of(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Return what `drawn` has drawn for images of a kind, `real` or `fake`, of all tensors of a batch."""
    start = f"augment {kind} "
    return {name.removeprefix(start): values for name, values in tensors.items() if name.startswith(start)}


def augmented(augment: Augment | None, images: Images, change: Mapping[str, Tensor]) -> Images:
    """Augment images with a change of `change_of`; an empty one changes nothing."""
    return augment(images, change) if augment is not None and change else images
