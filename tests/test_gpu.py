"""What only a CUDA device can show; run by `make test-gpu`."""

import json
from itertools import islice
from pathlib import Path

import jobs
import numpy as np
import pytest
import torch
from compiled import BATCH, make_case

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
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

IMAGE = ImageSpec(32, 32, 3)


def trained(precision: str, steps: int = 20) -> tuple[DCGAN, dict[str, float]]:
    torch.manual_seed(0)
    r1, runtime = {"r1": R1(weight=1.0, every=4)}, Runtime(precision=precision)
    model = DCGAN(image=IMAGE, width=16, regularizers=r1, runtime=runtime).cuda()
    model.configure_optimizers()
    pixels = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    for step in range(steps):
        model.training_step((pixels.cuda(), torch.full((64,), -1, device="cuda")), step)
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
    batch = torch.zeros(64, 3, 32, 32, dtype=torch.uint8, device="cuda"), torch.full((64,), -1, device="cuda")
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(4):
            model.training_step(batch, step)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_step_with_an_infinite_gradient_changes_nothing() -> None:
    model, _ = trained("fp32", steps=2)
    before = {name: parameter.clone() for name, parameter in model.discriminator.named_parameters()}
    infinite = torch.full((64, 3, 32, 32), torch.inf, device="cuda")
    model.step("discriminator", {"real": infinite, "labels": torch.full((64,), -1).cuda()})
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
        "machine": {"device": "cuda", "precision": "bf16"},
        "logging": {"wandb": "disabled"},
        "run": str(tmp_path / "run"),
    }
    assert train(from_dict(values, "test")) == 0
    assert len(list((tmp_path / "run" / "checkpoints").glob("*.ckpt"))) == 1


def played(case: str, captured: bool, steps: int = 28) -> GANModule:
    """A game of float64, in which kernels of different speed differ little."""
    torch.manual_seed(0)
    model = make_case(case, "fp64").cuda()
    model.cuda_graphs = captured
    model.configure_optimizers()
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (BATCH, 3, 16, 16), dtype=torch.uint8, generator=draw).cuda()
    for step in range(steps):
        model.training_step((pixels, (torch.arange(BATCH) % 4).cuda()), step)
    return model


@pytest.mark.parametrize("case", ["dcgan", "sngan", "projection", "wgan-gp", "progressive"])
def test_captured_steps_are_those_of_eager_ones(case: str) -> None:
    eager, other = played(case, captured=False), played(case, captured=True)
    assert other.run_step.graphs
    for (name, value), found in zip(eager.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(found, value, rtol=1e-6, atol=1e-8, msg=name)
    assert other.statistics.read() == pytest.approx(eager.statistics.read(), rel=1e-6)


def test_compiled_steps_are_those_of_eager_ones() -> None:
    graphs = {"dcgan": 3, "projection": 2, "wgan-gp": 2, "schedules": 3}
    said = jobs.check_call(jobs.PYTHON, jobs.LAUNCHED / "compiled.py", "cuda", *graphs)
    for case, found in json.loads(said.splitlines()[-1]).items():
        assert found["far"] < 1e-7 and found["graphs"] == graphs[case] and found["logged"] == []


def test_captured_steps_follow_a_schedule_and_a_loss_scale() -> None:
    """What changes from step to step lies in memory that the graph reads."""
    from ganlab.schedules import Linear

    ended = []
    for captured in (False, True):
        torch.manual_seed(0)
        schedule = Linear(until_nimg=64 * 20)
        model = DCGAN(image=IMAGE, width=16, lr_schedule=schedule, runtime=Runtime(precision="fp16")).cuda()
        model.cuda_graphs = captured
        model.configure_optimizers()
        pixels = torch.zeros(64, 3, 32, 32, dtype=torch.uint8, device="cuda")
        for step in range(20):
            model.training_step((pixels, torch.full((64,), -1, device="cuda")), step)
        ended.append((model, model.learning_rates()))
    (eager, rates), (captured, same) = ended
    assert same == pytest.approx(rates) and rates["generator"] < 2e-4 / 10
    for player in ("generator", "discriminator"):
        assert captured.loss_scales[player].value == eager.loss_scales[player].value
        steps = [{int(moments["step"]) for moments in m.seats[player].optimizer.state.values()} for m, _ in ended]
        assert steps[0] == steps[1]


def test_batches_arrive_as_they_were_sent() -> None:
    sent = [(torch.full((8, 3, 64, 64), n, dtype=torch.uint8).pin_memory(), torch.full((8,), n)) for n in range(20)]
    for n, batch in enumerate(on_device(iter(sent), torch.device("cuda"))):
        torch.mm(torch.ones(2048, 2048, device="cuda"), torch.ones(2048, 2048, device="cuda"))  # it plays
        assert batch["real"].is_cuda and (batch["real"] == n).all() and (batch["labels"] == n).all()


def test_pinned_batches_are_those_of_the_cpu(tmp_path: Path) -> None:
    np.savez(tmp_path / "noise.npz", images=np.random.default_rng(0).integers(0, 256, (100, 64, 64, 3), np.uint8))
    pack(tmp_path / "noise.npz", tmp_path / "shards", size=64)
    dataset = ShardDataset(tmp_path / "shards")
    phase = Phase(0, dataset.image, 16)
    plain, pinned = (BatchLoader(dataset, plan=lambda _: phase, seed=0, pin_memory=pin) for pin in (False, True))
    assert next(iter(pinned))[0].is_pinned()
    batches = on_device(iter(pinned), torch.device("cuda"))
    for sent, batch in islice(zip(plain, batches, strict=True), 40):  # their memory is used again and again
        torch.mm(torch.ones(2048, 2048, device="cuda"), torch.ones(2048, 2048, device="cuda"))  # it plays
        assert torch.equal(batch["real"].cpu(), named(sent)["real"])


def test_batches_from_the_host_and_their_steps_do_not_wait_for_the_device() -> None:
    model, _ = trained("bf16", steps=3)
    batches = [(torch.zeros(64, 3, 32, 32, dtype=torch.uint8).pin_memory(), torch.full((64,), -1).pin_memory())] * 4
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number, batch in enumerate(on_device(iter(batches), model.device)):
            model.training_step(batch, number)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("words", [["machine.cuda_graphs=true"], ["machine.compile=true", "machine.cuda_graphs=true"]])
def test_the_command_resumes_with_cuda_graphs(tmp_path: Path, words: list[str]) -> None:
    import tiny_runs as runs

    config = runs.write_config(tmp_path, runs.pack_noise(tmp_path, classes=3))
    words = [*words, "machine.device=cuda", f"run={tmp_path / 'run'}"]
    runs.done(config, *words, "train.total_nimg=288")
    assert "resuming from nimg-000000000288.ckpt" in runs.done(config, *words)
