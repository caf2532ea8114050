"""The folder of a run: held by one process, filled after every check has passed, and where its relative paths begin."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from ganlab import distributed
from ganlab.experiment.checkpoints import found
from ganlab.experiment.config import from_yaml, to_yaml
from ganlab.experiment.former import AVERAGE, with_average_of
from ganlab.experiment.frame import Config, is_allowed
from ganlab.files import atomic_write
from ganlab.locks import held
from ganlab.types import UserError


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Make the folder, and keep other runs out of it; `UserError` on all ranks if one is there or it cannot be."""
    with ExitStack() as stack:

        def hold() -> None:
            if (run / "samples.npy").exists():
                raise UserError(f"{run}: holds a dataset; name another folder with run=PATH")
            if (there := run / "config.yaml").exists() and not re.search("^trust:", there.read_text(), re.MULTILINE):
                raise UserError(
                    f"{there}: is not of a run, which would write its own there; rename it, or name another folder "
                    "with run=PATH"
                )
            with writing(run):
                run.mkdir(parents=True, exist_ok=True)
                remedy = "wait until it ends, stop it, or name another folder with run=PATH"
                stack.enter_context(held(run / "lock", str(run), remedy))

        distributed.decide(hold)
        yield


def fill(run: Path, config: Config) -> None:
    """Make the folders inside of it, and write the resolved config."""
    with writing(run):
        for name in ("checkpoints", "samples", "wandb"):
            (run / name).mkdir(parents=True, exist_ok=True)
        if distributed.rank() == 0:
            with atomic_write(run / "config.yaml") as file:
                file.write(to_yaml(config).encode())


def as_begun(config: Config, allow_change: Sequence[str]) -> Config:
    """Return the config with what a run that resumes keeps: where it started from, and an average of an old default."""
    run = Path(config.run)
    if not found(run / "checkpoints"):
        return config
    try:
        before = from_yaml(run / "config.yaml", config.trust)
    except UserError:  # the checkpoint's config is compared later, and says what is wrong
        return config
    if config.train.start_from is None:
        config = replace(config, train=replace(config.train, start_from=before.train.start_from))
    if is_allowed(f"model.{AVERAGE}", allow_change):
        return config
    return replace(config, model=with_average_of(before.model, config.model))


def from_anywhere(config: Config, run: Path) -> Config:
    """Return the config of a run's folder with relative paths of data and extractor as the run meant them.

    They begin where the run's own path did: at the part of the folder's path before what its config calls it. Paths
    that lead nowhere from there are unchanged, as all are if the folder was renamed.
    """
    called, here = Path(config.run).parts, run.resolve().parts
    if Path(config.run).is_absolute() or not called or here[-len(called) :] != called:
        return config
    root, evaluation = Path(*here[: -len(called)]), config.evaluation
    extractor = evaluation.extractor
    if isinstance(extractor, dict) and isinstance(extractor.get("path"), str):
        extractor = {**extractor, "path": below(root, extractor["path"])}
    reals = None if evaluation.data is None else below(root, evaluation.data)
    data, other = config.data, config.data.other
    other = None if other is None else replace(other, url=below(root, other.url))
    return replace(
        config,
        data=replace(data, url=below(root, data.url), other=other),
        evaluation=replace(evaluation, data=reals, extractor=extractor),
    )


def below(root: Path, place: str) -> str:
    """Return a path, or a list of them, from `root` on if it is there; else, and a URL or no place, as it is."""
    pieces = [place] if "{" in place else place.split(",")
    moved = [str(root / piece) for piece in pieces]
    first = Path(moved[0].partition("{")[0])
    there = first.exists() or ("{" in place and first.parent.exists())
    return ",".join(moved) if place and there and "://" not in place else place


@contextmanager
def writing(run: Path) -> Iterator[None]:
    """Report what cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{run}: cannot write there: {error.strerror}; name another folder with run=PATH") from None
