"""The configs and launch scripts that come with ganlab: `ganlab:NAME` names one of them anywhere.

`ganlab/configs` and `ganlab/launch` are links to the repository's folders; a wheel holds the files themselves.
"""

from pathlib import Path

from ganlab.experiment.words import did_you_mean
from ganlab.types import UserError

PREFIX = "ganlab:"
PACKAGE = Path(__file__).parents[1]


def shipped() -> dict[str, Path]:
    """Return the shipped files by name, such as `digits/dcgan.yaml` and `launch/slurm.sbatch`."""
    configs, scripts = PACKAGE / "configs", PACKAGE / "launch"
    found = {str(path.relative_to(configs)): path for path in sorted(configs.rglob("*.yaml"))}
    return found | {f"launch/{path.name}": path for path in sorted([*scripts.glob("*.sh"), *scripts.glob("*.sbatch")])}


def file_of(name: str) -> Path:
    """Return the shipped file of a name; UserError, with the nearest names, if there is none."""
    files = shipped()
    if name in files:
        return files[name]
    alike = " or ".join(other for other in files if Path(other).stem == Path(name).stem)
    near = did_you_mean(name, files) or (f"; did you mean {alike}?" if alike else "; `ganlab configs` lists them")
    raise UserError(f"{PREFIX}{name}: no shipped config has this name{near}")


def located(name: str, folder: Path = Path()) -> Path:
    """Return the file that a person names: of `ganlab:NAME` the shipped one, else a path relative to a folder."""
    return file_of(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else folder / name
