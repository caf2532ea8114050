"""Scale on paper: the efficiency to expect of 8, 64 and 512 GPUs, from the time of a cycle, bytes and link speeds.

Efficiency is (images/s of n processes) / (n x images/s of one), each with the same share of images. The formula is an
upper bound: in it no process waits for a slower one. No figure of a GPU in the table is measured: its time is an
assumption, the operations of an image over a share of a rate, unless `--step-seconds` brings a measured one. The same
formula is held against two gloo processes here, with a time, a bandwidth and a latency that were measured: that part,
and only that, is a check.
"""

import json
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import click
import torch
import torch.distributed as dist
from scaling import IMAGE, SHARE, launch, make_model, train_some

from ganlab.engine.gradients import BUCKET_BYTES
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.experiment.work import count
from ganlab.layers.batchnorm import BatchNorm, ConditionalBatchNorm
from ganlab.models import GANModule
from ganlab.types import ImageSpec

CONFIGS = Path(__file__).parents[1] / "configs"
BACKWARD = 2 / 3
"""Of a cycle: a backward pass takes twice as long as a forward one."""
FAMILIES = {
    "DCGAN 64": ("cifar10/dcgan.yaml", 64, 64),
    "SN-GAN 128": ("imagenet128/sngan.yaml", 128, 16),
    "projection 128": ("imagenet128/projection.yaml", 128, 16),
    "progressive 256": ("celeba_hq/progressive.yaml", 256, 4),
    "progressive 1024": ("celeba_hq/progressive.yaml", 1024, 4),
}
"""Config, image size and images per GPU."""


@dataclass(frozen=True)
class Link:
    """What connects processes."""

    bandwidth: float
    """Bytes a second that one process sends."""
    latency: float
    """Seconds that one message takes however short it is."""

    def all_reduce(self, size: float, n: int) -> float:
        """Return the seconds to sum `size` bytes over n: a ring's bytes, a tree's messages; nothing costs nothing."""
        if size == 0 or n == 1:
            return 0.0
        return 2 * (n - 1) / n * size / self.bandwidth + 2 * math.ceil(math.log2(n)) * self.latency


@dataclass(frozen=True)
class Cluster:
    """Nodes of `node` processes: sums are made inside each; each process then sums `1 / node` of the bytes across."""

    inside: Link
    across: Link
    node: int

    def all_reduce(self, size: float, n: int) -> float:
        """Return the seconds to sum `size` bytes over n processes."""
        here = min(n, self.node)
        return self.inside.all_reduce(size, here) + self.across.all_reduce(size / here, math.ceil(n / here))


@dataclass(frozen=True)
class Traffic:
    """What is reduced in one cycle: `discriminator_steps` steps of the discriminator, one of the generator."""

    gradients: tuple[float, ...]
    """Bytes, for each step."""
    statistics: tuple[float, ...]
    """Bytes, for each pass through a batch norm over all processes; nothing else can be done meanwhile."""


def efficiency(cycle: float, traffic: Traffic, cluster: Cluster, n: int, overlap: float) -> float:
    """Return the efficiency of n processes whose cycle takes one alone `cycle` seconds.

    Gradients travel beside a part `overlap` of the backward passes, except the last bucket of each step.
    """
    sent = sum(cluster.all_reduce(size, n) for size in traffic.gradients)
    last = sum(cluster.all_reduce(min(size, BUCKET_BYTES), n) for size in traffic.gradients)
    waiting = max(sent - overlap * BACKWARD * cycle, last)
    return cycle / (cycle + waiting + sum(cluster.all_reduce(size, n) for size in traffic.statistics))


def traffic_of(model: GANModule) -> Traffic:
    """Count the bytes of a model's cycle, without penalties' own passes."""
    steps = model.cycle()

    def gradients(network: torch.nn.Module) -> float:
        return float(sum(p.numel() * p.element_size() for p in network.parameters()))

    def passes(network: torch.nn.Module) -> list[float]:
        norms = [m for m in network.modules() if isinstance(m, BatchNorm | ConditionalBatchNorm) and m.group is None]
        return [2 * 4.0 * m.weight.shape[-1] for m in norms]

    by_g, by_d = passes(model.generator), passes(model.discriminator)
    both_ways = steps * (by_g + 4 * by_d) + 2 * (by_g + by_d)  # reals and fakes there and back; the generator's step
    return Traffic((gradients(model.discriminator),) * steps + (gradients(model.generator),), tuple(both_ways))


def work() -> None:
    """One of two processes: measure the link between them."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")

    def median(size: int) -> float:
        values, times = torch.zeros(size // 4), []
        for _ in range(20):
            dist.barrier()
            start = time.perf_counter()
            dist.all_reduce(values)
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    short, long = median(4), median(8 * 2**20)
    if dist.get_rank() == 0:
        print(json.dumps({"latency": short / 2, "bandwidth": 8 * 2**20 / (long - short)}))
    dist.destroy_process_group()


def check_here(rounds: int) -> None:
    """Hold the formula against two gloo processes on this machine.

    The cycle of one is measured with another beside it that it knows nothing of: they share caches and memory, as GPUs
    do not. A batch norm over all processes is other arithmetic than that of one, of which the formula knows nothing.
    """
    print(f"checked here: DCGAN {IMAGE.height} px, {SHARE} images per process, gloo, one thread each, {rounds} rounds")
    for name, group in (("over all processes", None), (f"over groups of {SHARE}", SHARE)):
        predicted, measured = [], []
        for _ in range(rounds):
            link = Link(**launch(2, __file__)[0])
            one, two = (statistics.mean(train_some(2, group, *words)[0]["rounds"]) for words in (["--apart"], []))
            traffic = traffic_of(make_model(group))
            predicted.append(efficiency(one, traffic, Cluster(link, link, 2), 2, overlap=0.0))
            measured.append(one / two)
            print(
                f"  cycle {one * 1e3:.1f} ms, gloo {link.bandwidth / 1e9:.2f} GB/s and "
                f"{link.latency * 1e6:.0f} us: predicted {predicted[-1]:.3f}, measured {measured[-1]:.3f}"
            )
        print(
            f"  batch norm {name}: predicted {statistics.median(predicted):.3f}, "
            f"measured {statistics.median(measured):.3f} (medians)"
        )


def on_paper(name: str) -> tuple[float, int, Traffic]:
    """Return a family's operations in a cycle of one GPU, images per round, and traffic."""
    config, size, batch = FAMILIES[name]
    image = ImageSpec(size, size, 3, 1000)
    words = ["run=x", f"data.image={{height: {size}, width: {size}, channels: 3, classes: 1000}}"]
    model = build_model(load(CONFIGS / config, words))
    assert model.image == image
    operations = count(model, model.phases[-1], batch).operations
    return operations * batch * model.cycle(), batch, traffic_of(model)


@click.command()
@click.option("--rate", default=400e12, show_default=True, help="Assumed FLOP/s of a matrix product (bf16).")
@click.option("--share", default=0.3, show_default=True, help="Assumed part of it that a cycle reaches.")
@click.option("--step-seconds", type=(str, float), multiple=True, help="Family and the measured seconds of its cycle.")
@click.option("--node", default=8, show_default=True, help="GPUs of a node.")
@click.option("--inside", default=200e9, show_default=True, help="Bytes/s that a GPU sends inside a node (NVLink).")
@click.option("--across", default=25e9, show_default=True, help="Bytes/s that a GPU sends to other nodes.")
@click.option("--latency-inside", default=3e-6, show_default=True, help="Seconds of a short message.")
@click.option("--latency-across", default=10e-6, show_default=True, help="Seconds of a short message.")
@click.option("--overlap", default=0.5, show_default=True, help="Part of the backward passes beside which it travels.")
@click.option("--rounds", default=3, show_default=True, help="Of the check on this machine; 0 leaves it out.")
@click.option("--worker", is_flag=True, hidden=True)
def main(rounds: int, worker: bool, step_seconds: tuple[tuple[str, float], ...], **assumed: float) -> None:
    if worker:
        work()
        return
    if rounds:
        check_here(rounds)
    cluster = Cluster(
        Link(assumed["inside"], assumed["latency_inside"]),
        Link(assumed["across"], assumed["latency_across"]),
        int(assumed["node"]),
    )
    print("\nassumed, none of it measured: " + ", ".join(f"{key} {value:g}" for key, value in assumed.items()))
    print(
        f"gradients float32, in buckets of {BUCKET_BYTES // 2**20} MiB, the last one of a step waited for; a cycle ends"
    )
    print("with the generator's step; images per GPU stay the same, so the batch grows with the GPUs")
    print("| family | images per GPU | cycle, ms | reduced per cycle, MB | sums of batch norm | 8 | 64 | 512 GPUs |")
    print("|---|---|---|---|---|---|---|---|")
    given = dict(step_seconds)
    for name in FAMILIES:
        operations, batch, traffic = on_paper(name)
        cycle = given.get(name, operations / (assumed["rate"] * assumed["share"]))
        ratios = [efficiency(cycle, traffic, cluster, n, assumed["overlap"]) for n in (8, 64, 512)]
        print(
            f"| {name} | {batch} | {cycle * 1e3:.2f} {'given' if name in given else 'assumed'} | "
            f"{sum(traffic.gradients) / 1e6:.1f} | {len(traffic.statistics)} | "
            f"{' | '.join(f'{ratio:.3f}' for ratio in ratios)} |"
        )


if __name__ == "__main__":
    main()
