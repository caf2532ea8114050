"""The report in a real browser: sound in every dress, whole without JavaScript, and text stays text."""

import re
import resource
import subprocess
import sys

import numpy as np
import pytest
import tiny_runs as runs
from browser import DRESSES, visit
from repository import REPOSITORY
from told import HOSTILE, SCRIPT, TERM, metrics, write_grid, write_lines, write_run

from ganlab.pages import images

pytestmark = pytest.mark.slow

INSIDE = """[...document.querySelectorAll("svg")].flatMap(svg => {
    const box = svg.getBoundingClientRect();
    return [...svg.querySelectorAll("text")].filter(text => {
        const at = text.getBoundingClientRect();
        return at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 || at.bottom > box.bottom + 1;
    }).map(text => text.textContent);
})"""
"""The texts of charts that leave them."""
EMPTY = """[...document.querySelectorAll("svg use")].map(mark => mark.getBoundingClientRect()).filter(
    box => box.width + box.height == 0).length"""
"""Marks that show nothing, since what they refer to is not there."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def pages(folder):
    """The reports of one run and of two."""
    first = write_run(folder / HOSTILE, width=32)
    second = write_run(folder / "other", lines=12, grids=2, width=64)
    said = runs.ganlab("report", first, "--out", folder / "one.html")
    assert said.exit_code == 0 and said.stdout == f"{folder / 'one.html'}\n"
    assert runs.ganlab("report", first, second, "--out", folder / "two.html").exit_code == 0
    return {"one": folder / "one.html", "two": folder / "two.html"}


@pytest.mark.parametrize(("size", "dark"), DRESSES)
@pytest.mark.parametrize("name", ["one", "two"])
def test_a_report_is_sound(chromium, pages, name, size, dark):
    with visit(chromium, pages[name], size=size, dark=dark) as visited:
        visited.check(f"report-{name}-{size[0]}-{'dark' if dark else 'light'}")
        assert [url for url in visited.requests if not url.startswith("data:")] == [pages[name].resolve().as_uri()]
        assert visited.page.evaluate(INSIDE) == []
        assert visited.page.evaluate(EMPTY) == 0


def test_what_a_run_calls_itself_stays_text(chromium, pages):
    with visit(chromium, pages["one"]) as visited:
        page = visited.page
        assert page.title() == HOSTILE and page.locator("h1").inner_text() == HOSTILE
        assert page.locator("script").count() == 1 and page.locator("img[src='x']").count() == 0
        assert SCRIPT in page.locator("#config pre").inner_text()
        assert page.locator("svg", has_text=TERM).count() == 1
        assert page.locator("#events td", has_text=SCRIPT).count() == 1


def test_a_report_says_what_happened_and_no_secret(pages, chromium):
    text = pages["one"].read_text()
    assert "hunter2" not in text and "https://data.lab.org/faces.tar" in text
    with visit(chromium, pages["one"]) as visited:
        page = visited.page
        assert page.locator("header p").inner_text() == "DCGAN, 20,000 of 20,000 images shown, done"
        marks = page.locator("svg title").all_text_contents()
        assert [mark.partition(" at ")[0] for mark in marks] == ["phase", "not-finite", "stop", "resume"]
        assert page.locator("#machines td", has_text="8 x NVIDIA H100").count() == 2
        assert "20 ± 0.5" in page.locator("#values").inner_text()
    with visit(chromium, pages["two"]) as visited:
        marks = visited.page.locator("svg title").all_text_contents()
        assert {mark.partition(": ")[0] for mark in marks} == {HOSTILE, "other"} and len(marks) == 8
        assert visited.page.locator("#config tbody tr").all_inner_texts() == [
            "model.width\t32\t64",
            "train.total_nimg\t20000\t12000",
        ]


def test_the_slider_answers_to_keys(chromium, pages):
    with visit(chromium, pages["one"]) as visited:
        page = visited.page
        slider = page.locator("input[type=range]")
        shown = page.locator(".film figure:visible figcaption")
        assert shown.inner_text() == "20,000 images shown"
        while page.evaluate("document.activeElement.type") != "range":
            page.keyboard.press("Tab")
        page.keyboard.press("Home")
        assert shown.inner_text() == "5,000 images shown"
        page.keyboard.press("ArrowRight")
        assert shown.inner_text() == "10,000 images shown"
        assert slider.get_attribute("aria-valuetext") == "10,000 images shown"


def test_without_javascript_everything_is_there(chromium, pages):
    with visit(chromium, pages["one"], javascript=False) as visited:
        assert visited.page.locator(".film figure:visible").count() == 4
        assert visited.page.locator(".charts svg:visible").count() > 8


def test_a_script_that_was_changed_does_not_run(chromium, pages, tmp_path):
    text = pages["one"].read_text()
    (tmp_path / "changed.html").write_text(text.replace('classList.add("slider")', 'classList.add("slides")'))
    page = chromium.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto((tmp_path / "changed.html").as_uri())
    assert "violates the following Content Security Policy" in said[0]
    assert page.locator("input[type=range]").count() == 0
    page.close()


def test_it_prints(chromium, pages):
    with visit(chromium, pages["one"], size=(720, 1000)) as visited:  # about as wide as the text of a sheet
        visited.page.emulate_media(media="print")
        cut = "[...document.querySelectorAll('.wide')].filter(table => table.scrollWidth > table.clientWidth).length"
        assert visited.page.evaluate(cut) == 0
        paper = visited.page.pdf(format="A4")
        assert paper.startswith(b"%PDF") and len(paper) < 2_000_000


@pytest.mark.alone
def test_a_run_of_a_hundred_thousand_lines_takes_seconds(tmp_path):
    run = write_run(tmp_path / "long")
    write_lines(run / "metrics.jsonl", metrics(100_000))
    command = [sys.executable, "-m", "ganlab", "report", run, "--out", tmp_path / "out.html"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, cwd=REPOSITORY)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5
    text = (tmp_path / "out.html").read_text()
    assert len(text) < 1_000_000 and "77" in text  # the spike


def test_pictures_keep_within_the_budget(tmp_path, monkeypatch):
    run = write_run(tmp_path / "large", grids=0)
    draw = np.random.default_rng(0)
    for nimg in range(1, 31):
        write_grid(run, nimg, draw, side=160)  # noise, which nothing compresses
    write_grid(run, 0, draw, kind="neighbours", side=100)
    sizes = []
    assert images.BUDGET * 4 / 3 < 11_000_000  # the page may have 12 MB
    for budget, count in ((images.BUDGET, 24), (500_000, 12)):
        monkeypatch.setattr(images, "BUDGET", budget)
        runs.ganlab("report", run, "--out", tmp_path / "out.html")
        text = (tmp_path / "out.html").read_text()
        assert f"{count} of 30, evenly chosen" in text and "after 1 images" in text and "after 30 images" in text
        assert "Samples and the reals nearest to them" in text
        sizes.append(sum(map(len, re.findall(r"data:image/webp;base64,[^\"]+", text))) * 3 / 4)
    assert sizes[1] < 500_000 < sizes[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none"], "none: no run: there is no such folder; give the folder of a run, such as runs/digits-dcgan"),
        (["empty"], "empty: no run: holds no config.yaml"),
        (["torn"], "torn/config.yaml: cannot be read: "),
        (["list"], "list/config.yaml: no config of a run"),
        (["other", "other"], "names a run twice"),
        (["other", "--out", "report.pdf"], "--out report.pdf: a report is a file of HTML; give it a name that ends in"),
    ],
)
def test_what_is_no_run_is_refused(pages, folder, monkeypatch, words, said):
    monkeypatch.chdir(folder)
    for name, text in {"empty": None, "torn": "model: {", "list": "- 1"}.items():
        (folder / name).mkdir(exist_ok=True)
        if text:
            (folder / name / "config.yaml").write_text(text)
    assert said in runs.refused("report", *words)


def test_a_run_that_has_only_begun_has_a_report(chromium, tmp_path):
    run = write_run(tmp_path / "begun", lines=0, grids=0)
    for name in ("metrics", "events", "results"):
        (run / f"{name}.jsonl").unlink()
    assert runs.ganlab("report", run).stdout == f"{run / 'report.html'}\n"
    with visit(chromium, run / "report.html") as visited:
        visited.check()
        assert "There are no metrics yet" in visited.page.locator("#curves").inner_text()


def test_a_run_of_another_edition_has_a_report(tmp_path):
    """Its events have no hardware, its metrics no time and names that nobody knows."""
    run = write_run(tmp_path / "old")
    write_lines(
        run / "metrics.jsonl", [{"nimg": 5, "what": 1.0, "text": "x", "d/loss": 2.0}, {"nimg": 9, "d/loss": 1.0}]
    )
    write_lines(run / "events.jsonl", [{"event": "start", "nimg": None}, {"what": 3}, {"event": "phase", "nimg": 5}])
    assert runs.ganlab("report", run).exit_code == 0
    assert "Not recorded." in (run / "report.html").read_text()
