"""A run's folder as data, for notebooks and pages: what it measured, what happened, what it drew. Without torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import yaml

from ganlab.evaluation import results
from ganlab.experiment.lines import Columns, Lines
from ganlab.types import UserError

PICTURES = "samples"
"""Folder of a run's pictures."""
EVALUATED = ("neighbours.png", "truncation.png", "field.png", "spectrum.png")
"""What `ganlab evaluate` draws into the folder itself."""


@dataclass(frozen=True)
class Picture:
    """A picture that a run has written."""

    kind: str
    """What it shows: the part of its name before the images shown."""
    nimg: int
    """Images shown."""
    path: Path


class Run:
    """A run, finished or not, as it is when it is asked; a page or a notebook shows its curves and newest grid.

    `metrics` are the columns of `metrics.jsonl` by name, as a DataFrame where pandas is installed.

    Args:
        path: the run's folder.

    Raises:
        UserError: it is none.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        if not (self.path / "config.yaml").is_file():
            what = "holds no config.yaml" if self.path.is_dir() else "there is no such folder"
            raise UserError(f"{path}: no run: {what}; give the folder of a run, such as runs/digits-dcgan")
        self._lines = {name: Lines(self.path / f"{name}.jsonl") for name in ("metrics", "events")}
        self._columns, self._events = Columns(), list[dict[str, Any]]()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config, as plain values."""
        try:
            config = yaml.safe_load((self.path / "config.yaml").read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.path / 'config.yaml'}: cannot be read: {reason}; is it a run's?") from None
        if not isinstance(config, dict):
            raise UserError(f"{self.path / 'config.yaml'}: no config of a run; give the folder of a run")
        return config

    @property
    def columns(self) -> Columns:
        """The metrics by name; lines that came since the last look are added."""
        lines, before = self._lines["metrics"], -1
        while lines.offset != before:  # a block at a time
            before = lines.offset
            anew, rows = lines.read()
            if anew:
                self._columns = Columns()
            self._columns.add(rows)
        return self._columns

    @property
    def metrics(self) -> Any:
        """The metrics by name: a DataFrame where pandas is installed, else NumPy arrays."""
        try:
            import pandas as pd
        except ImportError:
            return self.columns
        frame = pd.DataFrame(dict(self.columns))
        if "time" in frame:
            frame["time"] = pd.to_datetime(frame["time"], unit="s", utc=True)
        return frame

    @property
    def events(self) -> list[dict[str, Any]]:
        """What happened, in its order."""
        anew, rows = self._lines["events"].read()
        self._events = rows if anew else self._events + rows
        return self._events

    @property
    def results(self) -> list[dict[str, Any]]:
        """The values of evaluations, oldest first, each with its protocol."""
        return results.read(self.path)

    @property
    def machine(self) -> dict[str, Any]:
        """What the last self-check measured of the machine; empty without one."""
        try:
            found = json.loads((self.path / "selfcheck.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def pictures(self) -> dict[str, list[Picture]]:
        """The pictures by their kind, oldest first: `nimg` are the samples."""
        found: dict[str, list[Picture]] = {}
        paths = sorted((self.path / PICTURES).glob("*.png"))
        beside = {path.name for path in paths}
        paths += [path for name in EVALUATED if (path := self.path / name).exists() and name not in beside]
        for path in paths:
            kind, _, nimg = path.stem.rpartition("-")
            picture = Picture(kind, int(nimg), path) if kind and nimg.isdecimal() else Picture(path.stem, 0, path)
            found.setdefault(picture.kind, []).append(picture)
        return found

    @property
    def total_nimg(self) -> int:
        """The images of the whole run."""
        train = self.config.get("train")
        total = train.get("total_nimg") if isinstance(train, Mapping) else None
        return total if isinstance(total, int) else 0

    def __repr__(self) -> str:
        nimg = self.columns.get("nimg")
        return f"Run({str(self.path)!r}): {0 if nimg is None or not len(nimg) else int(nimg[-1]):,} images"

    def _repr_html_(self) -> str:
        from ganlab.pictures.charts import svg
        from ganlab.pictures.panels import panels

        drawn = "".join(map(svg, panels({self.name: self.columns})))
        return f"<p><b>{escape(self.name)}</b> {escape(repr(self))}</p>{drawn}"

    def _repr_png_(self) -> bytes | None:
        grids = self.pictures.get("nimg")
        return grids[-1].path.read_bytes() if grids else None
