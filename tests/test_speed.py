"""What a step does not do: change a layout, wait for the device, keep what it was told not to, go back to Lightning."""

import copy
import platform
import resource

import pytest
import tiny_runs as runs
import torch
from compiled import BATCH, make_case
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from ganlab.experiment.build import build_model, keep_freed_memory
from ganlab.experiment.config import from_dict
from ganlab.layers.recompute import recompute_blocks
from ganlab.models import GANModule

pytestmark = pytest.mark.usefixtures("one_thread")

LAST = torch.channels_last
REALS = torch.rand(BATCH, 3, 16, 16, generator=torch.Generator().manual_seed(3)).mul(2).sub(1).to(memory_format=LAST)
LABELS = torch.arange(BATCH) % 4
GAMES = ["dcgan", "sngan", "projection", "wgan-gp", "progressive", "schedules"]


class Watch(TorchDispatchMode):
    """Notes the operators that wait for a GPU, and those that make activations in another layout than channels_last."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[str] = []
        self.changed: list[str] = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        out = operator(*args, **(kwargs or {}))
        if operator.overloadpacket.__name__ in (
            "_local_scalar_dense",
            "nonzero",
            "masked_select",
            "equal",
            "is_nonzero",
        ):
            self.waited.append(str(operator))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            activation = isinstance(tensor, torch.Tensor) and tensor.dim() == 4 and tensor.shape[0] == BATCH
            large = activation and tensor.shape[1] > 1 and tensor.shape[2] == tensor.shape[3] >= 8
            if large and not operator.is_view and not tensor.is_contiguous(memory_format=LAST):
                self.changed.append(f"{operator} {tuple(tensor.shape)}")
        return out


def seated(case: str, precision: str = "fp32") -> GANModule:
    torch.manual_seed(0)
    model = make_case(case, precision)
    model.clock.nimg = 200 if case == "progressive" else 0  # the second fade, to 16 px
    model.configure_optimizers()
    return model


@pytest.mark.parametrize("case", GAMES)
def test_steps_keep_to_channels_last(case):
    model = seated(case)
    model.step("discriminator", {"real": REALS, "labels": LABELS})
    with Watch() as watch:
        model.step("generator", {"real": REALS, "labels": LABELS})
        if not any(penalty.gradient for penalty in model.players["discriminator"].regularizers.values()):
            model.step("discriminator", {"real": REALS, "labels": LABELS})  # torch's double backward lays as it likes
    assert watch.changed == []
    tensors = [p for p in model.parameters() if p.dim() == 4]
    tensors += [p.grad for p in tensors if p.grad is not None]
    tensors += [m["exp_avg"] for seat in model.seats.values() for m in seat.optimizer.state.values()]
    assert all(t.is_contiguous(memory_format=LAST) for t in tensors if t.dim() == 4)


def test_the_watch_sees_another_layout_and_a_wait():
    model = seated("sngan")
    model.to(memory_format=torch.contiguous_format)
    with Watch() as watch:
        model.step("generator", {"real": REALS.contiguous(), "labels": LABELS})
        model.statistics.sums["generator/loss"].item()
    assert watch.changed and watch.waited == ["aten._local_scalar_dense.default"]


@pytest.mark.parametrize("case", GAMES)
def test_steps_wait_for_nothing(case):
    model = seated(case)
    pixels = torch.zeros(BATCH, 3, 16, 16, dtype=torch.uint8)
    with Watch() as watch:
        for step in range(4):
            model.training_step((pixels, LABELS), step)
    assert watch.waited == []


# --- train.checkpoint_blocks


def bytes_kept(model: GANModule) -> int:
    """What the generator's step keeps for its backward pass, each storage once."""
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        model.step("generator", {"real": REALS.to(model.real_dtype), "labels": LABELS})
    return sum(kept.values())


@pytest.mark.slow
@pytest.mark.parametrize("case", ["sngan", "projection", "wgan-gp", "progressive"])
def test_blocks_computed_anew_change_memory_not_results(case):
    model = seated(case, "fp64")
    other = copy.deepcopy(model)
    for name in ("generator", "discriminator"):
        recompute_blocks(name, getattr(other, name))
    other.configure_optimizers()
    for _ in range(3):
        for game in (model, other):
            game.step("discriminator", {"real": REALS.double(), "labels": LABELS})
            game.step("generator", {"real": REALS.double(), "labels": LABELS})
    for (name, tensor), again in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(tensor, again), name
    assert bytes_kept(other) < 0.7 * bytes_kept(model)


def test_the_config_asks_for_it():
    values = {
        "model": {"_target_": "ganlab.models.SNGAN"},
        "data": {"url": "none", "image": {"height": 16, "width": 16, "channels": 3, "classes": 0}},
        "train": {"total_nimg": 64, "checkpoint_blocks": True},
        "run": "none",
    }
    with torch.device("meta"):
        model = build_model(from_dict(values, "test"))
    blocks = [*model.generator.blocks, *model.discriminator.blocks]
    assert len(blocks) == 5 and all("forward" in vars(block) for block in blocks)
    assert not any("forward" in vars(block) for block in model.ema.blocks)


def test_networks_without_blocks_are_refused(tmp_path, dataset):
    message = runs.refused("train", runs.write_config(tmp_path, dataset), "train.checkpoint_blocks=true")
    assert message.startswith("train.checkpoint_blocks: true, but the generator has no blocks")


# --- machine.cuda_graphs


def test_cuda_graphs_need_a_gpu(tmp_path, dataset):
    message = runs.refused("train", runs.write_config(tmp_path, dataset), "machine.cuda_graphs=true")
    assert message.startswith("machine.cuda_graphs: true, but the run is on the CPU; write machine.cuda_graphs=false")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_freed_memory_is_taken_again_without_the_kernel() -> None:
    """16 tensors of 4 MiB come and go: in fresh memory each of their 1,024 pages would be a fault."""

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensors = [torch.ones(2**20) for _ in range(16)]
        del tensors
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    keep_freed_memory()
    found = [faults() for _ in range(8)]
    assert max(found[4:]) < 1024, found  # a round or two until each has its place
