"""A run's page that is always of now: a separate process that reads the folder, so it cannot disturb the run."""

import json
from pathlib import Path
from threading import Lock
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from ganlab.pages import story, values
from ganlab.pages.report import SAMPLES
from ganlab.pages.run import Run
from ganlab.pages.server import application, files
from ganlab.pages.templates import render
from ganlab.pictures.charts import svg
from ganlab.pictures.panels import panels

RECORDS = ("metrics.jsonl", "events.jsonl", "results.jsonl")
EVENTS = 12
"""Events that the page lists, the last ones."""


class Watched:
    """A run's folder, whose state is drawn again only when it has changed.

    Requests come from several threads, and matplotlib and the readers of files serve one at a time: while one draws,
    the others are given what was drawn before.
    """

    def __init__(self, path: Path) -> None:
        self.run, self.lock = Run(path), Lock()
        self.latest = "", b""
        """What the state was drawn of, and the state."""

    def now(self, seen: str) -> bytes | None:
        """Return the state as JSON; None if it is the one that the page has seen."""
        if self.lock.acquire(blocking=not self.latest[1]):
            try:
                if (tag := self._tag()) != self.latest[0]:
                    self.latest = tag, json.dumps({"tag": tag, **self._state()}).encode()
            finally:
                self.lock.release()
        tag, body = self.latest
        return None if seen == tag else body

    def picture(self, name: str) -> Path | None:
        """Return the file of a picture of that name, if the run has it."""
        found = {picture.path.name: picture.path for kind in self.run.pictures.values() for picture in kind}
        return found.get(name)

    def _tag(self) -> str:
        """Return what changes with the files: a resume that cuts lines off replaces them."""
        parts = list[str]()
        for name in RECORDS:
            try:
                state = (self.run.path / name).stat()
                parts.append(f"{state.st_ino}.{state.st_size}")
            except OSError:
                parts.append("-")
        return "_".join([*parts, *(grid.path.name for grid in self.run.pictures.get(SAMPLES, [])[-1:])])

    def _state(self) -> dict[str, Any]:
        run, grids = self.run, self.run.pictures.get(SAMPLES, [])
        drawn = panels({run.name: run.columns}, story.marks(run)) + values.panels({run.name: run})
        about = f"Samples after {grids[-1].nimg:,} images" if grids else ""
        rows, _ = story.happened(run)
        return {
            "summary": story.summary(run),
            "charts": [svg(panel) for panel in drawn],
            "picture": {"name": grids[-1].path.name, "about": about} if grids else None,
            "events": rows[: -EVENTS - 1 : -1],
        }


def watching(path: Path) -> Starlette:
    """Return the application that shows a run."""
    watched = Watched(path)

    def page(_: Request) -> Response:
        return HTMLResponse(render("watch.html", name=watched.run.name))

    def now(request: Request) -> Response:
        body = watched.now(request.query_params.get("seen", ""))
        return Response(status_code=204) if body is None else Response(body, media_type="application/json")

    def picture(request: Request) -> Response:
        found = watched.picture(request.path_params["name"])
        return Response(status_code=404) if found is None else FileResponse(found)

    routes = [Route("/", page), Route("/now", now), Route("/pictures/{name}", picture)]
    return application([*routes, *files("style.css", "report.css", "watch.js")])
