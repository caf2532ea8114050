"""How long each verb takes from its start to its end on next to no work, against `import torch`, in the same run.

`python benchmarks/startup.py [ROUNDS]`

Each round starts every command once, one after the other, so that a busy moment meets all of them, and takes about a
minute. The ratios are of the shortest times, since other programs and the compilation of a first start only add to
them: of CPU seconds, which other programs disturb little, and of wall seconds.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROUNDS = 3
REPOSITORY = Path(__file__).parents[1]
CONFIG = """\
model: {_target_: ganlab.models.DCGAN, width: 4, latent: 4}
data: {url: shards}
train: {total_nimg: 16, batch: 8, tick_nimg: 8, sample_every_nimg: 16, checkpoint_every_nimg: 16}
logging: {wandb: disabled}
run: run
"""


def commands() -> dict[str, list[str]]:
    """Return what is started, by name; a dash stands for a new path."""
    verbs = [
        "--help", "data show shards", "data check shards", "data index tars --size 8 --out -",
        "data pack images.npz - --size 8", "compare run", "sample run -n 4 --out -", "show tiny.yaml",
        "evaluate run --metrics swd -n 16", "export run --out -",
    ]  # fmt: skip
    python = ("import torch", "import pytorch_lightning", "import ganlab", "pass")
    started = {code: [sys.executable, "-c", code] for code in python}
    return started | {f"ganlab {verb}": [sys.executable, "-m", "ganlab", *verb.split()] for verb in verbs}


def start(command: list[str], folder: Path, number: int) -> tuple[float, float]:
    """Run a command to its end; return its CPU seconds and its wall seconds."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(REPOSITORY), "GANLAB_CACHE": str(folder / "cache")}
    words = [f"new-{time.monotonic_ns()}-{number}.png" if word == "-" else word for word in command]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stderr}"
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall


def prepare(folder: Path) -> None:
    """Make a dataset, a run on it, and its results."""
    draw = np.random.default_rng(0)
    np.savez(folder / "images.npz", images=draw.integers(0, 256, (32, 16, 16), np.uint8))
    (folder / "tiny.yaml").write_text(CONFIG)
    for words in ("data pack images.npz shards --size 16", "train tiny.yaml", "evaluate run --metrics swd -n 16"):
        start([sys.executable, "-m", "ganlab", *words.split()], folder, 0)
    (folder / "tars").mkdir()
    for path in (folder / "shards").glob("*.tar"):
        (folder / "tars" / path.name).symlink_to(path)


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder, seconds = Path(made), dict[str, list[tuple[float, float]]]()
        prepare(folder)
        for number in range(rounds):
            for name, command in commands().items():
                seconds.setdefault(name, []).append(start(command, folder, number))
            print(f"round {number + 1} of {rounds} is done", file=sys.stderr)
    shortest = {name: [min(each) for each in zip(*taken, strict=True)] for name, taken in seconds.items()}
    cpu, wall = shortest["import torch"]
    print(f"shortest of {rounds}; import torch takes {cpu:.2f} s of CPU, {wall:.2f} s of wall\n")
    print("| started | CPU, of `import torch` | wall, of `import torch` |\n|---|---|---|")
    for name, (own_cpu, own_wall) in shortest.items():
        print(f"| `{name}` | {own_cpu / cpu:.2f} | {own_wall / wall:.2f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
