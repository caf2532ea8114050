"""The self-check: the work of an image counted by hand, suspects of constructed runs, and what a person is told."""

import json
import re
from functools import partial

import pytest
import tiny
import tiny_runs as runs
import torch
from repository import REPOSITORY
from torch import nn
from torch.optim import SGD

import ganlab.commands.show
import ganlab.experiment.limits
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.experiment.limits import Rates, first_suspect, measure, reachable, short, time_rounds
from ganlab.experiment.work import Counter, Work, count
from ganlab.models import DCGAN, GANModule, ProgressiveGAN
from ganlab.networks import dcgan
from ganlab.objectives import NonSaturating
from ganlab.regularizers import R1, Drift, GradientPenalty
from ganlab.types import ImageSpec

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH, LATENT, IMAGE, BATCH = 6, 10, ImageSpec(16, 16, 3), 8
# Multiplications of an image in DCGAN's layers at 16 px: inputs x outputs x kernel x pixels of the smaller map.
G = [LATENT * 2 * WIDTH * 16 * 1, 2 * WIDTH * WIDTH * 16 * 16, WIDTH * 3 * 16 * 64]
D = [3 * WIDTH * 16 * 64, WIDTH * 2 * WIDTH * 16 * 16, 2 * WIDTH * 1 * 16 * 1]
# Each is an addition too, and a backward pass makes two more: by the weights, and by the input unless nobody asks.
BY_D = 2 * sum(G) + 2 * (2 * sum(D) + 2 * sum(D) + 2 * sum(D[1:]))  # the fakes' generator; reals and fakes
BY_G = 2 * sum(G) + 2 * sum(G) + 2 * sum(G[1:]) + 2 * sum(D) + 2 * sum(D)
PENALTY = (
    3 * 2 * sum(D)
)  # the input's gradient, and what it is differentiated by: the weights, and what came from above


def work(**changes):
    model = DCGAN(image=IMAGE, width=WIDTH, latent=LATENT, **changes)
    return count(model, model.phases[0], BATCH)


def test_operations_of_an_image_are_those_counted_by_hand():
    assert work().operations == BY_D + BY_G


@pytest.mark.parametrize("every", [1, 16])
def test_a_penalty_counts_as_often_as_it_is_due(every):
    assert work(regularizers={"r1": R1(weight=1.0, every=every)}).operations == BY_D + BY_G + PENALTY / every


def test_penalties_due_at_different_steps():
    mixed = 2 * sum(D) + PENALTY + 2 * D[0] + 4 * D[1]  # batch norm's slope goes back through the layers below it
    both = work(regularizers={"gp": GradientPenalty(weight=1.0, every=3), "r1": R1(weight=1.0, every=2)}).operations
    assert both == pytest.approx(BY_D + BY_G + mixed / 3 + PENALTY / 2, rel=1e-12)
    drift = work(regularizers={"drift": Drift(weight=1.0)})
    assert drift.operations == BY_D + BY_G and drift.operators > work().operators


@pytest.mark.parametrize(("steps", "ratio"), [(2, 2.0), (5, 0.5)])
def test_a_cycle_is_so_many_steps_of_the_one_and_one_of_the_other(steps, ratio):
    sgd = partial(SGD, lr=0.1)
    model = GANModule(
        image=IMAGE,
        generator=dcgan.Generator(image=IMAGE, width=WIDTH, latent=LATENT),
        discriminator=dcgan.Discriminator(image=IMAGE, width=WIDTH),
        objective=NonSaturating(),
        optimizers={"generator": sgd, "discriminator": sgd},
        discriminator_steps=steps,
        generator_batch=ratio,
    )
    assert count(model, model.phases[0], BATCH).operations == pytest.approx(BY_D + BY_G * ratio / steps, rel=1e-12)


@pytest.mark.parametrize("changes", [{"micro_batch": 4}, {"regularizers": {"gp": GradientPenalty(weight=1.0)}}])
def test_the_copy_without_numbers_does_what_the_model_does(changes):
    model = DCGAN(image=IMAGE, width=WIDTH, latent=LATENT, **tiny.with_runtime(changes))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    counted = count(model, model.phases[0], BATCH)
    assert model.clock.nimg == 0 and not model.seats and tiny.distance(model.state_dict(), before) == 0
    model.configure_optimizers()
    real, labels = torch.rand(BATCH, 3, 16, 16), torch.full((BATCH,), -1)
    with Counter() as counter:
        for player in ("discriminator", "generator"):
            model.step(player, {"real": real, "labels": labels})
    assert (counter.operations / BATCH, counter.operators / BATCH) == (counted.operations, counted.operators)


def test_views_are_no_work():
    a, b = torch.ones(2, 3), torch.ones(3, 5)
    with Counter() as counter:
        ((a @ b).T.view(5, 2)[1:] + 1).relu()
    assert (counter.operations, counter.operators) == (2 * 2 * 3 * 5, 3)


@pytest.mark.parametrize(("groups", "transposed"), [(1, False), (4, False), (4, True)])
def test_the_gradients_of_a_convolution_are_counted_like_the_convolution(groups, transposed):
    images = torch.randn(2, 8, 6, 6, requires_grad=True)
    layer = (nn.ConvTranspose2d if transposed else nn.Conv2d)(8, 8, 3, groups=groups, bias=False)
    with Counter() as forward:
        out = layer(images)
    with Counter() as backward:
        out.sum().backward()
    positions = 2 * (36 if transposed else 16)
    assert forward.operations == 2 * positions * 8 * (8 // groups) * 9
    assert backward.operations == 2 * forward.operations


@pytest.mark.slow
def test_growth_is_counted_size_by_size():
    model = ProgressiveGAN(image=ImageSpec(8, 8, 1), width_base=32, width_max=8, latent=8)
    small, large = (count(model, phase, 4) for phase in model.phases)
    # Each network's next block has as many channels, and two 3x3 convolutions at four times the pixels.
    assert 3 * small.operations < large.operations < 12 * small.operations


# --- suspects

TICK = {
    "seconds/data": 0.1,
    "seconds/discriminator": 4.0,
    "seconds/discriminator_penalty": 1.0,
    "seconds/generator": 4.0,
}
TICK |= {"seconds/reduction": 0.5, "seconds/logging": 0.4, "images_per_second": 7.0, "discriminator/loss": 99.0}
RATES = Rates({"fp32": 1e12, "tf32": 1.4e12, "bf16": 1.2e12}, 1e11, 1e-6)
FAST = Rates({"fp32": 1e12, "tf32": 4e12, "bf16": 8e12}, 1e11, 1e-6)
LONG = {**TICK, "seconds/discriminator_penalty": 12.0}


@pytest.mark.parametrize(
    ("suspect", "told", "row", "launching", "every", "rates"),
    [
        ("data", "13% of the time", {**TICK, "seconds/data": 1.5}, 0.9, {"r1": 1}, FAST),
        ("penalties", "model.regularizers.r1.every, up to 16", LONG, 0.9, {"slow": 16, "r1": 1}, FAST),
        ("launch overhead", "31% of the steps'", TICK, 0.28, {"r1": 1}, FAST),
        ("launch overhead", "47% of the steps'", LONG, 0.45, {"r1": 16}, FAST),
        ("precision", "8.0 times as fast in bf16; write machine.precision=bf16", TICK, 0.26, {"r1": 1}, FAST),
        ("memory bandwidth / small layers", "layers too small", TICK, 0.26, {"r1": 1}, RATES),
    ],
)
def test_the_first_suspect(suspect, told, row, launching, every, rates):
    name, remedy = first_suspect(row, launching, every, "fp32", rates, capture=False)
    assert name == suspect and told in remedy and "cuda_graphs" not in remedy
    assert ("cuda_graphs" in first_suspect(row, launching, every, "fp32", rates, capture=True)[1]) == (
        suspect == "launch overhead"
    )


def test_the_limit_is_the_machine_over_the_model():
    assert reachable(Work(operations=5e9, operators=10.0), RATES, "fp32") == 200.0


def test_numbers_with_prefixes():
    assert [short(value) for value in (1.0, 950.0, 61_240.0, 9.9e11, 4e14)] == [
        "1.0 ",
        "950.0 ",
        "61.2 k",
        "990.0 G",
        "400.0 T",
    ]


# --- this machine


def test_measuring_leaves_torch_as_it_was():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_float32_matmul_precision("high")
    try:
        rates = measure(torch.device("cpu"), ["fp32", "fp64"], 0.01)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert set(rates.flops) == {"fp32", "fp64"}
    assert all(1e7 < rate < 1e14 for rate in (*rates.flops.values(), rates.bytes)) and 1e-8 < rates.launch < 1e-2


def test_steps_are_timed_in_whole_cycles_by_kind():
    model = tiny.game(regularizers={"r1": R1(weight=1.0, every=3)}, discriminator_steps=3)
    model.configure_optimizers()
    row = time_rounds(model, model.phases[0], 4, seconds=0.05)
    warm_up_and = model.clock.steps
    assert warm_up_and["discriminator"] == 3 * warm_up_and["generator"] >= 9
    assert model.clock.nimg == 4 * (warm_up_and["discriminator"] - 6)
    spent = model.clock.nimg / row["images_per_second"]
    parts = [row[f"seconds/{part}"] for part in ("discriminator", "discriminator_penalty", "generator")]
    assert min(parts) > 0 and sum(parts) <= spent and row["seconds/data"] == 0


# --- what a person is told


@pytest.mark.slow
def test_show_tells_the_time_when_asked(tmp_path, dataset, monkeypatch):
    config = runs.write_config(tmp_path, dataset)
    monkeypatch.setattr(ganlab.commands.show, "SECONDS", 0.1)
    monkeypatch.setattr(ganlab.experiment.limits, "SECONDS", 0.02)
    assert "machine     cpu" not in runs.ganlab("show", config).output
    said = runs.ganlab("show", config, "--time").output
    assert re.search(
        r"\nmachine     cpu, 1 thread: matrix products \S+ GFLOP/s in fp32; memory \S+ GB/s; a small", said
    )
    limit = re.search(r"\nlimit       ([\d,.]+) images/s at 16 px, were all \S+ MFLOP of an image large matrix", said)
    measured = re.search(
        r"\nmeasured    48 images a step: ([\d,.]+) images/s, (\d+)% of the limit; first suspect: ", said
    )
    assert limit and measured
    rate, most = (float(match[1].replace(",", "")) for match in (measured, limit))
    assert abs(100 * rate / most - int(measured[2])) < 0.51


@pytest.mark.slow
def test_a_network_too_large_to_be_timed_here_says_so(monkeypatch):
    monkeypatch.setattr(ganlab.commands.show, "SECONDS", 1e-9)
    monkeypatch.setattr(ganlab.experiment.limits, "SECONDS", 0.02)
    said = runs.ganlab("show", REPOSITORY / "configs/digits/dcgan.yaml", "data.url=none", "--time").output
    assert "\nmeasured    nothing: even 4 images a step would take this machine more than 0 s\n" in said


def test_a_run_says_what_it_could_do_and_what_to_suspect(tmp_path, dataset):
    config = runs.write_config(tmp_path, dataset)
    said = runs.ganlab("train", config, f"run={tmp_path / 'run'}").stderr
    assert said.count("\nlimit       ") == said.count("% of the limit; first suspect: ") == 1
    assert said.index("machine     cpu, 1 thread: ") < said.index("limit ") < said.index("training: 240 of 480")
    assert said.index("training: 240 of 480") < said.index("first suspect") < said.index("training: 336 of 480")


def test_a_run_keeps_its_machines_figures_and_reaches_a_share(finished):
    figures = json.loads((finished / "selfcheck.json").read_text())
    assert (figures["device"], figures["threads"], figures["precision"], figures["processes"]) == ("cpu", 1, "fp32", 1)
    (phase,) = figures["phases"]
    model = build_model(
        load(finished.parent / "tiny.yaml", ["data.image={height: 16, width: 16, channels: 1, classes: 3}"])
    )
    assert phase["operations"] == count(model, model.phases[0], 48).operations
    assert phase["limit_images_per_second"] == pytest.approx(figures["flops"]["fp32"] / phase["operations"])
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 5 and all(row["share"] > 0 for row in rows)
