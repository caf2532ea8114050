"""A game's vector field: all players' gradients at one point, as a function that can be differentiated again.

Every loss is a pure function of the weights of all networks. Nothing is detached between the players, so that the
field's Jacobian has its blocks of one player's gradient by the other's weights, which make a game differ from a loss.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ganlab import distributed
from ganlab.engine.batch import Batch
from ganlab.engine.dynamics.plain import Gradients
from ganlab.types import UserError

Weights = Mapping[str, Tensor]
"""Weights by their names in the game."""


def weights_of(game: Any, name: str) -> dict[str, Tensor]:
    """Return the weights that a player moves."""
    return {
        f"{at}.{inside}": weight
        for at in game.players[name].networks
        for inside, weight in getattr(game, at).named_parameters()
        if weight.requires_grad
    }


def loss_at(game: Any, name: str, batch: Batch, weights: Weights) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Return the terms of a player's loss at other `weights`, and what it records beside them, [n] each."""
    with connected(game, name):
        loss = functional_call(game, dict(weights), (name, batch))
    return loss if isinstance(loss, tuple) else (loss, {})


def mean(terms: Mapping[str, Tensor]) -> Tensor:
    """Return the mean of a loss over this rank's samples."""
    return torch.stack(list(terms.values())).sum(0).mean()


@contextmanager
def connected(game: Any, name: str) -> Iterator[None]:
    """Refuse a loss that runs a network without gradients: the field's Jacobian would silently lack a block."""

    def check(network: nn.Module, inputs: Any) -> None:
        if not torch.is_grad_enabled():
            raise UserError(
                f"model.dynamics: {type(game.dynamics).__name__} needs all gradients, but the {name}'s loss runs a "
                f"{type(network).__name__} under torch.no_grad(); remove it: in other dynamics the networks that a "
                "step does not move require none anyway"
            )

    with ExitStack() as hooks:
        for network in game.networks.values():
            hooks.callback(network.register_forward_pre_hook(check).remove)
        yield


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors as one vector."""
    return torch.cat([tensor.flatten() for tensor in tensors])


def split(game: Any, names: Sequence[str], direction: Tensor) -> dict[str, Gradients]:
    """Cut a direction [d] into the players' gradients; frozen weights get none."""
    gradients: dict[str, Gradients] = {}
    rest = direction
    for name in names:
        moved = set(weights_of(game, name).values())
        own: Gradients = []
        for weight in game.seats[name].parameters:
            gradient = None
            if weight in moved:
                piece, rest = rest[: weight.numel()], rest[weight.numel() :]
                gradient = torch.empty_like(weight).copy_(piece.view(weight.shape))  # fused optimizers want its strides
            own.append(gradient)
        gradients[name] = own
    return gradients


def one_batch(game: Any, names: Sequence[str], reals: Mapping[str, Tensor]) -> dict[str, Batch]:
    """Draw each player's batch, all from one: what several players draw under one name is the same for all."""
    batches, common = {}, dict[str, Tensor]()
    for name in names:
        batch = game.batch(name, reals)
        same = {at: common[at] for at, t in batch.tensors.items() if at in common and common[at].shape == t.shape}
        batches[name] = replace(batch, tensors={**batch.tensors, **same})
        common = {**batch.tensors, **common}
    return batches


def field(game: Any, batches: Mapping[str, Batch], weights: Weights) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
    """Return xi [d] of this rank at any `weights`, with its graph; and by player the terms and records of its loss."""
    gradients: list[Tensor] = []
    found: dict[str, dict[str, Tensor]] = {}
    for name, batch in batches.items():
        terms, beside = loss_at(game, name, batch, weights)
        own = [weights[at] for at in weights_of(game, name)]
        gradients += torch.autograd.grad(mean(terms), own, create_graph=True, materialize_grads=True)
        found[name] = {at: values.detach() for at, values in {**terms, **beside}.items()}
    return flat(gradients), found


def field_of(game: Any, batches: Mapping[str, Batch]) -> Callable[[Tensor], Tensor]:
    """Return xi [d] on this rank as a function of all weights [d], the players' side by side, for small games."""
    shapes = {at: weight.shape for name in batches for at, weight in weights_of(game, name).items()}

    def xi(point: Tensor) -> Tensor:
        whole = point if point.requires_grad else point.detach().requires_grad_()
        pieces = whole.split([shape.numel() for shape in shapes.values()])
        return field(game, batches, {at: piece.view(shapes[at]) for at, piece in zip(shapes, pieces, strict=True)})[0]

    return xi


class Field:
    """xi = (d L_1 / d w_1, d L_2 / d w_2, ...), [d], and products with its Jacobian J (Balduzzi et al. 2018).

    All values are means over the ranks. The ranks' gradients are averaged first; a product with J is linear in J, so
    that the average of the ranks' products is exact.

    Args:
        game: its players' networks require gradients.
        batches: this rank's, by player.
    """

    def __init__(self, game: Any, batches: Mapping[str, Batch]) -> None:
        weights = {at: weight for name in batches for at, weight in weights_of(game, name).items()}
        self.weights = list(weights.values())
        self.graph, self.found = field(game, batches, weights)  # of this rank
        self.value = distributed.average(self.graph.detach().clone())

    def transposed(self, vector: Tensor) -> Tensor:
        """Return J^T v; for v = xi it is the gradient of |xi|^2 / 2."""
        return distributed.average(self._transposed(vector, create_graph=False))

    def times(self, vector: Tensor) -> Tensor:
        """Return J v: J^T u is linear in u, and its derivative's transpose is J."""
        u = torch.zeros_like(vector, requires_grad=True)
        (product,) = torch.autograd.grad(self._transposed(u, create_graph=True), u, vector, retain_graph=True)
        return distributed.average(product)

    def _transposed(self, vector: Tensor, create_graph: bool) -> Tensor:
        return flat(
            torch.autograd.grad(
                self.graph, self.weights, vector, retain_graph=True, create_graph=create_graph, materialize_grads=True
            )
        )
