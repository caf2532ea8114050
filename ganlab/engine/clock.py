"""Time, counted in images."""

from collections.abc import Iterable
from typing import Any


class Clock:
    """Real images shown over all ranks, steps of each player, and rounds since each player's last one.

    All are read before a step and advanced after it. They are Python ints: reading them costs no device sync.

    Args:
        players: names in the order of a round; the first player steps in every round.
    """

    def __init__(self, players: Iterable[str]) -> None:
        self.nimg = 0
        self.steps = dict.fromkeys(players, 0)
        self.waited = dict.fromkeys(self.steps, 0)

    def state_dict(self) -> dict[str, Any]:
        """Return plain values that `torch.load(weights_only=True)` accepts; `moves` is the first edition's word."""
        return {"nimg": self.nimg, "moves": dict(self.steps), "waited": dict(self.waited)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what `state_dict` returned, here or in the first edition, which did not save `waited`."""
        self.nimg, self.steps = state["nimg"], dict(state["moves"])
        self.waited = dict(state.get("waited", dict.fromkeys(self.steps, 0)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Clock) and self.state_dict() == other.state_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Clock({self.state_dict()})"


def crossed(every: int, before: int, after: int) -> bool:
    """Tell whether a multiple of `every` lies in (before, after]: the first step boundary at or past it."""
    return before // every < after // every
