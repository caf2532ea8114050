"""What only a CUDA device can show; run by `make test-gpu`."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ganlab.models import DCGAN
from ganlab.regularizers import R1
from ganlab.types import ImageSpec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

IMAGE = ImageSpec(32, 32, 3)


def trained(precision: str, steps: int = 20) -> tuple[DCGAN, dict[str, float]]:
    torch.manual_seed(0)
    model = DCGAN(image=IMAGE, width=16, precision=precision, regularizers={"r1": R1(weight=1.0, every=4)}).cuda()
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


def test_a_move_with_an_infinite_gradient_changes_nothing() -> None:
    model, _ = trained("fp32", steps=2)
    before = {name: parameter.clone() for name, parameter in model.discriminator.named_parameters()}
    model.move("discriminator", torch.full((64, 3, 32, 32), torch.inf, device="cuda"), torch.full((64,), -1).cuda())
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.discriminator.named_parameters())
    assert model.statistics.read()["discriminator/not_finite"] == 1


def test_the_command_trains_on_the_device(tmp_path: Path) -> None:
    from ganlab.config import from_dict
    from ganlab.data.pack import pack
    from ganlab.train import train

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
