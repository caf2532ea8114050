"""Protocols: how a value was computed, the name derived from it, and the rows that hold both."""

import hashlib
import json
import math
import platform
import shlex
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ganlab import distributed
from ganlab.data.read.location import redact
from ganlab.evaluation.images import Points
from ganlab.evaluation.metric import Metric, Value
from ganlab.evaluation.side import Side
from ganlab.experiment.frame import Config

FORMAT = 1
PACKAGES = ("ganlab", "torch", "torchvision", "numpy", "pytorch-lightning")


def protocol_of(metric: Metric, fakes: Side, reals: Side) -> dict[str, Any]:
    """Return everything that two values must share to be comparable."""
    patches, points = "patches" in metric.needs, isinstance(reals.images, Points)
    about: dict[str, Any] = {"pixels": "floats" if points else "uint8, clipped and rounded", **metric.parameters}
    if metric.of != "discriminator":
        about["fakes"] = fakes.stores["patches"].count if patches else min(len(fakes), metric.fakes or len(fakes))
        about |= {f"fakes_{name}": value for name, value in fakes.images.origin.items()}
    if metric.of != "fakes":
        about |= {"reals": reals.images.name, "reals_fingerprint": reals.images.fingerprint}
    if metric.of in ("both", "discriminator"):
        count = reals.stores["patches"].count if patches else min(len(reals), metric.reals or len(reals))
        about |= {"reals_images": count, "reals_total": reals.images.total}
    if metric.needs & {"moments", "features"} and reals.extractor is not None:
        about |= reals.extractor.protocol
        if metric.of == "discriminator":  # here the extractor is what is evaluated
            del about["weights_sha256"]
    return about


def name_of(value: str, biased: bool, protocol: Mapping[str, Any], tag: str = "") -> str:
    """Return the name of a value: metric, number of fakes, its tag, reals, extractor, weights of the generator.

    `fid50k_cifar10-full50k_inceptionv3.6726825d_ema_bn-live`: by averaged weights, with the running statistics of the
    live generator's batch norms; `biased-` is put before it where the images are too few for their dimensions. With
    standing statistics and truncated latents it ends with `bn-standing100_truncated-0.5`.
    """
    count = short(protocol["fakes"]) if "fakes" in protocol else ""
    parts = [f"{'biased-' * biased}{value}{'-' * value[-1].isdigit()}{count}", *([tag] if tag else [])]
    if "reals_images" in protocol:
        whole = "full" if protocol["reals_images"] == protocol["reals_total"] else "first"
        parts.append(f"{protocol['reals']}-{whole}{short(protocol['reals_images'])}")
    elif "reals" in protocol:
        parts.append(protocol["reals"])
    if "extractor" in protocol:
        parts.append(".".join([protocol["extractor"], protocol.get("weights_sha256", "")[:8]]).rstrip("."))
    if "fakes_weights" in protocol:
        parts += [protocol["fakes_weights"], f"bn-{protocol['fakes_batch_norm']}"]
    if protocol.get("fakes_truncation") is not None:
        parts.append(f"truncated-{protocol['fakes_truncation']:g}")
    return "_".join(parts)


def short(count: int) -> str:
    """Write 50000 as 50k."""
    return f"{count // 1000}k" if count and count % 1000 == 0 else str(count)


def row_of(name: str, key: str, found: Value, protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of `results.jsonl` for one value."""
    return {
        "format": FORMAT,
        "name": name,
        "metric": key,
        "value": found.value,
        "standard_error": found.standard_error,
        "floor": found.floor,
        "floor_images": None if found.floor is None else protocol["reals_images"] // 2,
        "biased": found.biased,
        "protocol": dict(protocol),
    }


def failed_row(metric: str, error: Exception) -> dict[str, Any]:
    """Return the row for a metric that failed."""
    reason = " ".join(f"{error}".split()) or type(error).__name__
    return row_of(metric, metric, Value(math.nan), {}) | {"value": None, "error": reason}


def circumstances(device: torch.device, nimg: int | None, config: Config | None) -> dict[str, Any]:
    """Return the rest of a row: time and config of the run, commit, versions and hardware."""
    text = None if config is None else json.dumps(config.as_dict(), sort_keys=True)
    return {
        "nimg": nimg,
        "config_sha256": None if text is None else hashlib.sha256(text.encode()).hexdigest(),
        "git_commit": git_commit(),
        "versions": {name: version(name) for name in PACKAGES if find_spec(name.replace("-", "_"))},
        "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "processes": distributed.world_size(),
    }


def machine(device: torch.device) -> dict[str, Any]:
    """Return versions, commit, command, and the devices of all ranks with their number; a collective."""
    words = ["ganlab", *map(redact, sys.argv[1:])]  # argv[0] is __main__.py under `python -m ganlab`
    about = circumstances(device, None, None)
    devices = Counter(distributed.gather([about["hardware"]]))
    hosts = set(distributed.gather([socket.gethostname()]))
    return {
        "command": shlex.join(words),
        "git_commit": about["git_commit"],
        "versions": about["versions"],
        "hardware": dict(devices),
        "hosts": len(hosts),
    }


def git_commit() -> str | None:
    """Return the commit of the repository that ganlab runs from, with a + where files differ; None without one."""
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return None
    git = ["git", "-C", str(folder)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + "+" * bool(changed)
