"""The command line. Each verb is imported when it runs, so that `--help` answers without torch."""

import errno
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ganlab.files import with_home
from ganlab.stopping import nothing_to_save

REMEDIES = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EISDIR: "name a file, not a folder",
    errno.EEXIST: "choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EACCES: "choose a place that you may use",
    errno.EPERM: "choose a place that you may use",
    errno.EROFS: "choose a place that can be written",
    errno.ENOSPC: "make room, then run the same command",
    errno.EDQUOT: "make room, then run the same command",
    errno.EMFILE: "raise the limit of open files: ulimit -n 65536",
    errno.ELOOP: "a link in the path leads to itself",
}
"""What to do about errors of the operating system that a person can mend."""


class Folder(click.Path):
    """A path, in which ~ is the home folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a path."""
        return super().convert(with_home(str(value)), param, ctx)


class Place(click.types.StringParamType):
    """A path or a URL, in which ~ is the home folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read a path or a URL."""
        return with_home(str(value))


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


class Verb(click.Command):
    """A command with exit code 0 when done, 2 for a user's mistake, 1 for any other error, 130 for Ctrl-C."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."))

    def invoke(self, context: click.Context) -> Any:
        """Run the verb; print what a person can mend as one message."""
        debug = context.params.pop("debug")
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            sys.exit(130)
        except Exception as error:
            code, message = told(error)
            if message is None:
                raise
            if debug:
                traceback.print_exc()
            click.echo(f"ganlab: {message}", err=True)
            sys.exit(code)


def told(error: Exception) -> tuple[int, str | None]:
    """Return the exit code and the message of an error; no message for those that are ours to mend."""
    from ganlab.types import UserError

    if isinstance(error, UserError | FloatingPointError):
        return (2 if isinstance(error, UserError) else 1), str(error)
    if isinstance(error, OSError) and error.errno != errno.EPIPE:
        what = f"{error.filename}: {error.strerror}" if error.filename else f"{error.strerror or error}"
        remedy = REMEDIES.get(error.errno or 0)
        return (2, f"{what}; {remedy}") if remedy else (1, f"{what} (--debug shows where)")
    if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):  # torch's, on GPU and CPU
        return 1, (
            f"out of memory: {str(error).splitlines()[0]}; halve train.micro_batch, or train.batch, or see "
            "train.checkpoint_blocks and machine.shard"
        )
    return 1, None


class Verbs(click.Group):
    """A group of verbs."""

    command_class = Verb


CONFIG = click.argument("config", type=FOLDER)
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
MACHINE = click.option("--machine", type=FOLDER, help="YAML of `machine` and `logging` keys, laid over the config.")
RUNS = click.argument("runs", type=FOLDER, nargs=-1, required=True, metavar="RUN...")
TRUST = click.option("--trust", multiple=True, metavar="PREFIX", help="Package whose classes a config may name.")


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ganlab")
def main() -> None:
    """Train image GANs, on one process or many."""


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
@click.argument("target", metavar="RUN_OR_IMAGES", type=PLACE)
@click.argument("images", required=False, type=PLACE)
@click.option(
    "--metrics",
    help="Of fid,kid,prdc,is,intra_fid,swd,msssim,neighbours,spectrum,field,cas,probe,conditioning,reconstruction, and "
    "for points modes,moments,mmd,parzen. Default: the run's, or what fits the reals.",
)
@click.option("--data", type=PLACE, help="The reals, as IMAGES. Default: IMAGES, evaluation.data or the training data.")
@click.option("--extractor", type=FOLDER, help="TorchScript file: bytes [n, c, h, w] to features [n, d].")
@click.option("-n", type=click.IntRange(min=1), help="Number of images. Default: 50,000 of a run, all of a folder.")
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

    chosen = [name.strip() for name in metrics.split(",")] if metrics else []
    for line in evaluate_paths(target, images, metrics=chosen, **options):
        click.echo(line)


@main.command()
@RUNS
def compare(runs: tuple[Path, ...]) -> None:
    """Print the results of RUNs side by side; values of different protocols are refused."""
    from ganlab.commands.compare import compare

    for line in compare(runs):
        click.echo(line)


@main.command()
@RUNS
@click.option("--out", type=FOLDER, help="FILE.html; default: report.html in the run's folder, or here for several.")
def report(runs: tuple[Path, ...], out: Path | None) -> None:
    """Write a page about RUNs, curves over each other, in one file that opens offline and can be sent to anyone."""
    from ganlab.commands.report import report

    click.echo(report(runs, out))


@main.command()
@click.argument("run", type=FOLDER)
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
def watch(run: Path, port: int) -> None:
    """Show RUN in a browser while it trains: curves, newest samples, events.

    It reads the folder only, so it cannot disturb the run, and works for a run on a shared file system. It listens on
    127.0.0.1; from another machine, `ssh -L` leads there.
    """
    from ganlab.commands.watch import watch

    watch(run, port)


@main.command()
@RUNS
@click.option("--out", type=FOLDER, required=True, help="FILE.pdf, .svg, .png or .eps.")
@click.option("--metrics", help="Names of metrics.jsonl, with * as a wildcard: a chart for each. Default: the losses.")
def plot(runs: tuple[Path, ...], out: Path, metrics: str | None) -> None:
    """Draw the curves of RUNs over each other, as wide as a column of a paper."""
    from ganlab.commands.plot import plot

    click.echo(plot(runs, out, [name.strip() for name in metrics.split(",")] if metrics else []))


@main.command()
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


@main.group(cls=Verbs)
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
