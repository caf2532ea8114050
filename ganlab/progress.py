"""Progress on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType

from tqdm import tqdm


class Progress:
    """Images done of a total, with speed and time left: a bar on a terminal, otherwise a line now and then."""

    def __init__(
        self, what: str, total: int, done: int = 0, seconds_between_lines: float = 10.0, unit: str = "images"
    ) -> None:
        self.what, self.total, self.done, self.unit = what, total, done, unit
        self.seconds_between_lines = seconds_between_lines
        self.first, self.start = done, time.monotonic()
        self.last_line = self.start
        self.bar = (
            tqdm(desc=what, total=total, initial=done, unit={"images": "img"}.get(unit, unit), dynamic_ncols=True)
            if sys.stderr.isatty()
            else None
        )

    def update(self, images: int, facts: str = "") -> None:
        """Count `images` more, and show `facts` beside them."""
        self.done += images
        if self.bar is not None:
            self.bar.set_postfix_str(facts, refresh=False)
            self.bar.update(images)
        elif time.monotonic() - self.last_line >= self.seconds_between_lines or self.done >= self.total:
            self.last_line = time.monotonic()
            line = f"{self.what}: {progress_line(self.done, self.total, self.rate(), self.unit)}"
            self.print(f"{line}, {facts}" if facts else line)

    def rate(self) -> float:
        """Images per second since the start."""
        return (self.done - self.first) / max(time.monotonic() - self.start, 1e-9)

    def print(self, line: str) -> None:
        """Print a line above the bar."""
        tqdm.write(line, file=sys.stderr)
        sys.stderr.flush()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the bar's line."""
        if self.bar is not None:
            self.bar.close()


def progress_line(done: int, total: int, rate: float, unit: str = "images") -> str:
    """Return progress, speed and time left as one line.

    `12,800 of 64,000 images (20%), 512 images/s, 1:40 left`
    """
    minutes, seconds = divmod(int(max(total - done, 0) / max(rate, 1e-9)), 60)
    left = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}" if minutes >= 60 else f"{minutes}:{seconds:02d}"
    return f"{done:,} of {total:,} {unit} ({done / total:.0%}), {rate:,.0f} {unit}/s, {left} left"
