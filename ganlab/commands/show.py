"""The verb `show`: the resolved config, every network layer by layer, the plan of the run, and its speed."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ganlab import distributed
from ganlab.classes import LISTED
from ganlab.data.read.base import Dataset
from ganlab.data.read.open import is_absent
from ganlab.engine.game import Game
from ganlab.experiment import limits
from ganlab.experiment.build import build_model, count_work, on_gpu, open_dataset, open_other, set_arithmetic, speed_up
from ganlab.experiment.checks import check_device, check_game, check_labels, with_facts
from ganlab.experiment.config import to_yaml
from ganlab.experiment.frame import Config
from ganlab.experiment.limits import short
from ganlab.experiment.machines import remember, tell_time
from ganlab.experiment.memory import Memory, memory_of
from ganlab.experiment.work import Counter, count, without_numbers

SECONDS = 10.0
"""Duration of the timed steps."""
AT_THE_END = 2**50
"""Images after which every network runs at its full size."""


def show(config: Config, time: bool = False, memory: float | None = None) -> Iterator[str]:
    """Yield the text, section by section. Only `time`, which times steps, allocates memory.

    With `memory`, in bytes, it says how many images at a time fit.
    """
    dataset = found_dataset(config)
    config = with_facts(config, dataset, open_other(config)) if dataset else config
    image, samples = config.data.image, len(dataset) if dataset else 0
    assert image is not None
    names = image.class_names if image.classes <= LISTED else ()  # a thousand would hide the rest
    config = replace(config, data=replace(config.data, image=replace(image, class_names=names)))
    with torch.device("meta"):
        model = build_model(config)
    check_game(config, model)
    if dataset:
        check_labels(config, model, dataset)
    yield to_yaml(config)
    yield f"# images: {image}, {f'{samples:,} of them' if samples else 'as declared: no data found'}\n"
    notes, needed = run_dry(model)
    for name, network in model.networks.items():
        yield notes[name].table(name, network)
    yield plan(config, model, samples)
    yield costs(config, model, notes, needed, memory)
    if not time and (line := tell_time(config, model)):
        yield line
    if time:
        yield from timing(config)


def found_dataset(config: Config) -> Dataset | None:
    """Open the images; None if they are absent and the config declares `data.image`."""
    if is_absent(config.data.url) and config.data.image is not None:
        return None
    return open_dataset(config)


def run_dry(model: Game) -> tuple[dict[str, "Notes"], Memory]:
    """Make a round of the last phase on fake tensors; return what was seen of every network, and the memory."""
    with without_numbers(model) as model:
        model.clock.nimg = AT_THE_END
        notes = {name: Notes(network) for name, network in model.networks.items()}
        needed = memory_of(model, model.phases[-1])
        for name in model.averages:
            if notes[name].operations is None and model.latent:  # StyleGAN2's steps run its generator in parts
                model.networks[name](torch.zeros(1, model.latent), torch.zeros(1, dtype=torch.int64))
        return notes, needed


class Notes:
    """The layers of a network in the order of its first pass, then the unused ones; and that pass's operations."""

    def __init__(self, network: nn.Module) -> None:
        self.rows: dict[str, tuple[str, str, str, str]] = {}
        self.operations: float | None = None
        """Of one sample, a multiply-add counting as two; None before the first pass."""
        self.counter = Counter()
        network.register_forward_pre_hook(self.begin)
        network.register_forward_hook(self.end)
        self.names = {  # a layer with a parametrized weight is one layer
            layer: path
            for path, layer in network.named_modules()
            if "parametrizations" not in path
            and not {name for name, _ in layer.named_children()} - {"parametrizations"}
        }
        for layer in self.names:
            layer.register_forward_hook(self.note)

    def begin(self, *_: object) -> None:
        """Count the operations of the first pass."""
        if self.operations is None:
            self.counter.__enter__()  # type: ignore[no-untyped-call]

    def end(self, _: object, inputs: tuple[Tensor, ...], __: object) -> None:
        """Note them, of one sample."""
        if self.operations is None:
            self.counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self.operations = float(self.counter.operations / len(inputs[0]))

    def note(self, layer: nn.Module, _: object, out: Tensor | None) -> None:
        """Record a layer's output shape in its first call."""
        count = sum(parameter.numel() for parameter in layer.parameters())
        shape = "not in use" if out is None else "x".join(map(str, out.shape[1:]))
        path = self.names[layer]
        self.rows.setdefault(path, (path, type(layer).__name__, shape, f"{count:,}" if count else ""))

    def table(self, name: str, network: nn.Module) -> str:
        """Return the table, with the total."""
        for layer in self.names:
            self.note(layer, None, None)  # those of smaller sizes, in a network that grows
        total = sum(parameter.numel() for parameter in network.parameters())
        rows = [(name, "layer", "output", "parameters"), *self.rows.values(), ("", "", "total", f"{total:,}")]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = (f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in rows)
        return "\n".join(lines) + "\n"


def plan(config: Config, model: Game, samples: int) -> str:
    """Describe the run's plan in images and steps."""
    train, processes = config.train, distributed.world_size()
    ends = [*(phase.from_nimg for phase in model.phases[1:]), train.total_nimg]
    batches = [train.batch or phase.batch or 0 for phase in model.phases]
    rounds = sum(
        -(-max(0, min(end, train.total_nimg) - phase.from_nimg) // batch)
        for phase, end, batch in zip(model.phases, ends, batches, strict=True)
    )
    epochs = f", {train.total_nimg / samples:,.1f} times each of {samples:,}" if samples else ""
    lines = [
        f"images      {train.total_nimg:,}{epochs}",
        *(
            f"batch       {batch} over {processes} process{'es' * (processes > 1)}, "
            f"{min(train.micro_batch or batch, batch // processes)} at a time"
            + (f", from {phase.from_nimg:,} images on at {phase.image.height} px" if len(batches) > 1 else "")
            for phase, batch in zip(model.phases, batches, strict=True)
        ),
        *(f"steps       {round(rounds / p.mean_period()):,} of the {name}" for name, p in model.players.items()),
        f"a tick      every {train.tick_nimg:,} images",
        f"a grid      every {train.sample_every_nimg:,} images",
        f"checkpoint  every {train.checkpoint_every_nimg:,} images, the newest {train.keep_checkpoints} kept",
        f"compiled    {compiled(model) if config.machine.compile else 'nothing'}",
        f"run folder  {config.run}",
        *model.remarks,
    ]
    return "\n".join(lines)


def costs(config: Config, model: Game, notes: Mapping[str, Notes], needed: Memory, limit: float | None) -> str:
    """Tell the operations and the memory of an image, and how many fit in `limit` bytes."""
    phase = model.phases[-1]
    share = (config.train.batch or phase.batch or 0) // distributed.world_size()
    at_a_time = min(config.train.micro_batch or share, share)
    forward = [f"{short(note.operations)}FLOP {name}" for name, note in notes.items() if note.operations]
    lines = [
        f"forward     of an image: {', '.join(forward) or 'not counted'}",
        f"memory      {short(float(needed.held))}B held, and {short(needed.image)}B for each image at a time: "
        f"{short(needed.peak(at_a_time))}B for {at_a_time}, besides the device's libraries",
    ]
    if limit is not None:
        group = config.train.group
        fitting = needed.fits(limit) // group * group
        less = fitting < at_a_time and not model.coupled
        remedy = f"; write train.micro_batch={fitting}, or use more processes" if fitting and less else ""
        number = f"{fitting:,}" if fitting else "not even one group of"
        lines.append(f"fits        {number} images at a time in {short(limit)}B{remedy}")
    return "\n".join(lines)


def compiled(model: Game) -> str:
    """Name the losses that are compiled, and say how often growth recompiles them."""
    losses = []
    for name, player in model.players.items():
        period = math.lcm(*(penalty.every for penalty in player.regularizers.values()))
        due = {tuple(player.due(steps)) for steps in range(period)}
        losses += [f"{name}'s" + " with " * bool(names) + " and ".join(names) for names in sorted(due)]
    stages = 2 * len(model.phases) - 1
    growth = f"; at each of {stages} stages of growth, {stages * len(losses)} graphs in all" if stages > 1 else ""
    return f"the losses, each as one graph: the {', the '.join(losses)}{growth}"


def timing(config: Config) -> Iterator[str]:
    """Report the machine's limit, the speed of the last phase and its bottleneck, for one process of the run."""
    check_device(config)
    set_arithmetic(config.machine)
    cuda = on_gpu(config.machine)
    device, precision = torch.device("cuda" if cuda else "cpu"), config.machine.precision
    rates = limits.measure(device, limits.rivals(precision, device), limits.SECONDS)
    yield f"\nmachine     {limits.tell_machine(rates, device)}"
    model = build_model(config)
    for phase, work in zip(model.phases, count_work(config, model).values(), strict=True):
        limit = limits.reachable(work, rates, precision)
        yield f"limit       {limits.tell_limit(work, limit, phase)}"
    batch = (config.train.batch or phase.batch or 0) // distributed.world_size()
    batch = quick_batch(model, batch, most=limit * SECONDS / 20 / model.cycle())
    if batch * model.cycle() > limit * SECONDS:
        yield f"measured    nothing: even {batch} images a step would take this machine more than {SECONDS:.0f} s"
        return
    work = count(model, phase, batch)
    speed_up(model, config.machine)
    model.to(device).configure_optimizers()
    row = limits.time_rounds(model, phase, batch, SECONDS)
    row["share"] = row["images_per_second"] / limit
    remember(rates, device, precision, row["share"])
    yield f"measured    {batch} images a step: {limits.tell_share(model, work, rates, row, processes=1)}"


def quick_batch(model: Game, batch: int, most: float) -> int:
    """Halve a batch while it exceeds `most` images and its half consists of whole groups."""
    ratios = [player.batch for player in model.players.values()]
    while batch > most and not any(batch / 2 * ratio % model.runtime.group for ratio in ratios):
        batch //= 2
    return batch
