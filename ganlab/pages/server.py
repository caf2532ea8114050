"""A web server for the person at this machine: it listens on 127.0.0.1 only, and answers no other host's name."""

import getpass
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import closing

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from ganlab.pages.templates import WEB
from ganlab.types import UserError

HOST = "127.0.0.1"
NAMES = [HOST, "localhost"]
"""Names by which a browser may call this server: a foreign name that leads here is refused, on any port, since
`ssh -L` may forward another one."""
CONNECTIONS = 64
"""Connections at a time; the next one is answered 503."""
WAIT = 1
"""Seconds that open connections may take when the server ends."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer, errors too."""


def application(routes: Sequence[BaseRoute], middleware: Iterable[Middleware] = ()) -> Starlette:
    """Return an application of routes that only `NAMES` reach; `middleware` comes after that check."""
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=NAMES, www_redirect=False)
    return Starlette(routes=[Route("/favicon.ico", nothing), *routes], middleware=[trusted, *middleware])


def files(*names: str) -> list[Route]:
    """Return a route for each of these files of `web`, such as /watch.js; no path is made from a request."""

    def route(name: str) -> Route:
        return Route(f"/{name}", lambda request: FileResponse(WEB / name))

    return [route(name) for name in names]


def nothing(_: object) -> Response:
    """Answer that there is nothing: browsers ask every site for an icon."""
    return Response(status_code=204)


def listen(port: int) -> socket.socket:
    """Open a port of 127.0.0.1, or with 0 a free one; `UserError` if it is not to be had."""
    try:
        return socket.create_server((HOST, port), backlog=CONNECTIONS)
    except OSError as error:
        why, other = os.strerror(error.errno or 0), port + 1 if port >= 1024 else 8765
        raise UserError(
            f"--port {port}: {why}; choose another one, such as {other}, or 0 for any that is free"
        ) from None


class Server(uvicorn.Server):
    """A server that says something once it hears Ctrl-C and answers."""

    def __init__(self, config: uvicorn.Config, *lines: str) -> None:
        super().__init__(config)
        self.lines = lines

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        for line in self.lines:
            print(line, flush=True)


def server_of(app: ASGIApp, *lines: str) -> Server:
    """Return the server of an application, which `run(sockets=[...])` starts; `lines` are what it says then."""
    return Server(
        uvicorn.Config(
            app,
            headers=[*HEADERS.items()],
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=WAIT,
            server_header=False,
            access_log=False,
            log_level="warning",
            lifespan="off",
        ),
        *lines,
    )


def serve(app: ASGIApp, port: int, fragment: str = "") -> None:
    """Serve an application until Ctrl-C, and say where.

    Args:
        app: what `application` returned.
        port: of 127.0.0.1; 0 takes a free one.
        fragment: the rest of the address after #, which browsers keep to themselves.
    """
    with closing(listen(port)) as opened:
        port = opened.getsockname()[1]
        address = f"http://{HOST}:{port}/{f'#{fragment}' if fragment else ''}  (Ctrl-C ends it)"
        there = f"ssh -L {port}:{HOST}:{port} {getpass.getuser()}@{socket.gethostname()}"
        server_of(app, address, f"from another machine, first: {there}").run(sockets=[opened])
