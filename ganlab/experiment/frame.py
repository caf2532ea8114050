"""The closed frame of a run: every key there is, what it means, and what stands where none is given.

An unknown key is a mistake. `model` and `evaluation.extractor` are open: parts `{_target_: dotted.path, **arguments}`.
"""

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ganlab.types import ImageSpec, Precision


@dataclass(frozen=True)
class Cache:
    """Where a node keeps shards that lie elsewhere."""

    folder: str | None = None
    """Shared by the processes of a node; None is $GANLAB_CACHE, or ganlab in ~/.cache."""
    bytes: int = 50_000_000_000
    """It holds no more; the least recently used shards leave it."""


@dataclass(frozen=True)
class Data:
    """Where the images are and what they are."""

    url: str
    """Folder of shards with their index: a path, or a URL of file, http, https, s3, gs or another that fsspec reads; or
    some of its shards: `{000..009}` is a range, `{a,b}`, `a.tar,b.tar` and a list of YAML are lists. Credentials belong
    in the environment: this is saved with the run."""
    image: ImageSpec | None = None
    """Size, channels and classes; None takes them from the index. Where both are there, they must agree."""
    cache: Cache = field(default_factory=Cache)
    """Of shards that lie elsewhere."""
    window: int = 16
    """Shards that are shuffled together, and that a cache must therefore hold."""
    mirror: bool = False
    """Flip half of the reals, left to right."""
    max_pixels: int = 50_000_000
    """An image of more is bad, and not decoded."""
    max_bad: int = 100
    """So many different bad samples, over all processes, are replaced by others and listed in `bad_samples.jsonl`; one
    more stops the run."""
    max_bad_fraction: float = 1e-4
    """The same as a part of all samples; whichever allows more counts."""


@dataclass(frozen=True)
class Train:
    """How long, how much at once, and how often something is left behind. All counts are images."""

    total_nimg: int
    """Real images shown to the discriminator in the whole run."""
    batch: int | None = None
    """Real images in one step of the player that takes them, over all ranks; None takes the model's own plan."""
    group: int = 4
    """Consecutive samples that stay on one rank and share a key of the noise; it must divide every rank's batch."""
    micro_batch: int | None = None
    """Images per process and forward pass; None puts a process's whole share through at once."""
    checkpoint_blocks: bool = False
    """Keep only what goes into each block of the networks, and compute the rest anew in the backward pass: less memory
    for about a third more time. Passes under a penalty keep everything."""
    tick_nimg: int = 10_000
    """A line of metrics every so many images."""
    sample_every_nimg: int = 100_000
    """A grid of samples every so many images."""
    checkpoint_every_nimg: int = 100_000
    """A checkpoint every so many images."""
    keep_checkpoints: int = 2
    """The newest so many checkpoints are kept."""
    keep_best: str | None = None
    """A metric of `metrics.jsonl`: the checkpoint with its best value, the highest or the lowest as the metric says, is
    kept too; None keeps the newest alone."""
    on_not_finite: Literal["stop", "skip", "rollback"] = "stop"
    """What follows steps that were masked since their gradients were not finite: stop the run, go on without them, or
    go back to the newest checkpoint and meet other noise."""
    rollbacks: int = 3
    """At most so many times in one run."""


@dataclass(frozen=True)
class Machine:
    """Where the run happens: nothing here changes what is computed but for rounding."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes the GPU where there is one."""
    precision: Precision = "fp32"
    """Of the networks' arithmetic; parameters, losses and penalties stay in float32 at least."""
    threads: int | None = None
    """Threads of torch's CPU arithmetic, per process; None leaves them to torch. One is best for small networks."""
    decode_threads: int = 2
    """Threads that decode images, per process."""
    nodes: int | None = None
    """Hosts the run expects; None takes as many as the launcher gives. Where stated, they must agree."""
    processes_per_node: int | None = None
    """Processes it expects on each host, one per GPU; None takes as many as the launcher gives."""
    compile: bool = False
    """Compile each player's loss, penalties and all, into one graph. The first steps take minutes; of no use to short
    runs."""
    cuda_graphs: bool = False
    """Record each kind of step on the GPU and replay it: for small networks, which a GPU outruns Python on. For one
    process, and Adam or AdamW."""
    shard: bool = False
    """Spread each player's weights, average and optimizer state over the processes; while a player runs it is whole on
    each. For networks that leave a GPU too little memory; needs Adam or AdamW. It means nothing on one process."""
    timeout_seconds: int = 600
    """A process that keeps the others waiting for longer, dead or hung, is named and ends the run. It must exceed the
    longest that one process works alone: the set-up of its data, a grid of samples, the distances of an evaluation."""


@dataclass(frozen=True)
class Logging:
    """Who is told."""

    wandb: Literal["online", "offline", "disabled"] | None = None
    """None is online where the user is logged in to W&B, else offline."""
    project: str = "ganlab"
    """W&B project."""


@dataclass(frozen=True)
class Evaluation:
    """How the generator is judged."""

    every_nimg: int | None = None
    """An evaluation every so many images, a multiple of train.checkpoint_every_nimg so that each has its checkpoint;
    None: never while it trains."""
    metrics: tuple[str, ...] = ("fid",)
    """Of fid, kid, prdc, is, intra_fid, swd, msssim, neighbours, cas."""
    data: str | None = None
    """The reals: a folder of shards, or image files; None takes the training data."""
    reals: int | None = None
    """The first so many of them; None takes all. Distances of features (kid, prdc) take time and memory with each."""
    extractor: Any = None
    """A part, such as ganlab.metrics.features.TorchScriptFeatures with its path; None is enough for swd and msssim."""
    samples: int = 50_000
    """Images made for an evaluation while it trains."""


@dataclass(frozen=True)
class Config:
    """One run, whole."""

    model: Any
    """The GAN: a part, `{_target_: ganlab.models.DCGAN, ...}`."""
    data: Data
    """The images."""
    train: Train
    """The length of the run and its rhythm."""
    run: str
    """The run's folder; in a file or on the command line it may be left out: `runs/<dataset>-<config's name>`."""
    seed: int = 0
    """Of the order of images, latents, labels, augmentation and initial weights."""
    machine: Machine = field(default_factory=Machine)
    """Where it happens; a machine file may say it."""
    logging: Logging = field(default_factory=Logging)
    """Who is told; a machine file may say it."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    """How the generator is judged; changes nothing of what is trained."""
    trust: tuple[str, ...] = ()
    """Packages outside ganlab whose classes may be targets: given with --trust; what a file says is not believed."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and scalars, as YAML and checkpoints hold them."""
        plain = asdict(self)
        plain["trust"] = list(self.trust)
        return plain


MACHINE_FILE_KEYS = frozenset({"machine", "logging"})

FREE_ON_RESUME = re.compile(
    r"run$|trust|machine\.|logging\.|evaluation\.|data\.(cache|max_bad|url$)|"
    r"train\.(checkpoint_blocks|total_nimg|tick_nimg|sample_every_nimg|checkpoint_every_nimg|keep_checkpoints|keep_best|"
    r"on_not_finite|rollbacks)$"
)
"""Keys that do not change what has been computed so far. Images may move to another URL: their fingerprint tells."""
