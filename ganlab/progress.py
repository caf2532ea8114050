"""Progress on a terminal, plain lines elsewhere."""

import os
import sys
import time
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

FIRST_LINE = 3.0
"""Seconds from the first update to the first line, where there is no terminal."""
BAR = 10
"""Least width of the bar; a narrower terminal shows none."""


class Progress:
    """Images done of a total, with speed and time left: one line on a terminal, otherwise a line now and then."""

    def __init__(
        self, what: str, total: int, done: int = 0, seconds_between_lines: float = 10.0, unit: str = "images"
    ) -> None:
        self.what, self.total, self.done, self.unit = what, total, done, unit
        self.seconds_between_lines = seconds_between_lines
        self.first, self.start, self.begun = done, time.monotonic(), False
        self.next_line = self.start + FIRST_LINE
        self.facts = ""
        self.bar = tqdm(bar_format="{desc}", leave=True) if sys.stderr.isatty() else None

    def update(self, images: int, facts: str | None = None, *, tell: bool = False) -> None:
        """Count `images` more, and show new `facts` beside them; `tell` prints a line whenever the last one was."""
        self.done += images
        self.facts = self.facts if facts is None else facts
        try:
            self._show(tell)
        except OSError:
            self._go_on_unseen()

    def _show(self, tell: bool) -> None:
        now = time.monotonic()
        if not self.begun and not tell and self.done < self.total:
            self.begun, self.first, self.start, self.next_line = True, self.done, now, now + FIRST_LINE
        elif self.bar is not None:
            if tell or now >= self.next_line or self.done >= self.total:
                self.next_line = now + 0.2
                self.bar.set_description_str(self.fitting(os.get_terminal_size(sys.stderr.fileno()).columns or 80))
        elif tell or now >= self.next_line or self.done >= self.total:
            self.next_line = now + self.seconds_between_lines
            line = f"{self.what}: {progress_line(self.done, self.total, self.rate(), self.unit)}"
            self.print(f"{line}, {self.facts}" if self.facts else line)

    def rate(self) -> float:
        """Images per second since the first update: what comes before it, such as starting workers, comes once."""
        return (self.done - self.first) / max(time.monotonic() - self.start, 1e-9)

    def fitting(self, width: int) -> str:
        """Return the state in fewer than `width` columns: what fits of share, time left, speed, count and facts."""
        rate = self.rate()
        share, left = f"{self.what} {percent(self.done, self.total)}%", f"{time_left(self.done, self.total, rate)} left"
        speed, count = f"{rate:,.0f}/s", f"{min(self.done, self.total):,} of {self.total:,} {self.unit}"
        text = share
        for pieces in ([share, left], [share, speed, left], [share, count, speed, left]):
            if len(longer := ", ".join(pieces)) < width:
                text = longer
        text = with_facts if self.facts and len(with_facts := f"{text}, {self.facts}") < width else text
        if (room := min(width - len(text) - 4, 3 * BAR)) >= BAR:
            full = room * min(self.done, self.total) // max(self.total, 1)
            text = text.replace(share, f"{share} |{'█' * full}{' ' * (room - full)}|", 1)
        return text[: width - 1]

    def print(self, line: str) -> None:
        """Print a line above the bar."""
        try:
            tqdm.write(line, file=sys.stderr)
            sys.stderr.flush()
        except OSError:
            self._go_on_unseen()

    def _go_on_unseen(self) -> None:
        """Send to nowhere what a terminal that is gone, or another reader, would have shown: the work goes on."""
        self.bar = None
        with Path(os.devnull).open("w") as nowhere:
            for stream in (1, 2):  # the output too if both went there
                if os.path.sameopenfile(stream, 2):
                    os.dup2(nowhere.fileno(), stream)

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


def percent(done: int, total: int) -> int:
    """Return the share that is done, rounded down, at most 100."""
    return min(100 * done // max(total, 1), 100)


def time_left(done: int, total: int, rate: float) -> str:
    """Return the time left as `1:40` or `2:46:40`."""
    minutes, seconds = divmod(int(max(total - done, 0) / max(rate, 1e-9)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}" if minutes >= 60 else f"{minutes}:{seconds:02d}"


def progress_line(done: int, total: int, rate: float, unit: str = "images") -> str:
    """Return progress, speed and time left as one line.

    `12,800 of 64,000 images (20%), 512 images/s, 1:40 left`
    """
    count = f"{min(done, total):,} of {total:,} {unit} ({percent(done, total)}%)"
    return f"{count}, {rate:,.0f} {unit}/s, {time_left(done, total, rate)} left"
