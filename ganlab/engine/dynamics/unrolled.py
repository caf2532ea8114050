"""Unrolled GANs: one player looks ahead at what the other will answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from ganlab import distributed
from ganlab.engine.batch import Batch
from ganlab.engine.dynamics.base import Dynamics
from ganlab.engine.dynamics.field import Weights, flat, loss_at, mean, split, weights_of
from ganlab.engine.dynamics.plain import step_all, timed
from ganlab.engine.optimizers import make_optimizer
from ganlab.layers.spectral import iterate_power

State = Mapping[str, Any]
"""An optimizer's state of one weight."""
PLAIN = {"weight_decay": 0, "maximize": False, "nesterov": False, "dampening": 0, "amsgrad": False}
"""Options of the optimizers through which there is a way: those of the papers."""


@dataclass(frozen=True, kw_only=True)
class Unrolled(Dynamics):
    """The second player descends -L(theta, phi_K), L the first one's loss and phi_K its weights after K steps.

    phi_0 = phi, phi_{k+1} = the first player's optimizer's step from phi_k on the same batch, and the gradient by theta
    goes through all of them (Metz et al. 2017, eq. 7 to 11). The first player then makes one ordinary step from phi_0.
    The penalties of the first player's loss take part in its steps, but not in what the second one descends. The
    second player's own loss is not used: with `steps: 0` it is minimax.

    Args:
        steps: K; 5 or 10 in the paper.
    """

    steps: int = 5

    differentiates: ClassVar[bool] = True

    def check(self, game: Any) -> None:
        """Two players on one batch, the first with an optimizer that can be differentiated."""
        super().check(game)
        if self.steps < 0:
            self.refuse(f"looks ahead by a number of steps, not {self.steps}")
        if len(game.players) != 2:
            self.refuse(f"is for two players, but there are {', '.join(game.players)}")
        (leader, first), (follower, second) = game.players.items()
        if second.regularizers or second.batch != 1:
            self.refuse(
                f"gives the {follower} the loss and the batch of the {leader}; remove its own penalties and ratio"
            )
        if first.constraints:
            self.refuse(f"cannot look through the constraints on the {leader}; remove {', '.join(first.constraints)}")
        optimizer = make_optimizer(first.optimizer, [torch.zeros(1)])
        if type(optimizer) not in (SGD, Adam) or any(
            optimizer.defaults.get(at, off) != off for at, off in PLAIN.items()
        ):
            self.refuse(
                f"differentiates a step of the {leader}'s optimizer, which must be torch.optim.SGD or Adam without "
                f"{', '.join(PLAIN)}"
            )

    def round(self, game: Any, names: Sequence[str], reals: Mapping[str, Tensor]) -> None:
        """Compute the first player's ordinary gradient, and the second one's through its future; then step."""
        leader, follower = game.players
        batch = game.batch(leader, reals)
        found, gradients = {}, {}
        with timed(game, leader):
            found[leader] = game.differentiate(leader, batch)
            gradients[leader] = game.seats[leader].take_gradients()
        if follower in names:
            with timed(game, follower):
                game.seats[follower].begin(game.clock.nimg)
                for at in game.players[follower].networks:
                    iterate_power(getattr(game, at))
                game.require_gradients(game.network_names)
                terms = self.foreseen_loss(game, leader, batch)
                own = list(weights_of(game, follower).values())
                total = flat(torch.autograd.grad(mean(terms), own, materialize_grads=True))
                found[follower] = {at: values.detach() for at, values in terms.items()}
                gradients |= split(game, [follower], distributed.average(total))
        step_all(game, found, gradients, reals)

    def foreseen_loss(self, game: Any, leader: str, batch: Batch) -> Mapping[str, Tensor]:
        """Return the terms of -L(theta, phi_K), [n] each."""
        optimizer, weights = game.seats[leader].optimizer, weights_of(game, leader)
        states: list[State] = [optimizer.state.get(weight, {}) for weight in weights.values()]
        for _ in range(self.steps):
            loss = mean(loss_at(game, leader, batch, weights)[0])
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True, materialize_grads=True)
            weights, states = stepped(optimizer, weights, over_ranks(gradients), states)
        terms, _ = loss_at(game, leader, batch, weights)
        return {at: -values for at, values in terms.items() if at not in batch.due}


def over_ranks(gradients: Sequence[Tensor]) -> Sequence[Tensor]:
    """Average gradients over the ranks, in a way that can be differentiated."""
    if distributed.world_size() == 1:
        return gradients
    whole = distributed.sum_over_ranks(flat(gradients)) / distributed.world_size()
    pieces = whole.split([gradient.numel() for gradient in gradients])
    return [piece.view(gradient.shape) for piece, gradient in zip(pieces, gradients, strict=True)]


def stepped(
    optimizer: Optimizer, weights: Weights, gradients: Sequence[Tensor], states: Sequence[State]
) -> tuple[dict[str, Tensor], list[State]]:
    """Return weights and states after an optimizer's step, as functions of those before it; change nothing."""
    (options,) = optimizer.param_groups
    step = adam if isinstance(optimizer, Adam) else sgd
    made = [step(*each, options) for each in zip(weights.values(), gradients, states, strict=True)]
    return {at: weight for at, (weight, _) in zip(weights, made, strict=True)}, [state for _, state in made]


def sgd(weight: Tensor, gradient: Tensor, state: State, options: Mapping[str, Any]) -> tuple[Tensor, State]:
    """Step with momentum: w - lr v, v = momentum v + g."""
    velocity = gradient
    if options["momentum"] and "momentum_buffer" in state:
        velocity = options["momentum"] * state["momentum_buffer"] + gradient
    return weight - options["lr"] * velocity, {"momentum_buffer": velocity}


def adam(weight: Tensor, gradient: Tensor, state: State, options: Mapping[str, Any]) -> tuple[Tensor, State]:
    """Step as Kingma & Ba 2015, algorithm 1."""
    beta1, beta2 = options["betas"]
    zero = weight.new_zeros(())
    count = state.get("step", zero).to(weight) + 1
    first = beta1 * state.get("exp_avg", zero) + (1 - beta1) * gradient
    second = beta2 * state.get("exp_avg_sq", zero) + (1 - beta2) * gradient.square()
    some = second > 0  # at 0 the root has no derivative
    root = torch.where(some, torch.where(some, second, 1.0).sqrt(), 0.0)
    update = first / (1 - beta1**count) / (root / (1 - beta2**count) ** 0.5 + options["eps"])
    return weight - options["lr"] * update, {"step": count, "exp_avg": first, "exp_avg_sq": second}
