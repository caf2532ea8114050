"""The verb `export`: the averaged generator of a run, to share with others."""

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save

from ganlab.experiment.checkpoints import GENERATOR
from ganlab.experiment.config import from_saved, to_yaml
from ganlab.experiment.load import newest_checkpoint
from ganlab.files import atomic_write
from ganlab.types import UserError


def export(run: Path, out: Path, trust: Sequence[str]) -> None:
    """Write the averaged generator as safetensors, and the config that builds it: neither can run code."""
    checkpoint = newest_checkpoint(run)
    weights = {
        name.removeprefix("ema."): tensor.contiguous()
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith("ema.")
    }
    config = from_saved(checkpoint["config"], str(run), trust)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_write(out / GENERATOR) as file:
            file.write(save(weights, {"nimg": str(checkpoint["ganlab"]["clock"]["nimg"])}))
        with atomic_write(out / "config.yaml") as file:
            file.write(to_yaml(config).encode())
    except OSError as error:
        raise UserError(f"{out}: cannot write there: {error.strerror}; choose another folder with --out") from None
