"""What only a CUDA device can show; run by `make test-gpu`, and with GANLAB_DRY_GPU=1 as far as a CPU goes."""

import json
from functools import partial
from itertools import islice
from pathlib import Path

import jobs
import numpy as np
import pytest
import torch
from compiled import BATCH, make_case
from device import DEVICE, DRY, pinned, without_waiting

from ganlab.data import BatchLoader, ShardDataset
from ganlab.data.make.pack import pack
from ganlab.engine.batch import named
from ganlab.engine.loop import on_device
from ganlab.engine.runtime import Runtime
from ganlab.models import DCGAN, GANModule
from ganlab.regularizers import R1
from ganlab.types import ImageSpec, Phase

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not (DRY or torch.cuda.is_available()), reason="no CUDA device; GANLAB_DRY_GPU=1 takes the CPU"),
]
not_dry = partial(pytest.mark.skipif, DRY)

SIDE, N, LARGE = (16, 8, 64) if DRY else (32, 64, 2048)
IMAGE = ImageSpec(SIDE, SIDE, 3)


def trained(precision: str, steps: int = 20) -> tuple[DCGAN, dict[str, float]]:
    torch.manual_seed(0)
    r1, runtime = {"r1": R1(weight=1.0, every=4)}, Runtime(precision=precision)
    model = DCGAN(image=IMAGE, width=16, regularizers=r1, runtime=runtime).to(DEVICE)
    model.configure_optimizers()
    pixels = torch.randint(0, 256, (N, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    for step in range(steps):
        model.training_step((pixels.to(DEVICE), torch.full((N,), -1, device=DEVICE)), step)
    return model, model.statistics.read()


@pytest.mark.parametrize(("precision", "band"), [("tf32", 0.02), ("bf16", 0.05)])
def test_losses_agree_with_float32(precision: str, band: float) -> None:
    _, full = trained("fp32")
    model, low = trained(precision)
    for name in ("discriminator/loss", "generator/loss"):
        assert abs(low[name] - full[name]) < band * full[name]
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_a_step_does_not_wait_for_the_device() -> None:
    model, _ = trained("bf16", steps=3)
    batch = torch.zeros(N, 3, SIDE, SIDE, dtype=torch.uint8, device=DEVICE), torch.full((N,), -1, device=DEVICE)
    with without_waiting():
        for step in range(4):
            model.training_step(batch, step)


def test_a_step_with_an_infinite_gradient_changes_nothing() -> None:
    model, _ = trained("fp32", steps=2)
    before = {name: parameter.clone() for name, parameter in model.discriminator.named_parameters()}
    infinite = torch.full((N, 3, SIDE, SIDE), torch.inf, device=DEVICE)
    model.step("discriminator", {"real": infinite, "labels": torch.full((N,), -1).to(DEVICE)})
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.discriminator.named_parameters())
    assert model.statistics.read()["discriminator/not_finite"] == 1


def test_the_command_trains_on_the_device(tmp_path: Path) -> None:
    from ganlab.commands.train import train
    from ganlab.data.make.pack import pack
    from ganlab.experiment.config import from_dict

    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (256, 32, 32, 3), dtype=np.uint8))
    pack(tmp_path / "images.npy", tmp_path / "shards", size=32)
    values = {
        "model": {"_target_": "ganlab.models.DCGAN", "width": 8},
        "data": {"url": str(tmp_path / "shards")},
        "train": {"total_nimg": 1024, "batch": 64},
        "machine": {"device": DEVICE, "precision": "bf16"},
        "logging": {"wandb": "disabled"},
        "run": str(tmp_path / "run"),
    }
    assert train(from_dict(values, "test")) == 0
    assert len(list((tmp_path / "run" / "checkpoints").glob("*.ckpt"))) == 1


def played(case: str, captured: bool, steps: int = 28) -> GANModule:
    """A game of float64, in which kernels of different speed differ little."""
    torch.manual_seed(0)
    model = make_case(case, "fp64").to(DEVICE)
    model.cuda_graphs = captured
    model.configure_optimizers()
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (BATCH, 3, 16, 16), dtype=torch.uint8, generator=draw).to(DEVICE)
    for step in range(steps):
        model.training_step((pixels, (torch.arange(BATCH) % 4).to(DEVICE)), step)
    return model


@pytest.mark.parametrize("case", ["dcgan", "sngan", "projection", "wgan-gp", "progressive", "schedules"])
def test_captured_steps_are_those_of_eager_ones(case: str) -> None:
    eager, other = played(case, captured=False), played(case, captured=True)
    assert other.run_step.graphs
    for (name, value), found in zip(eager.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(found, value, rtol=1e-6, atol=1e-8, msg=name)
    assert other.statistics.read() == pytest.approx(eager.statistics.read(), rel=1e-6, abs=1e-7)


def test_compiled_steps_are_those_of_eager_ones() -> None:
    graphs = {"dcgan": 3} if DRY else {"dcgan": 3, "projection": 2, "wgan-gp": 2, "schedules": 3}
    said = jobs.check_call(jobs.PYTHON, jobs.LAUNCHED / "compiled.py", DEVICE, *graphs)
    for case, found in json.loads(said.splitlines()[-1]).items():
        assert found["far"] < 1e-7 and found["graphs"] == graphs[case] and found["logged"] == []


def test_captured_steps_follow_a_schedule_and_a_loss_scale() -> None:
    """What changes from step to step lies in memory that the graph reads."""
    from ganlab.schedules import Linear

    ended = []
    for captured in (False, True):
        torch.manual_seed(0)
        schedule = Linear(until_nimg=N * 20)
        model = DCGAN(image=IMAGE, width=16, lr_schedule=schedule, runtime=Runtime(precision="fp16")).to(DEVICE)
        model.cuda_graphs = captured
        model.configure_optimizers()
        pixels = torch.zeros(N, 3, SIDE, SIDE, dtype=torch.uint8, device=DEVICE)
        for step in range(20):
            model.training_step((pixels, torch.full((N,), -1, device=DEVICE)), step)
        ended.append((model, model.learning_rates()))
    (eager, rates), (captured, same) = ended
    assert same == pytest.approx(rates) and rates["generator"] < 2e-4 / 10
    for player in ("generator", "discriminator"):
        assert captured.loss_scales[player].value == eager.loss_scales[player].value
        steps = [{int(moments["step"]) for moments in m.seats[player].optimizer.state.values()} for m, _ in ended]
        assert steps[0] == steps[1]


def test_batches_arrive_as_they_were_sent() -> None:
    sent = [(pinned(torch.full((8, 3, 64, 64), n, dtype=torch.uint8)), torch.full((8,), n)) for n in range(20)]
    for n, batch in enumerate(on_device(iter(sent), torch.device(DEVICE))):
        torch.mm(torch.ones(LARGE, LARGE, device=DEVICE), torch.ones(LARGE, LARGE, device=DEVICE))  # it plays
        arrived = named(batch)
        assert arrived["real"].device.type == DEVICE
        assert (arrived["real"] == n).all() and (arrived["labels"] == n).all()


@not_dry(reason="DRY: a CPU has no pinned memory")
def test_pinned_batches_are_those_of_the_cpu(tmp_path: Path) -> None:
    np.savez(tmp_path / "noise.npz", images=np.random.default_rng(0).integers(0, 256, (100, 64, 64, 3), np.uint8))
    pack(tmp_path / "noise.npz", tmp_path / "shards", size=64)
    dataset = ShardDataset(tmp_path / "shards")
    phase = Phase(0, dataset.image, 16)
    plain, pinned = (BatchLoader(dataset, plan=lambda _: phase, seed=0, pin_memory=pin) for pin in (False, True))
    assert next(iter(pinned))[0].is_pinned()
    batches = on_device(iter(pinned), torch.device(DEVICE))
    for sent, batch in islice(zip(plain, batches, strict=True), 40):  # their memory is used again and again
        torch.mm(torch.ones(LARGE, LARGE, device=DEVICE), torch.ones(LARGE, LARGE, device=DEVICE))  # it plays
        assert torch.equal(batch["real"].cpu(), named(sent)["real"])


def test_batches_from_the_host_and_their_steps_do_not_wait_for_the_device() -> None:
    model, _ = trained("bf16", steps=3)
    batches = [(pinned(torch.zeros(N, 3, SIDE, SIDE, dtype=torch.uint8)), pinned(torch.full((N,), -1)))] * 4
    with without_waiting():
        for number, batch in enumerate(on_device(iter(batches), model.device)):
            model.training_step(batch, number)


@pytest.mark.parametrize(
    "words",
    [
        ["machine.cuda_graphs=true"],
        pytest.param(
            ["machine.compile=true", "machine.cuda_graphs=true"],
            marks=not_dry(reason="DRY: compiled code is no operators to be recorded"),
        ),
    ],
)
def test_the_command_resumes_with_cuda_graphs(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiny_runs as runs

    if DRY:  # the command refuses graphs on a CPU, whose codes of classes ask the host for the largest one
        monkeypatch.setattr("ganlab.experiment.checks.check_cuda_graphs", lambda config, model: None)
        words = [*words, "model.conditional=false"]
    config = runs.write_config(tmp_path, runs.pack_noise(tmp_path, classes=3))
    words = [*words, f"machine.device={DEVICE}", f"run={tmp_path / 'run'}"]
    runs.done(config, *words, "train.total_nimg=288")
    assert "resuming from nimg-000000000288.ckpt" in runs.done(config, *words)
