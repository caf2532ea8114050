"""Latents by name, in files, and everything the explorer offers, for every family of games."""

import io
import json

import numpy as np
import pytest
import torch
from papers import PAPERS
from PIL import Image
from tiny_runs import ganlab, refused

from ganlab.evaluation.fields import on_plane, pixel_gradients, scores
from ganlab.evaluation.inversion import invert
from ganlab.experiment.frame import Data
from ganlab.experiment.load import load
from ganlab.latents.codes import of_seed, pixels_of
from ganlab.latents.explorer import Explorer, uploaded
from ganlab.latents.file import code_of, codes_in, document, read
from ganlab.latents.neighbours import small
from ganlab.pictures.judgements import pixel_field
from ganlab.seeding import Noise
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(finished):
    return load(finished)


def file_of(picture, kind="PNG"):
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPERS)
def test_every_family_is_explored(name, monkeypatch):
    monkeypatch.setattr("ganlab.evaluation.fields.SIDE", 3)
    model = PAPERS[name].made().eval()
    if not (model.latent or model.remakes()) or model.image.is_point:
        with pytest.raises(UserError, match=r"^run: (a \w+ makes no images|makes points)"):
            Explorer(model, "run", Data(url=""))
        return
    explorer = Explorer(model, "run", Data(url=""))
    about = explorer.about()
    if about["remakes"]:
        parts = explorer.remade(file_of(Image.new("RGB", (50, 40), "red")))
        assert len(parts) >= 2 and next(iter(parts)) == "input"
    if not model.latent:
        return
    numbers = [0, 70, 3]
    found = of_seed(model, numbers, 5)
    pixels = explorer.pixels(found)
    assert (pixels.int() - model.sample(numbers, 5).int()).abs().max() <= 1
    moved = explorer.moved(found[0], [0.0, 1.0][: about["directions"]])
    assert about["directions"] == 0 or not torch.equal(moved.latents, found[0].latents)
    assert len(explorer.walk(found[0], found[1], 4)) == 4
    again = code_of(json.loads(json.dumps(found[1].as_json())), model, "here")
    assert torch.equal(again.latents, found[1].latents) and again.label == found[1].label
    if about["truncation"]:
        truncated = of_seed(model, numbers, 5, truncation=0.3)
        apart = (explorer.pixels(truncated).int() - model.sample(numbers, 5, truncation=0.3).int()).abs()
        assert apart.max() <= 1 and truncated[0].as_json()["truncation"] == 0.3
    else:
        with pytest.raises(UserError, match=r"^truncation: 0\.3"):
            explorer.pixels(of_seed(model, numbers, 5, truncation=0.3))
    if layers := about["layers"]:
        mixed = [explorer.mixed(found[0], found[1], layer) for layer in (0, 1, layers)]
        images = explorer.pixels([found[1], *mixed, found[0]]).int()
        assert (images[[0, 4]] - images[[1, 3]]).abs().max() <= 1  # all of b, all of a
        assert (images[[0, 4]] - images[2]).abs().flatten(1).max(1).values.min() > 1  # of both
        assert code_of(json.loads(json.dumps(mixed[1].as_json())), model, "here").latents.shape == (
            layers,
            model.latent,
        )
        assert explorer.walk(found[0], mixed[1], 3)[1].latents.ndim == 2
    if explorer.judges:
        drawn = explorer.judged(found[0])
        assert drawn["what D would change"].shape[1:] == pixels.shape[2:]


def test_the_files_that_travel(model, tmp_path):
    chosen = of_seed(model, [1, 2], 3, ["2", "0"])
    (tmp_path / "latents.json").write_text(json.dumps(document(chosen, model, "a run")))
    found, remark = read(tmp_path / "latents.json", model)
    assert remark is None and [(code.seed, code.image, code.label) for code in found] == [(3, 1, 0), (3, 2, 2)]
    assert torch.equal(pixels_of(found, model), pixels_of(chosen, model))
    text = json.loads((tmp_path / "latents.json").read_text())
    assert text["run"] == "a run" and text["nimg"] == 480
    by_hand = {"format": 1, "images": [{"seed": 3, "image": 1, "label": "0"}]}
    (code,) = codes_in(by_hand, model, "by hand")
    assert torch.equal(code.latents, chosen[0].latents) and code.label == 0
    (tmp_path / "other.json").write_text(json.dumps({**text, "weights": "others"}))
    assert read(tmp_path / "other.json", model)[1].endswith("their images may be others here")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON: Expecting value"),
        ("[" * 100_000, "no JSON"),
        ("[]", 'no latents.json: its "format" must be 1'),
        ('{"format": 1, "images": []}', '"images" must be a list of 1 to 10,000 images'),
        ('{"format": 1, "images": [{"seed": 0, "image": 1}, {"seed": 0}]}', "images[1]: seed alone"),
        ('{"format": 1, "images": [{"latents": [1, 2], "label": 0}]}', "latents: 2 numbers, and this generator's"),
    ],
)
def test_files_that_are_none_are_told(finished, tmp_path, text, said):
    (tmp_path / "latents.json").write_text(text)
    told = refused("sample", finished, "--latents", tmp_path / "latents.json")
    assert told.startswith(f"{tmp_path / 'latents.json'}: ") and said in told
    both = refused("sample", finished, "--latents", tmp_path / "latents.json", "--labels", "1")
    assert both.startswith("--latents: says itself which images")


def test_a_search_ends_in_time():
    model = PAPERS["toy BiGAN"].made()
    images = model.averaged(*model.draw_latents(2, Noise(0, 0, dtype=torch.float64), "sample")).detach()
    made = list[int]()
    found, _ = invert(model, images, torch.full((2,), -1), steps=10**9, seconds=0.2, after_step=made.append)
    assert found.shape == (2, model.latent) and 0 < sum(made) < 10**5


def test_fields_are_ds_derivatives():
    model = PAPERS["DCGAN"].made().eval()
    latents, labels = model.draw_latents(4, Noise(0, 0, dtype=torch.float64), "sample")
    with torch.no_grad():
        images = model.averaged(latents, labels)
    company, image, label = images[1:4], images[:1], labels[:1]
    gradient = pixel_gradients(model, image, label, company)
    step = torch.zeros_like(image)
    step[0, 0, 5, 7] = 1e-6
    with torch.no_grad():
        up, down = (scores(model, image + way * step, label, company) for way in (1, -1))
    assert gradient[0, 0, 5, 7].item() == pytest.approx((up - down).item() / 2e-6, rel=1e-4)
    way = torch.zeros(2, model.latent, dtype=torch.float64)
    way[0, 0] = way[1, 1] = 1

    def make(places):
        return model.averaged(latents[:1] + places.double() @ way, label.expand(len(places)))

    plane = on_plane(model, make, int(label), company, 2.0)
    with torch.no_grad():
        corner = scores(model, make(torch.tensor([[2.0, -2.0]])), label, company)
    assert plane.shape == (17, 17) and plane[0, -1] == pytest.approx(corner.item(), abs=0.1)
    coloured = pixel_field(np.array([[[[2.0, -2.0, 0.0]]]]))[0, 0]
    assert coloured.tolist() == [[178, 24, 43], [33, 102, 172], [255, 255, 255]]


def test_pictures_are_brought_to_the_size_of_a_model(tmp_path):
    large, low = ImageSpec(8, 8, 3), ImageSpec(4, 4, 3)
    picture = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    assert torch.equal(uploaded(file_of(picture), large, low).permute(1, 2, 0), torch.from_numpy(np.array(picture)))
    assert uploaded(file_of(picture.resize((30, 20)), "WEBP"), large, low).shape == (3, 4, 4)
    assert uploaded(file_of(picture.convert("L"), "JPEG"), low).shape == (3, 4, 4)
    with pytest.raises(UserError, match=r"^the picture: no PNG, JPEG or WebP$"):
        uploaded(file_of(picture, "BMP"), low)


def test_large_images_are_compared_when_they_are_small():
    images = torch.randint(256, (2, 3, 128, 64), dtype=torch.uint8)
    vectors = small(images)
    assert vectors.shape == (2, 3 * 32 * 32)
    assert vectors[0, 0].item() == pytest.approx(images[0, 0, :4, :2].double().mean().item() / 255)


def test_what_cannot_be_explored_is_told(finished, tmp_path):
    assert "holds no checkpoint; give the folder of a run" in refused("explore", tmp_path, "--port", 0)
    said = ganlab("explore", finished, "--port", 99999)
    assert said.exit_code == 2 and "65535" in said.stderr
