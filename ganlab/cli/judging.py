"""The verbs that judge runs and show them."""

from pathlib import Path
from typing import Any

import click

from ganlab.cli.options import FOLDER, PLACE, RUNS, STANDING, TRUST, Numbers
from ganlab.cli.verbs import Verb


@click.command(cls=Verb)
@click.argument("target", metavar="RUN_OR_IMAGES", type=PLACE)
@click.argument("images", required=False, type=PLACE)
@click.option(
    "--metrics",
    help="Of fid,kid,prdc,is,intra_fid,swd,msssim,neighbours,spectrum,field,cas,probe,conditioning,reconstruction, and "
    "for points modes,moments,mmd,parzen. Default: the run's, or what fits the reals.",
)
@click.option("--data", type=PLACE, help="The reals, as IMAGES. Default: IMAGES, evaluation.data or the training data.")
@click.option("--extractor", type=FOLDER, help="TorchScript file: bytes [n, c, h, w] to features [n, d].")
@click.option(
    "-n",
    type=click.IntRange(min=1),
    help="Images of RUN_OR_IMAGES, not of the reals. Default: 50,000 of a run, all of a folder.",
)
@click.option("--truncation", "truncations", type=Numbers(), help="Of the latents of a run. Several draw a chart.")
@STANDING
@TRUST
def evaluate(target: str, images: str | None, metrics: str | None, **options: Any) -> None:
    """Evaluate a run or images against IMAGES; under torchrun, all processes share the work.

    Both may be a run's folder, shards (a folder, a URL, or some: x-{000..009}.tar), or a folder or zip of images.

    The full name of a value states its protocol. The values of a run are added to its results.jsonl. Statistics of the
    reals are cached in $GANLAB_CACHE, or ~/.cache/ganlab.
    """
    from ganlab.commands.evaluate import evaluate_paths

    chosen = [name.strip() for name in metrics.split(",")] if metrics is not None else []
    for line in evaluate_paths(target, images, metrics=chosen, **options):
        click.echo(line)


@click.command(cls=Verb)
@RUNS
def compare(runs: tuple[Path, ...]) -> None:
    """Print the results of RUNs side by side; values of different protocols are refused."""
    from ganlab.commands.compare import compare

    for line in compare(runs):
        click.echo(line)


@click.command(cls=Verb)
@RUNS
@click.option("--out", type=FOLDER, help="FILE.html; default: report.html in the run's folder, or here for several.")
def report(runs: tuple[Path, ...], out: Path | None) -> None:
    """Write a page about RUNs, curves over each other, in one file that opens offline and can be sent to anyone."""
    from ganlab.commands.report import report

    click.echo(report(runs, out))


@click.command(cls=Verb)
@click.argument("run", type=FOLDER)
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
def watch(run: Path, port: int) -> None:
    """Show RUN in a browser while it trains: curves, newest samples, events.

    It reads the folder only, so it cannot disturb the run, and works for a run on a shared file system. It listens on
    127.0.0.1; from another machine, `ssh -L` leads there.
    """
    from ganlab.commands.watch import watch

    watch(run, port)


@click.command(cls=Verb)
@RUNS
@click.option("--out", type=FOLDER, required=True, help="FILE.pdf, .svg, .png or .eps.")
@click.option("--metrics", help="Names of metrics.jsonl, with * as a wildcard: a chart for each. Default: the losses.")
def plot(runs: tuple[Path, ...], out: Path, metrics: str | None) -> None:
    """Draw the curves of RUNs over each other, as wide as a column of a paper."""
    from ganlab.commands.plot import plot

    click.echo(plot(runs, out, [name.strip() for name in metrics.split(",")] if metrics is not None else []))
