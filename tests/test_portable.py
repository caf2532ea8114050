"""Functions of every family as graphs: onnxruntime and torch.export compute what the model does, at any batch."""

import io
import re
import zipfile
from functools import cache, partial

import exported
import onnxruntime
import pytest
import torch
from papers import PAPERS
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from ganlab.models import DCGAN, ProgressiveGAN, ProjectionGAN
from ganlab.portable.functions import functions_of
from ganlab.portable.graphs import as_onnx, as_pt2, with_half_weights
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread", "one_registry")

PHOTO = ImageSpec(16, 16, 3, 3)
SIMILAR = ("AC-GAN", "CGAN", "WGAN", "literature", "VAE/GAN", "AVB, ", "toy", "PacGAN", "alpha-GAN", "ADA", "denoising")
"""Beginnings of papers whose averaged networks are another one's, or make no images of latents."""
DYNAMICS = ("consensus", "symplectic", "extragradient", "past extragradient", "unrolled")
GAMES = {
    "projection": partial(ProjectionGAN, image=PHOTO, generator_width=8, discriminator_width=4, latent=4),
    "progressive": partial(
        ProgressiveGAN, image=PHOTO, width_base=64, width_max=8, latent=4, conditional=True, train_nimg=9, fade_nimg=9
    ),
} | {
    name: partial(exported.made, paper)
    for name, paper in PAPERS.items()
    if not name.startswith(SIMILAR) and name not in DYNAMICS
}
LEVEL = 2 / 255
"""Of a byte, of images in [-1, 1]."""
STEEP = ("Real NVP", "BigGAN-deep", "Projected GAN")
"""A flow, and networks so deep, that large weights make so steep that float32 alone differs by a level."""
FADING = 9 + 4
"""Images shown in the middle of the progressive game's first fade."""


@pytest.fixture(scope="module")
def one_registry():
    """The exporter compiles its table of operations anew for each graph, which takes longer than a tiny graph."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", classmethod(cache(ONNXRegistry.from_torchlib.__func__)))
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", GAMES)
def test_onnxruntime_computes_what_the_model_does(name):
    model = exported.contrasted(GAMES[name](), gain=0.5 if name in STEEP else 1.5)
    if name == "progressive":
        model.clock.nimg = FADING
    draw = torch.Generator().manual_seed(1)
    for function in functions_of(model):
        if function.name == "other_translator":  # the same network as the first one's
            continue
        session = onnxruntime.InferenceSession(as_onnx(model, function, {"nimg": "7"}))
        assert session.get_modelmeta().custom_metadata_map == {"nimg": "7"}
        for n in (1, 4, 7):
            given = {at: batch(example, n, draw) for at, example in function.inputs.items()}
            (found,) = session.run([function.output], {at: tensor.numpy() for at, tensor in given.items()})
            with torch.no_grad():
                wanted = function.run(*given.values())
            assert found.shape == wanted.shape and len(found) == n
            assert wanted.std() > 0.02, "an image of one grey would prove nothing"
            assert abs(found - wanted.numpy()).max() < LEVEL / 8 * max(1, wanted.abs().max()), (function.name, n)


@pytest.mark.slow
def test_a_file_of_half_the_size_makes_images_a_level_off_at_most():
    model = exported.contrasted(DCGAN(image=PHOTO, width=16, latent=16))
    (function,) = functions_of(model)
    whole = as_onnx(model, function, {"nimg": "7"})
    half = with_half_weights(whole)
    assert len(half) < 0.6 * len(whole)
    latents = torch.randn(64, 16, generator=torch.Generator().manual_seed(1))
    made = [onnxruntime.InferenceSession(data).run(None, {"latents": latents.numpy()})[0] for data in (whole, half)]
    assert made[0].std() > 0.2 and 0 < abs(made[0] - made[1]).max() < LEVEL


def batch(example: torch.Tensor, n: int, draw: torch.Generator) -> torch.Tensor:
    """A batch like an example: numbers in [-1, 1], or classes; of a truncation, one number."""
    if example.shape == (1,):
        return torch.tensor([0.7])
    if not example.is_floating_point():
        return torch.arange(n) % 3
    return torch.rand(n, *example.shape[1:], generator=draw) * 2 - 1


def test_the_functions_of_a_model_are_those_of_its_family():
    found = {name: [each.name for each in functions_of(GAMES[name]())] for name in ("DCGAN", "ALI", "CycleGAN", "DANN")}
    assert found == {
        "DCGAN": ["generator"],
        "ALI": ["generator", "encoder"],
        "CycleGAN": ["translator", "other_translator"],
        "DANN": ["classifier"],
    }
    few = [each.name for each in functions_of(GAMES["adversarial autoencoder, few labels"]())]
    assert few == ["generator", "encoder", "classifier"]


@pytest.mark.slow
def test_a_file_of_torch_export_runs_without_ganlab_and_names_no_place():
    model = exported.made(PAPERS["ALI"])
    generator, encoder = functions_of(model)
    data = as_pt2(model, encoder, {"nimg": "7"})
    extra = {"ganlab.json": ""}
    images = torch.rand(7, *model.image.shape) * 2 - 1
    with torch.no_grad():
        codes = torch.export.load(io.BytesIO(data), extra_files=extra).module()(images)
        assert torch.allclose(codes, model.encode(images), atol=1e-5)
    assert extra["ganlab.json"] == '{"nimg": "7"}'
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    assert not [name for name, held in inside.items() if re.search(rb"/(root|home|work|tmp|usr|opt)/|\.py\b", held)]
    weights = sum(len(held) for name, held in inside.items() if "/weights/weight_" in name)
    averages = sum(4 * p.numel() for network in model.averaged_networks for p in network.state_dict().values())
    assert 0 < weights <= 1.1 * averages, "no network but the averages travels"
    assert not re.search(rb"/(root|home|work|tmp)/|\.py\b", as_onnx(model, generator, {}))


class Own(nn.Module):
    """A network of a person's own that fixes its batch, or draws by a sort that ONNX has not."""

    latent, classes = 4, 0

    def __init__(self, how):
        super().__init__()
        self.layer, self.how = nn.Linear(4, 64), how

    def forward(self, latents, labels):
        if self.how == "len":
            return self.layer(latents).view(len(latents), 1, 8, 8)
        return torch.linalg.eigh(self.layer(latents).view(-1, 1, 8, 8))[1]


@pytest.mark.parametrize(("how", "said"), [("len", "take sizes from x.shape, as len"), ("eigh", "that ONNX has not")])
def test_an_own_network_that_makes_no_graph_is_refused_in_words(how, said):
    model = GAMES["GAN"]()
    model.ema = Own(how)
    (function,) = functions_of(model)
    with pytest.raises(UserError, match=said):
        as_onnx(model, function, {})


def test_a_model_without_a_function_is_refused():
    model = GAMES["DCGAN"]()
    model.ema.latent = 0
    with pytest.raises(UserError, match="--format safetensors"):
        functions_of(model)
