"""What `ganlab export` writes in each of its forms, what it tells a stranger, and what it tells nobody."""

import getpass
import io
import json
import re
import shutil
import socket
import zipfile
from functools import partial

import onnxruntime
import pytest
import tiny_runs as runs
import torch
import yaml
from browser import NPM
from huggingface_hub import ModelCard
from papers import PAPERS
from repository import REPOSITORY
from safetensors.torch import load_file

import ganlab
from ganlab.experiment.frame import Config, Data, Train
from ganlab.models import DiracGAN
from ganlab.portable import graphs, page
from ganlab.portable.functions import functions_of
from ganlab.portable.parcel import kept
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.slow

ROW = {
    "format": 1,
    "name": "fid16_shards-full240_inception",
    "metric": "fid",
    "value": 12.5,
    "standard_error": 0.25,
    "floor": 3.0,
    "nimg": 480,
    "protocol": {"reals": "shards"},
}
"""A result, as `ganlab evaluate` writes it."""
POINT = ImageSpec(1, 1, 1)
FILES = {
    "safetensors": {"generator.safetensors", "config.yaml"},
    "hub": {"model.safetensors", "config.yaml", "config.json"},
    "onnx": {"generator.onnx"},
    "pt2": {"generator.pt2"},
    "page": {"index.html", "generator.onnx"},
}


@pytest.fixture(scope="module")
def run(finished, tmp_path_factory):
    """A copy of a run, with a result of its newest weights, one that was measured again, and one of older weights."""
    run = tmp_path_factory.mktemp("exported") / "private-run"
    shutil.copytree(finished, run)
    rows = [ROW | {"value": 99.0}, ROW, ROW | {"nimg": 144, "name": "fid-of-older-weights"}]
    (run / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


@pytest.fixture(scope="module")
def folders(run):
    """The folders of all forms, and what was said."""
    found = {}
    for form in FILES:
        said = runs.ganlab("export", run, "--out", run.parent / form, "--format", form, "--license", "cc-by-4.0")
        assert said.exit_code == 0, said.output
        found[form] = run.parent / form, said
    return found


@pytest.mark.parametrize("form", FILES)
def test_a_folder_holds_what_its_form_needs(folders, form):
    folder, said = folders[form]
    assert {path.name for path in folder.iterdir()} == FILES[form] | {"README.md", "samples.png"}
    assert said.stdout == f"{folder}\n"
    readme = (folder / "README.md").read_text()
    assert "DCGAN after 480 training images" in readme and "Licence: cc-by-4.0." in readme
    assert "| fid16_shards-full240_inception | 12.5 | ± 0.25 | 3 |" in readme
    assert "| 99 |" not in readme and "fid-of-older-weights" not in readme
    assert "Classes: 0 to 2" in readme


def test_what_to_do_next_is_said(folders):
    hub, page = (folders[form][0] for form in ("hub", "page"))
    assert folders["hub"][1].stderr == f"to publish it: hf upload USER/hub {hub}\n"
    assert folders["page"][1].stderr == (
        f"to look at it: python -m http.server --directory {page}\n"
        f"to publish it: hf upload USER/page {page} --repo-type space\n"
    )
    assert folders["onnx"][1].stderr == ""


def test_nothing_private_is_in_any_file(folders, run, dataset):
    private = [str(run), str(dataset.parent), str(REPOSITORY), "private-run", "/tmp/", "/root/", "/home/"]
    private += [getpass.getuser() + "@", socket.gethostname(), "betas", "regularizers", "total_nimg", "wandb", ".py"]
    found = []
    for form, (folder, _) in folders.items():
        for path in folder.iterdir():
            data = path.read_bytes()
            if path.suffix == ".pt2":
                with zipfile.ZipFile(io.BytesIO(data)) as archive:
                    data = b"".join(name.encode() + archive.read(name) for name in archive.namelist())
            data = re.sub(rb"[A-Za-z0-9+/=]{200,}", b"", data)  # base64, in which any short word may occur
            found += [(form, path.name, word) for word in private if word.encode() in data]
    assert found == []


def test_the_hubs_folder_is_a_model_card_that_ganlab_loads(folders, run):
    folder, _ = folders["hub"]
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "cc-by-4.0" and card.data.library_name == "ganlab"
    assert card.data.pipeline_tag == "unconditional-image-generation"
    (result,) = card.data.eval_results
    assert (result.metric_name, result.metric_value) == (ROW["name"], 12.5)
    assert (result.metric_type, result.dataset_name) == ("fid", "shards")
    facts = json.loads((folder / "config.json").read_text())
    assert facts["library_name"] == "ganlab" and facts["nimg"] == 480 and facts["image"]["classes"] == 3
    wanted = ganlab.load(run).sample(70, seed=3)
    assert torch.equal(ganlab.load(folder).sample(70, seed=3), wanted)
    assert torch.equal(ganlab.load(folders["safetensors"][0]).sample(70, seed=3), wanted)
    weights = load_file(folder / "model.safetensors")
    assert weights.keys() == ganlab.load(run).ema.state_dict().keys()
    assert "give them with --data" in runs.refused("evaluate", folder, "-n", 16)  # it is known as an exported one


def test_a_static_space_is_told_so(folders):
    _, front, _ = (folders["page"][0] / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front) == {"title": "page", "sdk": "static", "license": "cc-by-4.0"}


def test_the_graphs_make_the_bytes_of_the_run(folders, run):
    model = ganlab.load(run)
    latents, labels, _ = page.seeds_of(model)
    wanted = torch.cat([model.sample(1, seed=seed) for seed in range(page.SEEDS)])
    session = onnxruntime.InferenceSession(folders["onnx"][0] / "generator.onnx")
    (images,) = session.run(None, {"latents": latents.numpy(), "labels": labels.numpy()})
    levels = torch.from_numpy(images).mul(127.5).add(127.5).clamp(0, 255).round().int()
    assert (levels - wanted.int()).abs().max() <= 1
    again = torch.export.load(folders["pt2"][0] / "generator.pt2").module()(latents, labels)
    assert torch.allclose(again, torch.from_numpy(images), atol=1e-5)
    about = session.get_modelmeta().custom_metadata_map
    assert about["nimg"] == "480" and about["license"] == "cc-by-4.0" and about["model"] == "DCGAN"


@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_the_code_in_a_readme_of_graphs_runs(folders, form, monkeypatch):
    monkeypatch.chdir(folders[form][0])
    (code,) = re.findall(r"^```python\n(.*?)^```$", (folders[form][0] / "README.md").read_text(), re.M | re.S)
    found = {}
    exec(code, found)
    assert tuple(found["images"].shape) == (4, 1, 16, 16)


def test_an_authors_readme_is_kept(folders, run):
    folder, _ = folders["safetensors"]
    (folder / "README.md").write_text("mine")
    assert runs.ganlab("export", run, "--out", folder).exit_code == 0
    assert (folder / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "hub"], "--license: say under which licence others may use the model: --format hub --license "),
        (["--format", "page"], "--license: say under which licence"),
        (["--format", "hub", "--license", "MIT License"], "--license: 'MIT License': write an identifier in lower"),
        (["--runtime", "somewhere"], "--runtime: a page holds it, and --format is safetensors; leave it out"),
        (["--format", "page", "--license", "mit", "--runtime", "/none"], "--runtime /none: has no ort.wasm.bundle"),
    ],
)
def test_what_is_refused(run, tmp_path, words, message):
    assert message in runs.refused("export", run, "--out", tmp_path / "e", *words)
    assert not (tmp_path / "e").exists()


def test_an_export_into_a_run_or_of_an_export_is_refused(folders, run, tmp_path):
    before = (run / "config.yaml").read_bytes()
    assert f"{run}: holds another config.yaml" in runs.refused("export", run, "--out", run)
    file = tmp_path / "g.onnx"
    said = f"{file}: an export is a folder; write --out {tmp_path / 'g'} --format onnx"
    assert said in runs.refused("export", run, "--out", file)
    assert (run / "config.yaml").read_bytes() == before
    said = runs.refused("export", folders["safetensors"][0], "--out", tmp_path / "e")
    assert "an exported folder, which has no checkpoints; give the run" in said


def test_a_missing_extra_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setattr(graphs, "NEEDED", ("onnx", "no_such_package"))
    said = runs.refused("export", run, "--out", tmp_path / "e", "--format", "onnx")
    assert said == "--format onnx: needs no_such_package, not installed here: pip install 'ganlab[onnx]'\n"


@pytest.mark.parametrize(
    ("make", "made"),
    [(partial(PAPERS["DANN"].made, precision="fp32"), "no images"), (partial(DiracGAN, image=POINT), "points")],
)
def test_a_page_needs_images(make, made):
    model = make()
    with pytest.raises(UserError, match=f"makes {made}; --format onnx has its functions"):
        page.check(model, functions_of(model))


def test_a_config_that_travels_names_no_file_of_training():
    features = {"_target_": "ganlab.networks.pretrained.EfficientNetLite0", "weights": "/home/me/secret.pth"}
    model = {"_target_": "ganlab.models.ProjectedGAN", "width": 64, "lr": 1e-3, "features": features}
    config = Config(run="", model=model, data=Data(url="/home/me", image=POINT), train=Train(total_nimg=1))
    assert kept(config)["model"] == {"_target_": "ganlab.models.ProjectedGAN", "width": 64}


@pytest.mark.skipif(not (NPM / "onnxruntime-web").exists(), reason="no onnxruntime-web: `.ci/run` installs it")
def test_the_hashes_of_the_runtime_are_those_of_its_files():
    assert json.loads((NPM / "onnxruntime-web" / "package.json").read_text())["version"] == page.PACKAGE.split("@")[1]
    files = page.runtime_in(NPM / "onnxruntime-web")
    assert {name: page.integrity_of(data) for name, data in files.items()} == page.RUNTIME
