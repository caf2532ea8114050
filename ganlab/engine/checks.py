"""What a game refuses: settings that contradict each other."""

import math
from typing import Any

from ganlab.layers.batchnorm import keeps_statistics
from ganlab.layers.groups import group_of
from ganlab.types import UserError


def refuse_contradictions(game: Any) -> None:
    """Raise a `UserError` that names the first contradiction in a `Game`'s settings, if there is one."""
    group, micro_batch = game.runtime.group, game.runtime.micro_batch
    penalties = [pair for player in game.players.values() for pair in player.regularizers.items()]
    least: list[tuple[str, Any]] = [("train.group", group)]
    least += [(f"model.{name}_steps", player.every) for name, player in game.players.items()]
    least += [(f"model.regularizers.{name}.every", penalty.every) for name, penalty in penalties]
    if wrong := [f"{name}: {value}" for name, value in least if not callable(value) and value <= 0]:
        raise UserError(f"{', '.join(wrong)}: must be more than 0")
    strides = {name: getattr(penalty, "stride", 1) for name, penalty in penalties}
    if wrong := [f"{name}.stride: {stride}" for name, stride in strides.items() if stride <= 0 or group % stride]:
        raise UserError(f"model.regularizers.{wrong[0]}: must divide train.group, {group}")
    if empty := [f"{name} {list(weight.shape)}" for name, weight in game.named_parameters() if not weight.numel()]:
        raise UserError(f"model: weights without numbers: {empty[0]}; make every width and `latent` at least 1")
    for name, network in game.networks.items():
        if group % (together := group_of(network)):
            raise UserError(
                f"train.group: {group} is no multiple of {together}, the group that the {name} couples; write "
                f"train.group={math.lcm(group, together)}"
            )
    if micro_batch is not None and micro_batch % group:
        raise UserError(f"train.micro_batch: {micro_batch} is no multiple of train.group, {group}")
    if micro_batch is not None and game.coupled:
        raise UserError(
            f"train.micro_batch: {micro_batch}, but the loss compares all samples of a batch; write null, or a smaller "
            "train.batch"
        )
    weights = {f"model.regularizers.{name}.weight": penalty.weight for name, penalty in penalties}
    if negative := [f"{at}: {w}" for at, w in weights.items() if isinstance(w, int | float) and w < 0]:
        raise UserError(f"{', '.join(negative)}: must not be negative")
    for player in game.players.values():
        running = any(keeps_statistics(game.networks[at]) for at in player.networks)
        if running and (named := [at for at, penalty in player.regularizers.items() if penalty.own_gradient]):
            raise UserError(
                f"model: {named[0]}: differentiates a network with the running statistics of a batch norm, which its "
                f"passes would write; remove {named[0]}, or take a network without them"
            )
    if taken := {*game.RECORDS, "not_finite", "skipped"} & {name for name, _ in penalties}:
        raise UserError(f"model.regularizers: {min(taken)} is the name of a statistic; choose another")
    game.dynamics.check(game)
