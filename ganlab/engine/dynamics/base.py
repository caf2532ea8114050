"""What all dynamics are, and which games they cannot play."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from ganlab.layers.batchnorm import keeps_statistics
from ganlab.types import UserError


class Dynamics(ABC):
    """How the players of a round step."""

    together: ClassVar[bool] = False
    """Whether all players must step in every round."""
    shards: ClassVar[bool] = False
    """Whether the weights may be sharded over the ranks."""
    differentiates: ClassVar[bool] = False
    """Whether it differentiates through gradients, and so needs losses that pass gradients on to all networks."""

    @property
    def halves(self) -> int:
        """Return the number of parts into which it cuts a batch."""
        return 1

    @abstractmethod
    def round(self, game: Any, names: Sequence[str], reals: Mapping[str, Tensor]) -> None:
        """Make one step of each of the players `names` of a `Game`, given this rank's share of the reals."""

    def check(self, game: Any) -> None:
        """Refuse a game that these dynamics cannot play."""
        if self.together and (late := [name for name, player in game.players.items() if player.every != 1]):
            self.refuse(f"moves all players in every round, but the {late[0]} does not step in each; remove its period")
        if self.differentiates:
            self._check_derivatives(game)

    def refuse(self, reason: str) -> None:
        """Raise a `UserError` that begins with the dynamics' name."""
        raise UserError(f"model.dynamics: {type(self).__name__} {reason}")

    def _check_derivatives(self, game: Any) -> None:
        moved = [at for player in game.players.values() for at in player.networks]
        if twice := [at for at in moved if moved.count(at) > 1]:
            self.refuse(f"needs networks of their own for all players, but two move the {twice[0]}")
        if game.runtime.precision == "fp16":
            self.refuse(
                "differentiates through gradients, which float16's loss scales do not allow; write bf16 or fp32"
            )
        if game.runtime.micro_batch is not None:
            self.refuse("needs the gradient of the whole batch at once; write train.micro_batch=null")
        for at, network in game.networks.items():
            if keeps_statistics(network):
                self.refuse(
                    f"runs the {at} several times in a step, but its batch norm would write running statistics each "
                    "time; take a network without batch norm"
                )
