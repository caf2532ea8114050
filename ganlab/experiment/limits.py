"""The machine's limit for a model: its measured speeds, and the likeliest bottleneck of a run."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from ganlab.engine.game import Game
from ganlab.experiment.work import Work, examples
from ganlab.types import Phase, Precision, px

SECONDS = 2.0
"""Duration of the measurement in `ganlab show --time`."""

SECONDS_AT_START = {"cpu": 0.2, "cuda": 2.0}
"""Duration at the start of training, by device: on a CPU the fastest of a few calls is stable by then."""

ENOUGH, LARGEST = 0.005, 8192
"""Seconds of a product, and rows of a matrix, at which the matrices are not doubled any further."""

BESIDE = ("data", "reduction", "logging")
"""Parts of a tick's time that are not steps."""

LAZY = 16
"""R1 every 16 steps works equally well (Karras et al. 2020, section 3.1)."""


@dataclass(frozen=True)
class Rates:
    """Speeds of one process on this machine."""

    flops: Mapping[str, float]
    """Floating-point operations per second in a large matrix product, by precision."""
    bytes: float
    """Bytes per second of a large copy, read and written."""
    launch: float
    """Seconds from one small operator to the next."""


def reachable(work: Work, rates: Rates, precision: str) -> float:
    """Return images per second of one process if all operations ran at the speed of a large matrix product."""
    return rates.flops[precision] / work.operations


def measure(device: torch.device, precisions: Sequence[str], seconds: float) -> Rates:
    """Measure this machine for about `seconds`, with torch's current number of threads."""
    each, repeat = seconds / (len(precisions) + 2), 10 if device.type == "cuda" else 1
    flops = {precision: matrix_rate(device, precision, each, repeat) for precision in precisions}
    source = torch.zeros((256 if device.type == "cuda" else 64) * 2**20, dtype=torch.uint8, device=device)
    target, small = torch.empty_like(source), torch.zeros(1, device=device)
    copying = 2 * len(source) / shortest(lambda: target.copy_(source), device, each, repeat)
    rates = Rates(flops, copying, shortest(lambda: small.add_(1), device, each, repeat=200))
    if device.type == "cuda":
        del source, target
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)  # leave the run's statistics unaffected
    return rates


def matrix_rate(device: torch.device, precision: str, seconds: float, repeat: int) -> float:
    """Return the operations per second of the fastest large matrix product."""
    dtype = {"fp64": torch.float64, "bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        size, taken = 128, 0.0
        while taken < ENOUGH and size < LARGEST:
            size *= 2
            draw = torch.Generator(device).manual_seed(0)  # a GPU multiplies zeros faster
            matrix = torch.randn(size, size, device=device, generator=draw).to(dtype)
            product = partial(torch.mm, matrix, matrix, out=torch.empty_like(matrix))
            taken = shortest(product, device, 0.0, repeat)
        ways: list[Callable[[], Any]] = [product]
        if device.type == "cpu":  # convolutions use another library, on some CPUs twice as fast
            pixels = matrix.view(16, size // 64, 4, size).permute(0, 3, 1, 2)
            ways.append(partial(F.conv2d, pixels, matrix[:, :, None, None]))
        return 2 * size**3 / min(shortest(way, device, seconds / len(ways), repeat) for way in ways)
    finally:
        torch.set_float32_matmul_precision(before)


def shortest(act: Callable[[], Any], device: torch.device, seconds: float, repeat: int) -> float:
    """Return the shortest time of one call in seconds, since other load only adds to it."""
    act()
    best, end = math.inf, time.perf_counter() + seconds
    while best == math.inf or time.perf_counter() < end:
        start = now(device)
        for _ in range(repeat):
            act()
        best = min(best, (now(device) - start) / repeat)
    return best


def now(device: torch.device) -> float:
    """Return the time in seconds once the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def rivals(precision: Precision, device: torch.device) -> Sequence[str]:
    """Return the precisions to measure: the run's, and for fp32 on a GPU the faster ones too."""
    return (precision, "tf32", "bf16") if device.type == "cuda" and precision == "fp32" else (precision,)


def time_rounds(model: Game, phase: Phase, batch: int, seconds: float) -> dict[str, float]:
    """Time rounds of a seated model on random images for about `seconds`, after two cycles of warm-up.

    Returns `images_per_second`, and the parts of the time as `seconds/<name>`.
    """
    device, cycle = model.device, model.cycle()
    reals = examples(model, phase, batch, device)
    reals["real"].uniform_(-1, 1, generator=torch.Generator(device).manual_seed(0))
    reals["labels"] += torch.arange(batch, device=device) % max(phase.image.classes, 1)
    model.clock.nimg = phase.from_nimg
    for number in range(2 * cycle):
        model.training_step(reals, number)
    model.clock.nimg = phase.from_nimg
    start, images = now(device), 0
    model.stopwatch.start(device)
    while (spent := now(device) - start) < seconds or not images:
        for number in range(cycle):
            model.training_step(reals, number)
        images += batch * cycle
    parts = {f"seconds/{name}": taken for name, taken in model.stopwatch.read().items()}
    return {"images_per_second": images / spent, **parts}


def first_suspect(
    row: Mapping[str, Any], launching: float, every: Mapping[str, int], precision: str, rates: Rates, capture: bool
) -> tuple[str, str]:
    """Return the likeliest bottleneck of a run and a remedy.

    Args:
        row: a tick's line, with the parts of its time: `seconds/data`, `seconds/discriminator`, ...
        launching: fraction of the tick that launching its operators takes.
        every: period of each penalty on a gradient, by name.
        precision: the run's precision.
        rates: measured speeds, in this precision and perhaps in others.
        capture: whether CUDA graphs could be used, and are not.
    """
    tick = sum(value for name, value in row.items() if name.startswith("seconds/"))
    data = row["seconds/data"] / tick
    penalty = (
        sum(value for name, value in row.items() if name.startswith("seconds/") and name.endswith("_penalty")) / tick
    )
    steps = sum(value for name, value in row.items() if name.startswith("seconds/") and name[8:] not in BESIDE)
    if data > 0.1:
        return "data", (
            f"{data:.0%} of the time the steps wait for images; raise machine.decode_threads; if they are read from "
            "shards, pack them at the networks' size, and see `ganlab data bench`"
        )
    if penalty > 0.5 and (frequent := [name for name, k in every.items() if k < LAZY]):
        return "penalties", (
            f"{penalty:.0%} of the time goes into steps with a penalty; if the paper's rule may change, "
            f"raise model.regularizers.{frequent[0]}.every, up to {LAZY}"
        )
    launched = launching * tick / steps
    if launched > 0.3:
        return "launch overhead", (
            f"launching small operators takes {launched:.0%} of the steps' time; "
            + ("write machine.cuda_graphs=true, or " if capture else "")
            + "raise train.batch, or take larger networks for this machine"
        )
    best = max(rates.flops, key=lambda name: rates.flops[name])
    if rates.flops[best] > 1.5 * rates.flops[precision]:
        ratio = rates.flops[best] / rates.flops[precision]
        return "precision", f"matrix products are {ratio:.1f} times as fast in {best}; write machine.precision={best}"
    return "memory bandwidth / small layers", (
        "no waiting, no penalty and no launching stands out: layers too small for fast matrix products, and what lies "
        "between them; raise train.batch"
    )


def figures(rates: Rates, device: torch.device) -> dict[str, Any]:
    """Return the measured speeds and the device as plain values."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": name, "threads": torch.get_num_threads(), **asdict(rates)}


def tell_machine(rates: Rates, device: torch.device) -> str:
    """Describe the measured speeds in one line."""
    where, flops = figures(rates, device), ", ".join(f"{short(rate)}FLOP/s in {p}" for p, rate in rates.flops.items())
    return (
        f"{where['device']}, {where['threads']} thread{'s' * (where['threads'] > 1)}: matrix products {flops}; "
        f"memory {short(rates.bytes)}B/s; a small operator {rates.launch * 1e6:.1f} us"
    )


def tell_limit(work: Work, limit: float, phase: Phase) -> str:
    """Describe the work per image and the limit in one line."""
    size = px(phase.image.height, phase.image.width)
    return (
        f"{limit:,.1f} images/s at {size} px, were all {short(work.operations)}FLOP of an image large matrix products "
        f"({work.operators:,.0f} operators)"
    )


def tell_share(model: Game, work: Work, rates: Rates, row: Mapping[str, Any], processes: int) -> str:
    """Describe the share of the limit in a tick's line, and the likeliest bottleneck."""
    rate = row["images_per_second"]
    launching = 0.0 if model.cuda_graphs else work.operators * rates.launch * rate / processes
    capture = model.device.type == "cuda" and processes == 1 and not model.cuda_graphs
    penalties = {name: p for player in model.players.values() for name, p in player.regularizers.items()}
    every = {name: penalty.every for name, penalty in penalties.items() if penalty.gradient or penalty.own_gradient}
    name, remedy = first_suspect(row, launching, every, model.runtime.precision, rates, capture)
    return f"{rate:,.1f} images/s, {row['share']:.0%} of the limit; first suspect: {name}: {remedy}"


def short(value: float) -> str:
    """Format a number of at least 1 with an SI prefix: `61.2 G`."""
    power = int(math.log10(value)) // 3
    return f"{value / 1000**power:.1f} {' kMGTPE'[power].strip()}"
