"""Vectors of a packed dataset: numbers for each image, which reach a game as `batch.vectors`."""

from pathlib import Path

import numpy as np

from ganlab.data.format.shards import Index, write_vectors
from ganlab.types import UserError


def add_vectors(folder: Path, file: Path) -> Index:
    """Give a dataset in a local folder the vectors of a .npy file [n, d], one for each image in the order of its index.

    Raises UserError if the folder holds no index, or the file no such array of finite numbers.
    """
    index = Index.read(folder)
    try:
        vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read: {error}; write it with numpy.save") from None
    if (
        not isinstance(vectors, np.ndarray)
        or vectors.ndim != 2
        or vectors.shape[1] < 1
        or vectors.dtype.kind not in "iuf"
    ):
        raise UserError(f"{file}: holds no array of numbers [n, d]; write one with numpy.save")
    if len(vectors) != len(index):
        raise UserError(f"{file}: {len(vectors):,} vectors, but {folder} has {len(index):,} images; give each one")
    numbers = vectors.astype(np.float32)
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers).all(1))[0])
        raise UserError(f"{file}: row {row:,} holds NaN or infinite numbers; mend it")
    write_vectors(folder, numbers)
    return Index.read(folder)
