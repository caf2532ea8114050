"""The verb `configs`: list what is shipped, or copy one file of it."""

import posixpath
import re
import shutil
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import yaml

from ganlab.experiment.shipped import PREFIX, file_of, shipped


def listing() -> Iterator[str]:
    """Describe every shipped file in a line: its name, the comment that it begins with, and its data."""
    files = shipped()
    width = max(map(len, files))
    for name, file in files.items():
        data = data_of(file) if file.suffix == ".yaml" else None
        yield f"{name:<{width}}  {comment_of(file)}{f' [{data}]' if data else ''}"


def comment_of(file: Path) -> str:
    """Return the paragraph of comment that a file begins with, as one line."""
    lines = file.read_text().removeprefix("#!/usr/bin/env bash\n").splitlines()
    return " ".join(line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("# "), lines))


def data_of(file: Path) -> str | None:
    """Return the `data.url` of a shipped config, or of the one that it is based on."""
    try:
        values = yaml.safe_load(file.read_text())
    except yaml.YAMLError:
        return "not YAML"
    url: str | None = values.get("data", {}).get("url")
    return data_of(file.parent / values["base"]) if url is None and "base" in values else url


def copy(name: str, out: Path | None) -> Path:
    """Copy a shipped file to a new one, or into a folder; its `base:` becomes the shipped one's name.

    Raises `FileExistsError` rather than overwrite.
    """
    file = file_of(name)
    out = Path(file.name) if out is None else out / file.name if out.is_dir() else out

    def base(found: re.Match[str]) -> str:
        return f"base: {PREFIX}{posixpath.normpath(posixpath.join(posixpath.dirname(name), found[1]))}"

    text = re.sub(r"^base: (\S+)", base, file.read_text(), flags=re.MULTILINE)
    with out.open("x") as new:
        new.write(text)
    shutil.copymode(file, out)
    return out
