"""Exported pages in a real browser: the bytes of `ganlab sample`, no request but their own, for everybody to use."""

import base64
import functools
import http.server
import io
import threading
from contextlib import closing, contextmanager

import exported
import numpy as np
import pytest
import torch
from browser import NPM, SIZES, Visit, visit
from jobs import wait_for
from papers import PAPERS
from PIL import Image

from ganlab.commands import export
from ganlab.models import DCGAN
from ganlab.pictures.grids import to_uint8
from ganlab.portable import page
from ganlab.portable.functions import functions_of
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (NPM / "onnxruntime-web").exists(), reason="no onnxruntime-web: `.ci/run` installs it"),
    pytest.mark.usefixtures("one_thread"),
]

READY = "body[data-ready]"
WAIT = 60_000
"""Milliseconds that a page may take to be ready on a busy machine."""
PIXELS = """ids => (ids ? ids.map(id => document.getElementById(id)) : [...document.querySelectorAll("#grid canvas")])
    .map(canvas => [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data])"""


def written(model, folder, runtime=True):
    """Write the page of a model; return its folder."""
    parcel = exported.parcel(model, 'mine <b>&"')
    files = export.as_page(parcel, NPM / "onnxruntime-web" if runtime else None)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def model():
    """A generator of small grey images of three classes."""
    seed_everything(4)
    image = ImageSpec(16, 16, 1, 3, exported.NAMES)
    return exported.contrasted(DCGAN(image=image, width=4, latent=6, conditional=True))


@pytest.fixture(scope="module")
def sampler(model, tmp_path_factory):
    return written(model, tmp_path_factory.mktemp("pages") / "sampler")


def pixels(page, ids=None):
    """Bytes of canvases [n, h * w, rgba]."""
    found = np.array(page.evaluate(PIXELS, ids))
    return found.reshape(len(found), -1, 4)


def shown(page, act):
    """Do something that draws all images anew, and wait for them."""
    before = int(page.get_attribute("body", "data-turn"))
    act()
    page.wait_for_selector(f'body[data-turn="{before + 1}"]', timeout=WAIT)


def far(found, images):
    """The largest difference in levels between canvases and uint8 images [n, 1, h, w]."""
    assert (found[..., 3] == 255).all() and (found[..., 0] == found[..., 1]).all()
    return np.abs(found[..., 0] - images.flatten(1).int().numpy()).max()


def test_the_page_makes_the_images_of_ganlab_sample(chromium, sampler, model):
    wanted = torch.cat([model.sample(1, seed=seed) for seed in range(page.SEEDS)])
    assert wanted.float().std() > 20
    hawks = torch.cat([model.sample(1, seed=seed, labels=[exported.NAMES[1]]) for seed in range(16)])
    with visit(chromium, sampler / "index.html") as seen:
        seen.page.wait_for_selector(READY, timeout=WAIT)
        assert far(pixels(seen.page), wanted[:16]) <= 1
        for first in (16, 32, 48):
            shown(seen.page, lambda first=first: seen.page.select_option("#seeds", str(first)))
            assert far(pixels(seen.page), wanted[first : first + 16]) <= 1
        shown(seen.page, lambda: seen.page.select_option("#seeds", "0"))
        shown(seen.page, lambda: seen.page.select_option("#class", label=exported.NAMES[1]))
        assert far(pixels(seen.page), hawks) <= 1 < far(pixels(seen.page), wanted[:16])
        shown(seen.page, lambda: seen.page.click("#new"))
        assert len({image.tobytes() for image in pixels(seen.page)}) == 16
        seen.check("page-used")
        assert len(seen.requests) == 2 and seen.requests[1].startswith("blob:")  # the page, and the runtime in it
        assert seen.page.inner_text("h1") == 'mine <b>&"'


def test_truncation_is_that_of_ganlab_sample(chromium, sampler, model):
    wanted = torch.cat([model.sample(1, seed=seed, truncation=0.6) for seed in range(16)])
    with visit(chromium, sampler / "index.html") as seen:
        seen.page.wait_for_selector(READY, timeout=WAIT)
        shown(seen.page, lambda: seen.page.fill("#truncation", "0.6"))
        assert seen.page.inner_text("#strength") == "0.60"
        assert far(pixels(seen.page), wanted) <= 1


def test_a_network_that_truncates_by_itself_gets_the_number(chromium, tmp_path):
    model = exported.made(PAPERS["StyleGAN2"])
    model.ema.w_mean.normal_(generator=torch.Generator().manual_seed(6))
    plain, truncated = (
        torch.cat([model.sample(1, seed=seed, truncation=share) for seed in range(16)]) for share in (None, 0.5)
    )
    assert (plain.int() - truncated.int()).abs().max() > 20
    with visit(chromium, written(model, tmp_path / "site") / "index.html") as seen:
        seen.page.wait_for_selector(READY, timeout=WAIT)
        assert far(pixels(seen.page), plain) <= 1
        shown(seen.page, lambda: seen.page.fill("#truncation", "0.5"))
        assert far(pixels(seen.page), truncated) <= 1


def test_a_walk_leads_from_one_seed_to_the_other(chromium, sampler, model):
    ends = torch.cat([model.sample(1, seed=seed, labels=[0]) for seed in (3, 9)])
    with visit(chromium, sampler / "index.html") as seen:
        seen.page.wait_for_selector(READY, timeout=WAIT)
        shown(seen.page, lambda: seen.page.select_option("#class", "0"))
        seen.page.fill("#from", "3")
        seen.page.fill("#to", "9")
        for key, end in zip(("Home", "End"), ends, strict=True):  # by keyboard
            seen.page.focus("#place")
            seen.page.keyboard.press(key)
            wait_for(f"{key}'s image", lambda end=end: far(pixels(seen.page, ["walk"]), end[None]) <= 1)
        seen.page.click("#play")
        seen.page.wait_for_timeout(500)
        assert seen.page.get_attribute("#play", "aria-pressed") == "true"
        seen.page.click("#play")
        assert seen.page.get_attribute("#play", "aria-pressed") == "false"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: str(size[0]))
def test_the_page_is_sound(chromium, sampler, size, dark):
    with visit(chromium, sampler / "index.html", size=size, dark=dark) as seen:
        seen.page.wait_for_selector(READY, timeout=WAIT)
        seen.check(f"page-{size[0]}-{'dark' if dark else 'light'}")


def test_without_javascript_the_page_says_so(chromium, sampler):
    with visit(chromium, sampler / "index.html", javascript=False) as seen:
        assert "It needs JavaScript." in seen.page.inner_text("main")


@contextmanager
def web(folder):
    """A web server of static files, as a Space is."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()


@pytest.mark.parametrize("tampered", [False, True], ids=["as published", "tampered with"])
def test_the_runtime_of_the_cdn_runs_only_with_its_hash(chromium, model, tmp_path, tampered):
    folder = written(model, tmp_path / "site", runtime=False)
    assert {path.name for path in folder.iterdir()} == {"index.html", "README.md", "generator.onnx"}
    asked = []

    def answer(route):
        asked.append(route.request.url)
        data = (NPM / "onnxruntime-web" / "dist" / route.request.url.removeprefix(page.CDN)).read_bytes()
        route.fulfill(body=data + b" " * tampered, headers={"Access-Control-Allow-Origin": "*"})

    with web(folder) as url, closing(chromium.new_context()) as context:
        context.route(f"{page.CDN}*", answer)
        seen = Visit(context.new_page())
        seen.page.goto(url)
        if tampered:
            seen.page.get_by_text("could not be loaded").wait_for(timeout=WAIT)
            assert not seen.page.query_selector(READY)
            return
        seen.page.wait_for_selector(READY, timeout=WAIT)
        assert asked == [page.CDN + name for name in page.RUNTIME] and seen.errors == []
        assert far(pixels(seen.page), torch.cat([model.sample(1, seed=seed) for seed in range(16)])) <= 1


def test_a_page_of_files_apart_says_that_it_needs_a_server(chromium, model, tmp_path):
    folder = written(model, tmp_path / "site", runtime=False)
    with closing(chromium.new_context()) as context:
        seen = context.new_page()
        seen.goto((folder / "index.html").as_uri())
        seen.get_by_text("python -m http.server").wait_for(timeout=WAIT)


def test_a_translators_page_takes_a_picture(chromium, tmp_path):
    model = exported.made(PAPERS["CycleGAN"])
    assert [each.name for each in page.check(model, functions_of(model))] == ["translator", "other_translator"]
    folder = written(model, tmp_path / "site")
    draw = np.random.default_rng(2).integers(0, 256, (8, 8), np.uint8)
    file = io.BytesIO()
    Image.fromarray(draw).save(file, format="PNG")
    given = {"name": "given.png", "mimeType": "image/png", "buffer": file.getvalue()}
    with visit(chromium, folder / "index.html", size=SIZES[1]) as seen:
        seen.page.wait_for_selector(READY, timeout=WAIT)
        seen.page.set_input_files("#file", given)
        seen.page.wait_for_selector('body[data-turn="1"]', timeout=WAIT)
        images = torch.from_numpy(draw)[None, None]
        there, back = model.remake(images), model.remake(images, other=True)
        assert far(pixels(seen.page, ["given"]), images) == 0
        assert far(pixels(seen.page, ["made"]), there["to b"]) <= 1
        shown(seen.page, lambda: seen.page.select_option("#direction", index=1))
        assert far(pixels(seen.page, ["made"]), back["to a"]) <= 1
        seen.check("page-translator")
        broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"none"}
        seen.page.set_input_files("#file", broken)
        seen.page.get_by_text("broken.png: no picture that this browser can read.").wait_for(timeout=WAIT)


def test_the_latents_of_a_page_are_those_of_its_seeds(model):
    facts = page.facts_of(model, functions_of(model), {})
    latents = torch.from_numpy(np.frombuffer(base64.b64decode(facts["latents"]), np.float32).reshape(64, 6).copy())
    with torch.no_grad():
        images = to_uint8(model.averaged(latents, torch.tensor(facts["labels"])))
    wanted = torch.cat([model.sample(1, seed=seed) for seed in range(64)])
    assert (images.int() - wanted.int()).abs().max() <= 1
    assert facts["prior"] == {"normal": 1.0} and facts["classes"] == list(exported.NAMES)
    infogan = PAPERS["InfoGAN"].made(precision="fp32")
    facts = page.facts_of(infogan, functions_of(infogan), {})
    assert facts["prior"] is None and set(facts["numbers"]) == set(range(infogan.columns))
