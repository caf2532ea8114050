"""Objects of a checked config: its dataset, its model, and torch's settings."""

import ctypes

import torch

from ganlab import distributed
from ganlab.data.read.base import Dataset
from ganlab.data.read.open import open_data
from ganlab.engine.game import Game
from ganlab.engine.runtime import Runtime
from ganlab.experiment.frame import Config, Data, Machine
from ganlab.experiment.parts import build
from ganlab.experiment.work import Work, count, skip_nvml
from ganlab.layers.recompute import recompute_blocks
from ganlab.seeding import seed_everything

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's `mallopt`, from its malloc.h."""


def open_dataset(config: Config) -> Dataset:
    """Open the images of a run."""
    return _open(config.data, config.data.url, config.data.crop)


def open_other(config: Config) -> Dataset | None:
    """Open the images of a run's other stream; None if it has none."""
    other = config.data.other
    return None if other is None else _open(config.data, other.url, other.crop, other.labelled)


def _open(data: Data, url: str, crop: int | None, labelled: int | None = None) -> Dataset:
    return open_data(
        url,
        crop=crop,
        labelled=labelled,
        cache=data.cache.folder,
        cache_bytes=data.cache.bytes,
        window=data.window,
        max_pixels=data.max_pixels,
        max_bad=data.max_bad,
        max_bad_fraction=data.max_bad_fraction,
    )


def build_model(config: Config, attempt: int = 0) -> Game:
    """Make the module; its initial weights are a function of the seed."""
    runtime = Runtime(
        seed=config.seed,
        attempt=attempt,
        micro_batch=config.train.micro_batch,
        precision=config.machine.precision,
        group=config.train.group,
        total_nimg=config.train.total_nimg,
        freeze=config.train.freeze,
        other=None if config.data.other is None else config.data.other.image,
        vectors=config.data.vectors or 0,
    )
    with torch.random.fork_rng(devices=[]):  # leave the caller's generator unchanged
        seed_everything(config.seed)
        model: Game = build(
            config.model,
            Game,
            config.trust,
            image=config.data.image,
            runtime=runtime,
            total_nimg=config.train.total_nimg,
        )
    if config.train.checkpoint_blocks:
        for name, network in model.networks.items():
            recompute_blocks(name, network)
    return model


def on_gpu(machine: Machine) -> bool:
    """Tell whether a run uses a GPU here."""
    return machine.device != "cpu" and torch.cuda.is_available()


def speed_up(model: Game, machine: Machine) -> None:
    """Set up compilation and CUDA graphs of a model that is not seated yet, as the machine's keys say."""
    if machine.compile:
        model.compile()
    model.cuda_graphs = machine.cuda_graphs
    if not on_gpu(machine):
        keep_freed_memory()
        skip_nvml()


def keep_freed_memory() -> None:
    """Make glibc keep the memory that a step frees, instead of getting it from the kernel again, page by page.

    That saves some 6 % of a step on a CPU. Other C libraries have no such option.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(option, 2**30)


def count_work(config: Config, model: Game) -> dict[int, Work]:
    """Count the work per image of one process, by the first image of each phase; the model is not seated yet."""
    processes = distributed.world_size()
    return {p.from_nimg: count(model, p, (config.train.batch or p.batch or 0) // processes) for p in model.phases}


def set_arithmetic(machine: Machine) -> None:
    """Set torch's number of threads and the precision of its matrix products."""
    # By default torch lets cuDNN round to TF32, but not cuBLAS.
    torch.backends.cudnn.allow_tf32 = machine.precision == "tf32"
    torch.set_float32_matmul_precision("high" if machine.precision == "tf32" else "highest")
    if machine.threads is not None:
        torch.set_num_threads(machine.threads)
