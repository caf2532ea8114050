"""Games that make images of images: published parameter counts, and runs of a user's commands."""

import json
import re
from functools import partial

import numpy as np
import pytest
import tiny_runs as runs
import torch
from PIL import Image
from safetensors.torch import load_file

import ganlab
from ganlab.engine.pool import Pool
from ganlab.engine.runtime import Runtime
from ganlab.experiment.checkpoints import newest
from ganlab.experiment.folder import from_anywhere
from ganlab.experiment.frame import Config, Data, Other, Train
from ganlab.layers.pyramid import collapsed, pyramid
from ganlab.metrics.swd import descriptors, sliced_wasserstein
from ganlab.models import LAPGAN, CycleGAN, Pix2Pix, SuperResolution
from ganlab.networks import lapgan, patch, superresolution, translation, unet
from ganlab.seeding import Noise
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

RGB = {size: ImageSpec(size, size, 3, 10) for size in (8, 16, 32, 64, 96, 128, 256)}


# --- networks


@pytest.mark.parametrize(
    ("network", "cancelled", "published"),
    [
        (partial(translation.Generator, image=RGB[256]), 3 * 64 + 2 * 128 + (2 * 9 + 1) * 256 - 64, 11_378_179),
        (partial(translation.Generator, image=RGB[128], blocks=6), 2 * 64 + 2 * 128 + (2 * 6 + 1) * 256, 7_837_699),
        (partial(patch.Discriminator, channels=3, size=256), 128 + 256 + 512, 2_764_737),
        (partial(patch.Discriminator, channels=6, size=256, affine=True), 0, 2_768_705),
        (partial(unet.Generator, image=RGB[256]), 0, 54_413_955),
        (partial(unet.Generator, image=RGB[128]), 0, 41_828_995),
        (partial(superresolution.SRResNet, image=RGB[96]), 33 * 64, 1_549_462),
        (partial(superresolution.RRDBNet, image=RGB[128]), 0, 16_697_987),
        (partial(superresolution.Discriminator, image=RGB[96]), 64 + 2 * (128 + 256 + 512), 23_565_505),
        (partial(lapgan.Generator, image=RGB[32], width=64, conditional=True), 0, 232_579),
        (partial(lapgan.Discriminator, image=RGB[32], width=64, conditional=True), 0, 129_409),
        (partial(lapgan.FirstGenerator, image=RGB[8], width=8000, latent=100, conditional=True), 0, 66_432_192),
        (partial(lapgan.FirstDiscriminator, image=RGB[8], width=1600, conditional=True), 0, 2_888_001),
    ],
)
def test_networks_have_the_published_number_of_parameters(network, cancelled, published):
    """But for the biases that the next norm subtracts again, which are left out."""
    with torch.device("meta"):
        made = network()
    assert sum(parameter.numel() for parameter in made.parameters()) + cancelled == published


def test_a_patch_discriminator_sees_70_pixels():
    discriminator = patch.Discriminator(channels=1, size=256, width=2).double()
    for layer in discriminator.modules():
        if isinstance(layer, torch.nn.InstanceNorm2d):
            layer.forward = lambda images: images  # it would couple all pixels
    image = torch.rand(1, 1, 128, 128, dtype=torch.float64, requires_grad=True)
    logits = discriminator(image)
    assert logits.shape == (1, 1, 14, 14)
    (gradient,) = torch.autograd.grad(logits[0, 0, 7, 7], image)
    rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
    assert rows[-1] - rows[0] + 1 == 70


def test_a_pyramid_gives_its_image_back():
    image = torch.rand(2, 3, 32, 48, dtype=torch.float64)
    parts = pyramid(image, 8)
    assert [tuple(part.shape[2:]) for part in parts] == [(8, 12), (16, 24), (32, 48)]
    torch.testing.assert_close(collapsed(parts), image, rtol=0, atol=1e-14)
    flat = pyramid(torch.full((1, 1, 16, 16), 0.5), 8)
    assert flat[0].unique().tolist() == [0.5] and flat[1].abs().max() == 0


# --- the pool


def test_a_pool_returns_what_it_stored_and_each_image_once():
    """Of 400 images through a pool of 20: what was exchanged and what is left are all of them, half are old."""
    pool = Pool(20, ImageSpec(1, 1, 1), torch.float64)
    shown = []
    for first in range(0, 400, 4):
        made = torch.arange(first, first + 4, dtype=torch.float64)[:, None, None, None]
        shown.append(pool.exchange(made, "a", Noise(3, first, group=4, dtype=torch.float64)).flatten())
    shown = torch.stack(shown).flatten()
    assert torch.equal(shown[:20], torch.arange(20.0, dtype=torch.float64)) and pool.count == 20
    late = shown[20:]
    old = late != torch.arange(20, 400)
    assert 0.4 < old.double().mean() < 0.6 and (late <= torch.arange(20, 400)).all()
    everything = torch.cat([late, pool.images.flatten()]).sort().values
    assert torch.equal(everything, torch.arange(400, dtype=torch.float64))  # none is lost or doubled
    with pytest.raises(UserError, match=r"train.batch: 24 images for a pool of 20; write a smaller one"):
        pool.exchange(torch.zeros(24, 1, 1, 1), "a", Noise(3, 0, group=4))


# --- refusals


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            partial(CycleGAN, image=ImageSpec(18, 16, 1), runtime=Runtime(other=ImageSpec(18, 16, 1))),
            r"halve an image twice, and 18x16 px cannot be",
        ),
        (
            partial(CycleGAN, image=RGB[16], runtime=Runtime(other=ImageSpec(32, 32, 3))),
            r"data.other: its images, domain b, are 32x32, 3 channels, no labels, but those of data are 16x16",
        ),
        (partial(Pix2Pix, image=ImageSpec(33, 16, 1)), r"data.image: 33 px high is no pair of images.*--with TARGETS"),
        (partial(Pix2Pix, image=ImageSpec(48, 24, 1)), r"halve an image 4 times, and 24x24 px cannot be"),
        (
            lambda: SuperResolution(image=ImageSpec(24, 24, 3), generator=superresolution.RRDBNet(image=RGB[16])),
            r"24x24 px; this discriminator halves images four times",
        ),
        (lambda: superresolution.SRResNet(image=RGB[16], scale=3), r"scale: 3: write 2, 4 or 8"),
        (partial(LAPGAN, image=RGB[32], smallest=7), r"model.smallest: 7: images of 32x32 px are not it doubled"),
    ],
)
def test_shapes_that_cannot_be_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


# --- runs


CYCLE = """
model: {{_target_: ganlab.models.CycleGAN, width: 4, blocks: 1, ema_half_life: 10.0}}
data: {{url: "{a}", other: {{url: "{b}"}}}}
train: {{batch: 4, total_nimg: 16, tick_nimg: 8, sample_every_nimg: 16, checkpoint_every_nimg: 16}}
machine: {{device: cpu, threads: 1, decode_threads: 1}}
logging: {{wandb: disabled}}
"""


@pytest.fixture(scope="module")
def cycle(tmp_path_factory):
    """A finished run of CycleGAN."""
    folder = tmp_path_factory.mktemp("cycle")
    for name in ("a", "b"):
        (folder / name).mkdir()
        runs.pack_noise(folder / name, classes=0, images=20)
    (folder / "config.yaml").write_text(CYCLE.format(a=folder / "a" / "shards", b=folder / "b" / "shards"))
    runs.done(folder / "config.yaml", f"run={folder / 'run'}")
    return folder


@pytest.mark.slow
def test_a_grid_shows_both_domains_and_what_is_made_of_them(cycle):
    """Six rows of ten images: a, to b, back to a; b, to a, back to b."""
    (path,) = (cycle / "run" / "samples").iterdir()
    assert path.name == "nimg-000000000016.png"
    picture = Image.open(path)
    assert picture.height == 6 * 50 + 2 and picture.width > 10 * 50 + 2
    cell = np.asarray(picture.convert("L"))[2:50:3, picture.width - 10 * 50 : picture.width - 9 * 50 - 2 : 3]
    archive = np.load(cycle / "a" / "source.npz")["images"]
    assert any(np.array_equal(cell, image) for image in archive)


def test_a_run_translates_images_as_its_averages_do(cycle, tmp_path):
    model = ganlab.load(cycle / "run")
    images = torch.randint(256, (70, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    floats = images.float() / 127.5 - 1
    with torch.no_grad():
        expected = [network(floats).mul(127.5).add(127.5).round() for network in (model.ema, model.b_to_a_ema)]
    for to, made in zip("ba", expected, strict=True):
        assert (model.translate(images, to=to).float() - made).abs().max() <= 1  # in blocks of 64
    saved = newest(cycle / "run" / "checkpoints")[1]["state_dict"]
    assert model.pool_a.count == 16 and torch.equal(model.pool_a.images, saved["pool_a.images"])

    assert runs.ganlab("export", cycle / "run", "--out", tmp_path / "out").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "config.yaml",
        "generator.safetensors",
    ]
    names = load_file(tmp_path / "out" / "generator.safetensors").keys()
    assert {name.split(".")[0] for name in names} == {"encode", "blocks", "decode", "b_to_a_ema"}
    again = ganlab.load(tmp_path / "out")
    assert all(torch.equal(model.translate(images, to=to), again.translate(images, to=to)) for to in ("a", "b"))
    assert "--from IMAGES" in (tmp_path / "out" / "README.md").read_text()


def test_images_are_made_of_a_folder_of_images_one_by_one_or_side_by_side(cycle, tmp_path):
    (tmp_path / "images").mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (3, 16, 16), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
    words = ("sample", cycle / "run", "--from", tmp_path / "images")
    result = runs.ganlab(*words, "--each", "--other", "--out", tmp_path / "each")
    assert result.exit_code == 0, result.output
    made = np.stack([np.asarray(Image.open(path)) for path in sorted((tmp_path / "each").iterdir())])
    expected = ganlab.load(cycle / "run").translate(torch.from_numpy(pixels)[:, None], to="a")[:, 0]
    assert np.array_equal(made, expected.numpy())
    result = runs.ganlab(*words, "--images", "1,2")
    assert result.exit_code == 0 and "images 1-2, 2 in each row: input, to b, back to a" in result.stderr
    assert Image.open(cycle / "run" / "made-from-images.png").height == 3 * 50 + 2
    (cycle / "run" / "made-from-images.png").unlink()

    Image.fromarray(pixels[0].repeat(2, 0).repeat(2, 1)).save(tmp_path / "images" / "0.png")
    said = runs.refused(*words)
    assert re.match(
        r"--from \S+/images: its images are 32 px in 1 channel, and this CycleGAN takes 16 px in 1 channel; "
        r"bring them there with `ganlab data pack \S+/images DEST --size 16 --channels 1`",
        said,
    )
    said = runs.refused("sample", cycle / "run", "-n", 4)
    assert said == "CycleGAN: makes no images of a seed; it makes some of real images: --from IMAGES\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--other"], "--other: says of which domain the images of --from are; give some, or leave it out\n"),
        (["--from", "x", "--labels", "1"], "--labels: images of --from have classes of their own; leave one of the"),
        (["--from", "x"], "--from: DCGAN makes nothing of images; leave it out\n"),
        (["--from", "x", "--other"], "--from: DCGAN makes nothing of images of data.other; leave it out\n"),
    ],
)
def test_options_of_real_images_for_a_run_that_takes_none(finished, words, message):
    assert runs.refused("sample", finished, *words).startswith(message)


def test_translations_are_compared_with_the_other_domain_and_with_the_way_back(cycle):
    result = runs.ganlab("evaluate", cycle / "run", "--metrics", "swd,reconstruction")
    assert result.exit_code == 0, result.output
    rows = {row["metric"]: row for row in map(json.loads, (cycle / "run" / "results.jsonl").read_text().splitlines())}
    (cycle / "run" / "results.jsonl").unlink()
    images = torch.from_numpy(np.load(cycle / "a" / "source.npz")["images"])[:, None]
    model = ganlab.load(cycle / "run")
    errors = (model.remake(images)["back to a"].double() - images.double()) / 255
    assert rows["l1"]["value"] == pytest.approx(float(errors.abs().mean()), rel=1e-12)
    psnr = -10 * errors.square().flatten(1).mean(1).log10()
    assert rows["psnr"]["value"] == pytest.approx(float(psnr.mean()), rel=1e-12)
    to_b, b = model.translate(images), torch.from_numpy(np.load(cycle / "b" / "source.npz")["images"])[:, None]
    a, other = (descriptors(each, seed=0)[0] for each in (to_b, b))
    ours = sliced_wasserstein(a, other)
    assert rows["swd"]["value"] == pytest.approx(ours, rel=0.3) and rows["swd"]["protocol"]["reals_images"] == 20
    said = runs.refused("train", cycle / "config.yaml", "evaluation.every_nimg=16", f"run={cycle / 'other'}")
    assert said.startswith(
        "evaluation.every_nimg: CycleGAN makes no images of a seed; leave it out; `ganlab evaluate RUN` compares"
    )


def test_both_domains_of_a_run_are_found_from_anywhere(tmp_path):
    for name in ("data/a", "data/b", "runs/x"):
        (tmp_path / name).mkdir(parents=True)
    config = Config(model={}, data=Data("data/a", other=Other("data/b")), train=Train(16), run="runs/x")
    data = from_anywhere(config, tmp_path / "runs" / "x").data
    assert (data.url, data.other.url) == (f"{tmp_path}/data/a", f"{tmp_path}/data/b")
    same = Config(model={}, data=Data("data/a", other=Other("")), train=Train(16), run="runs/x")
    assert from_anywhere(same, tmp_path / "runs" / "x").data.other.url == ""


def test_a_second_domain_that_is_not_there_or_of_another_size(cycle, tmp_path):
    said = runs.refused("train", cycle / "config.yaml", "data.other=null", f"run={tmp_path / 'run'}")
    assert said.startswith("data.other: none, but this model takes domain b from there")
    (tmp_path / "large").mkdir()
    large = runs.pack_noise(tmp_path / "large", classes=0, images=20, size=32)
    said = runs.refused("train", cycle / "config.yaml", f"data.other.url={large}", f"run={tmp_path / 'run'}")
    assert said.startswith("data.other: its images, domain b, are 32x32") and not (tmp_path / "run").exists()


def test_pairs_show_input_and_truth_beside_what_is_made(tmp_path):
    model = Pix2Pix(image=ImageSpec(32, 16, 1), width=4).eval()
    pairs = torch.randint(256, (3, 1, 32, 16), dtype=torch.uint8)
    parts = model.remake(pairs)
    assert list(parts) == ["input", "made", "truth"]
    assert torch.equal(torch.cat([parts["input"], parts["truth"]], 2), pairs)
    alone = model.remake(pairs[:, :, :16])
    assert list(alone) == ["input", "made"] and torch.equal(alone["made"], parts["made"])  # no dropout
    with pytest.raises(UserError, match=r"images: 16x8 px in 1 channel; Pix2Pix takes 32x16 px.* or 16 px"):
        model.remake(pairs[:, :, :16, :8])


def test_large_images_are_made_small_and_small_ones_enlarged():
    generator = superresolution.SRResNet(image=RGB[16], width=4, blocks=1)
    model = SuperResolution(image=RGB[16], generator=generator, discriminator_width=4).eval()
    torch.nn.init.zeros_(model.ema.output.weight)
    large = torch.randint(256, (2, 3, 4, 4), dtype=torch.uint8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    parts = model.remake(large)
    assert list(parts) == ["input", "made", "bicubic", "truth"]
    assert torch.equal(parts["input"], large) and torch.equal(parts["truth"], large)
    assert torch.equal(parts["made"], parts["bicubic"]) and not torch.equal(parts["made"], large)
    assert torch.equal(model.remake(large[:, :, ::4, ::4])["made"], parts["made"])


def test_a_pyramid_of_generators_is_sampled_in_a_chain():
    model = LAPGAN(image=RGB[32], width=4, first_generator_width=8, first_discriminator_width=8, latent=5).eval()
    assert model.latent == 5 + 16**2 + 32**2 and model.classes == 0
    latents = torch.rand(4, model.latent)
    none = torch.full((4,), -1)
    images = model.averaged(latents, none)
    for name in ("generator_16_ema", "generator_32_ema"):
        for parameter in getattr(model, name).parameters():
            torch.nn.init.zeros_(parameter)
    coarse = model.averaged(latents, none)
    first = model.ema(latents[:, :5], none)
    assert torch.allclose(coarse, collapsed([first, torch.zeros(1), torch.zeros(1)])) and images.shape == coarse.shape
    assert not torch.allclose(images, coarse)
