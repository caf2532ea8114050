"""Checks of a run that need its objects, all made before anything is written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.optim import Adam

from ganlab import distributed
from ganlab.data.format.shards import spelled
from ganlab.data.read.base import Dataset
from ganlab.data.read.dataset import ShardDataset
from ganlab.engine.dynamics import Alternating
from ganlab.engine.game import Game
from ganlab.engine.optimizers import make_optimizer, scheduled, still_form
from ganlab.experiment.build import on_gpu
from ganlab.experiment.config import differences, saved_values
from ganlab.experiment.former import RENAMED
from ganlab.experiment.frame import FREE_ON_RESUME, Config, Data, Other, is_allowed
from ganlab.experiment.words import did_you_mean, shown
from ganlab.experiment.yamls import leaves
from ganlab.layers.batchnorm import Standardization
from ganlab.types import ImageSpec, UserError


def with_facts(config: Config, dataset: Dataset, other: Dataset | None) -> Config:
    """Return the config with what the data are, if it declares the same or nothing."""
    data = config.data
    image, dims = agreed_image("data", data, dataset.image), dataset.vectors.shape[1] or None
    if data.vectors not in (None, dims):
        raise UserError(
            f"{data.url}: its vectors have {dims or 'no'} dimensions, but data.vectors is {data.vectors}; change "
            "data.vectors, or give the dataset others with `ganlab data vectors`"
        )
    beside = data.other
    if beside is not None and other is not None:
        beside = replace(beside, image=agreed_image("data.other", beside, other.image))
    return replace(config, data=replace(data, image=image, vectors=dims, other=beside))


def agreed_image(key: str, data: Data | Other, found: ImageSpec) -> ImageSpec:
    """Return the image spec of a dataset, if the config declares the same or none, with the config's class names."""
    declared = data.image
    if declared is not None and declared != found:
        raise UserError(
            f"{data.url}: its images are {found}, but the config declares {key}.image as {declared}; "
            f"pack the data again, or change {key}.image"
        )
    if declared is None or not declared.class_names:
        return found
    if len(declared.class_names) != found.classes:
        raise UserError(
            f"{key}.image.class_names: {len(declared.class_names)} names for {found.classes} classes; name every "
            "class, or leave them out to take the names of the index"
        )
    if len(set(declared.class_names)) < found.classes:
        raise UserError(f"{key}.image.class_names: two classes have one name; give each a name of its own")
    return replace(found, class_names=declared.class_names)


def check_run(config: Config, model: Game, dataset: Dataset) -> None:
    """Refuse what the config asks of this machine, its model or its data and they cannot do."""
    check_device(config)
    check_logging(config)
    check_game(config, model)
    check_cuda_graphs(config, model)
    check_labels(config, model, dataset)


def check_game(config: Config, model: Game) -> None:
    """Refuse what no machine could train."""
    check_batch(config, model)
    check_optimizers(model)
    check_freeze(model)
    check_shard(config, model)
    check_dynamics(config, model)
    check_compile(config, model)


def check_freeze(model: Game) -> None:
    """Refuse to freeze what the networks do not have, all that a player moves, and weights that have constraints."""
    modules = [
        f"{at}.{name}" if name else at
        for at, network in model.networks.items()
        for name, module in network.named_modules()
        if any(True for _ in module.parameters())
    ]
    for frozen in model.runtime.freeze:
        if frozen not in modules:
            near = did_you_mean(frozen, modules) or f"; the networks are {', '.join(model.networks)}"
            raise UserError(f"train.freeze: {frozen}: there is no such module with weights{near}")
    frozen_weights = {w for name in model.runtime.freeze for w in model.get_submodule(name).parameters()}
    for name, player in model.players.items():
        weights = {weight for at in player.networks for weight in model.networks[at].parameters()}
        if weights <= frozen_weights:
            raise UserError(f"train.freeze: freezes all weights of the {name}, which must move some; freeze fewer")
        if player.constraints and weights & frozen_weights:
            raise UserError(
                f"train.freeze: the weights of the {name} have constraints ({', '.join(player.constraints)}), which "
                "would change frozen ones; remove them, or freeze none of these"
            )


def check_labels(config: Config, model: Game, dataset: Dataset) -> None:
    """Refuse samples without a class if the model is conditional, unless it learns from those that have one."""
    if model.conditional and "real" not in model.LEARNS_CLASSES and (missing := dataset.unlabelled):
        raise UserError(
            f"{config.data.url}: {missing:,} of {len(dataset):,} samples have no class, but the model is conditional; "
            "label all of them, or set model.conditional=false"
        )


def count_labels(config: Config, model: Game, dataset: Dataset, other: Dataset | None) -> Iterator[str]:
    """Say how many images have a class in each stream from whose classes the model learns; refuse none."""
    streams = {"real": (config.data, dataset), "other": (config.data.other, other)}
    for name in model.LEARNS_CLASSES:
        data, images = streams[name]
        assert data is not None and images is not None  # the model was built with this stream
        if not (found := len(images) - images.unlabelled):
            raise UserError(
                f"{data.url}: none of its {len(images):,} images has a class, but {type(model).__name__} learns from "
                "them; pack the data from class folders or with a dataset.json"
            )
        yield f"{data.url}: {found:,} of {len(images):,} images have a class"


def check_batch(config: Config, model: Game) -> None:
    """Refuse a batch, of any phase and player, that the processes cannot share equally in whole groups."""
    processes, group = distributed.world_size(), config.train.group * model.dynamics.halves
    step, named = processes * group, "train.group" if model.dynamics.halves == 1 else "train.group, twice"
    shared = f"cannot be shared by {processes} process{'es' * (processes > 1)} in groups of {group} ({named})"
    for phase in model.phases:
        batch = config.train.batch or phase.batch
        assert batch is not None, f"{type(model).__name__} has no plan of its own"
        at = "" if len(model.phases) == 1 else f" at {phase.image.height} px"
        if batch % step:
            raise UserError(
                f"train.batch: {batch} images{at} {shared}; write a multiple of {step}, for example "
                f"{max(step, batch // step * step)}"
            )
        for name, player in model.players.items():
            own = round(batch // processes * player.batch) * processes
            if not own or own % step:
                raise UserError(
                    f"{name}: a batch of {own}, {player.batch:g} times the {batch} reals of train.batch{at}, {shared}; "
                    f"choose a ratio (model.generator_batch) that gives a multiple of {step}"
                )


def check_optimizers(model: Game) -> None:
    """Refuse arguments that torch's optimizers refuse, before they get their parameters."""
    for name, player in model.players.items():
        try:
            make_optimizer(player.optimizer, [torch.zeros(1)])
        except (TypeError, ValueError) as error:
            raise UserError(f"model: the optimizer of the {name}: {error}") from None


def check_shard(config: Config, model: Game) -> None:
    """Refuse to shard with optimizers that have no fused form for sharded weights, and with constraints on them."""
    if config.machine.shard and distributed.world_size() > 1:
        for name, player in model.players.items():
            # Both are applied to whole networks, of which only shares are kept.
            penalties = [at for at, penalty in player.regularizers.items() if "weights" in penalty.at]
            if held := [*player.constraints, *penalties]:
                raise UserError(
                    f"machine.shard: true, but the weights of the {name} have constraints ({', '.join(held)}); remove "
                    "them, or write machine.shard=false"
                )
        need_adam(model, "machine.shard", "torch has no fused {} for sharded weights")


def need_adam(model: Game, key: str, reason: str) -> None:
    """Refuse a key of the machine that only Adam and AdamW allow; `reason` has a place for another optimizer's name."""
    for name, player in model.players.items():
        optimizer = make_optimizer(player.optimizer, [torch.zeros(1)])
        if not isinstance(optimizer, Adam):
            raise UserError(
                f"{key}: true, but {reason.format(type(optimizer).__name__)} (model.optimizers.{name}); "
                f"take torch.optim.Adam or AdamW, or write {key}=false"
            )


def check_dynamics(config: Config, model: Game) -> None:
    """Refuse what the dynamics cannot go with: shards, compilation, recomputed blocks."""
    dynamics, derivatives = model.dynamics, "differentiates through gradients, which"
    if config.machine.shard and distributed.world_size() > 1 and not dynamics.shards:
        dynamics.refuse("needs whole weights on every process; write machine.shard=false")
    if config.machine.compile and dynamics.differentiates:
        dynamics.refuse(f"{derivatives} compiled losses cannot; write machine.compile=false")
    if config.train.checkpoint_blocks and dynamics.differentiates:
        dynamics.refuse(f"{derivatives} recomputed blocks cannot; write train.checkpoint_blocks=false")


def check_compile(config: Config, model: Game) -> None:
    """Refuse to compile what couples ranks: torch silently computes a wrong gradient inside a compiled penalty."""
    norms = [layer for layer in model.modules() if isinstance(layer, Standardization)]
    if config.machine.compile and distributed.world_size() > 1 and any(norm.group is None for norm in norms):
        raise UserError(
            f"machine.compile: true, but a batch norm is over all {distributed.world_size()} processes; write "
            f"model.batch_norm_group={config.train.group}, or machine.compile=false"
        )
    if config.machine.compile and distributed.world_size() > 1 and model.coupled:
        raise UserError(
            f"machine.compile: true, but the loss compares the samples of all {distributed.world_size()} processes; "
            "write machine.compile=false"
        )


def check_cuda_graphs(config: Config, model: Game) -> None:
    """Refuse CUDA graphs on a CPU, on several processes, and with optimizers that cannot be captured."""
    if not config.machine.cuda_graphs:
        return
    if not on_gpu(config.machine):
        raise UserError("machine.cuda_graphs: true, but the run is on the CPU; write machine.cuda_graphs=false")
    if (processes := distributed.world_size()) > 1:
        raise UserError(
            f"machine.cuda_graphs: true, but {processes} processes take part, and their reductions cannot be captured; "
            "write machine.cuda_graphs=false"
        )
    if not isinstance(model.dynamics, Alternating):
        raise UserError(
            f"machine.cuda_graphs: true, but with {type(model.dynamics).__name__} dynamics a step is not captured; "
            "write machine.cuda_graphs=false"
        )
    for name, player in model.players.items():
        follows = {"lr"} if still_form(player.optimizer) is player.optimizer else {"lr", "betas"}
        if fixed := set(scheduled(player.optimizer)) - follows:
            raise UserError(
                f"machine.cuda_graphs: true, but a CUDA graph would keep the first value of the schedule of "
                f"{min(fixed)} (model.optimizers.{name}); write machine.cuda_graphs=false"
            )
    need_adam(model, "machine.cuda_graphs", "torch cannot capture {}")


def check_device(config: Config) -> None:
    """Refuse a GPU that does not exist."""
    if config.machine.device == "cuda" and not torch.cuda.is_available():
        raise UserError("machine.device: cuda, but torch sees no GPU here; write machine.device=cpu, or auto")
    here, gpus = distributed.processes_here(), torch.cuda.device_count()
    if config.machine.device != "cpu" and 0 < gpus < here:
        raise UserError(
            f"machine: {here} processes on this node, but each sees {gpus} GPU{'s' * (gpus > 1)}; start one for each "
            "GPU, and let every process see all GPUs of its node (SLURM: --gpus-per-node, not --gpus-per-task)"
        )


def check_logging(config: Config) -> None:
    """Refuse TensorBoard where it is not installed."""
    if config.logging.tensorboard and find_spec("tensorboard") is None:
        raise UserError("logging.tensorboard: true, but it is not installed here; pip install 'ganlab[tensorboard]'")


def check_growth(url: str, dataset: Dataset, fingerprint: str, allow_change: Sequence[str]) -> None:
    """Refuse a dataset that has grown since the checkpoint, of whose dataset the fingerprint is given."""
    if not isinstance(dataset, ShardDataset) or not (count := dataset.index.earlier.get(fingerprint)):
        return
    if not is_allowed("data.fingerprint", allow_change):
        raise UserError(
            f"{url}: has grown by {len(dataset.index.shards) - count:,} shards since the checkpoint; go on with the "
            f"old ones by data.url={spelled(url, count)}, or take the new ones with --allow-change data.fingerprint"
        )


def check_allowed(allow_change: Sequence[str], *configs: Mapping[str, Any]) -> None:
    """Refuse an `--allow-change` that is no key of any of the configs."""
    keys = {
        "data.fingerprint",
        *(f"model.{old}" for old in RENAMED),
        *(k for config in configs for k, _ in leaves(config)),
    }
    for pattern in allow_change:
        if not any(is_allowed(key, [pattern]) for key in keys):
            raise UserError(f"--allow-change {pattern}: is no key of the config{did_you_mean(pattern, keys)}")


def check_resume(
    path: Path, saved: dict[str, Any], config: Config, fingerprint: str, allow_change: Sequence[str]
) -> None:
    """Refuse a checkpoint of another config, or of another dataset."""
    before, now = (
        {**values, "data.fingerprint": of}
        for values, of in (
            (saved_values(saved["config"], config.trust), saved["fingerprint"]),
            (config.as_dict(), fingerprint),
        )
    )
    check_allowed(allow_change, before, now)
    allowed = [*allow_change, *(new for old, new in RENAMED.items() if f"model.{old}" in allow_change)]
    changed = {
        key: values
        for key, values in differences(before, now).items()
        if not FREE_ON_RESUME.match(key) and not is_allowed(key, allowed)
    }
    if changed:
        lines = "".join(
            f"\n  {key}: {shown(old)} in the checkpoint, {shown(new)} now" for key, (old, new) in changed.items()
        )
        raise UserError(
            f"{path}: is of another config:{lines}\n"
            f"name another folder with run=PATH, or allow a change with --allow-change {next(iter(changed))}"
        )


def check_shapes(path: Path, saved: dict[str, Any], model: Game) -> None:
    """Refuse a checkpoint whose tensors do not fit the model, which --allow-change cannot fix."""
    theirs = {name: tuple(tensor.shape) for name, tensor in saved["state_dict"].items()}
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if changed := [
        f"{name}: {old} in the checkpoint, {new} now" for name, (old, new) in differences(theirs, ours).items()
    ]:
        raise UserError(f"{path}: does not fit the model: {'; '.join(changed[:5])}; name another folder with run=PATH")
