"""The explorer's page and requests: who may ask, how much, and what is answered."""

import asyncio
import base64
import hmac
import io
import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from torch import Tensor

from ganlab.latents.codes import Code
from ganlab.latents.explorer import Explorer
from ganlab.latents.file import FARTHEST
from ganlab.pages.server import NAMES, application, files
from ganlab.pages.templates import WEB
from ganlab.pictures.grids import to_pil
from ganlab.types import UserError

LARGEST = 8_000_000
"""Bytes of a request."""
SECONDS = 15.0
"""In which a request must have come completely."""
AT_WORK = 4
"""Requests that are worked on or wait for the networks; the next one is answered 503."""
MOST = 64
"""Images in an answer."""
IMAGES = ("image/png", "image/jpeg", "image/webp")
JSON = ("application/json",)
OWN = re.compile(rf"http://({'|'.join(map(re.escape, NAMES))})(:\d+)?")
"""Origins of the page itself; through `ssh -L` its port may be another one."""

Answer = dict[str, Any]
Question = Mapping[str, Any]


class RefusedError(Exception):
    """A request that is not answered: status and reason."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        self.status, self.why = status, why


class Desk:
    """Takes requests for an explorer from who has the token.

    A whole request is read before it is refused: a client that is still sending would see its connection reset instead
    of the reason.
    """

    def __init__(self, explorer: Explorer, token: str) -> None:
        self.explorer, self.token, self.working = explorer, token, 0

    def application(self) -> Starlette:
        """Return the routes of the page and of the requests that it makes."""
        asked: dict[str, tuple[Callable[..., Answer], tuple[str, ...]]] = {
            "make": (self.make, JSON),
            "walk": (self.walk, JSON),
            "mix": (self.mix, JSON),
            "nearest": (self.nearest, JSON),
            "judge": (self.judge, JSON),
            "project": (self.project, IMAGES),
            "remake": (self.remake, IMAGES),
        }
        routes = [Route(f"/api/{name}", self.endpoint(*how), methods=["POST"]) for name, how in asked.items()]
        about = Route("/api/about", self.endpoint(lambda question: self.explorer.about(), ()))
        page = Route("/", lambda request: FileResponse(WEB / "explore.html"))
        return application([page, *files("style.css", "explore.css", "explore.js"), about, *routes])

    def endpoint(self, act: Callable[..., Answer], kinds: tuple[str, ...]) -> Callable[[Request], Any]:
        """Return what answers a kind of request; without `kinds` of content it has no body."""

        async def answer(request: Request) -> Response:
            try:
                body = await read(request) if kinds else b"{}"
                self.refuse_strangers(request)
                question = understood(request, body, kinds)
                return told(HTTPStatus.OK, await self.worked(act, question))
            except RefusedError as refused:
                return told(refused.status, {"error": refused.why})
            except UserError as error:
                return told(HTTPStatus.BAD_REQUEST, {"error": str(error)})

        return answer

    def refuse_strangers(self, request: Request) -> None:
        """Refuse who has no token, and pages of other sites."""
        given = request.headers.get("authorization", "").encode("latin-1")  # bytes: text would have to be ASCII
        if not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "no token: open the address that `ganlab explore` printed")
        if (origin := request.headers.get("origin")) is not None and not OWN.fullmatch(origin):
            raise RefusedError(HTTPStatus.FORBIDDEN, "a page of another site")

    async def worked(self, act: Callable[..., Answer], question: Any) -> Answer:
        """Do the work on a thread, unless too much is waiting."""
        if self.working >= AT_WORK:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "busy; ask again in a moment")
        self.working += 1
        try:
            return await run_in_threadpool(act, question)
        finally:
            self.working -= 1

    # --- requests

    def make(self, question: Question) -> Answer:
        """Make images of codes, perhaps moved along the directions."""
        entries, moves = listed(question, "codes", 1, MOST), listed(question, "moves", 0, len(self.explorer.directions))
        if not all(type(move) in (int, float) and abs(move) <= FARTHEST for move in moves):
            raise UserError(f"moves: write numbers from {-FARTHEST:g} to {FARTHEST:g}")
        codes = [self.explorer.read(entry, f"codes[{k}]") for k, entry in enumerate(entries)]
        way = [float(move) for move in moves]  # JSON writes 0.0 as 0
        return self.shown([self.explorer.moved(code, way) for code in codes])

    def walk(self, question: Question) -> Answer:
        """Make images between two."""
        steps = question.get("steps")
        if type(steps) is not int or not 2 <= steps <= MOST:
            raise UserError(f"steps: write a whole number from 2 to {MOST}")
        return self.shown(self.explorer.walk(self.code(question, "from"), self.code(question, "to"), steps))

    def mix(self, question: Question) -> Answer:
        """Make an image of the first layers' latents of one and the others' of another."""
        layer = question.get("layer")
        if type(layer) is not int:
            raise UserError("layer: write a whole number")
        return self.shown([self.explorer.mixed(self.code(question, "from"), self.code(question, "to"), layer)])

    def nearest(self, question: Question) -> Answer:
        """Show the nearest real images."""
        near = self.explorer.nearest(self.code(question, "code"))
        found = [{"number": real.number, "distance": real.distance, "png": png(real.pixels)} for real in near]
        return {"images": found, "compared": len(self.explorer.reals.known)}

    def judge(self, question: Question) -> Answer:
        """Show what D says of an image."""
        return titled(self.explorer.judged(self.code(question, "code")))

    def project(self, body: bytes) -> Answer:
        """Find the latents of a picture."""
        code, given, near = self.explorer.project(body)
        return {**self.shown([code]), "given": png(given), "psnr": near}

    def remake(self, body: bytes) -> Answer:
        """Show what the networks make of a picture."""
        return titled(self.explorer.remade(body))

    def code(self, question: Question, name: str) -> Code:
        """Read a code from a request."""
        return self.explorer.read(question.get(name), name)

    def shown(self, codes: list[Code]) -> Answer:
        """Return codes with their images."""
        made = zip(codes, self.explorer.pixels(codes), strict=True)
        return {"images": [{"code": code.as_json(), "png": png(pixels)} for code, pixels in made]}


async def read(request: Request) -> bytes:
    """Read the body of a request."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "no content-length")
    if int(length) > LARGEST:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {LARGEST // 1_000_000} MB")
    try:
        async with asyncio.timeout(SECONDS):
            return await request.body()
    except TimeoutError:
        raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, f"not there after {SECONDS:g} s") from None
    except ClientDisconnect:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the connection ended") from None


def understood(request: Request, body: bytes, kinds: tuple[str, ...]) -> Any:
    """Return a request's JSON object, or the bytes of its picture."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kinds and kind not in kinds:  # a form of another site could send other kinds
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {' or '.join(kinds)}")
    if kinds == IMAGES:
        return body
    try:
        question = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "no JSON") from None
    if not isinstance(question, dict):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "no JSON object")
    return question


def listed(question: Question, name: str, least: int, most: int) -> list[Any]:
    """Return a list of a request; empty if it may be and is not there."""
    found = question.get(name, [] if least == 0 else None)
    if not isinstance(found, list) or not least <= len(found) <= most:
        raise UserError(f"{name}: write a list of {least} to {most}")
    return found


def told(status: HTTPStatus, answer: Answer) -> Response:
    """Write an answer; in ASCII, since what was asked may hold text that has no other encoding."""
    return Response(json.dumps(answer), status, media_type="application/json")


def titled(pictures: Mapping[str, Tensor]) -> Answer:
    """Return pictures with their titles."""
    return {"images": [{"title": title, "png": png(pixels)} for title, pixels in pictures.items()]}


def png(pixels: Tensor) -> str:
    """Write one image [c, h, w] as a PNG in base64."""
    file = io.BytesIO()
    to_pil(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
