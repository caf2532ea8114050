"""The verbs of what comes with ganlab: `configs` and `demo`."""

import shutil
import sys
from pathlib import Path

import click

from ganlab.cli.options import FOLDER, OVERRIDES
from ganlab.cli.verbs import Verb
from ganlab.stopping import nothing_to_save


def names(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Return the shipped files whose name has begun like this, for the completion of shells."""
    from ganlab.experiment.shipped import shipped

    return [name for name in shipped() if name.startswith(begun)]


@click.command(cls=Verb)
@click.argument("name", required=False, shell_complete=names)
@click.option("--out", type=FOLDER, help="File of the copy, or a folder for it; default: here. Nothing is overwritten.")
def configs(name: str | None, out: Path | None) -> None:
    """List the configs and launch scripts that come with ganlab, with their data; or copy the one of NAME.

    Without a copy, ganlab:NAME is a config to `train` and `show`, a machine file, and a `base:`.
    """
    from ganlab.commands.configs import copy, listing

    if name is not None:
        click.echo(copy(name, out))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in listing():
        click.echo(line if width is None or len(line) <= width else f"{line[: width - 1]}…")


@click.command(cls=Verb)
@OVERRIDES
def demo(overrides: tuple[str, ...]) -> None:
    """Train a DCGAN on handwritten digits, in three minutes on two cores, and show what came of it.

    It writes data/ and runs/ where you are. Needs `pip install 'ganlab[demo]'`. Overrides as for `ganlab train`.
    """
    with nothing_to_save():
        from ganlab.commands.demo import demo

        sys.exit(demo(overrides))
