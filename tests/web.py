"""A web server on this machine."""

import base64
import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Quiet(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, user: str, **options: Any) -> None:
        self.expected = f"Basic {base64.b64encode(user.encode()).decode()}" if user else None
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        if self.expected in (None, self.headers.get("Authorization")):
            super().do_GET()
        else:
            self.send_error(http.HTTPStatus.UNAUTHORIZED)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(folder: Path, user: str = "") -> Iterator[str]:
    """Serve a folder's files, to NAME:PASSWORD alone where one is named; give the address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder, user=user))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
