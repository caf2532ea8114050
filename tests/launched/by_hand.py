"""A training loop as a paper's reader would write it: one process, float64, no framework."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganlab.engine.game import Game
from ganlab.engine.runtime import Runtime
from ganlab.experiment.parts import build
from ganlab.seeding import Noise, seed_everything
from ganlab.types import ImageSpec

IMAGE, SEED, N, GROUP = ImageSpec(8, 8, 1, 3), 5, 8, 4
"""Of a game that is compared with a loop: its images, the seed, reals in a round, and the group of the noise."""


class ByHand:
    """Copies of a game's networks and averages, with what a loop needs to move them."""

    def __init__(self, game: Game) -> None:
        self.nets = {name: copy.deepcopy(network) for name, network in game.networks.items()}
        self.averages = {name: copy.deepcopy(self.nets[name]) for name in game.averages}
        self.moments: dict[Any, Any] = {}
        self.steps: dict[str, int] = {}
        self.nimg = 0

    def noise(self) -> Noise:
        """The noise of now."""
        return Noise(SEED, self.nimg, 0, GROUP, dtype=torch.float64)

    def latents(self, player: str, n: int = N, dims: int = 4) -> Tensor:
        """A player's latents of now, [n, dims]."""
        return self.noise().normal(f"{player} latents", n, dims)

    def gradients(self, loss: Tensor, *names: str) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """Parameters of some networks, and the gradients of a loss [n] by them; a parameter without part has zeros."""
        parameters = [p for name in names for p in self.nets[name].parameters()]
        return parameters, torch.autograd.grad(loss.mean(), parameters, allow_unused=True, materialize_grads=True)

    def adam(
        self,
        player: str,
        gradients: tuple[list[Tensor], tuple[Tensor, ...]],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.5, 0.99),
    ) -> None:
        """A step of Adam (Kingma & Ba 2015, algorithm 1)."""
        t = self.steps[player] = self.steps.get(player, 0) + 1
        for parameter, gradient in zip(*gradients, strict=True):
            first, second = self.moments.get((player, parameter), (0, 0))
            first = betas[0] * first + (1 - betas[0]) * gradient
            second = betas[1] * second + (1 - betas[1]) * gradient**2
            self.moments[player, parameter] = first, second
            parameter.data -= lr * first / (1 - betas[0] ** t) / ((second / (1 - betas[1] ** t)).sqrt() + 1e-8)

    def average(self, name: str, kept: float) -> None:
        """Update an average of a network."""
        for mean, live in zip(self.averages[name].parameters(), self.nets[name].parameters(), strict=True):
            mean.data = kept * mean.data + (1 - kept) * live.data

    def weights(self) -> dict[str, Tensor]:
        """All weights, under the names that a game has for them."""
        live = {f"{name}.{at}": p for name, network in self.nets.items() for at, p in network.named_parameters()}
        ema = list(self.averages)
        return live | {
            f"{'ema' if name == ema[0] else f'{name}_ema'}.{at}": p
            for name, network in self.averages.items()
            for at, p in network.named_parameters()
        }


def softly(x: Tensor) -> Tensor:
    """log(1 + exp(x))."""
    return (1 + x.exp()).log()


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper's game in a tiny form, and the loop that its reader would write."""

    model: Mapping[str, Any]
    """As `model` in a config."""
    by_hand: Callable[[ByHand, int, Mapping[str, Tensor]], None]
    """`by_hand(loop, number, batch)` makes round `number` from `real`, `labels` and, if there is another stream,
    `other` and `other_labels`, and leaves `loop.nimg` at the images shown."""
    image: ImageSpec = IMAGE
    other: ImageSpec | None = None
    unlabelled: bool = False
    """Whether the labels of the reals are -1, as where only the other stream has some."""
    coupled: bool = False
    """Whether a loss or a layer couples the samples of a batch: then micro-batches are refused, or change it."""
    second_order: bool = False
    """Whether its dynamics differentiate through gradients: then float16 and compilation are refused."""
    graphs: int = 2
    """Graphs that compiling it whole makes in a few rounds: of each player, one per set of due penalties."""
    rounds: int = 10
    """Rounds that are compared with the loop."""
    idle: tuple[str, ...] = ()
    """Ends of the names of biases that a batch norm cancels: rounding alone moves them, and they are not compared."""
    other_networks: bool = False
    """Whether it is another paper's game with other networks: what the engine does with the game is shown there."""
    spread: float = 0.05
    """How far mean losses in another precision, which draws other noise, may be from those in float64."""

    def made(self, **runtime: Any) -> Game:
        """The game in float64, with the same weights every time, whose players are seated."""
        seed_everything(SEED)
        settings = {"seed": SEED, "precision": "fp64", "other": self.other, "total_nimg": 10_000} | runtime
        game = build(self.model, Game, ["games"], image=self.image, runtime=Runtime(**settings))
        game.configure_optimizers()
        return game

    def batches(self, count: int, dtype: torch.dtype = torch.float64) -> list[dict[str, Tensor]]:
        """Batches of noise, the same every time."""
        draw = torch.Generator().manual_seed(8)
        found = []
        for _ in range(count):
            batch = {"real": drawn(self.image, draw, dtype), "labels": labels(self.image, draw)}
            if self.unlabelled:
                batch["labels"].fill_(-1)
            if self.other is not None:
                batch |= {"other": drawn(self.other, draw, dtype), "other_labels": labels(self.other, draw)}
            found.append(batch)
        return found


def drawn(image: ImageSpec, draw: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Images [N, c, h, w] of noise."""
    shape = (N, image.channels, image.height, image.width)
    return (torch.rand(shape, generator=draw, dtype=torch.float64) * 2 - 1).to(dtype)


def labels(image: ImageSpec, draw: torch.Generator) -> Tensor:
    """Labels [N], or -1 where there are no classes."""
    return torch.randint(image.classes, (N,), generator=draw) if image.classes else torch.full((N,), -1)


def play(game: Game, batches: list[dict[str, Tensor]]) -> Game:
    """Play a round with each batch."""
    for number, batch in enumerate(batches):
        game.training_step(batch, number)
    return game
