"""Progress on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm


class Progress:
    """Images done of a total, with rate and time left: a bar on a terminal, a line now and then without one."""

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        self.what, self.total, self.done = what, total, done
        self.first, self.start = done, time.monotonic()
        self.last_line = self.start
        self.bar = (
            tqdm(desc=what, total=total, initial=done, unit="img", dynamic_ncols=True) if sys.stderr.isatty() else None
        )

    def update(self, images: int) -> None:
        """Count `images` more."""
        self.done += images
        if self.bar is not None:
            self.bar.update(images)
        elif time.monotonic() - self.last_line >= self.SECONDS_BETWEEN_LINES or self.done >= self.total:
            self.last_line = time.monotonic()
            self.print(f"{self.what}: {progress_line(self.done, self.total, self.rate())}")

    def rate(self) -> float:
        """Images per second since the start."""
        return (self.done - self.first) / max(time.monotonic() - self.start, 1e-9)

    def facts(self, text: str) -> None:
        """Show `text` at the end of the bar."""
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=True)

    def print(self, line: str) -> None:
        """Write a whole line without tearing the bar."""
        tqdm.write(line, file=sys.stderr)
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()


def progress_line(done: int, total: int, rate: float) -> str:
    """Say how far it is, how fast and how long it will take: `12,800 of 64,000 images (20%), 512 images/s, 1:40 left`."""
    left = int((total - done) / rate) if rate > 0 else 0
    clock = f"{left // 3600}:{left % 3600 // 60:02d}:{left % 60:02d}" if left >= 3600 else f"{left // 60}:{left % 60:02d}"
    return f"{done:,} of {total:,} images ({done / max(total, 1):.0%}), {rate:,.0f} images/s, {clock} left"
