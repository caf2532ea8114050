"""Memory of a pack and of an index of very many images, without the images: bytes each at the peak.

python benchmarks/many_names.py [--count 20000000] [--workers 2]
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from ganlab.data.make.account import Account
from ganlab.data.make.foreign import together
from ganlab.data.make.sources.classes import by_folder
from ganlab.data.make.sources.files import Folder
from ganlab.data.make.sources.members import Images
from ganlab.data.make.sources.names import Names
from ganlab.data.make.writing import divide

CLASSES, SHARD = 1000, 10_000


class Synthetic(Folder):
    """A folder whose files need not be there."""

    def stamp(self, i):
        """Make up a size and a time."""
        return [self.names[i], self.names[i].rpartition("/")[2], 100_000 + i, 1_700_000_000_000_000_000 + i]


def name_of(i):
    return f"n{i % CLASSES:08d}/n{i % CLASSES:08d}_{i}.JPEG"


def pack(count, workers):
    """Do what a pack does before the first image is decoded."""
    found = [name_of(i) for i in range(count)]
    found.sort()
    names = Names(found)
    del found
    account = Account()
    source = Synthetic(Path("s"), by_folder("s", names, account, wrapped=False), account, names)
    facts = source.facts(workers)
    order = np.random.Generator(np.random.PCG64(0)).permutation(count)
    parts = divide(facts, order, Path("d"), SHARD, (0, 0))
    todo = np.concatenate([part.chosen for part in parts])
    return len(todo)


def index(count, _):
    """Do what an index does with the images that it has found in its shards."""
    images = []
    for first in range(0, count, SHARD):
        numbers = np.arange(first, min(first + SHARD, count))
        places = np.stack([numbers * 100_000, numbers, numbers], 1)
        values = [int(str(i % CLASSES)) for i in numbers]
        images.append(Images(Names(map(name_of, numbers.tolist())), places, values, Account()))
    return len(together(images, "s", None, Account())[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("what", choices=["pack", "index"])
    options = parser.parse_args()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    count = {"pack": pack, "index": index}[options.what](options.count, options.workers)
    peak = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    print(f"{options.what}: {count:,} images, {peak / count:.0f} bytes each, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
