"""Retries of transfers of any kind, for as long as bytes come.

They are ours: `urllib3.Retry` counts attempts and ends with an answer's headers, and fsspec's object stores each have
their own.
"""

import http.client
import logging
import random
import re
import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import TypeVar

from ganlab.data.read.location import redact
from ganlab.types import UserError

log = logging.getLogger(__name__)

T = TypeVar("T")
STRANGE = 3
"""Retries after an unknown error."""
TOLD = 4
"""Failed attempts after which a person is told why they wait."""
LONGEST_PAUSE = 10.0
LEAST = 2**14
"""Bytes that count as progress: a source that sends one byte now and then must still time out."""


class Stopped(Exception):  # noqa: N818 (not an error)
    """The transfer is no longer wanted."""


class Refused(Exception):  # noqa: N818 (it becomes a UserError)
    """The source refuses, and a retry would not help."""


@dataclass(frozen=True)
class Patience:
    """Timeouts and pauses of retries, in seconds."""

    answer: float = 30.0
    """Timeout of one answer, or of its next 16 KiB."""
    total: float = 300.0
    """Timeout without 16 KiB of progress, over all attempts: a slow source may take longer, a dead one may not."""
    pause: float = 0.2
    """Pause before the second attempt; doubled before each further one, up to ten seconds, and varied by half."""
    stopped: Event = field(default_factory=Event)
    """Set to stop all attempts."""


def persist(place: str, attempt: Callable[[], T], patience: Patience, progress: Callable[[], int] = lambda: 0) -> T:
    """Retry until an attempt succeeds; UserError, naming `place`, for a refusal or after the timeout.

    `progress` returns the bytes received so far: enough new ones restart the timeout.
    """
    best, since, tries = progress(), time.monotonic(), 0
    while not patience.stopped.is_set():
        try:
            return attempt()
        except (Refused, FileNotFoundError, PermissionError) as error:
            raise UserError(f"{place}: {_say(error)}; not tried again") from error
        except (UserError, Stopped):
            raise
        except Exception as error:  # fsspec's file systems raise what their libraries do
            if (now := progress()) >= best + LEAST:
                best, since, tries = now, time.monotonic(), 0
            tries += 1
            pause = min(LONGEST_PAUSE, patience.pause * 2 ** (tries - 1)) * random.uniform(0.5, 1.5)  # noqa: S311
            pause = max(pause, _retry_after(error))
            if tries == TOLD:
                log.warning("%s: %s; trying again, for %.0f s without news", place, _say(error), patience.total)
            known = isinstance(error, OSError | http.client.HTTPException)
            if time.monotonic() + pause - since > patience.total or (not known and tries > STRANGE):
                raise UserError(
                    f"{place}: {_say(error)}; given up after {tries} attempts without news; "
                    "is the source up, and the network?"
                ) from error
            patience.stopped.wait(pause)
    raise Stopped


def _retry_after(error: Exception) -> float:
    text = error.headers.get("Retry-After", "") if isinstance(error, urllib.error.HTTPError) else ""
    return min(LONGEST_PAUSE, float(text)) if re.fullmatch(r"\d{1,6}", text) else 0.0


def _say(error: Exception) -> str:
    return redact(str(error)) if isinstance(error, Refused) else f"{type(error).__name__}: {redact(str(error))}"
