"""What `ganlab evaluate` draws of spectra and of the discriminator, and the values beside them."""

import json

import numpy as np
import pytest
import tiny_runs as runs
import torch
from PIL import Image

import ganlab
from ganlab.metrics.power import radial_power, spectral_distance
from ganlab.pages.run import Run


@pytest.fixture(scope="module")
def drawn(finished):
    """The finished run, with its rows by metric."""
    result = runs.ganlab("evaluate", finished, "--metrics", "spectrum,field", "-n", 128)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (finished / "results.jsonl").read_text().splitlines()]
    yield finished, {row["metric"]: row for row in rows}
    for name in ("results.jsonl", "spectrum.png", "field.png"):
        (finished / name).unlink()


def test_the_spectrum_is_that_of_the_samples_against_the_reals(drawn, dataset):
    run, rows = drawn
    model = ganlab.load(run)
    fakes = torch.cat([model.synthesize(start, 0, "evaluation")[0] for start in (0, 64)])
    fakes = fakes.mul(127.5).add(127.5).clamp(0, 255).round() / 255
    reals = torch.from_numpy(np.load(dataset.parent / "source.npz")["images"] / 255.0)[:, None]  # in another order
    expected = spectral_distance(radial_power(fakes)[1], radial_power(reals)[1])
    assert rows["spectrum"]["value"] == pytest.approx(expected, rel=1e-4)
    assert 0 < rows["spectrum"]["floor"] < rows["spectrum"]["value"]
    assert rows["spectrum"]["name"] == "spectrum128_shards-full240_ema_bn-live"


def test_the_field_is_the_gradient_of_the_discriminator_on_the_pixels(drawn):
    run, rows = drawn
    model = ganlab.load(run)
    images, labels = model.synthesize(0, 0, "sample")
    images.requires_grad_()
    batch = torch.stack([torch.stack([image, *images[-3:].detach()]) for image in images]).flatten(0, 1)
    model.discriminator(batch, labels.repeat_interleave(4))[::4].sum().backward()  # its batch norm couples all of them
    norms = images.grad.flatten(1).norm(dim=1)
    assert rows["field"]["value"] == pytest.approx(norms.mean().item(), rel=1e-4)
    assert rows["field"]["standard_error"] == pytest.approx(norms.std().item() / 8, rel=1e-3)


@pytest.mark.slow
def test_both_are_drawn_and_stand_in_the_report(drawn, tmp_path):
    run, _ = drawn
    with Image.open(run / "field.png") as picture:
        assert picture.size == (512, 2 * 50 + 2 + 512)
    with Image.open(run / "spectrum.png") as picture:
        levels = picture.convert("L").histogram()
        assert picture.mode == "RGB" and picture.width > 500
        assert sum(levels[:60]) < 0.03 * sum(levels)  # the grid behind the curves is light
    assert {"nimg", "field", "spectrum"} <= Run(run).pictures.keys()
    runs.ganlab("report", run, "--out", tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    assert "Where the discriminator would push samples" in text and "Power spectrum of fakes against reals" in text


def test_what_has_no_discriminator_has_no_field(drawn, dataset, tmp_path):
    run, _ = drawn
    said = runs.refused("evaluate", dataset, dataset, "--metrics", "field")
    assert said == "field: needs a run, and one process; leave it out of the metrics\n"
    runs.ganlab("export", run, "--out", tmp_path / "out")
    said = runs.refused("evaluate", tmp_path / "out", dataset, "--metrics", "field", "-n", 64)
    assert "is an exported generator, which has no discriminator" in said
