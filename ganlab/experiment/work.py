"""The work of a model's steps, counted on fake tensors: nothing is allocated."""

import copy
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ganlab.engine.game import Game
from ganlab.types import Phase


@dataclass(frozen=True)
class Work:
    """Work per real image: its share of all players' steps, weighted by how often steps and penalties are due."""

    operations: float
    """Floating-point operations in matrix products and convolutions; a multiply-add counts as two."""
    operators: float
    """Torch operators that compute something, kernel launches on a GPU: views are not counted."""


class Counter(TorchDispatchMode):
    """Counts the operators that torch dispatches, backward passes included."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.operators = 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and count it."""
        if operator is torch.ops.prim.device.default:  # more frequent than all others, and slow to ask
            return args[0].device
        out = operator(*args, **(kwargs or {}))
        self.operators += operator.namespace == "aten" and not operator.is_view
        if operator.overloadpacket is torch.ops.aten.convolution_backward:
            self.operations += backward_operations(*args)
        elif operator.overloadpacket in flop_registry:
            self.operations += flop_registry[operator.overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def backward_operations(out: Tensor, images: Tensor, weight: Tensor, *rest: Any) -> int:
    """Return the operations of a convolution's backward pass: those of the forward pass per gradient that is wanted.

    (Torch's formula leaves out that a weight of groups has fewer numbers.)
    """
    *_, transposed, _, _, wanted = rest
    pixels = (images if transposed else out)[:, 0].numel()
    return 2 * pixels * weight.numel() * (wanted[0] + wanted[1])  # type: ignore[no-any-return]


def examples(model: Game, phase: Phase, n: int, device: torch.device) -> dict[str, Tensor]:
    """Return `n` reals of a phase as floats, and what else the data have, all zeros."""
    images, held = {"real": phase.image}, dict[str, Tensor]()
    if model.runtime.other is not None:
        images["other"] = model.runtime.other.scaled(phase.image.height, of=model.image.height)
    for name, image in images.items():
        shape = n, image.channels, image.height, image.width
        held[name] = torch.zeros(shape, dtype=model.real_dtype, device=device)
        held["labels" if name == "real" else f"{name}_labels"] = torch.zeros(n, dtype=torch.int64, device=device)
    if model.runtime.vectors:
        held["vectors"] = torch.zeros(n, model.runtime.vectors, dtype=model.real_dtype, device=device)
    return held


def skip_nvml() -> None:
    """Drop a variable that Lightning sets, with which each fake operator and each optimizer step searches for NVML."""
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)


class ChannelsAsImages(TorchFunctionMode):
    """Takes filters of single channels (`layers.resample.blurred`) for one of so many grey images.

    Those are the same operations, on fake tensors, which have no values that would differ. Torch's second derivative of
    the former goes through the channels one by one, for a gradient that nobody asked for: half a minute at 1024 px.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function."""
        kwargs = kwargs or {}
        if function is F.conv2d and len(args) == 2 and kwargs.get("bias") is None:
            images, filters = args
            if kwargs.get("groups", 1) == images.shape[1] == len(filters):
                grey = function(images.flatten(0, 1)[:, None], filters[:1], **{**kwargs, "groups": 1})
                return grey[:, 0].unflatten(0, images.shape[:2])
        return function(*args, **kwargs)


@contextmanager
def without_numbers(model: Game) -> Iterator[Game]:
    """Yield a seated copy of an unseated model with fake tensors, which have shapes but no values."""
    skip_nvml()
    shapes = FakeTensorMode()
    with FakeCopyMode(shapes):
        model = copy.deepcopy(model)
    with shapes, ChannelsAsImages():
        for module in model.modules():  # the meta device cannot draw noise
            held: dict[str, Any] = {**module._parameters, **module._buffers}
            for name, tensor in held.items():
                if tensor is not None and tensor.is_meta:
                    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
                    is_parameter = isinstance(tensor, nn.Parameter)
                    setattr(module, name, nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty)
        model.configure_optimizers()
        yield model


def count(model: Game, phase: Phase, batch: int) -> Work:
    """Count the work of an unseated model in a phase, with `batch` reals per process and round.

    The steps run on fake tensors, before there is a process group. (FlopCounterMode, which has the same formulas, fails
    on the backward pass inside a penalty.)
    """
    operations = operators = 0.0
    with without_numbers(model) as model:
        reals = examples(model, phase, batch, torch.device("cpu"))
        for name, player in model.players.items():
            period = math.lcm(*(penalty.every for penalty in player.regularizers.values()))
            due = [tuple(player.due(steps)) for steps in range(period)]
            costs = {}
            for which in set(due):
                model.clock.nimg, model.clock.steps[name] = phase.from_nimg, due.index(which)
                with Counter() as counter:
                    model.step(name, reals)
                costs[which] = counter.operations, counter.operators
            mean = [sum(column) / period for column in zip(*(costs[which] for which in due), strict=True)]
            operations += mean[0] / (player.mean_period() * batch)
            operators += mean[1] / (player.mean_period() * batch)
    if not operations:
        raise ValueError("this game has no matrix product to compare with")
    return Work(operations, operators)
