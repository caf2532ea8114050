"""The verbs `train` and `show`."""

import sys
from dataclasses import replace
from pathlib import Path

import click

from ganlab.cli.options import CONFIG, MACHINE, OVERRIDES, TRUST, Seeds
from ganlab.cli.verbs import Verb
from ganlab.stopping import nothing_to_save


@click.command(cls=Verb)
@CONFIG
@OVERRIDES
@MACHINE
@TRUST
@click.option(
    "--allow-change", multiple=True, metavar="KEY", help="Key or section that may differ from the checkpoint."
)
@click.option(
    "--from", "start_from", metavar="RUN", help="Run or exported folder from whose networks a new run starts."
)
@click.option(
    "--seeds", type=Seeds(), help="Train each of these seeds, in a folder of its own in the run's; then a table."
)
def train(
    config: Path,
    overrides: tuple[str, ...],
    machine: Path | None,
    trust: tuple[str, ...],
    allow_change: tuple[str, ...],
    start_from: str | None,
    seeds: list[int] | None,
) -> None:
    """Train CONFIG, or resume from the newest checkpoint in its run folder.

    CONFIG is a file, or ganlab:NAME for one that `ganlab configs` lists, such as ganlab:digits/dcgan.yaml.

    Overrides are applied last: train.batch=32, model.regularizers.r1=null (removes a named part),
    run=PATH (the run's folder; default runs/<dataset>-<config's name>).
    """
    with nothing_to_save():  # also while torch is imported, which takes seconds
        from ganlab.commands.train import train
        from ganlab.experiment.config import load

        loaded = load(config, overrides, machine, trust)
        if start_from is not None:
            loaded = replace(loaded, train=replace(loaded.train, start_from=start_from))
        if seeds is None:
            sys.exit(train(loaded, allow_change))
        from ganlab.commands.seeds import train_seeds

        sys.exit(train_seeds(loaded, seeds, allow_change))


@click.command(cls=Verb)
@CONFIG
@OVERRIDES
@MACHINE
@TRUST
@click.option("--time", is_flag=True, help="Also time steps for ten seconds, against this machine's limit.")
@click.option("--memory", type=click.FloatRange(min=1), help="Say how many images at a time fit, in bytes: 80e9.")
def show(
    config: Path,
    overrides: tuple[str, ...],
    machine: Path | None,
    trust: tuple[str, ...],
    time: bool,
    memory: float | None,
) -> None:
    """Print the resolved CONFIG, every network layer by layer, the plan of the run, and what it costs.

    It allocates no memory.
    """
    from ganlab.commands.show import show
    from ganlab.experiment.config import load

    for section in show(load(config, overrides, machine, trust), time, memory):
        click.echo(section)
