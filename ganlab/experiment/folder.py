"""The folder of a run, made after every check has passed."""

from pathlib import Path

from ganlab import distributed
from ganlab.experiment.config import to_yaml
from ganlab.experiment.frame import Config
from ganlab.files import atomic_write
from ganlab.types import UserError


def make_run_folder(run: Path, config: Config) -> None:
    """Make the folder and write the resolved config into it."""
    try:
        for name in ("checkpoints", "samples", "wandb"):
            (run / name).mkdir(parents=True, exist_ok=True)
        if distributed.rank() == 0:
            with atomic_write(run / "config.yaml") as file:
                file.write(to_yaml(config).encode())
    except OSError as error:
        raise UserError(f"{run}: cannot write there: {error.strerror}; name another folder with run=PATH") from None
