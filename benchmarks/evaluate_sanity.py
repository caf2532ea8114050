"""Do distances grow with damage? Half of CIFAR-10 against the other half, clean, noisy, blurred and compressed.

Prints a table of the Fréchet, kernel and sliced Wasserstein distance for each kind and strength of damage, and ends
with 1 if one of them does not rise with the strength. Needs the shared folder of images and weights.
"""

import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image, ImageFilter

from ganlab.data.make.sources import open_source
from ganlab.evaluation.evaluate import evaluate
from ganlab.evaluation.images import open_images
from ganlab.metrics.features import TorchScriptFeatures

METRICS = ("fid", "kid", "swd")


def noisy(picture: Image.Image, deviation: float) -> Image.Image:
    draw = np.random.default_rng(int(np.asarray(picture).sum()))
    pixels = np.asarray(picture) + draw.normal(0, deviation, np.asarray(picture).shape)
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def blurred(picture: Image.Image, radius: float) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(radius))


def compressed(picture: Image.Image, quality: float) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=int(quality))
    return Image.open(file)


DAMAGE: dict[str, tuple[Callable[[Image.Image, float], Image.Image], tuple[float, ...]]] = {
    "noise, deviation": (noisy, (5, 15, 40)),
    "blur, radius": (blurred, (0.4, 0.8, 1.6)),
    "JPEG, quality": (compressed, (80, 40, 10)),
}


def measure(reals: Path, fakes: Path, pictures: list[Image.Image], extractor: TorchScriptFeatures) -> list[float]:
    """Return the distances of some pictures from the reals."""
    np.save(fakes, np.stack([np.asarray(picture) for picture in pictures]))
    sets = open_images(str(fakes)), open_images(str(reals))
    rows = evaluate(*sets, METRICS, extractor, torch.device("cpu"), about={})
    return [row["value"] for row in rows if row["metric"] in METRICS]


@click.command()
@click.option("--images", default=1_000, show_default=True, help="On each side, of the 49,883.")
@click.option("--shared", default=os.environ.get("GANLAB_SHARED", "../shared"), show_default=True)
def main(images: int, shared: str) -> None:
    source = open_source(Path(shared) / "data/cifar10/cifar10-train.zip")
    extractor = TorchScriptFeatures(path=f"{shared}/weights/mobilenet_v2_features.pt")
    chosen = np.random.default_rng(0).permutation(len(source))[: 2 * images]
    pictures = [source.image(int(i)).convert("RGB") for i in chosen]
    rising = True
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["GANLAB_CACHE"] = temporary
        folder = Path(temporary)
        np.save(folder / "reals.npy", np.stack([np.asarray(picture) for picture in pictures[images:]]))
        others = pictures[:images]
        clean = measure(folder / "reals.npy", folder / "clean.npy", others, extractor)
        print(
            f"{images:,} images a side, {extractor.name}\n\n| damage | " + " | ".join(METRICS) + " |\n|---|---|---|---|"
        )
        print("| none | " + " | ".join(f"{value:.4g}" for value in clean) + " |", flush=True)
        for name, (damage, strengths) in DAMAGE.items():
            before = clean
            for strength in strengths:
                damaged = [damage(picture, strength) for picture in others]
                values = measure(folder / "reals.npy", folder / "damaged.npy", damaged, extractor)
                rising &= all(value > last for value, last in zip(values, before, strict=True))
                print(f"| {name} {strength} | " + " | ".join(f"{value:.4g}" for value in values) + " |", flush=True)
                before = values
    print("\nevery distance rises with every damage" if rising else "\nNOT MONOTONE")
    sys.exit(not rising)


if __name__ == "__main__":
    main()
