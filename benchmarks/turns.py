"""Ways to be compared, each in a process of its own that waits for its turn."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence


class Waiting:
    """A process that answers each line on its input, and its own readiness, with a line of JSON."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.ready = self.answer()

    def answer(self) -> dict[str, float]:
        while line := self.process.stdout.readline():
            if line.startswith('{"'):
                return json.loads(line)
        raise ChildProcessError(f"ended with {self.process.wait()}")

    def ask(self, count: int) -> dict[str, float]:
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)  # endless batches have no end to wait for
        self.process.wait()
