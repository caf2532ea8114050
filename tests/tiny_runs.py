"""Tiny runs of `ganlab train` in this process: 16 px, width 8, at least ten steps a second."""

from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

from ganlab.cli import main
from ganlab.data.make.pack import pack

CONFIG = """
model:
  _target_: ganlab.models.DCGAN
  width: 8
  latent: 8
  conditional: true
  regularizers: {{r1: {{_target_: ganlab.regularizers.R1, weight: 0.5}}}}
data: {{url: "{url}"}}
train:
  batch: 48
  total_nimg: 480
  tick_nimg: 100
  sample_every_nimg: 240
  checkpoint_every_nimg: 144
machine: {{device: cpu, threads: 1, decode_threads: 1}}
logging: {{wandb: disabled}}
"""


def pack_noise(folder: Path, *, classes: int, images: int = 240, size: int = 16, channels: int = 1) -> Path:
    """Pack random images, with as many labels as there are `classes`, into `folder / "shards"`."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (images, size, size, channels), np.uint8)
    labels = {"labels": np.arange(images) % classes} if classes else {}
    np.savez(folder / "source.npz", images=pixels[..., 0] if channels == 1 else pixels, **labels)
    pack(folder / "source.npz", folder / "shards", size=size, shard_samples=100)
    return folder / "shards"


def write_config(folder: Path, dataset: Path) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(CONFIG.format(url=dataset))
    return path


def ganlab(*words: object) -> Result:
    """Run a command; whatever happens, a person sees no traceback of it."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    return result


def done(config: Path, *overrides: object) -> str:
    """Train to the end; return what was said."""
    result = ganlab("train", config, *overrides)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: object) -> str:
    """Run a command that a person got wrong; return its one message."""
    result = ganlab(*words)
    assert result.exit_code == 2, result.output
    assert result.stdout == "" and result.stderr.count("ganlab: ") == 1
    return result.stderr.removeprefix("ganlab: ")


def refused_at_work(*words: object) -> str:
    """Run a command that ends in a mistake that only shows when it is at work; return all it said."""
    result = ganlab(*words)
    assert result.exit_code == 2 and result.stderr.count("ganlab: ") == 1, result.output
    return result.stderr


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder, with its size and the time it was written."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
