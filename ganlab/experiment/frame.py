"""The closed frame of a run: every key, its meaning and its default.

Unknown keys are errors. `model` and `evaluation.extractor` are open: parts `{_target_: dotted.path, **arguments}`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from typing import Any, Literal

from ganlab.types import ImageSpec, Precision


@dataclass(frozen=True)
class Cache:
    """The cache of remote shards on a node."""

    folder: str | None = None
    """Shared by the processes of a node; None is $GANLAB_CACHE, or ganlab in ~/.cache."""
    bytes: int = 50_000_000_000
    """Size limit of the cache; the least recently used shards are removed first."""


@dataclass(frozen=True)
class Other:
    """A second stream of images beside the first, in an order of its own, for games that read `batch.other`."""

    url: str
    """As data.url; without one it is the same images, and `image` that of data."""
    image: ImageSpec | None = None
    """Size, channels and classes; None takes them from the index. If both are given, they must agree."""
    mirror: bool = False
    """Flip half of the images, left to right."""
    crop: int | None = None
    """As data.crop; None shows whole images."""
    labelled: int | None = None
    """Only the first so many images of each class, in the order of the index; None is all images."""


@dataclass(frozen=True)
class Data:
    """Where the images are and what they are."""

    url: str
    """Folder of shards with their index: a path, or a URL of file, http, https, s3, gs or another that fsspec reads; or
    some of its shards: `{000..009}` is a range; `{a,b}`, `a.tar,b.tar` and a YAML list are lists. It is saved with the
    run, so credentials belong in the environment. `toy:ring?modes=8` and the like are drawn, not read: see
    `ganlab.data.read.distributions`."""
    image: ImageSpec | None = None
    """Size, channels and classes; None takes them from the index. If both are given, they must agree, but for the
    classes' names: those given here win."""
    cache: Cache = field(default_factory=Cache)
    """Cache of remote shards."""
    window: int = 16
    """Number of shards that are shuffled together; a cache must hold one more."""
    mirror: bool = False
    """Flip half of the reals, left to right."""
    crop: int | None = None
    """Height and width of the random crops that the game sees, the same ones of both images of a pair; None shows whole
    images."""
    vectors: int | None = None
    """Dimensions of the vectors of each image, for games that read `batch.vectors`; None takes them from the index."""
    other: Other | None = None
    """A second stream; None if there is none."""
    max_pixels: int = 50_000_000
    """Images with more pixels count as bad and are not decoded."""
    max_bad: int = 100
    """Number of bad samples, over all processes, that are replaced by others and listed in `bad_samples.jsonl`; one
    more stops the run."""
    max_bad_fraction: float = 1e-4
    """The same limit as a fraction of all samples; the larger one counts."""


@dataclass(frozen=True)
class Train:
    """Length of the run, batch sizes, and intervals of its outputs. All counts are images."""

    total_nimg: int
    """Real images shown in the whole run."""
    batch: int | None = None
    """Real images in a round, over all ranks; None uses the model's own plan."""
    group: int = 4
    """Consecutive samples that stay on one rank and share a noise key; it must divide every rank's batch."""
    micro_batch: int | None = None
    """Images per process and forward pass; None runs a process's whole share at once."""
    checkpoint_blocks: bool = False
    """Activation checkpointing: save only the inputs of the networks' blocks and recompute the rest in the backward
    pass: less memory for about a third more time. Passes under a penalty save everything."""
    tick_nimg: int = 10_000
    """Images between two lines of metrics."""
    sample_every_nimg: int = 100_000
    """Images between two grids of samples."""
    checkpoint_every_nimg: int = 100_000
    """Images between two checkpoints."""
    start_from: str | None = None
    """A run's folder, or an exported one, from whose networks this run starts: also `--from`; None draws all weights.
    Optimizers and the clock start anew."""
    freeze: tuple[str, ...] = ()
    """Modules whose weights stay, such as discriminator.blocks.0."""
    keep_checkpoints: int = 2
    """Number of newest checkpoints to keep."""
    keep_best: str | None = None
    """A metric of `metrics.jsonl`: the checkpoint with its best value, highest or lowest depending on the metric, is
    kept too; None keeps only the newest."""
    on_not_finite: Literal["stop", "skip", "rollback"] = "stop"
    """What to do after steps were masked because their gradients were not finite: stop the run, continue, or roll back
    to the newest checkpoint and draw new noise."""
    rollbacks: int = 3
    """Largest number of rollbacks in one run."""


@dataclass(frozen=True)
class Machine:
    """Where the run happens: nothing here changes the results, except for rounding."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` uses a GPU if there is one."""
    precision: Precision = "fp32"
    """Precision of the networks' arithmetic; parameters, losses and penalties stay in at least float32."""
    threads: int | None = None
    """Threads of torch's CPU arithmetic, per process; None is torch's default. One is best for small networks."""
    decode_threads: int = 2
    """Threads that decode images, per process."""
    nodes: int | None = None
    """Number of hosts; None accepts the launcher's number. If stated, both must agree."""
    processes_per_node: int | None = None
    """Processes on each host, one per GPU; None accepts the launcher's number."""
    compile: bool = False
    """Compile each player's loss, penalties included, as one graph. The first steps take minutes, so short runs gain
    nothing."""
    cuda_graphs: bool = False
    """Capture each kind of step as a CUDA graph and replay it: for small networks, whose steps are bound by kernel
    launches. One process only, with Adam or AdamW."""
    shard: bool = False
    """Shard weights, averages and optimizer states over the processes; the networks are gathered for each step. For
    networks that leave a GPU too little memory. It needs Adam or AdamW, and has no effect on one process."""
    timeout_seconds: int = 600
    """The run ends and names a process, dead or hung, that keeps the others waiting for longer. It must exceed the
    longest work that one process does alone: setting up its data, a grid of samples, the distances of an evaluation."""


@dataclass(frozen=True)
class Logging:
    """Where metrics are sent."""

    wandb: Literal["online", "offline", "disabled"] | None = None
    """None is online where the user is logged in to W&B, else offline."""
    project: str = "ganlab"
    """W&B project."""
    tensorboard: bool = False
    """Write TensorBoard's files into the run's folder."""
    csv: bool = False
    """Write the metrics as a table, metrics.csv, into the run's folder."""


@dataclass(frozen=True)
class Evaluation:
    """How the generator is evaluated."""

    every_nimg: int | None = None
    """Images between two evaluations, a multiple of train.checkpoint_every_nimg so that each has its checkpoint; None
    evaluates never during training."""
    metrics: tuple[str, ...] | None = None
    """Of fid, kid, prdc, is, intra_fid, swd, msssim, neighbours, spectrum, field, cas, conditioning, and for points
    modes, moments, mmd, parzen. None is fid, or for points those that fit them."""
    data: str | None = None
    """The reals: a folder of shards, or image files; None uses the training data."""
    reals: int | None = None
    """Number of reals, the first ones; None uses all. Time and memory of kid and prdc grow with it."""
    extractor: Any = None
    """A part, such as ganlab.metrics.features.TorchScriptFeatures with its path; None is enough for metrics without
    features, such as swd."""
    samples: int = 50_000
    """Images generated for an evaluation during training."""


@dataclass(frozen=True)
class Config:
    """The whole config of a run."""

    model: Any
    """The GAN: a part, `{_target_: ganlab.models.DCGAN, ...}`."""
    data: Data
    """The images."""
    train: Train
    """The length of the run, its batches and intervals."""
    run: str
    """The run's folder; if not given, `runs/<dataset>-<config's name>`."""
    seed: int = 0
    """Seed of the order of images, latents, labels, augmentation and initial weights."""
    machine: Machine = field(default_factory=Machine)
    """Where the run happens; may be set in a machine file."""
    logging: Logging = field(default_factory=Logging)
    """Where metrics are sent; may be set in a machine file."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    """How the generator is evaluated; does not change training."""
    trust: tuple[str, ...] = ()
    """Packages outside ganlab whose classes may be targets: set by --trust only, ignored in files."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and scalars, as saved in YAML and checkpoints."""
        plain = asdict(self)
        plain["trust"] = list(self.trust)
        return plain


MOST = 10**18
"""Largest whole number of a key, unless `RANGES` says otherwise."""

RANGES: Mapping[str, tuple[float, float]] = {
    "seed": (-math.inf, math.inf),
    "data.image.classes": (0, MOST),
    "data.other.image.classes": (0, MOST),
    "data.max_bad": (0, MOST),
    "data.max_bad_fraction": (0, 1),
    "machine.threads": (1, 1024),
    "machine.decode_threads": (1, 1024),
    "machine.timeout_seconds": (1, 10_000_000),
}
"""Smallest and largest value of each key that is a number; of the others 1 and `MOST`."""

MACHINE_FILE_KEYS = frozenset({"machine", "logging"})

FREE_ON_RESUME = re.compile(
    r"run$|trust|machine\.|logging\.|evaluation\.|data\.(cache|max_bad|url$|other\.url$|image\.class_names$)|"
    r"train\.(checkpoint_blocks|total_nimg|tick_nimg|sample_every_nimg|checkpoint_every_nimg|keep_checkpoints|keep_best|"
    r"on_not_finite|rollbacks)$"
)
"""Keys that may change on resume. `data.url` may, since the dataset's fingerprint must stay the same."""


def is_allowed(key: str, patterns: Sequence[str]) -> bool:
    """Tell whether a key is one of `--allow-change`: by its name, by its section, or by a pattern with `*`."""
    return any(fnmatch(key, pattern) or key.startswith(f"{pattern}.") for pattern in patterns)
