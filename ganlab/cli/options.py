"""Kinds of values, and the options that several verbs share."""

from pathlib import Path
from typing import Any

import click

from ganlab.files import with_home


def place(value: Any) -> str:
    """Read a path or a URL, in which ~ is the home folder. An empty one, of a variable that is not set, is refused."""
    if not str(value):
        raise click.BadParameter("is empty; write . for this folder")
    return with_home(str(value))


class Folder(click.Path):
    """A path, in which ~ is the home folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a path."""
        return super().convert(place(value), param, ctx)


class Place(click.types.StringParamType):
    """A path or a URL, in which ~ is the home folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read a path or a URL."""
        return place(value)


FOLDER, PLACE = Folder(), Place()


class Size(click.ParamType):  # type: ignore[type-arg]  # generic only in newer ones
    """A size in px: one number for a square, or HEIGHTxWIDTH."""

    name = "HEIGHT[xWIDTH]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return height and width."""
        height, by, width = str(value).lower().partition("x")
        if not (height.isdecimal() and (width.isdecimal() or not by) and int(height) and int(width or height)):
            self.fail(f"{value!r}; write 64 for a square, or height and width in px, such as 96x64")
        return int(height), int(width or height)


class Seeds(click.ParamType):  # type: ignore[type-arg]
    """Numbers and ranges of seeds: 0..31, or 1,4,10..19."""

    name = "FIRST..LAST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """Return the seeds."""
        seeds = list[int]()
        for part in str(value).split(","):
            first, to, last = part.strip().partition("..")
            if not (first.isdecimal() and (last.isdecimal() or not to) and int(first) <= int(last or first)):
                self.fail(f"{value!r}; write 0..31, or 1,4,10..19")
            seeds += range(int(first), int(last or first) + 1)
        return list(dict.fromkeys(seeds))


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Numbers with commas between them: 0.5, or 0.3,0.5,0.7."""

    name = "NUMBER,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        """Return the numbers."""
        try:
            return list(dict.fromkeys(float(part) for part in str(value).split(",")))
        except ValueError:
            self.fail(f"{value!r}; write a number, or several with commas between them, such as 0.3,0.5,0.7")


CONFIG = click.argument("config", type=FOLDER)
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
MACHINE = click.option("--machine", type=FOLDER, help="YAML of `machine` and `logging` keys, laid over the config.")
RUNS = click.argument("runs", type=FOLDER, nargs=-1, required=True, metavar="RUN...")
TRUST = click.option("--trust", multiple=True, metavar="PREFIX", help="Package whose classes a config may name.")
STANDING = click.option(
    "--standing",
    default=0,
    type=click.IntRange(min=0),
    metavar="N",
    help="First measure the statistics of batch norms from N batches of 64 samples, instead of taking training's.",
)
CROP = click.option(
    "--crop",
    default="center",
    show_default=True,
    type=click.Choice(["center", "fit", "none"]),
    help="Of images of another shape: center cuts, fit pads with black, none refuses them.",
)
