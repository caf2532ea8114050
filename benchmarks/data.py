"""Images per second, and CPU per image, from JPEG files of 256 px to a uint8 batch: ganlab and others, and the ceiling.

All ways read the same files, each in a process of its own with as many threads or worker processes; they take turns,
and each figure is a median of the rounds (smallest-largest). The ceiling is the codec alone, over bytes in memory. The
peers are installed into a folder of their own in ~/.cache, and use torch and NumPy of the environment that runs this.

The photographs are windows of 256 px on walls of the 100 px photographs of the sign digits (`$GANLAB_SHARED` or
`../shared`), quality 92, 4:2:0; without them, of noise that is as hard to decode.
"""

import io
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image
from turns import Waiting
from webdataset import TarWriter

from ganlab.data.make.pack import pack
from ganlab.data.make.repair import repair

SIZE, IN_A_SHARD, SMALL = 256, 256, (8, 16, 32, 64)
PEERS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganlab-benchmark-peers"
INSTALLED = ("litdata==0.2.76", "streaming-community==0.14.2", "spdl-core==0.8.0")
OURS = ("torch", "torchvision", "numpy", "pillow")
"""Packages of the environment that the peers use too."""
WAYS = {
    "ceiling": "decoding alone, from memory",
    "ganlab": "ganlab",
    "webdataset_documented": "webdataset, as documented",
    "webdataset": "webdataset, simplejpeg",
    "litdata": "litdata, simplejpeg",
    "mosaic": "streaming-community, simplejpeg",
    "spdl": "spdl, simplejpeg",
    "folder": "folder + DataLoader, simplejpeg",
    "folder_pil": "folder + DataLoader, PIL",
}


class Process(Waiting):
    """A way that has filled its first batch and waits for orders."""

    def __init__(self, way: str, folder: Path, size: int, workers: int) -> None:
        super().__init__([*PEER, "run", way, str(folder), str(size), str(workers)], environment())
        self.first = self.ready["first"]

    def measure(self, images: int) -> tuple[float, float]:
        """Images per second, and microseconds of CPU an image."""
        answer = self.ask(images)
        return images / answer["wall"], answer["cpu"] / images * 1e6


PEER = [sys.executable, str(Path(__file__).with_name("peers.py"))]


def environment() -> dict[str, str]:
    """Find ganlab and the peers, and nothing of what a site has set up for other programs."""
    return os.environ | {"PYTHONPATH": f"{Path(__file__).parents[1]}:{PEERS}", "OMP_NUM_THREADS": "1"}


def install() -> None:
    """Put the peers into their folder, but for what the environment has already."""
    PEERS.mkdir(parents=True, exist_ok=True)
    (PEERS / "excluded.txt").write_text("\n".join(OURS))
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", str(PEERS)]
    for package in INSTALLED:
        done = subprocess.run([*command, "--excludes", str(PEERS / "excluded.txt"), package], check=False)
        if done.returncode:
            print(f"{package}: could not be installed; left out")


def photographs(count: int) -> Iterator[tuple[int, bytes]]:
    """Yield labels and JPEG files."""
    draw = np.random.default_rng(0)
    tiles = tuple(sign_digits()) or tuple(
        Image.fromarray(draw.integers(0, 256, (25, 25, 3), np.uint8)).resize((100, 100)) for _ in range(500)
    )
    for i in range(count):
        wall = Image.new("RGB", (400, 400))
        for place, tile in enumerate(draw.integers(0, len(tiles), 16).tolist()):
            wall.paste(tiles[tile], (place % 4 * 100, place // 4 * 100))
        left, top = draw.integers(0, 400 - SIZE, 2).tolist()
        file = io.BytesIO()
        wall.crop((left, top, left + SIZE, top + SIZE)).save(file, "JPEG", quality=92, subsampling=2)
        yield i % 10, file.getvalue()


def sign_digits() -> Iterator[Image.Image]:
    shared = Path(os.environ.get("GANLAB_SHARED", Path(__file__).parents[2] / "shared"))
    path = shared / "data" / "sign_digits" / "sign_digits.zip"
    if not path.exists():
        return
    with zipfile.ZipFile(path) as archive:
        for name in sorted(name for name in archive.namelist() if name.lower().endswith(".jpg")):
            picture = Image.open(io.BytesIO(archive.read(name)))
            if picture.size == (100, 100):
                yield picture.convert("RGB")


def prepare(folder: Path, count: int) -> list[str]:
    """Write the photographs in every form; return the ways that can read them."""
    total = 0
    (folder / "shards").mkdir()
    for i, (label, data) in enumerate(photographs(count)):
        file = folder / "photos" / str(label) / f"{i:06d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        total += len(data)
        if i % IN_A_SHARD == 0:
            tar = TarWriter(str(folder / "shards" / f"shard-{i // IN_A_SHARD:06d}.tar"), encoder=False)
        tar.write({"__key__": f"{i:09d}", "jpg": data, "cls": str(label).encode()})
        if i % IN_A_SHARD == IN_A_SHARD - 1 or i == count - 1:
            tar.close()
    repair(folder / "shards")
    pack(folder / "photos", folder / "pyramid", size=SIZE, image_format="jpeg", pyramid=True, shard_samples=IN_A_SHARD)
    kind = "walls of the sign digits" if any(sign_digits()) else "noise"
    print(f"{count:,} JPEG files of {SIZE} px ({kind}), {total / count / 1e3:.1f} kB on average")
    ways = list(WAYS)
    for way in ("litdata", "mosaic"):
        done = subprocess.run([*PEER, "prepare", way, str(folder)], env=environment(), capture_output=True, text=True)
        if done.returncode:
            print(f"{WAYS[way]}: left out: {done.stderr.strip().splitlines()[-1]}")
            ways.remove(way)
    return ways


def take_turns(
    processes: dict[Any, Process], rounds: int, images: dict[Any, int]
) -> dict[Any, list[tuple[float, float]]]:
    figures: dict[Any, list[tuple[float, float]]] = {way: [] for way in processes}
    for _ in range(rounds):
        for way, process in processes.items():
            figures[way].append(process.measure(images[way]))
    for process in processes.values():
        process.end()
    return figures


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):9,.0f} ({min(values):,.0f}-{max(values):,.0f})"


@click.command()
@click.option("--count", default=4096, show_default=True, help="Photographs.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--images", default=8192, show_default=True, help="Images of a round at 256 px: n x 512.")
@click.option("--workers", default=2, show_default=True, help="Threads, or processes, that decode.")
def main(count: int, rounds: int, images: int, workers: int) -> None:
    install()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ways = prepare(folder, count)
        inside = {"ganlab": folder / "shards"}
        processes = {}
        for way in ways:
            try:
                processes[way] = Process(way, inside.get(way, folder), SIZE, workers)
            except ChildProcessError as error:
                print(f"{WAYS[way]}: left out: {error}")
        ways = list(processes)
        print(f"{workers} threads or worker processes, {rounds} rounds of {images:,} images\n")
        print(f"{'':<34}{'images/s':>9}{'':<20}{'us of CPU an image':>18}{'':<12}{'first batch':>12}")
        firsts = {way: process.first for way, process in processes.items()}
        figures = take_turns(processes, rounds, dict.fromkeys(ways, images))
        for way in ways:
            rates, cpu = zip(*figures[way], strict=True)
            print(f"{WAYS[way]:<34}{spread(rates):<29}{spread(cpu):<30}{firsts[way]:10.2f} s")
        others = [way for way in ways if way not in ("ceiling", "ganlab")]
        best = min(others, key=lambda way: statistics.median(cpu for _, cpu in figures[way]))
        share = [a[0] / b[0] for a, b in zip(figures["ganlab"], figures["ceiling"], strict=True)]
        ratio = [b[1] / a[1] for a, b in zip(figures["ganlab"], figures[best], strict=True)]
        print(f"\nganlab / ceiling, images/s: {statistics.median(share):.2f} ({min(share):.2f}-{max(share):.2f})")
        print(f"{WAYS[best]} / ganlab, CPU: {statistics.median(ratio):.2f} ({min(ratio):.2f}-{max(ratio):.2f})\n")
        sizes = (*SMALL, SIZE)
        processes = {size: Process("ganlab", folder / "pyramid", size, workers) for size in sizes}
        figures = take_turns(processes, rounds, {size: images * (4 if size < SIZE else 1) for size in sizes})
        for size in sizes:
            rates, cpu = zip(*figures[size], strict=True)
            ratio = [a[0] / b[0] for a, b in zip(figures[size], figures[SIZE], strict=True)]
            times = f"x{statistics.median(ratio):.1f}"
            print(f"from the pyramid, {size:>3} px{'':<10}{spread(rates):<29}{spread(cpu):<30}{times}")


if __name__ == "__main__":
    main()
