"""The site of docs/: it builds strictly, asks no other host for anything, and finds words."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import DRESSES, visit
from repository import REPOSITORY
from web import serve

pytestmark = pytest.mark.slow
PAGES = ("index", "photographs", "families", "configs", "curves", "faq", "api/models", "benchmarks/RESULTS")
THEIRS = ("landmark-unique:", "scrollable-region-focusable:")
"""Rules of axe that the theme's script breaks: several navigations of one name, or none; wide tables that only the
browser's own keys scroll."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    pytest.importorskip("material", reason="the site needs mkdocs-material: pip install 'ganlab[docs]'")
    pytest.importorskip("mkdocstrings", reason="the site needs mkdocstrings: pip install 'ganlab[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_pages_load_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    loads = r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=\"([^\"]+)|<link\b[^>]*\bhref=\"([^\"]+)"
    foreign = {
        url
        for page in pages
        for url in map("".join, re.findall(loads, page.read_text()))
        if url.startswith(("//", "http"))
    }
    assert foreign == set()


def test_the_api_has_every_model_and_every_key(site):
    import ganlab.models
    from ganlab.experiment.frame import Train

    models, keys = ((site / "api" / name).read_text() for name in ("models.html", "keys.html"))
    assert all(f'id="ganlab.models.{name}"' in models for name in ganlab.models.__all__)
    assert all(f'id="ganlab.experiment.frame.Train.{name}"' in keys for name in Train.__dataclass_fields__)


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_a_visitor_finds_a_page_by_its_words(site, chromium, size):
    with serve(site) as host, visit(chromium, f"http://{host}/index.html", size=size) as visited:
        page = visited.page
        page.keyboard.press("f")
        page.keyboard.type("requeues the job", delay=5)
        page.locator(".md-search-result__link").first.click(timeout=20_000)
        page.wait_for_url(re.compile(r"/(cluster|launch/\w+)\.html"))
        assert all(
            url.startswith(f"http://{host}") for url in visited.requests if not url.startswith(("data:", "blob:"))
        )
        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], wide


@pytest.mark.parametrize(("size", "dark"), DRESSES)
@pytest.mark.parametrize("name", PAGES)
def test_everyone_can_read_a_page(site, chromium, name, size, dark):
    with serve(site) as host, visit(chromium, f"http://{host}/{name}.html", size=size, dark=dark) as visited:
        visited.page.locator(".md-typeset h1").wait_for()
        visited.check(f"site-{name.replace('/', '-')}", but=THEIRS)
