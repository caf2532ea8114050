"""What a model computes with its averaged networks, as functions of tensors that need no ganlab."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ganlab.engine.game import Game
from ganlab.seeding import Noise
from ganlab.types import Images, Labels, Latents, UserError

EXAMPLES = 4
"""Samples of the batch that is traced: with 1 the batch would be taken for a constant."""


@dataclass(frozen=True)
class Function:
    """One of a model's functions: a batch of any size in, one tensor out."""

    name: str
    """`generator`, `encoder`, `translator`, `other_translator` or `classifier`."""
    run: Callable[..., Tensor]
    inputs: Mapping[str, Tensor]
    """By name, with `EXAMPLES` samples."""
    output: str


def functions_of(model: Game) -> list[Function]:
    """Return all functions of a model, a generator first; `UserError` if it has none.

    `generator`: latents [n, d], and labels [n] if it is conditional, to images. `encoder`: images to codes.
    `translator` and `other_translator`: images, of the data and of its other stream, to images. `classifier`: images
    to probabilities of the classes. Images are in [-1, 1].
    """
    found = list(_functions(model))
    if not found:
        raise UserError(
            f"--format: {type(model).__name__} makes nothing of latents or images; its weights travel with "
            "--format safetensors"
        )
    return found


def _functions(model: Game) -> Iterator[Function]:
    images = {"images": torch.zeros(EXAMPLES, *model.inputs[-1].shape, dtype=model.real_dtype)}
    if model.latent:
        latents, labels = model.draw_latents(EXAMPLES, Noise(0, 0, dtype=model.real_dtype), "sample")
        inputs = {"latents": latents} | ({"labels": labels} if model.classes else {})
        yield Function("generator", partial(generate, model), inputs, "images")
    if hasattr(model, "encoder_ema"):
        yield Function("encoder", model.encoded, images, "codes")
    else:
        for name, other in (("translator", False), ("other_translator", True)):
            if model.remakes(other):
                yield Function(name, partial(translate, model, other), images, "made")
    if callable(classify := getattr(model, "classify", None)):
        yield Function("classifier", classify, images, "probabilities")


def generate(model: Game, latents: Latents, labels: Labels | None = None) -> Images:
    """Return images of latents, and of classes if the model has some."""
    return model.averaged(latents, without_class(latents) if labels is None else labels)


def translate(model: Game, other: bool, images: Images) -> Tensor:
    """Return what a model makes of images: the output of its `remake`, as floats, perhaps of another size."""
    make = model.made_from_other if other else model.made_from
    _, output, *_ = ({"input": images} | make(images, without_class(images))).values()
    return output


def without_class(samples: Tensor) -> Labels:
    """Return a label of -1 for each sample."""
    return torch.full(samples.shape[:1], -1, device=samples.device)


class Alone(nn.Module):
    """A function with the averages that it may use, and no other network of the game."""

    def __init__(self, model: Game, function: Function) -> None:
        super().__init__()
        self.averages = nn.ModuleDict({at: getattr(model, at) for at in model.average_names.values()})
        self.run = function.run  # not a module: what else hangs on the game is not registered here

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run it."""
        return self.run(*inputs)


@torch.no_grad()
def traced(model: Game, function: Function) -> ExportedProgram:
    """Return a function's graph for batches of any size, without the paths of the source files that it came from."""
    n = Dim("n", min=1)
    function.run(*function.inputs.values())  # a network that grows takes its size now, and does not while it is traced
    program = torch.export.export(
        Alone(model, function).eval(),
        tuple(function.inputs.values()),
        dynamic_shapes=(tuple({0: n} for _ in function.inputs),),
        strict=False,
    )
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return program
