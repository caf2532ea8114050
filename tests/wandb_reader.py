"""Read an offline W&B run back from its `run-<id>.wandb` file, without W&B's server.

The file is a LevelDB log: a header of 7 bytes, then blocks of 32 KiB, each of chunks [crc32 u32, length u16, kind u8,
payload]; a record is one chunk (kind 1) or several (2, 3, ..., 4). Each record is a protobuf of W&B's own.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb
from wandb.proto import wandb_internal_pb2

BLOCK, HEADER = 32768, struct.Struct("<IHB")
WHOLE, FIRST, LAST = 1, 2, 4


@dataclass
class OfflineRun:
    """What one process wrote: a run that was resumed has several files of one id."""

    id: str = ""
    project: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    ended: bool = False

    def values(self, name: str) -> dict[int, Any]:
        """Return the values of one name, against `nimg`."""
        return {row["nimg"]: row[name] for row in self.history if name in row}


def offline_runs(folder: Path) -> list[OfflineRun]:
    """Read all offline runs in a run folder's `wandb`, oldest first; what a killed one wrote of its end is left out."""
    wandb.teardown()  # `finish` returns before W&B's service has written the last records; this waits for it
    return [_read(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


def _read(path: Path) -> OfflineRun:
    run = OfflineRun()
    for record in _records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.project = record.run.run_id, record.run.project
            run.config |= _values(record.run.config.update)
        elif kind == "config":
            run.config |= _values(record.config.update)
        elif kind == "history":
            run.history.append(_values(record.history.item))
        elif kind == "exit":
            run.ended = True
    return run


def _records(data: bytes) -> Iterator[wandb_internal_pb2.Record]:
    assert data[:4] == b":W&B", data[:8]
    position, record = 7, b""
    while position + HEADER.size <= len(data):
        left = BLOCK - position % BLOCK
        _, length, kind = HEADER.unpack_from(data, position)
        if left < HEADER.size or (kind == 0 and length == 0):  # the end of a block is padded
            position += left
            continue
        position += HEADER.size
        if position + length > len(data):
            return
        record = (b"" if kind in (WHOLE, FIRST) else record) + data[position : position + length]
        position += length
        if kind in (WHOLE, LAST):
            yield wandb_internal_pb2.Record.FromString(record)


def _values(items: Any) -> dict[str, Any]:
    """Put together what W&B takes apart: an image comes as one item for each of its fields."""
    values: dict[str, Any] = {}
    for item in items:
        *path, name = list(item.nested_key) or [item.key]
        node = values
        for step in path:
            node = node.setdefault(step, {})
        node[name] = json.loads(item.value_json)
    return values
