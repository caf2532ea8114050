"""The verb `evaluate`: a run, a dataset or image files against reals, on one process or many."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ganlab import distributed
from ganlab.evaluation import sweep
from ganlab.evaluation.evaluate import SEED, evaluate, make_extractor
from ganlab.evaluation.images import ImageSet, Samples, open_images, open_reals
from ganlab.evaluation.made import ERRORS, Made, sides_of
from ganlab.evaluation.points import fitting
from ganlab.evaluation.protocol import circumstances
from ganlab.evaluation.results import best, error, read
from ganlab.experiment.checkpoints import exported
from ganlab.experiment.frame import Config, Data, Machine
from ganlab.experiment.launch import join, meeting
from ganlab.experiment.records import append
from ganlab.types import UserError

log = logging.getLogger(__name__)

SAMPLES = 50_000
PATIENCE = timedelta(days=1)
"""Timeout of collectives: rank 0 computes distances while the others wait."""


def evaluate_paths(
    target: str,
    images: str | None,
    *,
    metrics: Sequence[str],
    data: str | None,
    extractor: Path | None,
    n: int | None,
    trust: Sequence[str],
    truncations: Sequence[float] | None = None,
    standing: int = 0,
) -> list[str]:
    """Evaluate, with each of the truncations, add rows to a run's `results.jsonl`, and return a table, on rank 0."""
    truncations = truncations or []
    run = Path(target) if is_run(target) else None
    config = config_of(run, trust) if run else None
    with group() as device:
        network = make_extractor(extractor_part(Path(target), extractor, config), trust)
        if network is not None:
            network.to(device)
        named, frame = data or images, config.data if config else None
        fakes: ImageSet = opened(target, n, device, trust, frame)
        model = fakes.model if isinstance(fakes, Samples) else None
        if truncations or standing:
            if model is None or not model.latent:
                raise UserError(f"{target}: makes no images of latents; leave --truncation and --standing out")
            for truncation in truncations:  # what is refused is refused before the first one is measured
                model.synthesize(0, SEED, "evaluation", truncation=truncation)
        if model is not None and config is not None and not model.latent:
            fakes, reals = sides_of(model, config, named, n, fakes.name)
        else:
            reals = opened(named, None, device, trust, frame) if named else reals_of(target, config)
        chosen = metrics or (config.evaluation.metrics if config else None) or fitting(reals)
        about = circumstances(device, model.clock.nimg or None if model else None, config)
        # The errors of a game that also makes images of latents are those of what it makes of the reals.
        apart = [name for name in chosen if name in ERRORS] if isinstance(fakes, Samples) else []
        rows = list[dict[str, Any]]()
        if together := [name for name in chosen if name not in apart]:
            for each in with_truncations(fakes, truncations, standing):
                rows += kept(run, evaluate(each, reals, together, network, device, about=about, pictures=run))
        if apart and model is not None:
            made = Made(model, reals, n, fakes.name)
            rows += kept(run, evaluate(made, reals, apart, network, device, about=about))
    return report(run, rows) if run and rows else table(rows, rows)


def report(run: Path, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return a table of a run's rows; those of several truncations are put together, and drawn."""
    lines = list[str]()
    swept = [row for row in rows if row["protocol"].get("fakes_truncation") is not None]
    if len(set(map(sweep.truncation_of, swept))) > 1:
        sweep.draw(swept, run / "truncation.png")
        lines = [*sweep.table(swept), f"{run / 'truncation.png'}"]
        rows = [row for row in rows if row not in swept]
    return [*lines, *table(rows, read(run)), f"{run / 'results.jsonl'}"]


def kept(run: Path | None, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add rows to a run's results; return them."""
    if run is not None and rows:  # rank 0 alone has some
        append(run / "results.jsonl", rows)
    return rows


def with_truncations(fakes: ImageSet, truncations: Sequence[float], standing: int) -> Iterator[ImageSet]:
    """Yield samples with each truncation, and with the standing statistics that go with it; without any, the images."""
    if not isinstance(fakes, Samples) or not (truncations or standing):
        yield fakes
        return
    chosen: Sequence[float | None] = truncations or [None]
    for truncation in chosen:
        yield Samples(fakes.model, fakes.n, fakes.seed, fakes.name, fakes.exported, truncation, standing)


def is_run(path: str) -> bool:
    """Tell whether a path is a run's folder or an exported one."""
    return (Path(path) / "checkpoints").is_dir() or exported(Path(path)) is not None


def config_of(run: Path, trust: Sequence[str]) -> Config:
    """Read a run's config; what that and the model need to be imported, two folders of images do not."""
    from ganlab.experiment.config import from_yaml
    from ganlab.experiment.folder import from_anywhere

    return from_anywhere(from_yaml(run / "config.yaml", trust), run)


def opened(path: str, n: int | None, device: torch.device, trust: Sequence[str], data: Data | None) -> ImageSet:
    """Open the samples of a run, a dataset, or image files."""
    if not is_run(path):
        return open_images(path, n, data)
    from ganlab.experiment.load import load

    model, alone = load(path, trust).to(device), exported(Path(path)) is not None
    return Samples(model, n or SAMPLES, SEED, Path(path).resolve().name, alone)


def reals_of(target: str, config: Config | None) -> ImageSet:
    """Open the reals that a run's config names; UserError for image files, and where they are not found."""
    if config is None:
        raise UserError(f"{target}: against what? Give a second folder of images, or --data")
    if not (config.evaluation.data or config.data.url):
        raise UserError(f"{target}: an exported generator names no reals; give them with --data")
    try:
        return open_reals(config)
    except UserError as error:
        raise UserError(
            f"{error}; the run's config says so: if its reals are elsewhere, name them with --data"
        ) from None


def extractor_part(target: Path, path: Path | None, config: Config | None) -> Any:
    """Return the extractor of the command line, else the run's if it is trusted.

    An extractor reads files and may be any program, so a folder that somebody sent may not name one.
    """
    if path is not None:
        return {"_target_": "ganlab.metrics.features.TorchScriptFeatures", "path": str(path)}
    if config is None:
        return None
    from ganlab.experiment.parts import is_part
    from ganlab.experiment.targets import inside

    part = config.evaluation.extractor
    if is_part(part) and not inside(str(part["_target_"]), config.trust):
        log.warning(
            "%s: evaluation.extractor: not made, since it may be any program; name a file with --extractor, or write "
            "--trust %s",
            target,
            str(part["_target_"]).rpartition(".")[0],
        )
        return None
    named = Path(str(part["path"])) if isinstance(part, dict) and "path" in part else None
    if named is not None and named.resolve().is_relative_to(target.resolve()):
        raise UserError(
            f"{named}: lies in the run's own folder, and could be any program; if you trust it, name it "
            "with --extractor"
        )
    return part


def table(rows: Sequence[dict[str, Any]], history: Sequence[dict[str, Any]]) -> list[str]:
    """Return one line per value, with its error, its floor, the run's best so far, and its full name."""
    lines = []
    for row in rows:
        floor = "" if row["floor"] is None else f"floor {row['floor']:.4g} ({row['floor_images']:,} a side)"
        value = f"{row['metric']:<12} {row['value']:>10.4g} {error(row):<10}"
        lines.append(f"{value} {floor:<32} {best(history, row):<28} {row['name']}")
    return [line.rstrip() for line in lines]


@contextmanager
def group() -> Iterator[torch.device]:
    """Join the other processes of the launcher, if any, and yield this one's device."""
    join(Machine())
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if distributed.world_size() > 1:
        with meeting():
            dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield device
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
