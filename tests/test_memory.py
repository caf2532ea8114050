"""What `ganlab show` tells of operations and memory: by closed forms, and against the peak of a real process."""

import ctypes
import re
from functools import partial
from pathlib import Path

import pytest
import tiny_runs as runs
import torch
from repository import REPOSITORY
from torch import nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.utils.flop_counter import FlopCounterMode

from ganlab.commands.show import run_dry
from ganlab.engine.averages import Decay
from ganlab.engine.game import Game
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.experiment.memory import Memory, memory_of
from ganlab.experiment.work import ChannelsAsImages, examples, without_numbers
from ganlab.models import R3GAN
from ganlab.types import ImageSpec

pytestmark = pytest.mark.usefixtures("one_thread")


def told(model):
    with without_numbers(model) as model:
        return memory_of(model, model.phases[-1])


class Lines(Game):
    """One player with one matrix [24, 32]: its loss is the mean of squares of what it makes of the 32 pixels."""

    def __init__(self):
        image = ImageSpec(4, 8, 1)
        network = nn.Linear(32, 24, bias=False)
        players = {"line": Player("line", optimizer=partial(Adam, lr=0.1))}
        runtime = Runtime(group=2)
        super().__init__(
            image=image, networks={"line": network}, players=players, averages={"line": Decay(0.9)}, runtime=runtime
        )

    def draw(self, player, n, noise, labels):
        return {}

    def line_loss(self, batch):
        return {"loss": self.line(batch.real.flatten(1)).square().mean(1)}


def test_a_players_memory_by_hand():
    memory, weights = told(Lines()), 4 * 24 * 32
    assert memory.held == pytest.approx(5 * weights, abs=64)  # weight, average, two moments, gradient; Adam's counter
    real, hidden = 4 * 32 + 8, 4 * 24  # and the label
    # Highest in the backward pass of the square: its input x, the mean's gradient, x^1, 2 x^1, and their product.
    assert real + 5 * hidden <= memory.image <= real + 5 * hidden + 8
    assert memory.peak(1000) - memory.peak(500) == pytest.approx(500 * memory.image)


@pytest.mark.parametrize(
    "weight", [torch.rand(1, 1, 3, 3).expand(6, 1, 3, 3), torch.rand(4, 3, 3, 3), torch.rand(12, 1, 3, 3)]
)
@pytest.mark.parametrize("bias", [False, True])
def test_a_dry_run_takes_only_filters_of_single_channels_for_images(weight, bias):
    images = torch.rand(2, 6, 5, 7)
    words = {"groups": 6 // weight.shape[1], "stride": 2} | ({"bias": torch.rand(len(weight))} if bias else {})
    with ChannelsAsImages():
        found = F.conv2d(images, weight, **words)
    torch.testing.assert_close(found, F.conv2d(images, weight, **words))


def test_what_fits_is_the_most_that_does():
    memory = Memory(100, ((100, 10.0), (400, 1.0)))
    assert (memory.peak(1), memory.peak(100), memory.image) == (401, 1100, 10)
    for limit in (400.0, 401.0, 430.0, 1100.0, 5000.0):
        n = memory.fits(limit)
        assert memory.peak(n) <= limit < memory.peak(n + 1)
    assert memory.fits(399.0) == 0


def resident(name):
    return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="Linux alone tells the peak of a part of a process"
)
@pytest.mark.alone
def test_the_peak_is_the_one_that_linux_measures():
    image = ImageSpec(32, 32, 1, 10)

    def made():
        runtime = Runtime(other=image)
        return R3GAN(image=image, width=64, widest=4, conditional=True, augment=None, runtime=runtime)

    memory, libc = told(made()), ctypes.CDLL(None)
    for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD: freed blocks go back
        libc.mallopt(option, 128 * 1024)
    peaks = []
    for n in (4, 64):  # the first with what the process takes once
        libc.malloc_trim(0)
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        model = made()
        model.configure_optimizers()
        model.training_step(examples(model, model.phases[0], n, torch.device("cpu")), 0)
        peaks.append(resident("VmHWM") - before)
        del model
    assert peaks[1] > 1e8 and memory.peak(64) == pytest.approx(peaks[1], rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("80e9", r"fits +[\d,]+ images at a time in 80\.0 GB$"),
        ("150e6", r"write train\.micro_batch=\d+"),
        ("1e6", "not even"),
    ],
)
def test_show_tells_operations_memory_and_what_fits(limit, words, tmp_path):
    config = REPOSITORY / "configs/cifar10/dcgan.yaml"
    result = runs.ganlab("show", config, f"data.url={tmp_path / 'none'}", "--memory", limit)
    assert result.exit_code == 0, result.output
    forward = {name: float(number) for number, name in re.findall(r"([\d.]+) MFLOP (\w+)", result.output)}
    kernels = {  # 16 multiply-adds for each pixel of the smaller map: inputs, outputs, its side
        "generator": [(100, 512, 1), (512, 256, 4), (256, 128, 8), (128, 3, 16)],
        "discriminator": [(3, 128, 16), (128, 256, 8), (256, 512, 4), (512, 1, 1)],
    }
    for name, layers in kernels.items():
        assert forward[name] == pytest.approx(sum(2 * 16 * a * b * side**2 for a, b, side in layers) / 1e6, abs=0.06)
    assert re.search(r"memory +[\d.]+ MB held, and [\d.]+ kB for each image at a time", result.output)
    assert re.search(words, result.output, re.MULTILINE)


def test_the_operations_of_a_generator_that_steps_run_in_parts_are_told():
    config = load(REPOSITORY / "configs/signs/stylegan2.yaml")
    notes, _ = run_dry(build_model(config))
    model = build_model(config)
    with FlopCounterMode(display=False) as counted:
        model.generator(torch.zeros(1, model.latent), torch.zeros(1, dtype=torch.int64))
    assert notes["generator"].operations == counted.get_total_flops() > 1e7
