"""The closed frame of a run, and the way from text to it.

The frame (`Config` and the dataclasses in it) is fixed: an unknown key is a mistake. `model` is open: a part
`{_target_: dotted.path, **arguments}`. Both are checked by the code of `ganlab.parts`, every complaint is collected,
and all of them are raised at once.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ganlab.parts import check_arguments, coerce, hints_of, options_of
from ganlab.types import ImageSpec, Precision, UserError


@dataclass(frozen=True)
class Cache:
    """Where a node keeps shards that lie elsewhere."""

    folder: str | None = None
    """Shared by the processes of a node; None is `ganlab` in $XDG_CACHE_HOME, or in ~/.cache."""
    bytes: int = 50_000_000_000
    """It holds no more; the least recently used shards leave it."""


@dataclass(frozen=True)
class Data:
    """Where the images are and what they are."""

    url: str
    """Folder of shards with their index: a path, or a URL of file, http, https, s3, gs or another that fsspec reads; or
    some of its shards: `{000..009}` is a range, `{a,b}` and `a.tar,b.tar` are lists. Credentials belong in the
    environment: this is saved with the run."""
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
    batch: int | None = 64
    """Real images in one discriminator move, over all ranks; None leaves it to the model's own plan."""
    micro_batch: int | None = None
    """Images per process and forward pass; None puts a process's whole share through at once."""
    tick_nimg: int = 10_000
    """A line of metrics every so many images."""
    sample_every_nimg: int = 100_000
    """A grid of samples every so many images."""
    checkpoint_every_nimg: int = 100_000
    """A checkpoint every so many images."""
    keep_checkpoints: int = 2
    """The newest so many checkpoints are kept."""
    keep_best: str | None = None
    """A metric of `metrics.jsonl`: the checkpoint with its lowest value is kept too; None keeps the newest alone."""
    on_not_finite: Literal["stop", "skip", "rollback"] = "stop"
    """What follows moves that were masked since their gradients were not finite: stop the run, go on without them, or
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
    shard: bool = False
    """Spread each player's weights, average and optimizer state over the processes; while a player runs it is whole on
    each. For networks that leave a GPU too little memory; needs Adam or AdamW. It means nothing on one process."""
    timeout_seconds: int = 600
    """A process that keeps the others waiting for longer, dead or hung, is named and ends the run. It must exceed the
    longest that one process works alone: the set-up of its data, grids of samples, a checkpoint."""


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
    """Packages outside ganlab whose classes may be targets; given with --trust, never in a file."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and scalars, as YAML and checkpoints hold them."""
        plain = asdict(self)
        plain["trust"] = list(self.trust)
        return plain


MACHINE_FILE_KEYS = frozenset({"machine", "logging"})

FREE_ON_RESUME = re.compile(
    r"run$|trust|machine\.|logging\.|evaluation\.|data\.(cache|max_bad)|"
    r"train\.(total_nimg|tick_nimg|sample_every_nimg|checkpoint_every_nimg|keep_checkpoints|keep_best)$"
)
"""Keys that do not change what has been computed so far."""


# --- text to dicts: base < config < machine file < command line


def load(
    path: Path | str, overrides: Sequence[str] = (), machine: Path | str | None = None, trust: Sequence[str] = ()
) -> Config:
    """Read a config with its `base:` chain, a machine file and `key=value` overrides, and check all of it.

    To `trust` is added what the run, if it has begun, was told to trust before. Raises `UserError` with every
    complaint at once: key, value, and the nearest right name.
    """
    path = Path(path)
    values = _read_chain(path, ())
    if machine is not None:
        overlay = _read_yaml(Path(machine))
        if science := sorted(set(overlay) - MACHINE_FILE_KEYS):
            raise UserError(f"{machine}: {', '.join(science)}: not for a machine file, which holds machine and logging")
        values = merge(values, overlay)
    values = merge(values, _read_overrides(overrides))
    if "trust" in values:
        raise UserError(f"{path}: trust may not stand in a config; write `--trust PREFIX` on the command line")
    if values.get("run") is None:
        url = data.get("url") if isinstance(data := values.get("data"), dict) else None
        values["run"] = f"runs/{_dataset_name(str(url))}-{path.stem}"
    written = Path(str(values["run"])) / "config.yaml"
    remembered = _read_yaml(written).get("trust", []) if written.is_file() else []
    return from_dict({**values, "trust": sorted({*trust, *remembered})}, str(path))


def _dataset_name(url: str) -> str:
    """Name a dataset by its folder, without what may be secret."""
    path = Path(urlsplit(url).path)
    return (path.parent if path.suffix == ".tar" else path).name


def from_dict(values: dict[str, Any], place: str) -> Config:
    """Check plain values, all of them, and make the frame; `place` begins the error message."""
    trust = tuple(values.get("trust", ()))
    complaints = [*check_arguments(Config, values, "", frozenset(), trust)]
    if "model" in values and not (isinstance(values["model"], dict) and "_target_" in values["model"]):
        complaints.append("model: names no class; write for example `model: {_target_: ganlab.models.DCGAN}`")
    complaints += [
        f"{frame}.{name}: {value} is not positive"
        for frame in ("train", "machine", "evaluation")
        if isinstance(counts := values.get(frame), dict)
        for name, value in counts.items()
        if isinstance(value, int) and not isinstance(value, bool) and value < 1
    ]
    if complaints:
        lines = "".join(f"\n  {line}" for line in complaints)
        raise UserError(f"{place}: {len(complaints)} complaint{'s' * (len(complaints) > 1)}{lines}")
    config = _make(Config, values)
    assert isinstance(config, Config)
    return config


def to_yaml(config: Config) -> str:
    """Write the resolved config as YAML; `from_yaml` reads it back."""
    return OmegaConf.to_yaml(OmegaConf.create(config.as_dict()))


def from_yaml(path: Path, trust: Sequence[str] = ()) -> Config:
    """Read a resolved config. What it says of trust is not believed: the caller says it anew."""
    return from_dict({**_read_yaml(path), "trust": list(trust)}, str(path))


def merge(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """Lay `child` over `parent`; a part whose `_target_` changes is replaced whole: its arguments are others."""
    merged = dict(parent)
    for name, value in child.items():
        below = parent.get(name)
        if (
            isinstance(value, dict)
            and isinstance(below, dict)
            and value.get("_target_", below.get("_target_")) == below.get("_target_")
        ):
            merged[name] = merge(below, value)
        else:
            merged[name] = value
    return merged


def differences(saved: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return {key: (saved value, value now)} for every leaf that differs; None stands for an absent one."""
    old, new = dict(_leaves(saved)), dict(_leaves(now))
    return {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}


def _leaves(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = OmegaConf.load(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; give the path of a YAML file") from None
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {error}") from None
    return _plain(tree, str(path))


def _read_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    for text in overrides:
        if "=" not in text:
            raise UserError(f"{text!r} is not an override; write key=value, for example train.batch=32")
    try:
        return _plain(OmegaConf.from_dotlist(list(overrides)), "command line")
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"command line: {error}") from None


def _plain(tree: Any, place: str) -> dict[str, Any]:
    values = OmegaConf.to_container(tree, resolve=False)
    if not isinstance(values, dict):
        raise UserError(f"{place}: a list; a config is a mapping of keys to values")
    # Interpolation would bring the environment, and the secrets in it, into what is saved and logged.
    if found := [f"{key}: {value}" for key, value in _leaves(values) if "${" in str(value)]:
        raise UserError(f"{place}: ${{...}} is not supported; write the value itself: {'; '.join(found)}")
    return _with_string_keys(values)


def _with_string_keys(values: dict[Any, Any]) -> dict[str, Any]:
    """Undo what YAML makes of keys such as 1, yes or null."""
    return {str(key): _with_string_keys(value) if isinstance(value, dict) else value for key, value in values.items()}


def _read_chain(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise UserError(f"{path}: its `base:` chain comes back to itself")
    values = _read_yaml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    return merge(_read_chain(path.parent / str(base), (*seen, path.resolve())), values)


def _make(frame: type, values: Mapping[str, Any]) -> Any:
    """Make a frame's dataclass from values that have been checked."""
    hints, arguments = hints_of(frame), {}
    for item in fields(frame):
        if item.name not in values:
            continue
        value = values[item.name]
        inner = next((option for option in options_of(hints[item.name]) if is_dataclass(option)), None)
        if isinstance(value, dict) and isinstance(inner, type):
            value = _make(inner, value)
        arguments[item.name] = coerce(value, hints[item.name])
    return frame(**arguments)
