"""Batch norm over two processes: what `tests/test_layers.py` holds against torch's own on one.

`python tests/launched/batchnorm.py FOLDER` reads FOLDER/images.pt, by name, and leaves FOLDER/RANK.pt.
"""

import sys
from functools import partial
from pathlib import Path

import forks
import torch
import torch.distributed as dist
from torch import Tensor

from ganlab.layers.batchnorm import BatchNorm

RANKS = 2


def passes(layer: BatchNorm | torch.nn.BatchNorm2d, images: Tensor) -> dict[str, Tensor]:
    """Return the outputs, the gradients of a loss and of a penalty on its input gradient, and the statistics."""
    images = images.clone().requires_grad_()
    out = layer(images)
    (slope,) = torch.autograd.grad(out.pow(3).sum(), images, create_graph=True)
    inputs = (images, layer.weight, layer.bias)
    second = torch.autograd.grad(slope.square().sum(), inputs, allow_unused=True)
    found = {"out": out, "slope": slope, "image": second[0], "weight": second[1], "bias": second[2]}
    return {name: tensor.detach() for name, tensor in found.items()} | {
        "mean": layer.running_mean,
        "var": layer.running_var,
    }


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    number, found = dist.get_rank(), {}
    for name, images in torch.load(folder / "images.pt").items():
        layer = BatchNorm(images.shape[1]).to(images.dtype)
        found[name] = passes(layer, images.chunk(RANKS)[number])
    torch.save(found, folder / f"{number}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(any(forks.finish(*forks.job(RANKS, partial(main, Path(sys.argv[1]))))))
