"""The Fréchet distance of two folders of images by ganlab, torch-fidelity and clean-fid, with the same network.

Each tool reads both folders, and runs the network, in a process of its own on one thread: images per second of the
processor, the peak of the process, and the value. The images are PNGs of 32 px of `../shared`, and go to the network
as they are: it resizes them itself. What clean-fid is named for, its resizing to 299 px, is thus not compared.
clean-fid is left out where it is not installed: `pip install --no-deps --target peers clean-fid==0.1.35`.
"""

import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import torch
from evaluate import CPU, Theirs
from PIL import Image
from quality import FEATURES, SHARED
from torch import Tensor

from ganlab.evaluation.evaluate import evaluate
from ganlab.evaluation.images import BLOCK, open_images
from ganlab.metrics.features import TorchScriptFeatures

PACKAGES = {"ganlab": "ganlab", "torch-fidelity": "torch_fidelity", "clean-fid": "cleanfid"}


def by_ganlab(first: str, second: str, extractor: TorchScriptFeatures) -> float:
    (row,) = evaluate(open_images(first), open_images(second), ["fid"], extractor, CPU, about={})
    return float(row["value"])


def by_torch_fidelity(first: str, second: str, extractor: TorchScriptFeatures) -> float:
    import torch_fidelity

    Theirs.ours = extractor
    torch_fidelity.register_feature_extractor("ours", Theirs)
    words = {"feature_extractor": "ours", "feature_layer_fid": "features", "cuda": False, "verbose": False}
    found = torch_fidelity.calculate_metrics(input1=first, input2=second, fid=True, cache=False, **words)
    return float(found["frechet_inception_distance"])


def by_clean_fid(first: str, second: str, extractor: TorchScriptFeatures) -> float:
    from cleanfid import fid

    def network(images: Tensor) -> Tensor:
        return extractor.outputs(images.round().byte())[0]

    options = {"device": CPU, "num_workers": 0, "mode": "legacy_tensorflow", "verbose": False}
    return float(fid.fid_from_feats(*(fid.get_folder_features(at, network, **options) for at in (first, second))))


TOOLS: dict[str, Callable[[str, str, TorchScriptFeatures], float]] = {
    "ganlab": by_ganlab,
    "torch-fidelity": by_torch_fidelity,
    "clean-fid": by_clean_fid,
}


def work(tool: str, folder: Path, images: int) -> None:
    torch.set_num_threads(1)
    os.environ["GANLAB_CACHE"] = str(folder / "cache")
    extractor = TorchScriptFeatures(path=FEATURES)
    start = sum(os.times()[:4])  # its own, and those of ended workers
    value = TOOLS[tool](str(folder / "0"), str(folder / "1"), extractor)
    rate = 2 * images / (sum(os.times()[:4]) - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": rate, "peak": peak, "value": value}))


@click.command(help=__doc__)
@click.option("--images", default=500, show_default=True, help="Of each folder.")
@click.option("--tool", type=click.Choice(list(TOOLS)), hidden=True)
@click.option("--folder", type=click.Path(path_type=Path), hidden=True)
def main(images: int, tool: str | None, folder: Path | None) -> None:
    if tool and folder:
        work(tool, folder, images)
        return
    with tempfile.TemporaryDirectory() as name:
        reals = open_images(str(SHARED / "data/cifar10/cifar10-train.zip"), 2 * images)
        for start in range(0, 2 * images, BLOCK):
            for number, pixels in enumerate(reals.block(start)[0], start):
                path = Path(name, str(number // images), f"{number}.png")
                path.parent.mkdir(exist_ok=True)
                Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
        for one, package in PACKAGES.items():
            if importlib.util.find_spec(package) is None:
                print(f"{one}: left out: not installed")
                continue
            command = [sys.executable, __file__, f"--tool={one}", f"--folder={name}", f"--images={images}"]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
            found = json.loads(said)
            told = f"{found['rate']:6.1f} images/s   peak {found['peak']:6.0f} MiB   {found['value']:.9g}"
            print(f"{one:<16}{told}", flush=True)


if __name__ == "__main__":
    main()
