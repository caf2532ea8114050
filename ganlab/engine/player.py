"""Players: what each moves, how often, and with which batch; and its optimizer and gradients during training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganlab.constraints import Constraint
from ganlab.engine import sharding
from ganlab.engine.optimizers import (
    MakeOptimizer,
    begin_momenta,
    filled,
    make_optimizer,
    masked_step,
    masks_itself,
    scheduled,
    still_form,
    still_scalars,
    value_at,
)
from ganlab.engine.precision import LossScale
from ganlab.regularizers import Regularizer
from ganlab.schedules import Schedule
from ganlab.types import UserError

LONG_RUN = range(10_000, 20_000)
"""Steps over which a changing period is averaged to one number."""


class Player:
    """The networks that one optimizer moves, how often, and with which batch.

    Args:
        networks: names of the networks that it moves; two players may name the same network.
        optimizer: any of torch's, as a function of the parameters. Its scalars may be schedules.
        every: rounds between its steps: a number, or a function of the steps that it has made. The first player of a
            game steps in every round.
        batch: samples in a step, as a ratio to the reals of a round; must be 1 with `reals`.
        reals: whether its loss gets the reals.
        regularizers: terms added to its loss, by name.
        lr_schedule: factor on the learning rate; None leaves it constant.
        constraints: on its networks' weights, by name.
    """

    def __init__(
        self,
        *networks: str,
        optimizer: MakeOptimizer,
        every: int | Callable[[int], int] = 1,
        batch: float = 1.0,
        reals: bool = True,
        regularizers: Mapping[str, Regularizer] | None = None,
        lr_schedule: Schedule | None = None,
        constraints: Mapping[str, Constraint] | None = None,
    ) -> None:
        if reals and batch != 1:
            raise UserError(f"model.{networks[0]}_batch: {batch}, but its loss compares samples with reals; write 1")
        self.networks, self.optimizer, self.every, self.batch, self.reals = networks, optimizer, every, batch, reals
        self.regularizers, self.constraints = dict(regularizers or {}), dict(constraints or {})
        self.lr_schedule = lr_schedule

    def period(self, steps: int) -> int:
        """Return the rounds from the step before to step number `steps`, counted from 0."""
        return self.every(steps) if callable(self.every) else self.every

    def mean_period(self) -> float:
        """Return the mean number of rounds between two of its steps."""
        if not callable(self.every):
            return float(self.every)
        return sum(map(self.every, LONG_RUN)) / len(LONG_RUN)

    def due(self, steps: int) -> dict[str, Regularizer]:
        """Return the penalties that are due in its step number `steps`, counted from 0."""
        return {name: penalty for name, penalty in self.regularizers.items() if steps % penalty.every == 0}


class Seat:
    """A player in training: its optimizer, gradients and loss scale. Made once the weights are on their device.

    Args:
        player: the player.
        networks: the networks that it moves, by name.
        scale: loss scale under float16.
        still: keep what a step reads at fixed addresses on the device, as a CUDA graph needs it.
    """

    def __init__(
        self, player: Player, networks: Mapping[str, nn.Module], scale: LossScale | None = None, still: bool = False
    ) -> None:
        self.player, self.scale = player, scale
        self.network = next(iter(networks.values())) if len(networks) == 1 else nn.ModuleDict(networks)
        self.network.requires_grad_()  # the last step of an earlier fit may have turned it off
        self.names = [name for name, _ in self.network.named_parameters()]
        self.parameters = list(self.network.parameters())  # this rank's shares, while the network itself may be whole
        self.scheduled = scheduled(player.optimizer)
        make = still_form(player.optimizer) if still else player.optimizer
        self.optimizer = make_optimizer(make, self.network.parameters())
        self.base_lr = [group["lr"] for group in self.optimizer.param_groups]
        self.gradients = sharding.gradients_of(self.network)
        self.culprits = torch.zeros_like(self.gradients.norms(), dtype=torch.float32)
        self.held = [still_scalars(self.culprits.device) if still else {} for _ in self.base_lr]
        self.count: Callable[[], Any] = self.optimizer.step
        """Makes the optimizer's step. Under a Trainer, the first player's is Lightning's wrapper, which counts it."""

    def begin(self, nimg: int) -> None:
        """Set the optimizer's scheduled scalars to their values at `nimg`."""
        scalars = {name: value_at(value, nimg) for name, value in self.scheduled.items()}
        factor = 1.0 if self.player.lr_schedule is None else self.player.lr_schedule(nimg)
        for group, base, held in zip(self.optimizer.param_groups, self.base_lr, self.held, strict=True):
            values = scalars | {"lr": scalars.get("lr", base) * factor}
            group.update({at: filled(held[at], value) if held else value for at, value in values.items()})
            forms = {"capturable": bool(held), "fused": self.optimizer.defaults.get("fused", group.get("fused"))}
            group.update({at: form for at, form in forms.items() if at in group})  # a checkpoint may have others

    def backward(self, loss: Tensor, last: bool) -> None:
        """Accumulate a loss's gradients; the `last` backward pass of a step also reduces them over the ranks."""
        if last:
            self.gradients.arm()
        (loss if self.scale is None else loss * self.scale.value).backward()

    def take_gradients(self) -> list[Tensor | None]:
        """Remove the gradients and return them, before another player's take their place."""
        gradients = [parameter.grad for parameter in self.parameters]
        for parameter in self.parameters:
            parameter.grad = None
        return gradients

    def put_gradients(self, gradients: Sequence[Tensor | None]) -> None:
        """Restore the gradients that `take_gradients` returned."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient

    def update(self, skip: Tensor | None = None, counted: bool = True) -> dict[str, Tensor]:
        """Run the optimizer, unless a gradient is not finite or `skip` is 1: then nothing changes. No host sync.

        A step that a Trainer should not count, because it is undone later, is not `counted`.
        Returns `not_finite` [1], `gradient_norm` [1] over all parameters, which is 0 where it is not finite, and
        `skipped` [1] if `skip` is given.
        """
        norms = self.gradients.norms()
        culprits = ~norms.isfinite()
        not_finite = culprits.any().float()
        norm = torch.linalg.vector_norm(norms)
        norm = torch.where(not_finite.bool(), 0.0, norm if self.scale is None else norm / self.scale.value)
        self.culprits += culprits
        masked = not_finite if skip is None else torch.maximum(not_finite, skip.float())
        step = self.count if counted else self.optimizer.step
        if masks_itself(self.optimizer):
            begin_momenta(self.optimizer)
            self.optimizer.found_inf = masked  # type: ignore[attr-defined]
            if self.scale is not None:
                self.optimizer.grad_scale = self.scale.value  # type: ignore[attr-defined]
            step()
        else:
            if self.scale is not None:
                for parameter in self.network.parameters():
                    if parameter.grad is not None:
                        parameter.grad.div_(self.scale.value)
            masked_step(self.optimizer, masked, step)
        if self.scale is not None:
            self.scale.update(not_finite)
        for constrain in self.player.constraints.values():
            constrain(self.network)
        measured = {"not_finite": not_finite[None], "gradient_norm": norm[None]}
        return measured | ({} if skip is None else {"skipped": skip.float()[None]})

    def read_culprits(self) -> dict[str, int]:
        """Return the parameters whose gradients were not finite, with counts, since the last call. A host sync."""
        counts = self.culprits.tolist()
        self.culprits.zero_()
        return {name: int(count) for name, count in zip(self.names, counts, strict=True) if count}
