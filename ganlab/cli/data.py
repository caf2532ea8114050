"""The verbs of `ganlab data`."""

import sys
from pathlib import Path
from typing import Any

import click

from ganlab.cli.options import CROP, FOLDER, PLACE, Size
from ganlab.cli.verbs import Verbs


@click.group(cls=Verbs)
def data() -> None:
    """Create and check datasets of shards."""


@data.command()
@click.argument("source", type=FOLDER)
@click.argument("dest", type=FOLDER)
@click.option("--size", required=True, type=Size(), help="Of the packed images, px: 64 for 64x64, or 96x64.")
@CROP
@click.option("--with", "partners", type=FOLDER, help="Source of images of the same names, packed below SOURCE's.")
@click.option("--image-format", default="png", show_default=True, type=click.Choice(["png", "jpeg", "webp"]))
@click.option("--quality", default=95, show_default=True, type=click.IntRange(1, 100), help="JPEG quality.")
@click.option("--channels", type=click.Choice(["1", "3", "4"]), help="Default: 1 if all images are grey, else 3.")
@click.option("--pyramid", is_flag=True, help="Add copies of each image at every power of two from 4 px up.")
@click.option("--shard-samples", default=4096, show_default=True, type=click.IntRange(min=1), help="Images in a shard.")
@click.option("--seed", default=0, show_default=True, help="Seed of the shuffle.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(min=1), help="Encoding processes.")
@click.option("--labels", metavar="NAME", help="A dataset.json, the field of each .json in tars, or none.")
@click.option("--skip-bad", is_flag=True, help="Leave out what cannot be decoded.")
def pack(source: Path, dest: Path, channels: str | None, **options: Any) -> None:
    """Pack SOURCE into shards in the folder DEST: cropped, resized with antialiasing, shuffled.

    SOURCE is a folder or zip of images (one class per sub-folder, or labels in a dataset.json), an idx file of the
    MNIST layout, a NumPy array (.npy, or .npz with images and labels), a WebDataset (a .tar, a folder of them, or
    part-{000..127}.tar), an LMDB in LSUN's layout, or torchvision:CIFAR10:FOLDER, torchvision:STL10.unlabeled:FOLDER
    and so on, already downloaded. What is left out of it is listed, and where its classes come from. A killed pack
    resumes where it was; one of a source that has more images than before appends shards.
    """
    from ganlab.data.make.pack import pack

    before = (dest / "index.json").stat().st_mtime_ns if (dest / "index.json").exists() else 0
    index = pack(source, dest, channels=int(channels) if channels else None, **options)
    there = "already packed, " if before == (dest / "index.json").stat().st_mtime_ns else ""
    _echo_account(index)
    click.echo(f"{dest}: {there}{len(index):,} images of {index.image}; shards: {len(index.shards)}")


def _echo_account(index: Any) -> None:
    """Print what was left out of an index, and the classes without an image."""
    from ganlab.data.make.show import account_of

    for line in account_of(index):
        click.echo(line)


@data.command()
@click.argument("folder", type=FOLDER)
@click.argument("file", type=FOLDER)
def vectors(folder: Path, file: Path) -> None:
    """Give the dataset in FOLDER the vectors of FILE.npy, [n, d]: one row for each image, in the order of the shards.

    A game reads them as batch.vectors.
    """
    from ganlab.data.make.vectors import add_vectors

    index = add_vectors(folder, file)
    click.echo(f"{folder}: {len(index):,} images with vectors of {index.vectors.shape[1]} dimensions")


URL = click.argument("url", type=PLACE)
CONTACT_SHEET = click.option(
    "--contact-sheet", type=FOLDER, help="PNG to write; default: contact-sheet.png beside the shards, or here."
)


@data.command()
@URL
@CONTACT_SHEET
@click.option("--repair", is_flag=True, help="First rewrite the index if it does not match the shards of a folder.")
def check(url: str, contact_sheet: Path | None, repair: bool) -> None:
    """Read every shard and compare it with the index; print counts per class and draw a contact sheet."""
    from ganlab.data.make import check as checking
    from ganlab.data.make.repair import repair as mend

    for line in mend(Path(url)) if repair else []:
        click.echo(line)
    report = checking.check(url, contact_sheet)
    for line in report.lines():
        click.echo(line)
    sys.exit(1 if report.problems else 0)


@data.command("show")
@URL
@CONTACT_SHEET
def show_data(url: str, contact_sheet: Path | None) -> None:
    """Print classes, sizes, mean and deviation of a dataset, and draw a contact sheet."""
    from ganlab.data.make.show import describe

    for line in describe(url, contact_sheet):
        click.echo(line)


@data.command()
@URL
@click.option("--size", type=click.IntRange(min=1), help="Height of the batch's images, px; default: the dataset's.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(min=1), help="Decoding threads.")
def bench(url: str, size: int | None, threads: int) -> None:
    """Measure the loading speed of a dataset, and where the time goes."""
    from ganlab.data.make.bench import bench

    for line in bench(url, size=size, threads=threads):
        click.echo(line)


@data.command()
@URL
@click.option("--out", type=FOLDER, help="Folder for the index, which data.url then names; default: beside the shards.")
@click.option("--size", required=True, type=Size(), help="That the images will have, px: 64 for 64x64, or 96x64.")
@CROP
@click.option("--channels", default="3", show_default=True, type=click.Choice(["1", "3", "4"]))
@click.option("--labels", metavar="FIELD", help="Field of each .json with the class, or none; default: the .cls.")
def index(url: str, channels: str, **options: Any) -> None:
    """Index WebDataset shards that another program wrote: a folder, or URL/name-{000..009}.tar.

    Images may have any size: they are cropped and resized when they are decoded. Local shards are read completely, of
    remote ones only the headers and classes.
    """
    from ganlab.data.make.foreign import index as index_shards

    found = index_shards(url, channels=int(channels), **options)
    without = int((found.samples["label"] < 0).sum()) if found.image.classes else 0
    more = f"; {without:,} without a class" if without else ""
    _echo_account(found)
    click.echo(f"{len(found):,} images of {found.image}; shards: {len(found.shards)}{more}")
