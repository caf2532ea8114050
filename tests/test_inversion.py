"""`ganlab invert`: latents are found again, by an encoder or from nothing."""

import pytest
import torch
from papers import PAPERS
from PIL import Image
from safetensors.torch import load_file
from tiny_runs import ganlab

from ganlab.evaluation.inversion import distance, invert, ramp
from ganlab.metrics.reconstruction import psnr

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_generators_own_images_are_found_again():
    model = PAPERS["toy BiGAN"].made()
    latents = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    images = model.averaged(latents, torch.full((3,), -1)).detach()
    steps = []
    found, classes = invert(model, images, torch.full((3,), -1), after_step=steps.append)
    assert sum(steps) == 300 and classes.tolist() == [-1, -1, -1]
    assert psnr(model.averaged(found, classes), images) > 40
    few, _ = invert(model, images, classes, steps=1, starts=1)  # of the encoder's code
    assert (few - model.encode(images)).abs().max() < 0.1


def test_the_distance_is_that_of_the_images_and_of_their_halves():
    a, b = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    b[0, 0, 0, 0] = 1.0
    assert distance(a, b).item() == pytest.approx(3 / 16)  # at 4, 2 and 1 px, a mean of as much
    b[0, 0, 0, 1] = -1.0
    assert distance(a, b).item() == pytest.approx(2 / 16)  # they cancel at half the size
    assert [ramp(share) for share in (0.5, 0.75, 0.875)] == pytest.approx([1, 1, 0.5]) and ramp(0.0) == 0.05


def test_the_command_writes_pictures_and_latents(finished, tmp_path):
    assert ganlab("sample", finished, "-n", 3, "--each", "--out", tmp_path / "own").exit_code == 0
    said = ganlab("invert", finished, tmp_path / "own", "--out", tmp_path / "out", "--steps", 20, "--images", "0,2,9")
    assert said.exit_code == 0 and "2 images, median PSNR" in said.stderr, said.output
    saved = load_file(tmp_path / "out" / "latents.safetensors")
    assert len(saved["latents"]) == len(saved["classes"]) == 2
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["000000.png", "000002.png", "inverted.png", "latents.safetensors"]
    (tmp_path / "file").write_text("")
    said = ganlab("invert", finished, tmp_path / "own", "--out", tmp_path / "file")
    assert said.exit_code == 2 and "file: cannot write there" in said.stderr and "inverting" not in said.output
    Image.new("RGB", (10, 10)).save(tmp_path / "own" / "000000.png")
    said = ganlab("invert", finished, tmp_path / "own", "--out", tmp_path / "out")
    assert said.exit_code == 2 and "10 px in 3 channels" in said.stderr and "ganlab data pack" in said.stderr
