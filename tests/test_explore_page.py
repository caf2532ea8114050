"""The explorer's page in a real browser: what a person does there, and what is wrong with it."""

import json
from contextlib import closing

import pytest
from browser import CHROMIUM, SIZES, served, visit
from papers import PAPERS
from PIL import Image
from tiny_runs import ganlab

from ganlab.experiment.frame import Data
from ganlab.latents.explorer import Explorer, opened
from ganlab.pages.explore import Desk

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]
TOKEN = "a-token"


@pytest.fixture(scope="module")
def address(finished):
    with served(Desk(opened(finished), TOKEN).application()) as url:
        yield url


@pytest.fixture
def explored(chromium, address):
    with visit(chromium, f"{address}/#{TOKEN}") as visited:
        visited.page.set_default_timeout(10_000)
        visited.page.locator("body[data-ready]").wait_for()
        yield visited


def pictures(page, sheet, count):
    """Wait until a sheet has that many pictures that can be seen."""
    page.locator(f"#{sheet} img >> nth={count - 1}").wait_for()
    decoded = f"Promise.all([...document.querySelectorAll('#{sheet} img')].map(image => image.decode().then(() => 1)))"
    assert len(page.evaluate(decoded)) == count


def changed(page, before):
    """Wait until A shows another picture than the one at the address `before`."""
    page.locator(f"#a:not([src='{before}'])").wait_for()


def test_the_page_is_sound_in_every_size_and_scheme(explored, address):
    page = explored.page
    assert page.url == f"{address}/" and page.title() == "run"  # the token is gone from the address
    pictures(page, "grid", 24)
    for button, sheet, count in (("walk", "between", 8), ("nearest", "near", 8), ("judge", "judged", 3)):
        page.click(f"#{button}")
        pictures(page, sheet, count)
    page.click("#keep-a")
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            explored.check(f"explore-{width}-{scheme}")
    page.reload()
    page.locator("body[data-ready]").wait_for()
    pictures(page, "grid", 24)  # it still has its token
    assert not any(TOKEN in url for url in explored.requests)


def test_what_is_saved_is_loaded_and_sampled_again(explored, finished, tmp_path):
    page = explored.page
    page.locator("#grid button >> nth=3").click()
    assert page.inner_text("#a-name").startswith("A: seed 0, image 3, class ")
    assert page.inner_text("#command") == "ganlab sample RUN --seed 0 --images 3"
    page.click("#keep-a")
    before = page.get_attribute("#a", "src")
    page.locator("#directions input >> nth=0").fill("4")
    changed(page, before)
    page.click("#settle")
    assert page.inner_text("#a-name").startswith("A: latents of its own")
    page.click("#keep-a")
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "latents.json")

    saved = json.loads((tmp_path / "latents.json").read_text())
    assert [image.get("image") for image in saved["images"]] == [3, None]
    assert saved["images"][0]["latents"] != saved["images"][1]["latents"]
    page.reload()
    page.locator("body[data-ready]").wait_for()
    page.set_input_files("#load", tmp_path / "latents.json")
    pictures(page, "kept-images", 2)
    page.get_by_text("2 loaded").wait_for()
    words = ("--latents", tmp_path / "latents.json", "--each", "--out", tmp_path / "out")
    assert ganlab("sample", finished, *words).exit_code == 0
    ganlab("sample", finished, "--images", 3, "--each", "--out", tmp_path / "named")
    with Image.open(tmp_path / "out" / "000000.png") as one, Image.open(tmp_path / "named" / "000003.png") as other:
        assert one.tobytes() == other.tobytes()
    out = tmp_path / "walk.png"
    words = ("--walk", tmp_path / "latents.json", "--seconds", 0.2, "--out", out)
    assert ganlab("film", finished, *words).exit_code == 0
    with Image.open(out) as film:
        assert film.n_frames == 10
    page.set_input_files("#load", {"name": "bad.json", "mimeType": "application/json", "buffer": b"{"})
    page.get_by_text("bad.json is no latents.json.").wait_for()


def test_a_person_without_a_mouse_comes_everywhere(explored):
    page = explored.page
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.name || 'button'"))
    for name in ("seed", "first", "class", "slot", "button", "keep-a", "swap", "walk", "reset", "nearest", "judge"):
        assert name in reached
    page.focus("#directions input >> nth=1")
    before = page.get_attribute("#a", "src")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#directions input >> nth=1") == "0.1"
    changed(page, before)
    page.locator("#grid button >> nth=5").focus()
    page.keyboard.press("Enter")
    assert page.inner_text("#a-name").startswith("A: seed 0, image 5")
    assert page.input_value("#directions input >> nth=1") == "0"  # the slider is of another image now
    page.locator("#grid button >> nth=6").click(modifiers=["Shift"])
    assert page.inner_text("#b-name").startswith("B: seed 0, image 6")


def test_truncation_is_part_of_an_images_name(explored):
    page = explored.page
    before = page.get_attribute("#grid img >> nth=0", "src")
    page.fill("#truncation", "0.5")
    page.keyboard.press("Enter")
    page.locator(f"#grid > :first-child img:not([src='{before}'])").wait_for()
    page.locator("#grid button >> nth=2").click()
    assert page.inner_text("#a-name").endswith("truncation 0.5")
    assert page.inner_text("#command") == "ganlab sample RUN --seed 0 --images 2 --truncation 0.5"
    assert page.is_hidden("#of-layers")


def test_layers_are_mixed(chromium):
    explorer = Explorer(PAPERS["StyleGAN2"].made().eval(), "<b>style</b>", Data(url=""))
    with served(Desk(explorer, TOKEN).application()) as url, visit(chromium, f"{url}/#{TOKEN}") as visited:
        page = visited.page
        page.locator("body[data-ready]").wait_for()
        assert page.inner_text("#run") == "<b>style</b>" and page.is_hidden("#nearest")
        layers = explorer.model.layers
        assert page.input_value("#layer") == str(layers)
        sources = [page.get_attribute(f"#{slot}", "src") for slot in "ab"]
        page.focus("#layer")
        page.keyboard.press("ArrowLeft")
        page.get_by_text(f"{layers - 1} of {layers}, and B in the others").wait_for()
        changed(page, sources[0])
        page.click("#settle")
        assert page.inner_text("#a-name").startswith("A: latents of its own")
        page.click("#keep-a")
        pictures(page, "kept-images", 1)
        visited.check("explore-layers")


def test_a_picture_is_found_and_what_goes_wrong_is_said(explored, tmp_path, monkeypatch):
    monkeypatch.setattr("ganlab.latents.explorer.PROJECTION_STEPS", 20)
    page = explored.page
    page.click("#project")
    page.get_by_text("Choose a picture first.").wait_for()
    Image.new("RGB", (40, 30), "grey").save(tmp_path / "grey.png")
    page.set_input_files("#picture", tmp_path / "grey.png")
    page.click("#project")
    pictures(page, "made", 2)
    page.get_by_text("Found, and chosen as A: PSNR").wait_for()
    assert page.inner_text("#a-name").startswith("A: latents of its own")


def test_a_page_without_the_token_says_where_it_is(chromium, address):
    with visit(chromium, address) as visited:
        visited.page.get_by_text("no token: open the address that `ganlab explore` printed").wait_for()
        visited.errors.clear()  # a browser tells its console of a 401


@pytest.mark.parametrize("site", ["http://evil.test", "http://localhost:9"])
def test_another_site_can_neither_ask_nor_frame_it(chromium, address, site):
    hostile = f"""<iframe src="{address}/"></iframe><script>
    fetch("{address}/api/about", {{headers: {{Authorization: "Bearer {TOKEN}"}}}}).then(() => document.title = "read",
        () => document.title = "refused")</script>"""
    with closing(chromium.new_page()) as page:
        page.route(f"{site}/", lambda route: route.fulfill(body=hostile, content_type="text/html"))
        page.goto(f"{site}/")
        page.wait_for_function("document.title")
        assert page.title() == "refused"
        assert [frame.url for frame in page.frames[1:]] == ["chrome-error://chromewebdata/"]


def test_a_foreign_name_that_leads_here_is_refused(chromium, address):
    rebound = ["--no-sandbox", "--host-resolver-rules=MAP evil.test 127.0.0.1"]
    with closing(chromium.browser_type.launch(executable_path=CHROMIUM, args=rebound)) as browser:
        page = browser.new_page()
        answer = page.goto(f"{address.replace('127.0.0.1', 'evil.test')}/#{TOKEN}")
        assert answer.status == 400 and "run" not in page.content()
        asked = "how => fetch('/api/about', how).then(answer => answer.status)"
        assert page.evaluate(asked, {"headers": {"Authorization": f"Bearer {TOKEN}"}}) == 400
