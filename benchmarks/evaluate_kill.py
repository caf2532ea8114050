"""Kill an evaluation of 50,000 samples with SIGKILL, let it go on, and compare its values with an undisturbed one's.

A DCGAN of 16 px that has seen 480 images, and random features: the values mean nothing, but must be the same. Prints
the seconds, the chunks that were there at each kill, and the largest relative difference; ends with 1 above 1e-9.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn

from ganlab.data.make.pack import pack
from ganlab.evaluation.store import CHUNK

CONFIG = """
model: {{_target_: ganlab.models.DCGAN, width: 8, latent: 8, conditional: true}}
data: {{url: "{data}"}}
train: {{batch: 48, total_nimg: 480}}
machine: {{device: cpu, threads: 1}}
logging: {{wandb: disabled}}
"""
TOLERANCE = 1e-9
PARTS = ("value", "standard_error", "floor")


class Random(nn.Module):
    """64 features: rectified random projections."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.randn(3 * 16 * 16, 64, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(images.float().flatten(1) / 255 @ self.matrix)


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "ganlab", *map(str, words)]


def make_run(folder: Path) -> Path:
    """Train on noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 16, 16, 3), np.uint8)
    np.savez(folder / "noise.npz", images=pixels, labels=np.arange(1000) % 3)
    pack(folder / "noise.npz", folder / "data", size=16)
    torch.jit.script(Random()).save(str(folder / "random.pt"))
    (folder / "tiny.yaml").write_text(CONFIG.format(data=folder / "data"))
    subprocess.run(command("train", folder / "tiny.yaml", f"run={folder / 'run'}"), check=True, capture_output=True)
    return folder / "run"


def values(run: Path) -> dict[str, float]:
    """The newest row of each metric."""
    rows = map(json.loads, (run / "results.jsonl").read_text().splitlines())
    return {f"{row['metric']} {part}": row[part] for row in rows for part in PARTS if row[part] is not None}


def chunks(cache: Path) -> int:
    """How many are whole."""
    return sum(path.stem.isdigit() for path in cache.rglob("*.safetensors"))


@click.command(help=__doc__)
@click.option("--samples", default=50_000, show_default=True)
@click.option("--kills", default=1, show_default=True)
@click.option("--metrics", default="fid,kid", show_default=True)
def main(samples: int, kills: int, metrics: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder, total = Path(temporary), -(-samples // CHUNK)
        run = make_run(folder)
        evaluate = command("evaluate", run, "-n", samples, "--metrics", metrics, "--extractor", folder / "random.pt")
        caches = [{**os.environ, "GANLAB_CACHE": str(folder / name)} for name in ("undisturbed", "killed")]
        start = time.monotonic()
        subprocess.run(evaluate, env=caches[0], check=True, stdout=subprocess.DEVNULL)
        print(f"undisturbed: {time.monotonic() - start:.0f} s", flush=True)
        expected = values(run)
        for number in range(kills):
            process, start = subprocess.Popen(evaluate, env=caches[1], stdout=subprocess.DEVNULL), time.monotonic()
            while process.poll() is None and chunks(folder / "killed") < total * (number + 1) // (kills + 1):
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, "ended by itself"
            print(f"kill {number + 1}: {time.monotonic() - start:.0f} s, {chunks(folder / 'killed')} of {total} chunks")
        start = time.monotonic()
        subprocess.run(evaluate, env=caches[1], check=True, stdout=subprocess.DEVNULL)
        print(f"gone on: {time.monotonic() - start:.0f} s")
        found = values(run)
        off = max(abs(found[name] - value) / abs(value) for name, value in expected.items())
    print(f"{len(expected)} values of {samples:,} samples, largest relative difference {off:.1e}")
    sys.exit(off > TOLERANCE)


if __name__ == "__main__":
    main()
