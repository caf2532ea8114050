"""One way to fill batches from a folder of images, in a process of its own: `benchmarks/data.py` starts it.

`peers.py prepare NAME FOLDER` writes the form that the way reads, `peers.py run NAME FOLDER SIZE WORKERS` fills batches
and, for every line with a number of images on its input, prints their seconds, and seconds of CPU of all its processes.
Every way decodes with simplejpeg, but for those called "as documented".
"""

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch.utils.data import DataLoader

BATCH, WARM_UP = 64, 8
"""Images of a batch, and batches before the clock starts: those that waited. A round is a multiple of both."""


def decoded(data: bytes) -> torch.Tensor:
    return torch.from_numpy(simplejpeg.decode_jpeg(data))


def for_ever(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def loaded(dataset: Any, workers: int, **options: Any) -> Iterator[Any]:
    """Batches of a dataset by torch's own loader, whose processes stay."""
    options = {"batch_size": BATCH, "drop_last": True, **options}
    return for_ever(DataLoader(dataset, num_workers=workers, persistent_workers=True, **options))


class Folder(torch.utils.data.Dataset):
    def __init__(self, folder: Path, decode: Callable[[bytes], torch.Tensor]) -> None:
        self.files, self.decode = sorted((folder / "photos").rglob("*.jpg")), decode

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.decode(self.files[i].read_bytes()), int(self.files[i].parent.name)


def by_pil(data: bytes) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(io.BytesIO(data)).convert("RGB")))


def run_folder(folder: Path, size: int, workers: int) -> Iterator[Any]:
    return loaded(Folder(folder, decoded), workers, shuffle=True)


def run_folder_pil(folder: Path, size: int, workers: int) -> Iterator[Any]:
    return loaded(Folder(folder, by_pil), workers, shuffle=True)


def run_webdataset(folder: Path, size: int, workers: int, decode: Any = None) -> Iterator[Any]:
    import webdataset

    tars = sorted(map(str, (folder / "shards").glob("*.tar")))
    dataset = webdataset.WebDataset(tars, shardshuffle=True, nodesplitter=webdataset.split_by_node).shuffle(1000)
    if decode is None:
        dataset = dataset.decode().to_tuple("jpg", "cls").map_tuple(lambda data: decoded(data), lambda label: label)
    else:
        dataset = dataset.decode(decode).to_tuple("jpg", "cls").map_tuple(torch.from_numpy, lambda label: label)
    return loaded(dataset.batched(BATCH), workers, batch_size=None, drop_last=False)


def run_webdataset_documented(folder: Path, size: int, workers: int) -> Iterator[Any]:
    return run_webdataset(folder, size, workers, "rgb8")


def bytes_and_label(file: str) -> dict[str, Any]:
    return {"image": Path(file).read_bytes(), "label": int(Path(file).parent.name)}


def prepare_litdata(folder: Path) -> None:
    import litdata

    files = sorted(map(str, (folder / "photos").rglob("*.jpg")))
    litdata.optimize(
        bytes_and_label, files, str(folder / "litdata"), chunk_bytes="16MB", num_workers=1, start_method="fork"
    )


def run_litdata(folder: Path, size: int, workers: int) -> Iterator[Any]:
    import litdata

    class Dataset(litdata.StreamingDataset):
        def __getitem__(self, i: Any) -> Any:
            sample = super().__getitem__(i)
            return decoded(sample["image"]), sample["label"]

    dataset = Dataset(str(folder / "litdata"), shuffle=True, drop_last=True)
    return for_ever(
        litdata.StreamingDataLoader(dataset, batch_size=BATCH, num_workers=workers, persistent_workers=True)
    )


def prepare_mosaic(folder: Path) -> None:
    from streaming import MDSWriter

    with MDSWriter(out=str(folder / "mosaic"), columns={"image": "bytes", "label": "int"}, size_limit=2**24) as out:
        for file in sorted(map(str, (folder / "photos").rglob("*.jpg"))):
            out.write(bytes_and_label(file))


def run_mosaic(folder: Path, size: int, workers: int) -> Iterator[Any]:
    from streaming import StreamingDataset

    class Dataset(StreamingDataset):
        def __getitem__(self, i: int) -> Any:
            sample = super().__getitem__(i)
            return decoded(sample["image"]), sample["label"]

    return loaded(Dataset(local=str(folder / "mosaic"), shuffle=True, batch_size=BATCH), workers)


def run_spdl(folder: Path, size: int, workers: int) -> Iterator[Any]:
    """Threads, as ganlab's; its own decoder, which takes FFmpeg's libraries, is not used."""
    from random import sample

    from spdl.pipeline import PipelineBuilder

    files = sorted((folder / "photos").rglob("*.jpg"))

    def read(file: Path) -> tuple[torch.Tensor, int]:
        return decoded(file.read_bytes()), int(file.parent.name)

    def stacked(samples: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = zip(*samples, strict=True)
        return torch.stack(images), torch.tensor(labels)

    builder = PipelineBuilder().add_source(file for _ in iter(int, 1) for file in sample(files, len(files)))
    builder = builder.pipe(read, concurrency=workers).aggregate(BATCH, drop_last=True).pipe(stacked).add_sink(2)
    pipeline = builder.build(num_threads=workers + 1)
    with pipeline.auto_stop():
        yield from pipeline


def run_ganlab(folder: Path, size: int, workers: int) -> Iterator[Any]:
    from dataclasses import replace

    from ganlab.data import BatchLoader, ShardDataset
    from ganlab.types import Phase

    dataset = ShardDataset(folder)
    phase = Phase(0, replace(dataset.image, height=size, width=size), BATCH)
    return iter(BatchLoader(dataset, plan=lambda nimg: phase, seed=0, threads=workers))


def run_ceiling(folder: Path, size: int, workers: int) -> Iterator[Any]:
    """Decode bytes that are in memory into one batch, each thread its share of it; nothing else."""
    from concurrent.futures import ThreadPoolExecutor

    data = [file.read_bytes() for file in sorted((folder / "photos").rglob("*.jpg"))]
    batch = np.empty((BATCH, size, size, 3), np.uint8)
    pool = ThreadPoolExecutor(workers)

    def decode(first: int, share: int) -> None:
        for i in range(share):
            simplejpeg.decode_jpeg(data[(first + i) % len(data)], buffer=batch[(first + i) % BATCH])

    share, first = WARM_UP * BATCH // workers, 0  # what a thread decodes without a word to the others
    while True:
        list(pool.map(decode, range(first, first + share * workers, share), [share] * workers))
        first += share * workers
        for _ in range(WARM_UP):
            yield batch


def cpu_seconds() -> float:
    """CPU of all processes of this session, and of those that have ended."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[3]) == os.getpid():
            ticks += sum(map(int, fields[11:15]))  # utime, stime, and those of children that were waited for
    return ticks / os.sysconf("SC_CLK_TCK")


def run(name: str, folder: Path, size: int, workers: int) -> None:
    import_everything_first = {"litdata": "litdata", "mosaic": "streaming", "ganlab": "ganlab.data"}
    __import__(import_everything_first.get(name, "torch"))
    start = time.perf_counter()
    batches = globals()[f"run_{name}"](folder, size, workers)
    next(batches)
    print(json.dumps({"first": time.perf_counter() - start}), flush=True)
    for line in sys.stdin:
        count = int(line) // BATCH
        for _ in islice(batches, WARM_UP):
            pass
        cpu, wall = cpu_seconds(), time.perf_counter()
        for _ in islice(batches, count):
            pass
        print(json.dumps({"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu}), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "prepare":
        globals()[f"prepare_{sys.argv[2]}"](Path(sys.argv[3]))
    else:
        run(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
