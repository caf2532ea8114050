"""Time, counted in images."""

from dataclasses import dataclass, field


@dataclass
class Clock:
    """Real images shown to the discriminator over all ranks, and moves made by each player.

    Both are read before a move and advanced after it. They are python ints: reading them costs no device sync.
    """

    nimg: int = 0
    moves: dict[str, int] = field(default_factory=lambda: {"discriminator": 0, "generator": 0})

    def state_dict(self) -> dict[str, object]:
        """Return plain values that `torch.load(weights_only=True)` accepts."""
        return {"nimg": self.nimg, "moves": dict(self.moves)}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take over what `state_dict` returned."""
        moves = state["moves"]
        assert isinstance(state["nimg"], int) and isinstance(moves, dict)
        self.nimg, self.moves = state["nimg"], dict(moves)


def crossed(every: int, before: int, after: int) -> bool:
    """Tell whether a multiple of `every` lies in (before, after]: the first move boundary at or past it."""
    return before // every < after // every
