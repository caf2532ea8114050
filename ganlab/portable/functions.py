"""What a model computes with its averaged networks, as functions of tensors that need no ganlab."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ganlab.engine.game import Game
from ganlab.engine.samples import Sampling
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
    """By name, with `EXAMPLES` samples; of `truncation`, one number for all."""
    output: str


def functions_of(model: Game) -> list[Function]:
    """Return all functions of a model, a generator first; `UserError` if it has none.

    `generator`: latents [n, d], labels [n] if it is conditional, and truncation [1] if its network truncates, to
    images. `encoder`: images to codes. `translator` and `other_translator`: images, of the data and of its other
    stream, to images. `classifier`: images to probabilities of the classes. Images are in [-1, 1].
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
        if truncation_of(model) == "input":
            inputs["truncation"] = torch.ones(1, dtype=model.real_dtype)
        yield Function("generator", partial(generate, model, [*inputs]), inputs, "images")
    if hasattr(model, "encoder_ema"):
        yield Function("encoder", model.encoded, images, "codes")
    else:
        for name, other in (("translator", False), ("other_translator", True)):
            if model.remakes(other):
                yield Function(name, partial(translate, model, other), images, "made")
    if callable(classify := getattr(model, "classify", None)):
        yield Function("classifier", classify, images, "probabilities")


def generate(model: Game, names: Sequence[str], latents: Latents, *others: Tensor) -> Tensor:
    """Return images of latents, of labels and of a truncation if `names` has these."""
    given = dict(zip(names[1:], others, strict=True))
    labels = given["labels"] if "labels" in given else without_class(latents)
    if "truncation" not in given:
        return model.averaged(latents, labels)
    noise = Noise(0, 0, dtype=model.real_dtype)  # a network that truncates draws none
    return model.truncated(latents, labels, given["truncation"], noise, "sample")  # type: ignore[arg-type]


def truncation_of(model: Game) -> Literal["latents", "input"] | None:
    """Tell how a model truncates: its latents are cut off before the network, or the network takes a number; or not."""
    if type(model).truncated is Sampling.truncated:
        return "latents" if model.normal else None
    noise = Noise(0, 0, dtype=model.real_dtype)
    try:
        model.truncated(*model.draw_latents(EXAMPLES, noise, "sample"), 0.5, noise, "sample")
    except UserError:  # it would do nothing
        return None
    return "input"


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
    """Return a function's graph for batches of any size, without the paths of the source files that it came from.

    `UserError` for a network of a person's own that cannot be traced.
    """
    n = Dim("n", min=1)
    function.run(*function.inputs.values())  # a network that grows takes its size now, and does not while it is traced
    try:
        program = torch.export.export(
            Alone(model, function).eval(),
            tuple(function.inputs.values()),
            dynamic_shapes=(tuple({} if name == "truncation" else {0: n} for name in function.inputs),),
            strict=False,
        )
    except RuntimeError as error:
        raise UserError(
            f"--format: the {function.name} of {type(model).__name__} makes no graph for batches of any size: "
            f"{str(error).splitlines()[0]}; take sizes from x.shape, as len(x) is fixed in a graph, or export with "
            "--format safetensors"
        ) from error
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return program
