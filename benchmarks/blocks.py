"""Forms of the same operation beside each other: seconds, and the memory that its pass and backward pass take.

- the resampler up and down, in four and three forms that are equal inside of the border;
- the penalty on the input gradient of R3GAN's discriminator: by autograd's double backward pass, by the discriminator's
  own gradient, and by finite differences of all samples and of a quarter of them; beside the pass without a penalty.

Each form takes its turn; the figure is the shortest time.
"""

from collections.abc import Callable, Mapping
from functools import partial

import click
import torch
from torch import Tensor
from torch.nn import functional as F

from ganlab.experiment.limits import now
from ganlab.experiment.memory import Ledger
from ganlab.layers.resample import Downsample, Upsample
from ganlab.networks import r3gan
from ganlab.regularizers import input_gradient
from ganlab.types import ImageSpec

Form = Callable[[], Tensor]
"""A pass that returns a number to differentiate."""


def apart(images: Tensor, kernel: Tensor) -> Tensor:
    """Zeros between the pixels, then a depthwise convolution."""
    n, c, h, w = images.shape
    wide = images.new_zeros(n, c, 2 * h, 2 * w)
    wide[..., ::2, ::2] = images
    return F.conv2d(F.pad(wide, (2, 1, 2, 1)), 4 * kernel.expand(c, 1, 4, 4), groups=c)


def transposed(images: Tensor, kernel: Tensor) -> Tensor:
    """A depthwise transposed convolution."""
    c = images.shape[1]
    return F.conv_transpose2d(images, 4 * kernel.expand(c, 1, 4, 4), stride=2, padding=1, groups=c)


def polyphase(images: Tensor) -> Tensor:
    """Sums of neighbours with 1/4 and 3/4, one side after the other, interleaved."""
    for side in (-1, -2):
        size = images.shape[side]
        padded = F.pad(images, (1, 1) if side == -1 else (0, 0, 1, 1))
        before, here, after = (padded.narrow(side, start, size) for start in (0, 1, 2))
        pairs = torch.stack([0.25 * before + 0.75 * here, 0.75 * here + 0.25 * after], dim=side % 4 + 1)
        images = pairs.flatten(side % 4, side % 4 + 1)
    return images


def resamplers(device: torch.device, shape: tuple[int, ...]) -> dict[str, Mapping[str, Form]]:
    """The forms for images of a shape."""
    images = torch.randn(shape, device=device).to(memory_format=torch.channels_last).requires_grad_()
    kernel = Downsample().to(device).kernel
    ups: dict[str, Callable[[Tensor], Tensor]] = {
        "zeros between, depthwise": partial(apart, kernel=kernel),
        "transposed depthwise": partial(transposed, kernel=kernel),
        "polyphase": polyphase,
        "padded linear, cropped (ours)": Upsample(),
    }
    downs: dict[str, Callable[[Tensor], Tensor]] = {
        "three means": lambda x: F.avg_pool2d(F.avg_pool2d(F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 2, 1), 2, 1), 1, 2)[
            ..., : x.shape[2] // 2, : x.shape[3] // 2
        ],
        "linear, antialiased": lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True),
        "depthwise of stride 2 (ours)": Downsample().to(device),
    }
    title = "x".join(map(str, shape))
    return {
        f"{way} {title}": {name: (lambda form=form: form(images).square().sum()) for name, form in forms.items()}
        for way, forms in (("up", ups), ("down", downs))
    }


def penalties(device: torch.device, batch: int, width: int) -> dict[str, Mapping[str, Form]]:
    """The squared input gradient of a discriminator, in every way."""
    d = r3gan.Discriminator(image=ImageSpec(32, 32, 3), width=width).to(device, memory_format=torch.channels_last)
    with torch.no_grad():
        for weight in d.parameters():
            weight.add_(torch.randn_like(weight), alpha=1e-3)  # blocks that do something
    images = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.int64, device=device)

    def slope(way: Callable[..., tuple[Tensor, Tensor]]) -> Tensor:
        gradient, logits = way(images, labels)
        return gradient.square().sum() + logits.sum()

    def differences(stride: int) -> Tensor:
        logits, some = d(images, labels), images[::stride]
        near = d(some + 0.01 * torch.randn_like(some), labels[::stride])
        return ((near - logits[::stride]) / 0.01).square().sum() + logits.sum()

    forms: dict[str, Form] = {
        "no penalty": lambda: d(images, labels).sum(),
        "double backward of autograd": partial(slope, partial(input_gradient, d)),
        "its own input gradient (ours)": partial(slope, d.with_gradient),
        "finite differences": partial(differences, 1),
        "finite differences, stride 4": partial(differences, 4),
    }
    return {f"penalty, R3GAN of width {width}, {batch} images": forms}


def memory(form: Form, device: torch.device) -> float:
    """The most bytes that a pass and its backward pass hold."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        form().backward()
        return float(torch.cuda.max_memory_allocated() - before)
    with Ledger([]) as ledger:
        form().backward()
    return float(max(map(sum, ledger.moments)))


@click.command()
@click.option("--device", default="cpu", show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--large", is_flag=True, help="The sizes of large networks, for a GPU.")
def main(device: str, rounds: int, large: bool) -> None:
    where = torch.device(device)
    torch.manual_seed(0)
    shapes = [(64, 512, 64, 64), (8, 32, 512, 512)] if large else [(8, 64, 64, 64)]
    tables = [resamplers(where, shape) for shape in shapes]
    tables.append(penalties(where, *((256, 768) if large else (16, 64))))
    for title, forms in (table for found in tables for table in found.items()):
        best = dict.fromkeys(forms, float("inf"))
        for _ in range(rounds + 1):  # the first is to warm up
            for name, form in forms.items():
                start = now(where)
                form().backward()
                best[name] = min(best[name], now(where) - start)
        print(title)
        for name, form in forms.items():
            print(f"  {name:<32}{1e3 * best[name]:10.2f} ms{memory(form, where) / 1e6:10.1f} MB", flush=True)


if __name__ == "__main__":
    main()
