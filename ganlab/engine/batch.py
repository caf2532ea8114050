"""The input of a step: reals, labels, other streams, everything drawn, and the penalties that are due."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from ganlab.regularizers import Regularizer
from ganlab.types import IN_ORDER, Images, Labels, Latents, UserError, Vectors


def named(batch: Sequence[Tensor] | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a loader's batch by name."""
    return dict(batch) if isinstance(batch, Mapping) else dict(zip(IN_ORDER, batch, strict=False))


@dataclass(frozen=True)
class Batch:
    """This rank's share of a step's samples.

    `batch["name"]` gives the tensors that have no attribute below: those that a game's `draw` and `prepare` add, and
    the other streams of its data.
    """

    tensors: Mapping[str, Tensor]
    """All have the same number of samples, along their first dimension."""
    due: Mapping[str, Regularizer] = field(default_factory=dict)
    """The player's penalties that this step adds to the loss."""
    scalars: Mapping[str, Tensor] = field(default_factory=dict)
    """Factors of the due penalties whose weight is a schedule, as tensors [] on the device."""
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    """What the player's penalties remember, by their names: buffers of the game."""

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise UserError(
                f"batch.{name}: this step has none, only {', '.join(self.tensors)}; data.other adds other and "
                "other_labels, `ganlab data vectors` adds vectors, and a player without reals gets none of the data"
            )
        return self.tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    @property
    def real(self) -> Images:
        """Real images [n, c, h, w] in [-1, 1]; only for players that take reals."""
        return self["real"]

    @property
    def labels(self) -> Labels:
        """Classes of the reals [n]."""
        return self["labels"]

    @property
    def vectors(self) -> Vectors:
        """The vectors of the reals [n, d], if the data have some."""
        return self["vectors"]

    @property
    def other(self) -> Images:
        """Images [n, c, h, w] in [-1, 1] of the data's other stream: not those of the reals, and of any size."""
        return self["other"]

    @property
    def other_labels(self) -> Labels:
        """Classes of the other stream's images [n]."""
        return self["other_labels"]

    @property
    def latents(self) -> Latents:
        """Latents of the fakes [n, d]."""
        return self["latents"]

    @property
    def fake_labels(self) -> Labels:
        """Classes of the fakes [n]."""
        return self["fake_labels"]

    def factor(self, name: str) -> float | Tensor:
        """Return the factor of a due penalty: its weight times `every`, which makes up for the steps without it."""
        penalty = self.due[name]
        if name in self.scalars:
            return self.scalars[name]
        assert isinstance(penalty.weight, int | float)
        return penalty.weight * penalty.every

    def pieces(self, size: int) -> Iterator["Batch"]:
        """Split the batch into micro-batches of `size` samples; the last one may be smaller."""
        n = len(next(iter(self.tensors.values())))
        for start in range(0, n, size):
            cut = {name: tensor[start : start + size] for name, tensor in self.tensors.items()}
            yield replace(self, tensors=cut)
