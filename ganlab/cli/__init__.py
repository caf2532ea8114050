"""The command line. Each verb is imported when it runs, so that `--help` answers without torch."""

import click

from ganlab.cli.data import data
from ganlab.cli.images import explore, export, film, invert, sample
from ganlab.cli.judging import compare, evaluate, plot, report, watch
from ganlab.cli.shipped import configs, demo
from ganlab.cli.training import show, train
from ganlab.cli.verbs import Verbs, told

__all__ = ["main", "told"]


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ganlab")
def main() -> None:
    """Train image GANs, on one process or many."""


for verb in (
    train,
    show,
    sample,
    invert,
    film,
    explore,
    evaluate,
    compare,
    report,
    watch,
    plot,
    export,
    data,
    configs,
    demo,
):
    main.add_command(verb)
