"""Does a small shipped config learn? Its kernel distance before, half-way and after, as rows of a table.

The distance is `benchmarks/quality.py`'s: 2,000 samples of the averaged generator against real images, in MobileNetV2's
features. It needs the images and the network of `../shared`. The runs are kept in `runs/large`.
"""

from collections.abc import Generator, Iterator
from pathlib import Path

from quality import COUNT, FEATURES, REPOSITORY, SHARED, distances, trained
from rows import Row

from ganlab.data import ShardDataset
from ganlab.data.make.pack import pack
from ganlab.evaluation.images import ImageSet, open_images
from ganlab.metrics.features import TorchScriptFeatures
from ganlab.models import GANModule

BAR = 0.2
"""Of the distance before training."""
OUT = REPOSITORY / "runs/large"
FASHION = "fashion_mnist/train-images-idx3-ubyte.gz"


def run_of(config: str, source: str, size: int, seed: int, *changes: str) -> tuple[Path, Path, list[str]]:
    """Train a config on images of `../shared/data`; return its path, the shards' folder and the overrides."""
    path = REPOSITORY / "configs" / config
    folder, run = OUT / f"{path.parent.name}-{size}", OUT / f"{path.parent.name}-{path.stem}-{seed}"
    pack(SHARED / "data" / source, folder, size=size)
    overrides = [f"data.url={folder}", f"run={run}", f"seed={seed}", "logging.wandb=disabled", "machine.threads=1"]
    return path, folder, trained(path, [*overrides, *changes], OUT)


def told(
    system: str,
    path: Path,
    overrides: list[str],
    reals: ImageSet,
    extractor: TorchScriptFeatures,
    standing: int = 0,
) -> Generator[Row, None, GANModule]:
    """The distances of a run; return the model at its end."""
    found = list[float]()
    for nimg, last, row in distances(path, overrides, reals, extractor, standing):
        model = last
        found.append(row["value"])
        yield Row(system, f"kid{COUNT} at {nimg:,} images", found[-1], "less than before", found[-1] <= min(found))
    ratio = found[-1] / found[0]
    yield Row(system, f"kid{COUNT} after, of that before", ratio, f"<= {BAR}", ratio <= BAR)
    return model


def learned(system: str, config: str, source: str, size: int, seed: int, *changes: str) -> Iterator[Row]:
    """Train a config, and measure the model at its checkpoints."""
    path, folder, overrides = run_of(config, source, size, seed, *changes)
    reals = open_images(str(folder), min(2 * COUNT, len(ShardDataset(folder))))
    yield from told(system, path, overrides, reals, TorchScriptFeatures(path=FEATURES))
