"""A real browser that looks at a page as a person would, and everything that is wrong with it."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from repository import REPOSITORY
from starlette.types import ASGIApp

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
NPM = Path(os.environ.get("GANLAB_NPM", REPOSITORY / ".cache" / "npm" / "node_modules"))
"""Folder of npm's packages: axe-core and onnxruntime-web, which `.ci/run` installs."""
AXE = NPM / "axe-core" / "axe.min.js"
OWN = ("file:", "data:", "blob:", "http://127.0.0.1:", "http://localhost:")
"""Where a page may ask for something."""
SHOTS = os.environ.get("GANLAB_SHOTS")
"""Folder of screenshots for a person to look at."""
SIZES = [(1280, 800), (390, 844)]
DRESSES = [pytest.param(SIZES[0], False, id="desk, light"), pytest.param(SIZES[1], True, id="phone, dark")]
"""Window and scheme in which every page is looked at."""
AXE_IN_WORDS = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.map(found =>
    `${found.id}: ${found.help}: ` + found.nodes.map(node => node.target + " " + node.failureSummary).join())"""


def launched() -> Iterator[Any]:
    """Start the browser; skip where there is none."""
    if not CHROMIUM or not AXE.exists():
        missing = "no chromium" if not CHROMIUM else f"no {AXE}: npm install --prefix .cache/npm axe-core"
        pytest.skip(f"{missing}; `.ci/run` installs both")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A visit to a page: `page` is playwright's."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors = list[str]()
        self.requests = list[str]()
        page.on("console", lambda said: self.errors.append(f"console: {said.text}") if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(f"error: {error}"))
        page.on("requestfailed", lambda request: self.errors.append(f"failed: {request.url} {request.failure}"))
        page.on("request", lambda request: self.requests.append(request.url))

    def check(self, name: str = "", but: tuple[str, ...] = ()) -> None:
        """Assert that the page is sound as it is now, `but` for some rules of axe.

        Keep a screenshot of that name if a person wants to look.
        """
        if SHOTS and name:
            self.page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)
        assert self.errors == [], self.errors
        foreign = [url for url in self.requests if not url.startswith(OWN)]
        assert foreign == [], foreign
        wide = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], f"{name}: {wide[0]} px wide in a window of {wide[1]} px"
        self.page.evaluate(AXE.read_text())
        violations = [found for found in self.page.evaluate(AXE_IN_WORDS) if not found.startswith(but)]
        assert violations == [], violations


@contextmanager
def visit(
    browser: Any, url: str | Path, *, size: tuple[int, int] = SIZES[0], dark: bool = False, javascript: bool = True
) -> Iterator[Visit]:
    """Open a page, or a file; afterwards nothing may have gone wrong, whatever was done there."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        java_script_enabled=javascript,
    )
    with closing(context):
        visited = Visit(context.new_page())
        visited.page.goto(url if isinstance(url, str) else url.resolve().as_uri())
        yield visited
        assert visited.errors == [], visited.errors


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve an application from a thread; give its address, without a slash at the end."""
    from ganlab.pages.server import HOST, listen, server_of

    with closing(listen(0)) as opened:
        server = server_of(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        yield f"http://{HOST}:{opened.getsockname()[1]}"
        server.should_exit = True
        thread.join()
