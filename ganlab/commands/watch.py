"""The verb `watch`: a run's page, live."""

from pathlib import Path

from ganlab.pages.server import serve
from ganlab.pages.watch import watching


def watch(run: Path, port: int) -> None:
    """Serve the page of a run until Ctrl-C."""
    serve(watching(run), port)
