"""The signals that ask a run to stop, and what they do while there is nothing to save."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STOPPED_BY_SIGNAL = 75
"""Exit code of a run that a signal stopped and that has lost nothing: run the same command again."""


def heeded() -> list[signal.Signals]:
    """Return the signals that ask to stop; a closed terminal does not, if `nohup` says so."""
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
    return numbers if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [*numbers, signal.SIGHUP]


@contextmanager
def nothing_to_save() -> Iterator[None]:
    """End the process at once, with `STOPPED_BY_SIGNAL`, at a signal other than Ctrl-C.

    Python runs handlers between two of its own operations only, and waiting for other processes is one operation: so
    a thread ends the process, which reads the signals' numbers as they arrive.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    numbers = [number for number in heeded() if number != signal.SIGINT]
    threading.Thread(target=end_at, args=(reader, numbers), daemon=True).start()
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)  # before the handlers: no signal may be lost
    handlers = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(writer)


def end_at(reader: int, numbers: list[signal.Signals]) -> None:
    """End the process at the first of some signals; return when the pipe is closed."""
    while told := os.read(reader, 1):
        if told[0] in numbers:
            name = signal.Signals(told[0]).name
            with suppress(OSError):  # the terminal may be gone
                os.write(2, f"ganlab: stopped by {name} with nothing to save; the same command goes on\n".encode())
            os._exit(STOPPED_BY_SIGNAL)
    os.close(reader)
