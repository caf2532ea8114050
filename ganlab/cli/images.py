"""The verbs that make images of a run, and models that travel."""

from pathlib import Path
from typing import Any

import click

from ganlab.cli.options import FOLDER, PLACE, STANDING, TRUST
from ganlab.cli.verbs import Verb


@click.command(cls=Verb)
@click.argument("run", type=FOLDER)
@click.option("-n", default=64, show_default=True, type=click.IntRange(min=1), help="How many images.")
@click.option(
    "--images", metavar="NUMBERS", help="Images by number instead: 37,40-45. Their grid has no classes' rows."
)
@click.option("--seed", default=0, show_default=True, help="Image i of a seed is always the same.")
@click.option("--out", type=FOLDER, help="File of the grid, or folder with --each; default: in the run's folder.")
@click.option("--each", is_flag=True, help="One PNG per image instead of one grid.")
@click.option(
    "--labels",
    help='Classes by name or number, repeated as often as needed: cat,"big, red",2. Default: drawn at random.',
)
@click.option(
    "--from", "source", type=PLACE, help="Make them of these real images: a folder or zip of images, or shards."
)
@click.option("--other", is_flag=True, help="The images of --from are of the domain of data.other.")
@click.option(
    "--truncation",
    type=float,
    help="Less variety, better images: BigGAN draws numbers beyond it again; StyleGAN2 moves w to its mean, down to 0.",
)
@STANDING
@click.option("--latents", type=FOLDER, help="Make the images of a latents.json, as `ganlab explore` saves it.")
@TRUST
def sample(
    run: Path,
    n: int,
    images: str | None,
    labels: str | None,
    source: str | None,
    latents: Path | None,
    other: bool,
    seed: int,
    truncation: float | None,
    standing: int,
    **options: Any,
) -> None:
    """Generate images with the averaged generator of RUN, a run's folder or an exported one.

    It says which image is where: seed 0, image 37 is named by --seed 0 --images 37 everywhere. With --from, a picture
    shows real images and what RUN makes of them; --each writes only what is made.
    """
    from ganlab.classes import split
    from ganlab.commands.sample import numbers_in, remake, sample, sample_latents
    from ganlab.types import UserError

    if latents is not None and ((images, labels, source, truncation) != (None,) * 4 or standing):
        raise UserError(
            "--latents: says itself which images and how; leave out --images, --labels, --from, --truncation and "
            "--standing"
        )
    if other and source is None:
        raise UserError("--other: says of which domain the images of --from are; give some, or leave it out")
    if source is not None and labels is not None:
        raise UserError("--labels: images of --from have classes of their own; leave one of the two out")
    if source is not None and (truncation is not None or standing):
        raise UserError("--truncation and --standing: images of --from are made of no latents; leave them out")
    numbers = range(n) if images is None else numbers_in(images)
    if latents is not None:
        out, where = sample_latents(run, latents, **options)
    elif source is None:
        chosen = None if labels is None else split(labels)
        options |= {"truncation": truncation, "standing": standing}
        out, where = sample(run, numbers, seed=seed, labels=chosen, **options)
    else:
        out, where = remake(run, source, numbers, other=other, **options)
    click.echo(out)
    click.echo(where, err=True)


@click.command(cls=Verb)
@click.argument("run", type=FOLDER)
@click.argument("place", metavar="IMAGES", type=PLACE)
@click.option("--out", required=True, type=FOLDER, help="Folder of the pictures and latents.")
@click.option("-n", default=16, show_default=True, type=click.IntRange(min=1), help="How many images, from the first.")
@click.option("--images", metavar="NUMBERS", help="Images by number instead: 37,40-45.")
@click.option("--steps", default=300, show_default=True, type=click.IntRange(min=1), help="Steps of the search.")
@click.option(
    "--starts", default=4, show_default=True, type=click.IntRange(min=1), help="Latents tried for each image."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the starts.")
@TRUST
def invert(run: Path, place: str, n: int, images: str | None, **options: Any) -> None:
    """Search for the latents from which RUN makes IMAGES: a folder or zip of images, or shards.

    The run's encoder gives the first start if it has one.
    """
    from ganlab.commands.invert import invert
    from ganlab.commands.sample import numbers_in

    numbers = range(n) if images is None else numbers_in(images)
    said = invert(run, place, numbers, **options)
    click.echo(options["out"] / "inverted.png")
    click.echo(said, err=True)


@click.command(cls=Verb)
@click.argument("run", type=FOLDER)
@click.option("--timelapse", is_flag=True, help="Of the pictures that the run has written in training.")
@click.option(
    "--walk",
    metavar="NUMBERS",
    help="Of the way between images of the seed, 37,40-45, and back to the first; or between those of a latents.json.",
)
@click.option("--seed", default=0, show_default=True, help="Of the images of --walk.")
@click.option("--truncation", type=float, help="Of the images of --walk, as of `ganlab sample`.")
@click.option("--labels", help="Classes of --walk that are shown side by side, as of `ganlab sample`.")
@click.option(
    "--seconds", default=2.0, show_default=True, type=click.FloatRange(0.04, 60), help="From one image to the next."
)
@click.option("--out", type=FOLDER, help="A .webp, .gif, .png, .avif, .mp4 or .webm; default: a .webp in RUN.")
@TRUST
def film(run: Path, timelapse: bool, walk: str | None, labels: str | None, out: Path | None, **options: Any) -> None:
    """Make a film of RUN: how its samples changed in training, or a walk through its latent space.

    Videos (.mp4, .webm) need `pip install 'ganlab[video]'`; the other formats begin anew at their end.
    """
    from ganlab.types import UserError

    if timelapse == (walk is not None):
        raise UserError("film: give one of --timelapse and --walk NUMBERS, such as --walk 0-7")
    if walk is None:
        from ganlab.commands.film import timelapse as write

        path, said = write(run, out)
    else:
        from ganlab.classes import split
        from ganlab.commands.walk import walk as through

        path, said = through(run, walk, labels=None if labels is None else split(labels), out=out, **options)
    click.echo(path)
    click.echo(said, err=True)


@click.command(cls=Verb)
@click.argument("run", type=FOLDER)
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free one.")
@TRUST
def explore(run: Path, port: int, trust: tuple[str, ...]) -> None:
    """Explore the images of RUN in a browser: choose, move, mix and save them, and find those of a picture.

    The page is for this machine alone, and for who has the address that is printed. Nothing is sent elsewhere, and
    nothing is written: the browser saves latents.json, of which `sample --latents` and `film --walk` make images.
    """
    from ganlab.commands.explore import explore

    explore(run, port, trust)


@click.command(cls=Verb)
@click.argument("run", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="Folder to write.")
@click.option(
    "--format",
    "form",
    default="safetensors",
    show_default=True,
    type=click.Choice(["safetensors", "onnx", "pt2", "hub", "page"]),
    help="safetensors and hub (for the Hugging Face Hub) are read by ganlab.load; onnx and pt2 are graphs; page is a "
    "site that samples in the browser.",
)
@click.option(
    "--license", "licence", metavar="ID", help="Under which others may use it, such as cc-by-4.0; for hub and page."
)
@click.option(
    "--runtime", type=FOLDER, help="Of a page: folder of onnxruntime-web, to be held in it; default: a CDN's."
)
@TRUST
def export(run: Path, out: Path, **options: Any) -> None:
    """Write the averaged networks of RUN for others, with a picture, class names, results and a README."""
    from ganlab.commands.export import export

    written, *told = export(run, out, **options)
    click.echo(written)
    for line in told:
        click.echo(line, err=True)
