"""The verb `explore`: a run's images in the browser of the person at this machine."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from ganlab.latents.explorer import opened
from ganlab.pages.explore import Desk
from ganlab.pages.server import listen, serve


def explore(run: Path, port: int, trust: Sequence[str]) -> None:
    """Serve the explorer of a run until Ctrl-C."""
    listen(port).close()  # a port in use is told before a model is read
    token = secrets.token_urlsafe(24)
    serve(Desk(opened(run, trust), token).application(), port, token)
