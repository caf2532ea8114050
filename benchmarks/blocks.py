"""Forms of the same operation beside each other: seconds, and the memory that its pass and backward pass take.

- the resampler up and down, in four and three forms that are equal inside of the border;
- StyleGAN2's modulated convolution: features scaled before and after one convolution, or weights per sample;
- augmentation before R3GAN's discriminator;
- the penalty on the input gradient of R3GAN's discriminator: by autograd's double backward pass, by the discriminator's
  own gradient, and by finite differences of all samples and of a quarter of them; beside the pass without a penalty.

Each form takes its turn; the figure is the shortest time: on a CPU that of one thread, whatever else the machine does.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial

import click
import torch
from torch import Tensor
from torch.nn import functional as F

from ganlab.augment import ADA, Augment, DiffAugment
from ganlab.experiment.limits import now
from ganlab.experiment.memory import Ledger
from ganlab.layers.modulated import ModulatedConv2d
from ganlab.layers.resample import Downsample, Upsample
from ganlab.networks import r3gan
from ganlab.regularizers import input_gradient
from ganlab.seeding import Noise
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


def grouped(layer: ModulatedConv2d, features: Tensor, styles: Tensor) -> Tensor:
    """The same layer as its paper writes it: the weights of each sample, in a convolution of n groups."""
    n, _, height, width = features.shape
    weights = layer.weight * styles[:, None, :, None, None]  # n out in 3 3
    weights = layer.gain * weights * torch.rsqrt(weights.square().sum((2, 3, 4), keepdim=True) + layer.EPS)
    return F.conv2d(features.view(1, -1, height, width), weights.flatten(0, 1), padding=1, groups=n).unflatten(
        1, (n, -1)
    )


def modulated(device: torch.device, shape: tuple[int, ...]) -> dict[str, Mapping[str, Form]]:
    """The forms for maps of a shape, to as many channels."""
    layer = ModulatedConv2d(shape[1], shape[1]).to(device, memory_format=torch.channels_last)
    maps, styles = (torch.randn(size, device=device, requires_grad=True) for size in (shape, shape[:2]))
    last = maps.detach().to(memory_format=torch.channels_last).requires_grad_()
    torch.testing.assert_close(grouped(layer, maps, styles)[0], layer(maps, styles), rtol=1e-3, atol=1e-3)
    forms: dict[str, Form] = {
        "weights per sample, grouped": lambda: grouped(layer, maps, styles).square().sum(),
        "scale, convolve, scale (ours)": lambda: layer(last, styles).square().sum(),
    }
    return {f"modulated convolution {'x'.join(map(str, shape))}": forms}


def judged(device: torch.device, batch: int, width: int) -> tuple[r3gan.Discriminator, Tensor, Tensor]:
    """R3GAN's discriminator of 32 px, and images with labels for it."""
    d = r3gan.Discriminator(image=ImageSpec(32, 32, 3), width=width).to(device, memory_format=torch.channels_last)
    with torch.no_grad():
        for weight in d.parameters():
            weight.add_(torch.randn_like(weight), alpha=1e-3)  # blocks that do something
    images = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    return d, images, torch.zeros(batch, dtype=torch.int64, device=device)


def pipes(device: torch.device, batch: int, width: int) -> dict[str, Mapping[str, Form]]:
    """Augmentation before a discriminator: its share of the pass and of the backward pass."""
    d, images, labels = judged(device, batch, width)
    images.requires_grad_()  # as a generator's step, or a penalty, needs it
    noise = Noise(seed=0, nimg=0, start=0, group=batch, device=device, dtype=images.dtype)

    def seen(augment: Augment) -> Tensor:
        return d(augment(images, augment.draw(images.shape, noise, "it")), labels).sum()

    kinds = {
        "DiffAugment": DiffAugment(),
        "ADA (bgc)": ADA(p=0.5),
        "ADA (bgcfnc)": ADA(p=0.5, filter=1, noise=1, cutout=1),
    }
    forms: dict[str, Form] = {name: partial(seen, augment) for name, augment in kinds.items()}
    return {f"augmentation, R3GAN of width {width}, {batch} images": {"none": lambda: d(images, labels).sum(), **forms}}


def penalties(device: torch.device, batch: int, width: int) -> dict[str, Mapping[str, Form]]:
    """The squared input gradient of a discriminator, in every way."""
    d, images, labels = judged(device, batch, width)

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
    torch.set_num_threads(1)
    clock = partial(now, where) if where.type == "cuda" else time.process_time
    shapes = [(64, 512, 64, 64), (8, 32, 512, 512)] if large else [(8, 64, 64, 64)]
    tables = [resamplers(where, shape) for shape in shapes]
    tables += [modulated(where, shape) for shape in ([(64, 512, 64, 64)] if large else [(8, 64, 64, 64)])]
    tables += [make(where, *((256, 768) if large else (16, 64))) for make in (pipes, penalties)]
    for title, forms in (table for found in tables for table in found.items()):
        best = dict.fromkeys(forms, float("inf"))
        for _ in range(rounds + 1):  # the first is to warm up
            for name, form in forms.items():
                start = clock()
                form().backward()
                best[name] = min(best[name], clock() - start)
        print(title)
        for name, form in forms.items():
            print(f"  {name:<32}{1e3 * best[name]:10.2f} ms{memory(form, where) / 1e6:10.1f} MB", flush=True)


if __name__ == "__main__":
    main()
