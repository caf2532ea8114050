"""A run: its folder, what of it must hold before it starts, and its model. Nothing is written until all of it holds."""

import ctypes
import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.optim import Adam

from ganlab import distributed
from ganlab.data import ShardDataset
from ganlab.engine.runtime import Runtime
from ganlab.experiment.config import differences, to_yaml
from ganlab.experiment.frame import FREE_ON_RESUME, Config, Machine
from ganlab.experiment.parts import build, resolve
from ganlab.experiment.selfcheck import Work, count
from ganlab.files import atomic_write
from ganlab.layers.batchnorm import Standardization
from ganlab.layers.recompute import recompute_blocks
from ganlab.models import GANModule
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec, UserError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's `mallopt`, from its malloc.h."""


def open_dataset(config: Config) -> ShardDataset:
    """Open the images of a run."""
    data = config.data
    return ShardDataset(
        data.url,
        cache=data.cache.folder,
        cache_bytes=data.cache.bytes,
        window=data.window,
        max_pixels=data.max_pixels,
        max_bad=data.max_bad,
        max_bad_fraction=data.max_bad_fraction,
    )


def agreed_image(config: Config, found: ImageSpec) -> ImageSpec:
    """Return what the index says the images are, if the config says the same or nothing."""
    declared = config.data.image
    if declared is not None and declared != found:
        raise UserError(
            f"{config.data.url}: its images are {found}, but the config declares data.image as {declared}; "
            "pack the data anew, or change data.image"
        )
    return found


def check_labels(config: Config, model: GANModule, dataset: ShardDataset) -> None:
    """Refuse samples without a class where the networks ask for one."""
    if model.conditional and (missing := int((dataset.index.samples["label"] < 0).sum())):
        raise UserError(
            f"{config.data.url}: {missing:,} of {len(dataset):,} samples have no class, but the model is conditional; "
            "label all of them, or set model.conditional=false"
        )


def check_batch(config: Config, model: GANModule) -> None:
    """Refuse a batch, of any phase, that the processes cannot share equally, in whole groups."""
    world_size, group = distributed.world_size(), model.runtime.group
    for phase in model.phases:
        batch = config.train.batch or phase.batch
        if batch is None:
            raise UserError(f"train.batch: null, but {type(model).__name__} has no plan of its own; write a number")
        if batch % (world_size * group):
            step = world_size * group
            at = "" if len(model.phases) == 1 else f" at {phase.image.height} px"
            raise UserError(
                f"train.batch: {batch} images{at} cannot be shared by {world_size} process{'es' * (world_size > 1)} in "
                f"groups of {group} (model.runtime.group); write a multiple of {step}, for example "
                f"{max(step, batch // step * step)}"
            )


def check_shard(config: Config, model: GANModule) -> None:
    """Refuse to shard what torch's fused optimizers cannot step in shares."""
    if config.machine.shard and distributed.world_size() > 1:
        for name, make_optimizer in ((n, p.optimizer) for n, p in model.players.items()):
            optimizer = type(make_optimizer([torch.zeros(1)], fused=True))
            if not issubclass(optimizer, Adam):
                raise UserError(
                    f"machine.shard: true, but torch has no fused {optimizer.__name__} for sharded weights "
                    f"(model.optimizers.{name}); take torch.optim.Adam or AdamW, or write machine.shard=false"
                )


def check_compile(config: Config, model: GANModule) -> None:
    """Refuse to compile a reduction: inside of a compiled penalty torch gives it a wrong gradient, in silence."""
    norms = [layer for layer in model.modules() if isinstance(layer, Standardization)]
    if config.machine.compile and distributed.world_size() > 1 and any(norm.group is None for norm in norms):
        raise UserError(
            f"machine.compile: true, but a batch norm is over all {distributed.world_size()} processes; write "
            f"model.batch_norm_group={model.runtime.group}, or machine.compile=false"
        )


def on_gpu(machine: Machine) -> bool:
    """Say whether a run takes a GPU here."""
    return machine.device != "cpu" and torch.cuda.is_available()


def check_cuda_graphs(config: Config, model: GANModule) -> None:
    """Refuse to record moves where there is no one GPU to record them on."""
    if not config.machine.cuda_graphs:
        return
    if not on_gpu(config.machine):
        raise UserError("machine.cuda_graphs: true, but the run is on the CPU; write machine.cuda_graphs=false")
    if (processes := distributed.world_size()) > 1:
        raise UserError(
            f"machine.cuda_graphs: true, but {processes} processes take part, and their reductions are not recorded; "
            "write machine.cuda_graphs=false"
        )
    for name, make_optimizer in ((n, p.optimizer) for n, p in model.players.items()):
        if not isinstance(optimizer := make_optimizer([torch.zeros(1)], fused=True), Adam):
            raise UserError(
                f"machine.cuda_graphs: true, but torch cannot record {type(optimizer).__name__} "
                f"(model.optimizers.{name}); take torch.optim.Adam or AdamW, or write machine.cuda_graphs=false"
            )


def check_device(config: Config) -> None:
    """Refuse a GPU that is not there."""
    if config.machine.device == "cuda" and not torch.cuda.is_available():
        raise UserError("machine.device: cuda, but torch sees no GPU here; write machine.device=cpu, or auto")
    here, gpus = distributed.processes_here(), torch.cuda.device_count()
    if config.machine.device != "cpu" and 0 < gpus < here:
        raise UserError(
            f"machine: {here} processes on this node, but each sees {gpus} GPU{'s' * (gpus > 1)}; start one for each "
            "GPU, and let every process see all GPUs of its node (SLURM: --gpus-per-node, not --gpus-per-task)"
        )


def check_resume(
    path: Path, saved: dict[str, Any], config: Config, fingerprint: str, allow_change: Sequence[str]
) -> None:
    """Refuse a checkpoint that is of another config, or of a dataset that has been packed anew."""
    before, now = (
        {**values, "data.fingerprint": of}
        for values, of in ((saved["config"], saved["fingerprint"]), (config.as_dict(), fingerprint))
    )
    changed = {
        key: values
        for key, values in differences(before, now).items()
        if not FREE_ON_RESUME.match(key) and not any(fnmatch.fnmatch(key, pattern) for pattern in allow_change)
    }
    if changed:
        lines = "".join(f"\n  {key}: {old!r} in the checkpoint, {new!r} now" for key, (old, new) in changed.items())
        raise UserError(
            f"{path}: is of another config:{lines}\n"
            f"name another folder with run=PATH, or allow a change with --allow-change {next(iter(changed))}"
        )


def check_shapes(path: Path, saved: dict[str, Any], model: GANModule) -> None:
    """Refuse a checkpoint whose tensors are not the model's: what --allow-change cannot bridge."""
    theirs = {name: tuple(tensor.shape) for name, tensor in saved["state_dict"].items()}
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if changed := [
        f"{name}: {old} in the checkpoint, {new} now" for name, (old, new) in differences(theirs, ours).items()
    ]:
        raise UserError(f"{path}: does not fit the model: {'; '.join(changed[:5])}; name another folder with run=PATH")


def build_model(config: Config, attempt: int = 0) -> GANModule:
    """Make the module, its initial weights a function of the seed."""
    if not issubclass(target := resolve(config.model["_target_"], config.trust), GANModule):
        raise UserError(f"model._target_: {target.__name__} is not a GANModule, such as ganlab.models.DCGAN")
    with torch.random.fork_rng(devices=[]):  # the caller's own generator is none of our business
        seed_everything(config.seed)
        model: GANModule = build(
            config.model,
            trust=config.trust,
            image=config.data.image,
            runtime=Runtime(
                seed=config.seed,
                attempt=attempt,
                micro_batch=config.train.micro_batch,
                precision=config.machine.precision,
                total_nimg=config.train.total_nimg,
            ),
        )
    if config.train.checkpoint_blocks:
        for name, network in model.networks.items():
            recompute_blocks(name, network)
    return model


def speed_up(model: GANModule, machine: Machine) -> None:
    """Let a model that nobody has seated yet be compiled and recorded as the machine's keys say."""
    if machine.compile:
        model.compile()
    model.cuda_graphs = machine.cuda_graphs
    if not on_gpu(machine):
        keep_freed_memory()


def keep_freed_memory() -> None:
    """Let glibc keep the memory that a move frees: the next one would get it from the kernel again, page by page.

    That is some 6 % of a move on a CPU. Other C libraries have no such option.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(option, 2**30)


def count_work(config: Config, model: GANModule) -> dict[int, Work]:
    """Count what an image asks of one process, by the first image of its phase; the model is not seated yet."""
    processes = distributed.world_size()
    return {p.from_nimg: count(model, p, (config.train.batch or p.batch or 0) // processes) for p in model.phases}


def set_arithmetic(machine: Machine) -> None:
    """Tell torch how many threads and which matrix products it may take."""
    # Left alone, torch lets cuDNN round to TF32 and cuBLAS not.
    torch.backends.cudnn.allow_tf32 = machine.precision == "tf32"
    torch.set_float32_matmul_precision("high" if machine.precision == "tf32" else "highest")
    if machine.threads is not None:
        torch.set_num_threads(machine.threads)


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
